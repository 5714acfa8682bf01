import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from timetrial.error import DataError, UsageError
from timetrial_distillation.data import files
from timetrial_distillation.data.files import open_files

RECORDS = [{"text": f"number {i}", "tag": i} for i in range(25)]


def write(path, records, kind):
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(records), path, row_group_size=4)
    elif kind == "lines":
        path.write_text("\n\n".join(json.dumps(record) for record in records))  # empty lines are no records
    else:
        path.write_text(" " + json.dumps(records, indent=3))
    return path


@pytest.fixture(params=["parquet", "lines", "array"])
def three_files(request, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "ARRAY_CHUNK", 64)
    monkeypatch.setattr(files, "PARQUET_BATCH", 3)
    for number, part in enumerate((RECORDS[:9], RECORDS[9:10], RECORDS[10:])):
        write(tmp_path / f"part-{number}", part, request.param)
    return open_files([str(tmp_path / "part-*")])


@pytest.mark.parametrize("start", [0, 1, 4, 8, 9, 10, 11, 24, 25])
def test_records_can_be_read_from_any_place_on(three_files, start):
    found = list(three_files.records(start, ["text", "tag"]))
    assert [record.position for record in found] == list(range(start, 25))
    assert [record.values for record in found] == RECORDS[start:]


def test_the_columns_and_the_digests_are_told(three_files):
    assert set(three_files.columns()) == {"text", "tag"}
    names = [file["name"] for file in three_files.description["files"]]
    assert names == ["part-0", "part-1", "part-2"]
    assert len({file["sha256"] for file in three_files.description["files"]}) == 3


def test_the_number_of_records_is_known_for_parquet_alone(tmp_path):
    paths = [write(tmp_path / kind, RECORDS, kind) for kind in ("parquet", "lines")]
    assert open_files([str(paths[0])]).num_records() == 25
    assert open_files([str(path) for path in paths]).num_records() is None


def test_a_bad_line_is_named_by_its_number(tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text('{"text": "a"}\n\n{"text": \n')
    with pytest.raises(DataError, match=r"bad\.jsonl, line 3: not JSON"):
        list(open_files([str(path)]).records(0, ["text"]))


def test_a_line_that_is_no_object_is_refused(tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text('{"text": "a"}\n["b"]\n')
    with pytest.raises(DataError, match=r"line 2: holds \[\"b\"\]: expected an object"):
        list(open_files([str(path)]).records(0, ["text"]))


def test_an_array_that_was_cut_off_is_refused_after_its_whole_records(tmp_path):
    path = tmp_path / "cut.json"
    path.write_text('[{"text": "a"}, {"text": "b"')
    records = open_files([str(path)]).records(0, ["text"])
    assert next(records).values == {"text": "a"}
    with pytest.raises(DataError, match="not a JSON array"):
        next(records)


def test_a_later_parquet_file_without_the_column_is_refused_with_the_closest(tmp_path):
    first = write(tmp_path / "a.parquet", [{"text": "x"}], "parquet")
    second = write(tmp_path / "b.parquet", [{"texts": "x"}], "parquet")
    with pytest.raises(DataError, match="no column 'text'; did you mean 'texts'"):
        list(open_files([str(first), str(second)]).records(0, ["text"]))


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "the file is empty"), (b"\x1f\x8bzip", "neither Parquet nor JSON"), (b"PAR1junk", "not a readable Parquet")],
)
def test_what_is_no_data_file_is_refused(tmp_path, content, message):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(DataError, match=message):
        open_files([str(tmp_path / "file")]).columns()


def test_sources_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(UsageError, match="no source at"):
        open_files([str(tmp_path / "none-*.parquet")])
    with pytest.raises(UsageError, match="is a folder"):
        open_files([str(tmp_path)])
    path = write(tmp_path / "a", RECORDS, "lines")
    with pytest.raises(UsageError, match="named twice"):
        open_files([str(path), str(tmp_path / "*")])
