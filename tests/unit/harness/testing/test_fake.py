"""The shipped fakes: a clock that ticks, a model that errs now and then, and draws that keep to their limits."""

import numpy as np
import pytest

from timetrial.protocol import Request, Sampling
from timetrial.testing import EchoModel, FakeClock, FakePlugin, FakeTask
from timetrial.testing.fake import draw

LOGITS = np.log(np.array([0.05, 0.6, 0.04, 0.31]))


def test_a_fake_clock_moves_on_by_its_step_and_when_told():
    clock = FakeClock(step_s=2.0, start_s=10.0)
    assert [clock.now(), clock.now()] == [10.0, 12.0]
    clock.advance(100.0)
    assert clock.now() == 114.0 and clock.num_readings == 3


def test_a_fake_plugin_loads_its_object_or_raises_its_exception():
    assert FakePlugin("mine", "module").load() == "module"
    with pytest.raises(KeyError):
        FakePlugin("mine", KeyError("gone")).load()


def accuracy(temperature):
    model, task = EchoModel(), FakeTask()
    gold = {problem.id: problem.gold for problem in task.problems()}
    requests = [Request(prompt=task.prompt(p), sample=sample) for p in task.problems() for sample in range(20)]
    generations = model.generate(requests, Sampling(temperature=temperature, max_tokens=64), batch_size=8)
    answers = [(gold[g.request.prompt.problem], task.extract(g.text)) for g in generations]
    return np.mean([answer is not None and task.grader.grade(right, answer).correct for right, answer in answers])


def test_the_echo_model_solves_the_fake_task_and_errs_now_and_then_at_a_temperature():
    assert accuracy(0.0) == 1.0
    assert 0.2 < accuracy(1.0) < 0.9


@pytest.mark.parametrize(
    ("sampling", "allowed"),
    [
        (Sampling(temperature=0.0), {1}),
        (Sampling(temperature=1.0, top_k=1), {1}),
        (Sampling(temperature=1.0, top_k=2), {1, 3}),
        (Sampling(temperature=1.0, top_p=0.5), {1}),
        (Sampling(temperature=1.0, top_p=0.9), {1, 3}),
        (Sampling(temperature=1.0), {0, 1, 2, 3}),
    ],
)
def test_drawing_keeps_to_the_tokens_that_top_k_and_top_p_allow(sampling, allowed):
    generator = np.random.default_rng(0)
    assert {draw(LOGITS, sampling, generator) for _ in range(500)} == allowed


def test_drawing_follows_the_probabilities_at_the_temperature():
    generator = np.random.default_rng(0)
    counts = np.bincount([draw(LOGITS, Sampling(temperature=0.5), generator) for _ in range(4000)], minlength=4)
    expected = np.exp(2 * LOGITS) / np.exp(2 * LOGITS).sum()
    assert np.abs(counts / 4000 - expected).max() < 0.03
