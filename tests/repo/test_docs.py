"""The documentation of hooks and of testing is true: signatures, fields, examples and links."""

import ast
import dataclasses
import inspect
import re
import subprocess
import sys

import pytest

from timetrial import hookspec
from timetrial.catalog import KINDS

HOOKS = {name: function for name, function in vars(hookspec).items() if name.startswith("timetrial_")}


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.fixture
def hooks_page(repository):
    return (repository / "docs" / "hooks.md").read_text()


def test_the_hooks_page_has_one_heading_per_hook_equal_to_its_signature(hooks_page):
    signatures = [f"{name}{inspect.signature(hook)}".replace("'", "") for name, hook in HOOKS.items()]
    assert re.findall(r"^## `(.*)`$", hooks_page, re.MULTILINE) == signatures


def test_the_catalog_asks_every_hook():
    assert {kind.hook for kind in KINDS} == set(HOOKS)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_section_of_a_hook_lists_exactly_the_fields_of_its_spec(kind, hooks_page):
    section = re.search(rf"^## `{kind.hook}\(.*?(?=^## |\Z)", hooks_page, re.DOTALL | re.MULTILINE).group()
    documented = re.findall(r"^- `(\w+)`:", section, re.MULTILINE)
    assert documented == [field.name for field in dataclasses.fields(kind.spec)]
    assert len(blocks(section, "python")) == 1


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_exercised_by_a_test(hook, repository):
    tree = ast.parse((repository / "tests" / "unit" / "harness" / "test_hookspec.py").read_text())
    tests = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert any(name.startswith(f"test_{hook}_") for name in tests)


def test_the_examples_of_the_page_on_testing_run(repository, tmp_path):
    contract, conftest, plugin = blocks((repository / "docs" / "testing-plugins.md").read_text(), "python")
    (tmp_path / "test_contract.py").write_text(contract)
    (tmp_path / "conftest.py").write_text(conftest)
    (tmp_path / "test_plugin.py").write_text(f"def test_it():\n{''.join(f'    {x}' for x in plugin.splitlines(True))}")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", tmp_path],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout
    assert re.search(r"^\d\d passed", run.stdout.splitlines()[-1]), run.stdout


def test_every_contract_and_fake_is_documented(repository):
    import timetrial.testing

    page = (repository / "docs" / "testing-plugins.md").read_text()
    assert [name for name in timetrial.testing.__all__ if f"`{name}" not in page] == []


def test_links_between_pages_lead_somewhere(repository):
    pages = [repository / "README.md", repository / "CONTRIBUTING.md", *(repository / "docs").rglob("*.md")]
    dead = [
        f"{page.relative_to(repository)}: {link}"
        for page in pages
        for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text())
        if not (page.parent / link).exists()
    ]
    assert dead == []
