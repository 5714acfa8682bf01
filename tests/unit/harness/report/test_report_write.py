"""Writing: the folder holds what was announced, the same bytes each time, and a bad folder is one clear error."""

from dataclasses import replace

import pytest

from timetrial.error import RunError
from timetrial.record import Series
from timetrial.report.write import write_report


@pytest.fixture
def small(report, curve):
    """A report with a single figure."""
    return report(curves=(curve("llama-1b", is_timed=False),), timings=(), analysis=None)


def test_report_folder_holds_page_tables_and_both_formats_of_each_figure(small, tmp_path):
    written = write_report(small, tmp_path / "run" / "report")
    figure = "math-500-coverage-pass-k-by-samples"
    assert [path.name for path in written] == ["index.html", "tables.md", f"{figure}.png", f"{figure}.svg"]
    assert sorted(written) == sorted((tmp_path / "run" / "report").iterdir())
    assert "<svg" in written[0].read_text()


def test_writing_again_gives_the_same_bytes(report, tmp_path):
    data = report(("llamba-1b",), ("majority",), analysis=None)
    first = {path.name: path.read_bytes() for path in write_report(data, tmp_path / "a")}
    assert len(first) == 10
    assert {path.name: path.read_bytes() for path in write_report(data, tmp_path / "b")} == first


def test_a_text_that_no_encoding_takes_is_written_all_the_same(small, example, unknown, tmp_path):
    half = "\ud800 is half of a pair"
    series = Series("llama-1b", "math-500", 0.6)
    data = replace(small, examples=(example(series, text=half),), unknown_answers=(unknown(answer=half),))
    page, tables, *_ = write_report(data, tmp_path)
    assert "half of a pair" in page.read_text() and "half of a pair" in tables.read_text()


def test_files_of_others_are_left_alone(small, tmp_path):
    (tmp_path / "holiday.png").write_bytes(b"mine")
    write_report(small, tmp_path)
    assert (tmp_path / "holiday.png").read_bytes() == b"mine"


def test_a_folder_that_cannot_be_made_is_a_run_error(small, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write the report into .*file"):
        write_report(small, tmp_path / "file" / "report")
