"""The plugin tutorial is true: its code is the example's, its commands run, and its table is what they give."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest

FILES = ("pyproject.toml", "timetrial_example.py", "test_timetrial_example.py")


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def code_lines(text):
    return [line for line in text.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def tutorial(repository):
    return (repository / "docs" / "write-a-plugin.md").read_text()


@pytest.fixture(scope="module")
def example(repository):
    return repository / "docs" / "example_plugin"


@pytest.fixture(scope="module")
def workplace(example, tmp_path_factory):
    """A folder with a copy of the example, as the reader has it, and the example installed beside it."""
    folder = tmp_path_factory.mktemp("tutorial")
    for name in FILES:
        shutil.copy(example / name, folder)
    run(folder, *"-m pip install --quiet --no-deps --no-build-isolation --target site .".split())
    return folder


def run(folder, *arguments, **variables):
    """The output of a Python process that sees the example."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TIMETRIAL_DISABLED_PLUGINS": "", **variables}
    environment["PYTHONPATH"] = str(folder / "site")
    command = [sys.executable, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def timetrial(folder, command, **variables):
    return json.loads(run(folder, "-m", "timetrial", command, "--json", **variables))


def commands(text):
    return [line.removeprefix("$ ") for block in blocks(text, "console") for line in block.splitlines()]


def test_the_example_consists_of_three_files(example):
    assert {path.name for path in example.iterdir()} - {"__pycache__"} == set(FILES)


def test_the_code_of_the_tutorial_is_the_example_whole_and_in_order(tutorial, example):
    told = "".join(blocks(tutorial, "python"))
    kept = (example / "timetrial_example.py").read_text() + (example / "test_timetrial_example.py").read_text()
    assert code_lines(told) == code_lines(kept)
    assert blocks(tutorial, "toml") == [(example / "pyproject.toml").read_text()]


def test_every_block_of_the_tutorial_stands_in_a_file_as_it_is(tutorial, example):
    kept = [(example / name).read_text() for name in FILES]
    assert [block for block in blocks(tutorial, "python") if not any(block in text for text in kept)] == []


def test_an_installed_plugin_is_listed_with_its_origin(workplace):
    (plugin,) = [info for info in timetrial(workplace, "plugins") if info["origin"]["plugin"] == "example"]
    assert plugin["origin"] == {"plugin": "example", "distribution": "timetrial-example", "version": "0.1.0"}
    assert plugin["offers"] == ["model guesser", "task sums", "aggregator quorum"]
    assert plugin["error"] is None and 0 < plugin["load_s"] < 60


def test_what_an_installed_plugin_offers_is_listed_with_what_it_comes_from(workplace):
    listed = {
        "guesser": timetrial(workplace, "models")["families"],
        "sums": timetrial(workplace, "tasks"),
        "quorum": timetrial(workplace, "aggregators")["aggregators"],
    }
    for name, rows in listed.items():
        assert [row["from"] for row in rows if row["name"] == name] == ["timetrial-example 0.1.0"]


def test_without_the_installation_there_is_no_such_plugin(tmp_path):
    names = [info["origin"]["plugin"] for info in timetrial(tmp_path, "plugins")]
    assert "example" not in names and "tasks" in names


def test_a_disabled_plugin_is_listed_and_offers_nothing(workplace):
    off = {"TIMETRIAL_DISABLED_PLUGINS": "example"}
    shown = timetrial(workplace, "plugins", **off)
    assert [info["is_disabled"] for info in shown if info["origin"]["plugin"] == "example"] == [True]
    assert "sums" not in [row["name"] for row in timetrial(workplace, "tasks", **off)]


@pytest.mark.slow
def test_the_commands_of_the_tutorial_run_and_give_its_table(tutorial, workplace):
    for command in commands(tutorial):
        program, *arguments = shlex.split(command)
        if program == "pip":
            assert arguments == ["install", "-e", "."]  # what the fixture did, in a way that can be undone
            continue
        run(workplace, *(arguments if program == "python" else ["-m", program, *arguments]))
    curves = json.loads((workplace / "guessed" / "curves.json").read_text())["curves"]
    measured = {curve["rule"]: dict(zip(curve["ks"], curve["values"], strict=True)) for curve in curves}
    header, *rows = re.findall(r"^\| (.*) \|$", tutorial, re.MULTILINE)
    ks = [int(cell.removeprefix("k = ")) for cell in header.split(" | ")[1:]]
    assert len(rows) == len(measured) == 3
    for row in rows:
        rule, *cells = row.split(" | ")
        assert [f"{100 * measured[rule][k]:.1f}" for k in ks] == cells
    assert (workplace / "guessed" / "report" / "index.html").is_file()


def test_questions_of_a_file_are_read_and_a_bad_line_is_named(workplace):
    (workplace / "good.jsonl").write_text('{"question": "How many legs has a spider?", "answer": 8}\n')
    (workplace / "bad.jsonl").write_text('{"question": "How many?", "answer": 8}\n{"question": "Why?"}\n')
    code = """
import pathlib, timetrial, timetrial_example
print(timetrial_example.Sums(pathlib.Path("good.jsonl")).problems()[0].gold)
try:
    timetrial_example.Sums(pathlib.Path("bad.jsonl"))
except timetrial.DataError as error:
    print(error)
"""
    gold, complaint = run(workplace, "-c", code).splitlines()
    assert gold == "8"
    assert complaint.startswith("bad.jsonl, line 2: expected an object with question and answer")
