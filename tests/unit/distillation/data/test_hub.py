"""The Hub is a fake here; the streaming is that of `datasets`, over a folder in the layout of a data set."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from timetrial.error import DataError
from timetrial_distillation.data.hub import DatasetsHub, HubDataset, HubFacts, is_hub_id, open_dataset


class OneRepository:
    """A Hub with one data set, whose files lie in a folder here."""

    def __init__(self, folder):
        self.folder = folder
        self.asked = []

    def facts(self, repository, revision):
        if repository != "org/problems":
            raise ConnectionError("404 not found\nmore lines")
        return HubFacts(commit="c0ffee", licence="cc-by-4.0")

    def stream(self, dataset):
        self.asked.append(dataset)
        here = HubDataset(repository=str(self.folder), config=None, split=dataset.split, commit="")
        return DatasetsHub().stream(here)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    rows = [{"problem": f"p{i}", "generated_solution": f"s{i}", "other": i} for i in range(30)]
    (tmp_path / "set").mkdir()
    pq.write_table(pa.Table.from_pylist(rows[:20]), tmp_path / "set" / "train-00000-of-00002.parquet")
    pq.write_table(pa.Table.from_pylist(rows[20:]), tmp_path / "set" / "train-00001-of-00002.parquet")
    return OneRepository(tmp_path / "set")


@pytest.mark.parametrize("start", [0, 1, 20, 29, 30])
def test_records_are_streamed_from_any_place_on(hub, start):
    source = open_dataset("org/problems", None, "train", None, hub)
    found = list(source.records(start, ["problem"]))
    assert [record.values["problem"] for record in found] == [f"p{i}" for i in range(start, 30)]
    assert [record.position for record in found] == list(range(start, 30))


def test_the_source_is_pinned_to_the_commit_its_revision_names(hub):
    source = open_dataset("org/problems", "plain", "train", "main", hub)
    assert source.description == {
        "kind": "hub",
        "repository": "org/problems",
        "config": "plain",
        "split": "train",
        "commit": "c0ffee",
    }
    assert source.licence == "cc-by-4.0"
    assert set(source.columns()) == {"problem", "generated_solution", "other"}
    assert {dataset.commit for dataset in hub.asked} == {"c0ffee"}


def test_a_data_set_that_is_not_there_is_refused_with_the_first_line_of_the_reason(hub):
    with pytest.raises(DataError, match=r"org/typo: not found at revision main \(ConnectionError: 404 not found\)"):
        open_dataset("org/typo", None, "train", None, hub)


def test_a_split_that_is_not_there_is_refused(hub):
    with pytest.raises(DataError, match="org/problems: cannot be streamed"):
        open_dataset("org/problems", None, "validation", None, hub).columns()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nvidia/OpenMathInstruct-2", True),
        ("teknium/OpenHermes-2.5", True),
        ("data/train.parquet", False),
        ("data/train-*.parquet", False),
        ("records.jsonl", False),
        ("/absolute/path", False),
        ("a/b/c", False),
    ],
)
def test_hub_ids_are_told_from_files(text, expected):
    assert is_hub_id(text) == expected


def test_what_exists_here_is_no_hub_id(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org").mkdir()
    (tmp_path / "org" / "set").touch()
    assert not is_hub_id("org/set")
