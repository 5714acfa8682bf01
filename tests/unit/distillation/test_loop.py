import json
import signal
from dataclasses import replace

import pytest
import torch

from timetrial.error import CheckpointError
from timetrial_distillation.interruption import InterruptedTraining
from timetrial_distillation.trainer import TrainingDivergedError


def read_log(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def raise_at(step, number=signal.SIGINT):
    def report(entry):
        if entry.step == step:
            signal.raise_signal(number)

    return report


def assert_same_weights(one, other):
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_training_lowers_the_loss(tmp_path, make_job, run_job):
    run_job(tmp_path, make_job(num_steps=60))
    log = read_log(tmp_path)
    assert log[-1]["loss"] < 0.5 * log[0]["loss"]


@pytest.mark.parametrize(("step", "number"), [(1, signal.SIGINT), (12, signal.SIGTERM), (19, signal.SIGINT)])
def test_stopped_and_resumed_is_the_same_run_bit_for_bit(tmp_path, make_job, run_job, step, number):
    whole, _ = run_job(tmp_path / "whole", make_job())
    with pytest.raises(InterruptedTraining):
        run_job(tmp_path / "parts", make_job(), report=raise_at(step, number))
    assert len(read_log(tmp_path / "parts")) == step
    resumed, state = run_job(tmp_path / "parts", make_job())
    assert_same_weights(whole, resumed)
    assert read_log(tmp_path / "whole") == read_log(tmp_path / "parts")
    assert state.step == 20


def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path, make_job, run_job):
    class PowerCut(Exception):
        pass

    def cut_power(entry):
        if entry.step == 15:
            raise PowerCut

    whole, _ = run_job(tmp_path / "whole", make_job())
    with pytest.raises(PowerCut):
        run_job(tmp_path / "parts", make_job(), report=cut_power)
    with (tmp_path / "parts" / "log.jsonl").open("a") as log:
        log.write('{"step": 16, "lo')  # a torn line
    steps = []
    resumed, _ = run_job(tmp_path / "parts", make_job(), report=lambda entry: steps.append(entry.step))
    assert steps == list(range(13, 21))
    assert_same_weights(whole, resumed)
    assert read_log(tmp_path / "whole") == read_log(tmp_path / "parts")


def test_a_finished_run_is_left_as_it_is(tmp_path, make_job, run_job):
    first, _ = run_job(tmp_path, make_job())
    log = read_log(tmp_path)
    second, state = run_job(tmp_path, make_job())
    assert_same_weights(first, second)
    assert read_log(tmp_path) == log
    assert state.step == 20


def test_the_old_signal_handlers_come_back(tmp_path, make_job, run_job):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(InterruptedTraining):
        run_job(tmp_path, make_job(), report=raise_at(3))
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_only_the_last_complete_checkpoints_are_kept_and_read(tmp_path, make_job, run_job):
    run_job(tmp_path, make_job())
    folder = tmp_path / "checkpoints"
    assert sorted(path.name for path in folder.iterdir()) == ["step-000000018", "step-000000020"]
    (folder / "step-000000020" / "COMPLETE").unlink()
    (folder / "step-000000030.partial").mkdir()
    steps = []
    run_job(tmp_path, make_job(), report=lambda entry: steps.append(entry.step))
    assert steps == [19, 20]


def test_steps_take_the_rows_in_order_and_each_once(tmp_path, make_job, run_job, doubling):
    source = doubling()
    run_job(tmp_path, make_job(source=source, num_steps=5, micro_rows=4))
    assert source.asked == list(range(30))


def test_evaluation_is_asked_for_every_few_steps_but_not_at_the_end(tmp_path, make_job, run_job):
    asked = []
    evaluate = {"evaluate": lambda state: asked.append(state.step), "evaluate_every": 5}
    run_job(tmp_path, make_job(), **evaluate)
    assert asked == [5, 10, 15]


def test_the_log_has_rate_tokens_and_seconds(tmp_path, make_job, run_job):
    run_job(tmp_path, make_job())
    log = read_log(tmp_path)
    assert [line["step"] for line in log] == list(range(1, 21))
    assert log[0]["learning_rate"] == pytest.approx(0.025)
    assert log[-1]["tokens_seen"] == 20 * 6 * 8
    assert log[-1]["elapsed_s"] == 20.0


def test_a_loss_that_is_no_number_ends_the_run(tmp_path, make_job, run_job):
    job = make_job()
    with torch.no_grad():
        job.student.model.norm.weight.fill_(float("nan"))
    with pytest.raises(TrainingDivergedError, match="nan at step 1, .*lower learning rate"):
        run_job(tmp_path, job)


def test_a_damaged_checkpoint_is_refused_by_name(tmp_path, make_job, run_job):
    run_job(tmp_path, make_job())
    path = next((tmp_path / "checkpoints" / "step-000000020").glob("*.distcp"))
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(CheckpointError, match="step-000000020 is no checkpoint"):
        run_job(tmp_path, make_job())


def test_a_checkpoint_of_another_model_is_refused(tmp_path, make_job, run_job, make_llama):
    run_job(tmp_path, make_job())
    with pytest.raises(CheckpointError, match="step-000000020 is no checkpoint"):
        run_job(tmp_path, make_job(student=make_llama(layers=2)))


def test_a_checkpoint_can_be_gone_on_from_with_other_micro_batches(tmp_path, make_job, run_job):
    whole, _ = run_job(tmp_path / "whole", make_job())
    with pytest.raises(InterruptedTraining):
        run_job(tmp_path / "parts", make_job(), report=raise_at(7))
    job = make_job()
    resumed, _ = run_job(tmp_path / "parts", replace(job, execution=replace(job.execution, micro_rows=2)))
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
