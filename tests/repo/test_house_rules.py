"""The rules of CONTRIBUTING.md that a linter does not know."""

import ast

import pytest

PACKAGES = {
    "registry": "timetrial_registry",
    "harness": "timetrial",
    "plugins": "timetrial_plugins",
    "distillation": "timetrial_distillation",
}
CLOCK_MODULES = {"time", "timeit"}
CLOCK_METHODS = {"now", "today", "utcnow"}


def functions(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def attributes(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]


@pytest.mark.parametrize(("folder", "package"), PACKAGES.items())
def test_each_root_holds_exactly_one_package(repository, folder, package):
    """Anything else there would become a top-level module of an editable install."""
    held = [path.name for path in (repository / folder).iterdir() if path.name != "__pycache__"]
    assert held == [package]
    assert (repository / folder / package / "__init__.py").is_file()
    assert (repository / folder / package / "py.typed").is_file()


def test_no_folder_of_code_lacks_its_init(sources):
    folders = {source.path.parent for source in sources}
    assert [str(folder) for folder in sorted(folders) if folder / "__init__.py" not in {s.path for s in sources}] == []


def test_no_module_is_a_catch_all(sources):
    banned = {"utils", "util", "common", "helpers", "misc", "base", "core"}
    names = {part for source in sources for part in (*source.path.parts[2:-1], source.path.stem)}
    assert names & banned == set()


def test_the_words_manager_and_registry_mean_one_thing_each(sources):
    named = {str(s.path) for s in sources if {s.path.stem, *s.path.parts[2:-1]} & {"manager", "registry"}}
    assert named <= {"harness/timetrial/manager.py", "registry/timetrial_registry/registry.py"}


def test_no_file_is_longer_than_400_lines(sources):
    assert [str(s.path) for s in sources if s.text.count("\n") > 400] == []


def test_no_function_is_longer_than_60_lines(sources):
    long = [
        f"{source.path}:{function.lineno}: {function.name}"
        for source in sources
        for function in functions(source.tree)
        if function.end_lineno - function.lineno + 1 > 60
    ]
    assert long == []


def test_code_is_ascii(sources):
    assert [str(source.path) for source in sources if not source.text.isascii()] == []


def test_only_the_clock_module_reads_time(sources):
    readers = []
    for source in sources:
        readers += [(source.path, line) for line, name in imports(source.tree) if name.split(".")[0] in CLOCK_MODULES]
        for node in attributes(source.tree):
            owner = getattr(node.value, "id", getattr(node.value, "attr", ""))  # datetime.now, datetime.date.today
            if node.attr in CLOCK_METHODS and owner in ("datetime", "date"):
                readers.append((source.path, node.lineno))
    assert {path.as_posix() for path, _ in readers} == {"harness/timetrial/clock.py"}, readers


def test_no_alarm_signals(sources):
    """They work on the main thread only, and on no Windows."""
    uses = [
        f"{source.path}:{node.lineno}"
        for source in sources
        for node in attributes(source.tree)
        if node.attr in ("SIGALRM", "setitimer", "alarm")
    ]
    assert uses == []


def test_the_environment_is_read_in_two_modules_of_the_harness_only(sources):
    readers = {
        source.path.name
        for source in sources
        for node in attributes(source.tree)
        if source.package == "timetrial" and node.attr in ("environ", "getenv")
    }
    assert readers <= {"config.py", "manager.py"}


def test_only_the_catalog_calls_hooks(sources):
    callers = {str(s.path) for s in sources for node in attributes(s.tree) if node.attr in ("hook", "get_hookimpls")}
    # The manager looks at one plugin's hooks before it lets it in, and calls none.
    assert callers == {"harness/timetrial/catalog.py", "harness/timetrial/manager.py"}
    manager = next(s.tree for s in sources if s.path.name == "manager.py")
    assert [node.lineno for node in attributes(manager) if node.attr == "hook"] == []


def test_an_ignored_type_error_or_an_any_carries_a_reason(sources):
    bare = [
        f"{source.path}:{number}"
        for source in sources
        for number, line in enumerate(source.text.splitlines(), start=1)
        if line.rstrip().endswith("# type: ignore") or "# noqa\n" in f"{line}\n"
    ]
    assert bare == []
