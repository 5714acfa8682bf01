"""Build the C kernels for this machine's processor, once, with the C compiler that is there.

The library lies in a cache folder under a name made of everything that it depends on: sources, compiler, options and
processor. It is written under another name first, so that processes that build at once do not meet half a file.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

_SOURCES = Path(__file__).parent / "source"
_OPTIONS = (
    "-std=gnu11",
    "-O2",  # -O3 unrolls what was unrolled with care: twice as long to compile, and slower
    "-ftree-vectorize",
    "-fvect-cost-model=dynamic",
    "-march=native",
    "-ffp-contract=fast",  # products and sums in one instruction
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-signed-zeros",
    "-fopenmp",  # the threads of PyTorch, whose OpenMP library is loaded already
    "-fPIC",
    "-shared",
)
_TIMEOUT_S = 120  # it takes about eight seconds


class BuildError(Exception):
    """The kernels cannot be built or loaded; the message says why, in one line."""


def find_compiler(environment: Mapping[str, str] = os.environ) -> Sequence[str]:
    """Return the command of the C compiler: that of the variable CC, or the first of cc, gcc and clang.

    Raises:
        BuildError: there is none, or this is no platform that the kernels were tried on.
    """
    if sys.platform != "linux":
        raise BuildError(f"its kernels are built on Linux only, and this is {platform.system()}")
    if command := shlex.split(environment.get("CC", "")):
        if shutil.which(command[0], path=environment.get("PATH")) is None:
            raise BuildError(f"the C compiler that CC names, {command[0]!r}, is not found")
        return command
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name, path=environment.get("PATH")) is not None:
            return [name]
    raise BuildError("there is no C compiler (cc, gcc or clang) to build its kernels")


def build_problem() -> str | None:
    """Return why there is nothing to build kernels with; None: there is."""
    try:
        find_compiler()
    except BuildError as cause:
        return str(cause)
    return None


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where built libraries are kept: timetrial/ in XDG_CACHE_HOME, by default ~/.cache."""
    base = environment.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "timetrial"


def build(compiler: Sequence[str], folder: Path, definitions: Sequence[str] = ()) -> Path:
    """Return the library of kernels in a folder, with `definitions` for its sources, built if it is not there.

    Raises:
        BuildError: the compiler fails, or the folder cannot be written.
    """
    sources = sorted(_SOURCES.glob("*.c"))
    options = [*_OPTIONS, *(f"-D{name}" for name in definitions)]
    library = folder / f"kernels-{_fingerprint(compiler, options)}.so"
    if library.exists():
        return library
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            made = Path(scratch) / library.name
            _run([*compiler, *options, *map(str, sources), "-o", str(made), "-lm"])
            made.replace(library)
    except OSError as cause:
        raise BuildError(f"kernels cannot be built in {folder} ({cause})") from cause
    return library


def load(library: Path) -> ctypes.CDLL:
    """Load a built library into this process.

    Raises:
        BuildError: it cannot be loaded.
    """
    try:
        return ctypes.CDLL(str(library))
    except OSError as cause:
        raise BuildError(
            f"built kernels cannot be loaded ({cause}): remove {library}, and they are built anew"
        ) from cause


def _fingerprint(compiler: Sequence[str], options: Sequence[str]) -> str:
    """Return a name for everything that a library depends on."""
    parts = [*compiler, _run([*compiler, "--version"]), *options, platform.machine(), _processor()]
    parts += [path.read_text(encoding="utf-8") for path in sorted(_SOURCES.iterdir()) if path.suffix in (".c", ".h")]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _processor() -> str:
    """Return what tells processors apart whose instructions differ: the home folder may be that of many machines."""
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        keys = ("model name", "flags", "Features", "CPU part")
        first = {line.split(":")[0].strip(): line for line in lines if line.startswith(keys)}
    return "".join(first.values())


def _run(command: Sequence[str]) -> str:
    """Run the compiler and return what it prints.

    Raises:
        BuildError: it fails.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.SubprocessError) as cause:
        raise BuildError(f"the C compiler {command[0]!r} cannot be run ({cause})") from cause
    if done.returncode:
        words = " ".join(done.stderr.split())
        raise BuildError(f"the C compiler {command[0]!r} failed: {words[:300] or f'exit status {done.returncode}'}")
    return done.stdout
