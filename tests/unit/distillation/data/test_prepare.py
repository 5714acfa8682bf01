"""Records to shards: what is stored, what is counted, and what a killed run leaves."""

import json
import os
import signal
import subprocess
import sys

import filelock
import pytest

from timetrial.error import ConfigMismatchError, DataError, RunError, RunLockedError, UsageError
from timetrial_distillation.data.files import open_files
from timetrial_distillation.data.overlap import read_test_problems
from timetrial_distillation.data.pipeline import Pipeline, Selection
from timetrial_distillation.data.prepare import PrepareConfig, prepare
from timetrial_distillation.data.prepared import PreparedData
from timetrial_plugins.nutshell.generator import training_problem


def nutshell_records(count):
    problems = (training_problem(1, index) for index in range(count))
    return [{"problem": p.text, "generated_solution": p.solution, "level": p.level} for p in problems]


@pytest.fixture
def run(encoder, write_lines, tmp_path):
    """Prepare records into a folder by name."""

    def prepare_records(records, name="out", problems=None, selection=Selection(), **config):  # noqa: B008  # frozen
        path = write_lines(records)
        pipeline = Pipeline(source=open_files([str(path)]), encoder=encoder, selection=selection, problems=problems)
        config = PrepareConfig(**{"tokenizer": "nutshell-llama", "shard_tokens": 500} | config)
        return prepare(pipeline, config, tmp_path / name)

    return prepare_records


def texts(encoder, folder):
    data = PreparedData(folder)
    return [encoder.decode(data.document(number).tokens) for number in range(len(data.lengths))]


def test_documents_are_stored_as_they_were_encoded_over_all_shards(run, encoder, tmp_path):
    records = nutshell_records(40)
    index = run(records)
    assert len(index.shards) > 4 and index.num_documents == index.num_records == 40
    data = PreparedData(tmp_path / "out")
    pipeline = Pipeline(source=open_files([str(tmp_path / "records.jsonl")]), encoder=encoder)
    encoded = [outcome.result for batch in pipeline.outcomes(0) for outcome in batch]
    for number, wanted in enumerate(encoded):
        stored = data.document(number)
        assert stored.tokens.tolist() == wanted.tokens.tolist()
        assert stored.is_answer.tolist() == wanted.is_answer.tolist()
    assert data.lengths.tolist() == [len(item.tokens) for item in encoded]
    assert index.num_tokens == data.lengths.sum()
    assert index.num_supervised == sum(int(item.is_answer.sum()) for item in encoded)


def test_the_size_of_shards_does_not_change_the_documents(run, encoder, tmp_path):
    records = nutshell_records(30)
    run(records, "small")
    run(records, "large", shard_tokens=10**6)
    assert texts(encoder, tmp_path / "small") == texts(encoder, tmp_path / "large")


def test_a_limit_counts_documents_and_not_records(run):
    selection = Selection(where=(("level", "1"), ("level", "2")))
    records = nutshell_records(60)
    index = run(records, selection=selection, limit=10)
    levels = [record["level"] for record in records]
    last = [number for number, level in enumerate(levels, 1) if level <= 2][9]
    assert (index.num_documents, index.num_records) == (10, last)
    assert index.left_out == {"filtered": last - 10}


def test_renamed_columns_are_read(run, encoder, tmp_path):
    records = [{"question": f"Why {i}?", "answer": f"So {i}."} for i in range(3)]
    run(records, selection=Selection(rename=(("question", "prompt"), ("answer", "response"))))
    assert texts(encoder, tmp_path / "out") == [f"Why {i}?So {i}." for i in range(3)]


@pytest.mark.parametrize(
    "selection", [Selection(where=(("levle", "1"),)), Selection(rename=(("levle", "text"),))], ids=["where", "rename"]
)
def test_a_column_that_does_not_exist_is_refused(run, selection):
    with pytest.raises(UsageError, match="no column 'levle'; it has problem, generated_solution, level"):
        run(nutshell_records(1), selection=selection)


def test_records_without_text_are_left_out_and_counted(run):
    index = run([{"text": text} for text in ("a", "", None, "b", " \n")])
    assert index.num_documents == 2 and index.left_out == {"empty": 3}


def test_a_malformed_record_ends_the_work_and_is_named(run):
    with pytest.raises(DataError, match=r"records\.jsonl, line 2: malformed: 'text' holds 7.*--drop-unfit"):
        run([{"text": "a"}, {"text": 7}, {"text": "b"}])


def test_after_a_malformed_record_the_same_command_goes_on_with_drop_unfit(run, encoder, tmp_path):
    records = [{"text": f"Ann has {i} apples. " * 10} for i in range(300)] + [{"text": 7}, {"text": "b"}]
    with pytest.raises(DataError, match="malformed"):
        run(records)
    assert len(list((tmp_path / "out").glob("shard-*"))) > 10
    index = run(records, drop_unfit=True)
    assert index.left_out == {"malformed": 1} and index.num_documents == 301
    assert texts(encoder, tmp_path / "out")[-1] == "b"


def test_duplicates_are_dropped_over_shards_and_over_runs(run, encoder, tmp_path):
    records = [{"text": f"Ann has {i % 40} apples. " * 5} for i in range(100)]
    index = run(records, drop_duplicates=True)
    assert len(index.shards) > 3
    assert (index.num_documents, index.left_out) == (40, {"duplicate": 60})
    assert len(set(texts(encoder, tmp_path / "out"))) == 40
    assert run(records, "all").num_documents == 100


def test_overlaps_with_test_problems_are_left_out_and_recorded_or_only_recorded(run, encoder, tmp_path):
    records = nutshell_records(12)
    tests = tmp_path / "test.jsonl"
    tests.write_text(json.dumps({"problem": records[4]["problem"]}) + "\n")
    problems = read_test_problems([tests], 12)
    index = run(records, "dropped", problems=problems)
    assert index.left_out == {"overlap with test problems": 1} and index.num_documents == 11
    (overlap,) = index.overlaps
    assert (overlap["record"], overlap["file"], overlap["number"]) == (4, "test.jsonl", 1)
    assert records[4]["problem"].lower().startswith(overlap["words"].split()[0])
    kept = run(records, "kept", problems=problems, selection=Selection(keep_overlaps=True))
    assert kept.left_out == {} and kept.num_documents == 12 and kept.overlaps == index.overlaps
    assert PreparedData(tmp_path / "dropped").index == index


def test_nothing_left_is_an_error_that_says_where_all_went(run, tmp_path):
    with pytest.raises(DataError, match=r"no document is left of 2 records \(2 empty\)"):
        run([{"text": ""}, {"text": " "}])
    assert not (tmp_path / "out" / "index.json").exists()


def test_another_request_is_refused_with_the_difference(run):
    run(nutshell_records(5))
    with pytest.raises(ConfigMismatchError, match="limit: None before, 3 now"):
        run(nutshell_records(5), limit=3)
    with pytest.raises(ConfigMismatchError, match="licence: None before, CC0 now"):
        run(nutshell_records(5), licence="CC0")
    with pytest.raises(ConfigMismatchError, match="source.files"):
        run(nutshell_records(6))


def test_a_disk_that_cannot_be_written_to_is_no_bug(run, monkeypatch):
    def fill_up(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("timetrial_distillation.data.shards.np.save", fill_up)
    with pytest.raises(RunError, match="cannot write to .*No space left.*finished shards stay"):
        run(nutshell_records(5))


def test_the_length_of_runs_is_part_of_the_request(run, tmp_path):
    tests = tmp_path / "test.jsonl"
    tests.write_text(json.dumps({"problem": "Nothing of the kind."}) + "\n")
    run(nutshell_records(5), problems=read_test_problems([tests], 12))
    with pytest.raises(ConfigMismatchError, match="'run_words': 12.*'run_words': 9"):
        run(nutshell_records(5), problems=read_test_problems([tests], 9))


def test_finished_data_is_verified_and_left_alone(run, tmp_path):
    index = run(nutshell_records(10))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.*") if path.name != ".lock"}
    assert run(nutshell_records(10)) == index
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_two_processes_do_not_write_to_one_folder(run, tmp_path):
    (tmp_path / "out").mkdir()
    with filelock.FileLock(tmp_path / "out" / ".lock"):
        with pytest.raises(RunLockedError, match="another process is preparing data"):
            run(nutshell_records(3))
    assert run(nutshell_records(3)).num_documents == 3


def test_a_folder_of_something_else_is_refused(run, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").touch()
    with pytest.raises(UsageError, match="holds something else"):
        run(nutshell_records(3))
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a file"):
        run(nutshell_records(3), "file")


KILLED = """
import os, signal, sys
from pathlib import Path
from timetrial_distillation.data import pipeline as module
from timetrial_distillation.data.encoding import DocumentEncoder
from timetrial_distillation.data.files import open_files
from timetrial_distillation.data.prepare import PrepareConfig, prepare

module.BATCH = 8
tokenizer, source, out, last = sys.argv[1:]
pipeline = module.Pipeline(source=open_files([source]), encoder=DocumentEncoder(Path(tokenizer)))

def report(progress):
    if progress.num_records >= int(last):
        os.kill(os.getpid(), signal.SIGKILL)

config = PrepareConfig(tokenizer="nutshell-llama", shard_tokens=700, drop_duplicates=True)
prepare(pipeline, config, Path(out), report=report)
"""


def same_files(folder, other):
    paths = [path.relative_to(other) for path in other.rglob("*") if path.is_file()]
    return len(paths) > 10 and all((folder / path).read_bytes() == (other / path).read_bytes() for path in paths)


@pytest.mark.parametrize("last", [1, 3, 5])
def test_a_run_that_was_interrupted_ends_with_the_files_of_one_that_was_not(
    encoder, write_lines, tmp_path, monkeypatch, last
):
    monkeypatch.setattr("timetrial_distillation.data.pipeline.BATCH", 8)
    pipeline = Pipeline(source=open_files([str(write_lines(nutshell_records(50)))]), encoder=encoder)
    config = PrepareConfig(tokenizer="nutshell-llama", shard_tokens=700)

    def interrupt(progress):
        if progress.num_records >= 8 * last:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(pipeline, config, tmp_path / "stopped", report=interrupt)
    assert not list((tmp_path / "stopped").glob("*.partial"))
    (tmp_path / "stopped" / "shard-00000.partial").mkdir()  # as a power cut leaves it
    resumed = prepare(pipeline, config, tmp_path / "stopped")
    assert resumed == prepare(pipeline, config, tmp_path / "whole")
    assert same_files(tmp_path / "stopped", tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_run_that_was_killed_twice_ends_with_the_files_of_one_that_was_not(encoder, write_lines, tmp_path):
    records = nutshell_records(60) + nutshell_records(20) + nutshell_records(90)[60:]
    source = str(write_lines(records))
    for last in (30, 70):
        command = [sys.executable, "-c", KILLED, encoder.folder, source, tmp_path / "killed", str(last)]
        killed = subprocess.run(command, capture_output=True, text=True)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        with pytest.raises(DataError, match="not finished"):
            PreparedData(tmp_path / "killed")
    assert list((tmp_path / "killed").glob("shard-*.partial"))  # it was killed in the midst of a shard
    pipeline = Pipeline(source=open_files([source]), encoder=encoder)
    config = PrepareConfig(tokenizer="nutshell-llama", shard_tokens=700, drop_duplicates=True)
    resumed = prepare(pipeline, config, tmp_path / "killed")
    assert resumed == prepare(pipeline, config, tmp_path / "whole")
    assert resumed.left_out == {"duplicate": 20} and resumed.num_documents == 90
    assert same_files(tmp_path / "killed", tmp_path / "whole")


def test_progress_is_told_from_the_start_to_the_end(encoder, write_lines, tmp_path):
    seen = []
    pipeline = Pipeline(source=open_files([str(write_lines(nutshell_records(300)))]), encoder=encoder)
    index = prepare(pipeline, PrepareConfig(tokenizer="t"), tmp_path / "out", report=seen.append)
    assert seen[0] == (0, 0, 0) and seen[1][:2] == (256, 256)
    assert seen[-1] == (300, 300, index.num_tokens)


@pytest.mark.parametrize(("name", "value"), [("limit", 0), ("shard_tokens", 0)])
def test_impossible_numbers_are_refused(name, value):
    with pytest.raises(UsageError, match=f"{name} is 0"):
        PrepareConfig(tokenizer="t", **{name: value})
