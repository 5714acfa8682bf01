"""The packages import downwards only: registry <- harness <- plugins <- distillation."""

import ast

import pytest

FLOORS = ("timetrial_registry", "timetrial", "timetrial_plugins", "timetrial_distillation")
FOLDERS = ("registry", "harness", "plugins", "distillation")


def imported(tree):
    """(line, top-level package) of every import, inside functions too, and of every module named in a string."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.lineno, node.module.partition(".")[0]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            name = node.value.partition(".")[0]
            if name in FLOORS and name != "timetrial":  # "timetrial" is the command and the distribution as well
                yield node.lineno, name


def upward(package, tree):
    """Imports from `package` that go up."""
    floor = FLOORS.index(package)
    return [(line, name) for line, name in imported(tree) if name in FLOORS and FLOORS.index(name) > floor]


def test_no_package_imports_one_above_it(sources):
    violations = [f"{s.path}:{line}: imports {name}" for s in sources for line, name in upward(s.package, s.tree)]
    assert violations == []


def test_nothing_is_imported_by_the_name_of_its_folder(sources):
    violations = [f"{s.path}:{line}: {name}" for s in sources for line, name in imported(s.tree) if name in FOLDERS]
    assert violations == []


@pytest.mark.parametrize(
    "code",
    [
        "import timetrial_plugins.models",
        "from timetrial_plugins import grading",
        "def load():\n    from timetrial_plugins.engine import decoder",
        "if TYPE_CHECKING:\n    import timetrial_distillation",
        "import_module('timetrial_plugins.models.llama')",
    ],
)
def test_an_import_that_goes_up_is_seen_wherever_it_stands(code):
    assert upward("timetrial", ast.parse(code))


def test_imports_that_go_down_are_let_through():
    assert upward("timetrial_plugins", ast.parse("import timetrial\nimport timetrial_registry\nimport numpy")) == []
