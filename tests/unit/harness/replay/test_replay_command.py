"""`timetrial replay` refuses what it cannot replay, in words, before anything is loaded."""

import pytest

from timetrial.cli.main import run_command_line
from timetrial.config import RunConfig, TimingGrid, config_to_json, powers_up_to
from timetrial.store import RunFolder


@pytest.fixture
def timing_run(tmp_path):
    config = RunConfig(models=("m",), grid=TimingGrid())
    RunFolder(tmp_path).write_json("config.json", {"config": config_to_json(config)})
    return str(tmp_path)


def test_a_run_without_completions_is_refused(timing_run, capsys):
    assert run_command_line(["replay", timing_run, "-q"]) == 2
    assert "holds no completions, so there are no lengths to replay" in capsys.readouterr().err


def test_numbers_below_1_are_refused(timing_run, capsys):
    assert run_command_line(["replay", timing_run, "--repeats", "0"]) == 2
    assert "repeats is 0: expected 1 or more" in capsys.readouterr().err


def test_a_folder_that_is_no_run_is_refused(tmp_path, capsys):
    assert run_command_line(["replay", str(tmp_path / "nothing")]) == 5
    assert "is no run folder" in capsys.readouterr().err


def test_batches_are_powers_of_two_up_to_the_samples_and_512():
    assert [powers_up_to(samples)[-1] for samples in (0, 1, 5, 16, 4096)] == [1, 1, 4, 16, 512]
