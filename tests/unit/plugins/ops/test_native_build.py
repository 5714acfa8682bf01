"""The C kernels are built once for a machine, by whatever compiler there is, and what keeps them from it is said."""

import ctypes
import os
import sys
import threading

import pytest
import torch

from timetrial_plugins.ops.native import build as building
from timetrial_plugins.ops.native.build import BuildError, build, build_problem, cache_folder, find_compiler, load
from timetrial_plugins.ops.native.library import Library
from timetrial_plugins.ops.native.native_ops import native_kernels

needs_compiler = pytest.mark.skipif(build_problem() is not None, reason=str(build_problem()))


@pytest.fixture
def quick(monkeypatch):
    """Compile without optimising, which takes a fifth of the time."""
    unoptimised = tuple(option for option in building._OPTIONS if not option.startswith("-O"))
    monkeypatch.setattr(building, "_OPTIONS", unoptimised)


def script(folder, text):
    """A compiler made of a shell script, which knows its version and else does what the text says."""
    tool = folder / "cc"
    tool.write_text(f'#!/bin/sh\nif [ "$1" = --version ]; then echo 1.0; exit 0; fi\n{text}\n')
    tool.chmod(0o755)
    return [str(tool)]


@needs_compiler
def test_a_library_is_built_once_and_again_for_another_compiler_or_type(quick, tmp_path):
    compiler = find_compiler()
    library = build(compiler, tmp_path)
    assert Library(load(library)).panel_outputs > 0
    built = library.stat().st_mtime_ns
    assert build(compiler, tmp_path) == library and library.stat().st_mtime_ns == built
    assert len({library, build([*compiler, "-g0"], tmp_path), build(compiler, tmp_path, ["BFLOAT16"])}) == 3
    assert [path.suffix for path in tmp_path.iterdir()] == [".so"] * 3, "nothing else is left behind"


@needs_compiler
def test_processes_that_build_at_once_all_get_a_whole_library(quick, tmp_path):
    found = []
    threads = [threading.Thread(target=lambda: found.append(build(find_compiler(), tmp_path))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1 and len(found) == 3
    assert isinstance(load(found[0]), ctypes.CDLL)


def test_a_compiler_that_fails_is_quoted_and_leaves_nothing(tmp_path):
    compiler = script(tmp_path, "echo 'rows.c:1: no such\n thing' >&2; exit 3")
    with pytest.raises(BuildError, match=r"the C compiler '.*cc' failed: rows.c:1: no such thing"):
        build(compiler, tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_a_compiler_that_makes_no_file_is_told_from_one_that_fails(tmp_path):
    with pytest.raises(BuildError, match="kernels cannot be built in .*cache"):
        build(script(tmp_path, "exit 0"), tmp_path / "cache")


def test_a_compiler_that_hangs_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(building, "_TIMEOUT_S", 0.2)
    with pytest.raises(BuildError, match="cannot be run .*timed out"):
        build(script(tmp_path, "exec sleep 60"), tmp_path / "cache")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(BuildError, match=f"kernels cannot be built in {tmp_path}"):
        build(find_compiler(), tmp_path / "cache")


def test_a_file_that_is_no_library_says_how_to_get_rid_of_it(tmp_path):
    library = tmp_path / "kernels-0.so"
    library.write_bytes(b"half a file")
    with pytest.raises(BuildError, match=f"remove {library}, and they are built anew"):
        load(library)


def test_the_compiler_is_that_of_the_environment_or_the_first_there_is(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    (command,) = script(tmp_path, "exit 0")
    assert find_compiler({"PATH": str(tmp_path)}) == ["cc"]
    assert find_compiler({"CC": f"{command} -pipe", "PATH": ""}) == [command, "-pipe"]
    with pytest.raises(BuildError, match="the C compiler that CC names, 'icc', is not found"):
        find_compiler({"CC": "icc", "PATH": str(tmp_path)})
    with pytest.raises(BuildError, match=r"there is no C compiler \(cc, gcc or clang\)"):
        find_compiler({"PATH": str(tmp_path / "empty")})


def test_other_platforms_are_told_so(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "on Linux only" in str(build_problem())


def test_the_cache_is_where_the_environment_wants_it(tmp_path):
    assert cache_folder({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "timetrial"
    assert cache_folder({}).parts[-2:] == (".cache", "timetrial")


@needs_compiler
def test_kernels_take_the_threads_of_pytorch():
    """Two OpenMP libraries in one process would fight for the cores."""
    native_kernels(torch.float32)
    torch.randn(300, 300) @ torch.randn(300, 300)
    with open("/proc/self/maps", encoding="utf-8") as maps:
        libraries = {line.split()[-1] for line in maps if "libgomp" in line or "libomp" in line or "libiomp" in line}
    assert len(libraries) == 1
