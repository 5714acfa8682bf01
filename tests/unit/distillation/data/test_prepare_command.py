import json

import pytest
from click.testing import CliRunner

from timetrial.error import ConfigMismatchError, UnknownNameError, UsageError
from timetrial_distillation.commands import distill
from timetrial_distillation.data.packed import PackedRows
from timetrial_distillation.data.plan import PlanConfig
from timetrial_distillation.data.prepared import PreparedData
from timetrial_plugins.nutshell.generator import training_problem


def invoke(*arguments):
    return CliRunner().invoke(distill, ["prepare", "--tokenizer", "nutshell-llama", *map(str, arguments)])


@pytest.fixture
def source(write_lines):
    problems = [training_problem(2, index) for index in range(40)]
    return write_lines([{"problem": p.text, "generated_solution": p.solution, "from": p.subject} for p in problems])


def test_a_file_becomes_rows(source, tmp_path):
    out = tmp_path / "out"
    done = invoke("--source", source, "--out", out, "--json", "--lengths", "256,512", "--licence", "CC0")
    assert done.exit_code == 0, done.output
    outcome = json.loads(done.stdout)
    assert (outcome["num_documents"], outcome["licence"], outcome["num_shards"]) == (40, "CC0", 1)
    assert outcome["request"]["adapter"] == "problem-solution"
    assert [(row["length"], row["mode"]) for row in outcome["packing"]] == [
        (256, "bfd"),
        (256, "concat"),
        (512, "bfd"),
        (512, "concat"),
    ]
    rows = PackedRows(PreparedData(out), PlanConfig(length=256)).rows(0, 4)
    assert rows.num_labels > 0


def test_tables_say_what_was_left_out_and_how_rows_fill(source, tmp_path):
    first = training_problem(2, 0).subject
    done = invoke("--source", source, "--out", tmp_path / "out", "--where", f"from={first}", "--lengths", "64,512")
    assert done.exit_code == 0, done.output
    for phrase in ("left out: filtered", "supervised tokens", "not stated", "bfd", "concat", "Fill"):
        assert phrase in done.stdout
    assert "documents" in done.stderr


def test_the_same_command_again_verifies_and_says_the_same(source, tmp_path):
    arguments = ("--source", source, "--out", tmp_path / "out", "--json")
    first, second = invoke(*arguments), invoke(*arguments)
    assert second.exit_code == 0 and first.stdout == second.stdout


def test_test_problems_are_kept_out(source, tmp_path, write_lines):
    tests = write_lines([{"question": training_problem(2, 7).text}], "tests.jsonl")
    arguments = ("--source", source, "--json", "--decontaminate", tests, "--run-words", 10)
    outcome = json.loads(invoke(*arguments, "--out", tmp_path / "a").stdout)
    assert outcome["left_out"]["overlap with test problems"] == outcome["num_overlaps"] >= 1
    kept = json.loads(invoke(*arguments, "--keep-overlaps", "--out", tmp_path / "b").stdout)
    assert kept["num_documents"] == 40 and kept["num_overlaps"] == outcome["num_overlaps"]


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (["--split", "train"], UsageError, "--split is for data sets on the Hub"),
        (["--revision", "v1"], UsageError, "--revision is for data sets on the Hub"),
        (["--keep-overlaps"], UsageError, "--keep-overlaps has no effect without --decontaminate"),
        (["--run-words", "9"], UsageError, "--run-words has no effect without --decontaminate"),
        (["--where", "level"], UsageError, "--where 'level': expected two parts joined by ="),
        (["--adapter", "txt"], UnknownNameError, "did you mean 'text'"),
        (["--adapter", "text"], UsageError, "needs the column 'text'"),
        (["--source", "org/set"], UsageError, "a Hub data set is the only source"),
        (["--tokenizer", "nutshel-llama"], UnknownNameError, "did you mean 'nutshell-llama'"),
    ],
)
def test_bad_values_are_refused_before_anything_is_written(arguments, kind, message, source, tmp_path):
    result = invoke("--source", source, "--out", tmp_path / "out", *arguments)
    assert isinstance(result.exception, kind) and message in str(result.exception), result.output
    assert not (tmp_path / "out").exists()


def test_another_request_for_the_folder_is_refused(source, tmp_path):
    invoke("--source", source, "--out", tmp_path / "out")
    result = invoke("--source", source, "--out", tmp_path / "out", "--drop-duplicates")
    assert isinstance(result.exception, ConfigMismatchError)
    assert "drop_duplicates: False before, True now" in str(result.exception)


def test_rows_too_short_for_every_document_are_no_error_of_the_preparation(source, tmp_path):
    done = invoke("--source", source, "--out", tmp_path / "out", "--json", "--lengths", "16")
    assert [row["mode"] for row in json.loads(done.stdout)["packing"]] == ["concat"]
