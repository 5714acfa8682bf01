import pytest

from timetrial.testing.fake import FakeClock
from timetrial_distillation.data.bar import preparing_bar
from timetrial_distillation.data.prepare import PrepareProgress


@pytest.mark.parametrize(("limit", "num_records", "share"), [(None, 400, "25%"), (200, 400, "40%"), (200, None, "40%")])
def test_the_bar_tells_rate_tokens_and_share(limit, num_records, share, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    with preparing_bar(FakeClock(step_s=2.0), limit, num_records) as show:
        show(PrepareProgress(50, 40, 4000))  # of an earlier run
        show(PrepareProgress(100, 80, 9000))
    shown = capsys.readouterr().err
    assert "80 documents (20/s), 9,000 tokens" in shown and share in shown


def test_a_source_of_unknown_length_has_no_share(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    with preparing_bar(FakeClock(), None, None) as show:
        show(PrepareProgress(100, 80, 9000))
    shown = capsys.readouterr().err
    assert "80 documents" in shown and "100%" not in shown
