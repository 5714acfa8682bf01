"""Functions for worker processes to serve in tests: well-behaved ones, and every way to misbehave."""

import ctypes
import os
import resource
import socket
import subprocess
import sys


def echo(*arguments):
    return list(arguments)


def pid():
    return os.getpid()


def session():
    return os.getsid(0)


def limits():
    return {
        "memory": resource.getrlimit(resource.RLIMIT_AS)[0],
        "core": resource.getrlimit(resource.RLIMIT_CORE)[0],
        "cpu_s": resource.getrlimit(resource.RLIMIT_CPU)[0],
        "recursion": sys.getrecursionlimit(),
    }


def environment():
    return {name: value for name, value in os.environ.items() if name.startswith("PYTHON")}


def path():
    return sys.path


def hash_of(text):
    return hash(text)


def act(what):
    """Do what the name says, or answer with it."""
    return _ACTS[what]() if what in _ACTS else what


_CONNECTIONS = []


def keep(port):
    """Open a connection, so that who listens sees the end of this process, and answer."""
    _CONNECTIONS.append(socket.create_connection(("127.0.0.1", port)))
    return os.getpid()


def hold(port):
    """Open a connection and never answer."""
    keep(port)
    hang()


def hang():
    while True:
        pass


def eat():
    eaten = []
    while True:
        eaten.append(bytearray(1 << 24))


def eat_at_once():
    return len(bytearray(1 << 50))


def fail_in_c_for_memory():
    os.write(2, b"GNU MP: Cannot allocate memory (size=8000000040)\n")
    os.abort()


def chatter():
    """Write to where the protocol would be if it were not protected, and read from there."""
    print("printed")
    sys.stdout.flush()
    os.write(1, b"\x00\x00\x00\x02{}")
    subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
    return [sys.stdin.read(), os.read(0, 10).decode()]


def flood():
    os.write(2, b"x" * (3 << 20))
    return os.fstat(2).st_size


def error_size():
    return os.fstat(2).st_size


def close_output():
    """Close whatever pipe is open, and go on."""
    os.closerange(3, 64)
    hang()


def start_child():
    """Leave behind a child that has all pipes, and hang."""
    if os.fork() == 0:
        hang()
    hang()


def last_words():
    print("these are my last words", file=sys.stderr)
    sys.stderr.flush()
    os._exit(7)


class Unspeakable(Exception):
    def __str__(self):
        raise ValueError("no text")


class Beyond(BaseException):
    pass


def _raise(error):
    raise error


def _recurse():
    return _recurse()


_ACTS = {
    "hang": hang,
    "eat": eat,
    "eat at once": eat_at_once,
    "fail in C for memory": fail_in_c_for_memory,
    "abort": os.abort,
    "exit": lambda: os._exit(3),
    "crash": lambda: ctypes.string_at(0),
    "last words": last_words,
    "close output": close_output,
    "start child": start_child,
    "chatter": chatter,
    "flood": flood,
    "error size": error_size,
    "raise": lambda: _raise(ValueError("a\nb")),
    "raise long": lambda: _raise(ValueError("x" * 10**6)),
    "raise unspeakable": lambda: _raise(Unspeakable()),
    "raise beyond": lambda: _raise(Beyond("beyond")),
    "leave": lambda: sys.exit("left"),
    "recurse": _recurse,
    "no JSON": lambda: {1, 2},
}
