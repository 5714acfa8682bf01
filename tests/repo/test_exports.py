"""What `import timetrial` gives is what `__all__` lists, and all of it says what it is."""

import ast
import importlib
import inspect

import pytest

import timetrial


def test_what_is_exported_is_what_the_facade_imports(repository):
    tree = ast.parse((repository / "harness/timetrial/__init__.py").read_text())
    imported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == "timetrial"
        for alias in node.names
    }
    assert imported | {"__version__"} == set(timetrial.__all__)


def test_the_list_of_exports_has_no_doubles():
    assert len(set(timetrial.__all__)) == len(timetrial.__all__)


@pytest.mark.parametrize("name", timetrial.__all__)
def test_every_export_can_be_had_and_is_documented(name):
    value = getattr(timetrial, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        # A dataclass without a docstring of its own gets its signature as one.
        assert value.__doc__ and not value.__doc__.startswith(f"{name}("), f"timetrial.{name} has no docstring"
        assert not name.startswith("_")


def test_an_unknown_name_is_refused_as_by_any_module():
    with pytest.raises(AttributeError, match="'timetrial' has no attribute 'nonsense'"):
        _ = timetrial.nonsense


def test_everything_a_plugin_implements_is_exported():
    from timetrial import hookspec, protocol, spec

    contracts = {
        name
        for module in (protocol, spec)
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module.__name__
    }
    # Where a spec came from is the host's business.
    assert contracts - {"Origin"} <= set(timetrial.__all__)
    assert timetrial.hookimpl is hookspec.hookimpl


@pytest.mark.parametrize(
    "module", ["timetrial_registry", "timetrial_plugins", "timetrial_distillation", "timetrial.testing"]
)
def test_the_other_packages_export_what_they_list(module):
    package = importlib.import_module(module)
    for name in getattr(package, "__all__", ()):
        assert hasattr(package, name), f"{module}.{name} is listed but missing"
