import pytest
import torch

from timetrial.error import UnknownNameError, UsageError
from timetrial_distillation.schedule import Schedule
from timetrial_distillation.trainer import Execution, LoopConfig, Trainer
from timetrial_distillation.world import World


def gradients(job):
    trainer = Trainer(job, World())
    loss, num_tokens, _ = trainer.accumulate(0)
    return loss, num_tokens, {name: p.grad.clone() for name, p in job.student.named_parameters()}


@pytest.mark.parametrize("micro_rows", [1, 2, 4])
def test_gradients_do_not_depend_on_micro_batches(make_job, micro_rows):
    loss, num_tokens, whole = gradients(make_job(micro_rows=6))
    its_loss, its_tokens, parts = gradients(make_job(micro_rows=micro_rows))
    assert (its_loss, its_tokens) == (pytest.approx(loss), num_tokens)
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("size", [2, 3])
def test_gradients_do_not_depend_on_the_number_of_processes(make_job, monkeypatch, size):
    """Each process scales by the count of all, and their gradients are averaged."""
    job = make_job()
    loss, _, whole = gradients(job)
    count = job.objective.count(job.source.rows(0, 6))
    mean = dict.fromkeys(whole, 0.0)
    for rank in range(size):
        job = make_job()
        monkeypatch.setattr(World, "place", lambda self, model, methods=(): None)
        monkeypatch.setattr(World, "total", lambda self, values: [count, *values[1:]] if len(values) == 2 else values)
        Trainer(job, World(rank=rank, size=size)).accumulate(0)
        mean = {name: mean[name] + p.grad / size for name, p in job.student.named_parameters()}
    for name, gradient in whole.items():
        torch.testing.assert_close(mean[name], gradient, rtol=1e-4, atol=1e-6)


def rows_by_step(make_job, doubling, monkeypatch, size, num_steps):
    """Return what all processes of a world ask for, step by step, in the order of processes."""
    monkeypatch.setattr(World, "place", lambda self, model, methods=(): None)
    sources = [doubling() for _ in range(size)]
    trainers = [
        Trainer(make_job(source=source, micro_rows=1), World(rank=rank, size=size))
        for rank, source in enumerate(sources)
    ]
    steps = []
    for step in range(num_steps):
        for trainer, source in zip(trainers, sources, strict=True):
            source.asked.clear()
            list(trainer._micro_batches(step))
        steps.append([place for source in sources for place in source.asked])
    return steps


def test_any_number_of_processes_sees_the_same_rows_in_each_step(make_job, doubling, monkeypatch):
    wanted = [list(range(6 * step, 6 * step + 6)) for step in range(3)]
    for size in (1, 2, 3, 6):
        assert rows_by_step(make_job, doubling, monkeypatch, size, 3) == wanted


def test_rows_that_cannot_be_shared_evenly_are_refused():
    with pytest.raises(UsageError, match="6 rows a step cannot be divided evenly among 4"):
        World(size=4).share(6)


def test_only_matrices_decay(make_job):
    job = make_job(weight_decay=0.5, learning_rate=0.1, schedule=Schedule(warmup_fraction=0.0))
    before = {name: p.detach().clone() for name, p in job.student.named_parameters()}
    trainer = Trainer(job, World())
    trainer.optimizer.param_groups[0]["lr"] = 0.1
    for parameter in job.student.parameters():
        parameter.grad = torch.zeros_like(parameter)
    trainer.optimizer.step()
    for name, parameter in job.student.named_parameters():
        factor = 1 - 0.1 * 0.5 if parameter.ndim >= 2 else 1.0
        torch.testing.assert_close(parameter.detach(), before[name] * factor)


def test_a_rehearsal_changes_nothing(make_job):
    job = make_job(micro_rows=4)
    before = [parameter.detach().clone() for parameter in job.student.parameters()]
    trainer = Trainer(job, World())
    assert trainer.rehearse() == 2
    for parameter, old in zip(job.student.parameters(), before, strict=True):
        assert parameter.grad is None
        assert torch.equal(parameter, old)


def test_bfloat16_products_leave_weights_and_moments_in_float32(make_job):
    job = make_job(precision="bfloat16")
    trainer = Trainer(job, World())
    wide = Trainer(make_job(), World()).advance(0)
    narrow = trainer.advance(0)
    assert narrow.loss == pytest.approx(wide.loss, rel=0.02)
    assert narrow.loss != wide.loss
    assert {p.dtype for p in job.student.parameters()} == {torch.float32}
    moments = [state["exp_avg_sq"].dtype for state in trainer.optimizer.state.values()]
    assert set(moments) == {torch.float32}


@pytest.mark.parametrize(
    "values",
    [
        {"num_steps": 0},
        {"learning_rate": -1.0},
        {"learning_rate": float("nan")},
        {"clip_norm": 0.0},
        {"weight_decay": -0.1},
        {"checkpoint_every": 0},
    ],
)
def test_impossible_values_are_refused_by_name(values):
    with pytest.raises(UsageError, match=next(iter(values))):
        LoopConfig(**{"num_steps": 20, "learning_rate": 0.1} | values)


def test_impossible_ways_of_running_are_refused():
    with pytest.raises(UsageError, match="micro_rows is 0"):
        Execution(micro_rows=0)
    with pytest.raises(UnknownNameError, match="bfloat61"):
        Execution(precision="bfloat61")
