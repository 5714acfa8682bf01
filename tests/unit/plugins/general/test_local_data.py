"""Data sets in a folder stand in for those that definitions name, in every layout, while a block runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pyarrow.parquet
import pytest

from timetrial.error import DataError, UsageError
from timetrial_plugins.general.local_data import local_data

ROWS = [
    {"question": "2 + 3?", "choices": {"text": ["5", "6"], "label": ["A", "B"]}},
    {"question": "1?", "choices": None},
]


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "org/set/first/test.jsonl", ROWS)
    write(tmp_path / "org/set/first/dev.jsonl", ROWS[:1])
    write(tmp_path / "org/plain/test.json", ROWS)
    (tmp_path / "org/columns").mkdir()
    pyarrow.parquet.write_table(pyarrow.table({"question": ["a"]}), tmp_path / "org/columns/validation.parquet")
    (tmp_path / "org/columns/test.csv").write_text("question,answer\nq,3\n")
    return tmp_path


def test_each_file_of_a_configuration_is_a_split(folder):
    with local_data(folder):
        found = datasets.load_dataset("org/set", "first")
    assert found.keys() == {"test", "dev"} and len(found["test"]) == 2
    assert found["test"][0] == ROWS[0] and found["test"][1]["choices"] is None


def test_without_a_configuration_the_files_lie_in_the_data_set_itself(folder):
    with local_data(folder):
        assert datasets.load_dataset(path="org/plain", name=None)["test"][0]["question"] == "2 + 3?"
        assert datasets.load_dataset(path="org/plain", name="main")["test"][0]["question"] == "2 + 3?"


def test_parquet_and_csv_are_read_too(folder):
    with local_data(folder):
        found = datasets.load_dataset("org/columns")
    assert found["validation"][0] == {"question": "a"} and found["test"][0] == {"question": "q", "answer": 3}


def test_what_the_folder_does_not_have_is_fetched_as_before(folder, monkeypatch):
    asked = []
    monkeypatch.setattr(
        datasets, "load_dataset", lambda path, name=None, **options: asked.append((path, name, options))
    )
    with local_data(folder):
        datasets.load_dataset("org/other", "x", revision="main")
    assert asked == [("org/other", "x", {"revision": "main"})]


def test_a_copy_of_a_data_sets_repository_is_read_as_the_hub_would(folder, monkeypatch):
    (folder / "org/copy/data").mkdir(parents=True)
    asked = []
    monkeypatch.setattr(datasets, "load_dataset", lambda path, name=None, **options: asked.append((path, name)))
    with local_data(folder):
        datasets.load_dataset("org/copy", "x")
    assert asked == [(str(folder / "org/copy"), "x")]


def test_afterwards_everything_is_as_before_even_after_an_error(folder):
    before = datasets.load_dataset
    with pytest.raises(RuntimeError), local_data(folder):
        raise RuntimeError
    assert datasets.load_dataset is before
    with local_data(None):
        assert datasets.load_dataset is before


def test_a_damaged_file_is_named(folder):
    (folder / "org/set/first/test.jsonl").write_text('{"question": \n')
    with pytest.raises(DataError, match=r"test\.jsonl"), local_data(folder):
        datasets.load_dataset("org/set", "first")


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no folder"), local_data(tmp_path / "nowhere"):
        pass
