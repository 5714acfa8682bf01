"""One forward gives what a forward per step gives, for every format, however solutions are put together."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

import timetrial
from timetrial.testing import FakeClock, RewardModelContract
from timetrial_plugins.rewards.body import Batch, Body
from timetrial_plugins.rewards.loading import load_format
from timetrial_plugins.rewards.scorer import StepRewardModel

from . import checkpoints, reference
from .reference import Reference

PROBLEM = timetrial.Problem(id="p", text="Mia has 5 coins and finds 3. How many?", gold="8")
PROMPT = timetrial.Prompt(problem="p", messages=(timetrial.Message("user", "Solve: " + PROBLEM.text),))
CPU = timetrial.LoadOptions(device="cpu", dtype="float32")
SOLUTIONS = (
    ["First 5 + 3 is 8.", "The answer is 8."],
    ["The answer is 9."],
    ["First she has 5.", "Then 3 more: 5 + 3 = 8.", "Check: 8 - 3 = 5.", "The final answer is 8."],
    ["No idea."],
    ["First 5 + 3 is 8.", "The answer is 8", "no, 9."],
)
KINDS = {
    "rlhflow": (checkpoints.write_rlhflow, reference.rlhflow, "\n\n"),
    "outcome": (checkpoints.write_rlhflow, reference.outcome, "\n\n"),
    "math-shepherd": (checkpoints.write_math_shepherd, reference.math_shepherd, "\n\n"),
    "qwen-prm": (checkpoints.write_qwen_prm, reference.qwen_prm, "\n\n"),
    "skywork-prm": (checkpoints.write_skywork, reference.skywork, "\n"),
}


@cache
def _load(name: str, wish: str) -> StepRewardModel:
    return load_format(name, wish, CPU)


class Case(NamedTuple):
    name: str
    folder: Path
    expected: list[tuple[float, ...]]
    separator: str

    def load(self, options: str = "") -> StepRewardModel:
        return _load(self.name, f"{self.folder}{options}")

    def completions(self, order: Sequence[int] = range(len(SOLUTIONS))) -> list[timetrial.Completion]:
        return [completion(self.separator.join(SOLUTIONS[number]), number) for number in order]


def completion(text: str, sample: int = 0) -> timetrial.Completion:
    return timetrial.Completion(
        model="m",
        task="t",
        temperature=0.5,
        problem="p",
        sample=sample,
        text=text,
        finish="length",
        num_prompt_tokens=None,
        num_tokens=None,
        prompt_digest="",
    )


@pytest.fixture(scope="module", params=KINDS)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    write, make_reference, separator = KINDS[request.param]
    folder = write(tmp_path_factory.mktemp(request.param))
    score: Reference = make_reference(folder)
    return Case(request.param, folder, [tuple(score(PROBLEM.text, steps)) for steps in SOLUTIONS], separator)


def assert_same(found: Sequence[object], expected: Sequence[tuple[float, ...]]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, abs=1e-6)


@pytest.mark.parametrize("options", ["", "?share-prompts=no", "?batch-tokens=1", "?batch-tokens=150"])
def test_scores_of_one_forward_are_those_of_a_forward_per_step(case: Case, options: str) -> None:
    found = case.load(options).score(PROBLEM, PROMPT, case.completions())
    assert_same(found, case.expected)
    spread = [score for scores in case.expected for score in scores]
    assert max(spread) - min(spread) > 0.01, "scores that are all alike would show nothing"


def test_scores_do_not_depend_on_order_company_or_duplicates(case: Case) -> None:
    reward_model, generator = case.load(), random.Random(0)
    for _ in range(3):
        order = [generator.randrange(len(SOLUTIONS)) for _ in range(8)]
        found = reward_model.score(PROBLEM, PROMPT, case.completions(order))
        assert_same(found, [case.expected[number] for number in order])
    for number, expected in enumerate(case.expected):
        assert_same(reward_model.score(PROBLEM, PROMPT, case.completions([number])), [expected])


# What is read, and what is not


class Watched:
    """Passes everything on to a body, and remembers the shapes of what it reads."""

    def __init__(self, body: Body) -> None:
        self.body = body
        self.shapes: list[tuple[int, ...]] = []

    def __getattr__(self, name: str) -> Any:  # Any: whatever the body has
        return getattr(self.body, name)

    def states(self, batch: Batch) -> torch.Tensor:
        self.shapes.append((len(batch.prefix), *batch.tokens.shape))
        return self.body.states(batch)


def watched(case: Case, options: str = "") -> tuple[StepRewardModel, list[tuple[int, ...]]]:
    reward_model = case.load(options)
    body = Watched(reward_model.reader.body)
    return replace(reward_model, reader=replace(reward_model.reader, body=body)), body.shapes


def test_what_solutions_begin_with_is_read_once_and_equal_solutions_too(case: Case) -> None:
    reward_model, shapes = watched(case)
    reward_model.score(PROBLEM, PROMPT, case.completions([0, 1, 2, 3, 4, 0, 0, 3]))
    reading = reward_model.reading(PROBLEM, PROMPT, case.completions([0])[0])
    assert reading is not None
    ((prefix, rows, _),) = shapes
    assert rows == len(SOLUTIONS)
    assert 0 <= prefix - reading.num_prompt_tokens <= 1, "the question, and perhaps the space after it"
    assert reward_model.description["shares_prompts"] is True


def test_without_sharing_every_solution_is_read_from_its_beginning(case: Case) -> None:
    reward_model, shapes = watched(case, "?share-prompts=no")
    reward_model.score(PROBLEM, PROMPT, case.completions())
    assert [shape[:2] for shape in shapes] == [(0, len(SOLUTIONS))]
    assert reward_model.description["shares_prompts"] is False


def test_a_budget_of_tokens_bounds_what_is_read_together(case: Case) -> None:
    lengths = []
    for one in case.completions():
        reading = case.load().reading(PROBLEM, PROMPT, one)
        assert reading is not None
        lengths.append(reading.num_prompt_tokens + reading.num_tokens)
    budget = 2 * max(lengths)
    reward_model, shapes = watched(case, f"?batch-tokens={budget}")
    reward_model.score(PROBLEM, PROMPT, case.completions())
    assert sum(rows for _, rows, _ in shapes) == len(SOLUTIONS) and len(shapes) > 1
    assert all(rows * (prefix + length) <= budget for prefix, rows, length in shapes)


# What cannot be scored


@pytest.mark.parametrize("text", ["", "  \n\n \t\n"])
def test_a_solution_without_anything_visible_has_no_score_and_the_others_have(case: Case, text: str) -> None:
    found = case.load().score(PROBLEM, PROMPT, [completion(text), *case.completions([0])])
    assert found[0] == timetrial.Unscored(reason="no steps: nothing visible in the solution")
    assert_same(found[1:], case.expected[:1])


def test_a_solution_beyond_the_context_has_no_score_and_the_others_have(case: Case) -> None:
    reward_model = case.load()
    long = completion(case.separator.join(["Wait, that is not it."] * 200))
    found = reward_model.score(PROBLEM, PROMPT, [long, *case.completions([1])])
    assert isinstance(found[0], timetrial.Unscored)
    assert found[0].reason.startswith("too long: ") and found[0].reason.endswith("the reward model reads 640")
    assert_same(found[1:], case.expected[1:2])
    assert reward_model.reading(PROBLEM, PROMPT, long) is None


def test_what_the_prompt_lets_the_answer_begin_with_is_part_of_the_solution(case: Case) -> None:
    text = case.separator.join(SOLUTIONS[2])
    started = replace(PROMPT, start=text[:9])
    found = case.load().score(PROBLEM, started, [completion(text[9:]), completion(" ")])
    assert_same(found[:1], [case.expected[2]])
    assert isinstance(found[1], timetrial.Unscored)


def test_empty_and_trailing_steps_change_nothing(case: Case) -> None:
    text, padded = case.separator.join(SOLUTIONS[2]), (case.separator * 2).join(["", *SOLUTIONS[2], " ", ""])
    if case.name == "outcome":
        padded = f"\n {text}\n\n"  # it reads whole solutions
    found = case.load().score(PROBLEM, PROMPT, [completion(padded)])
    assert_same(found, [case.expected[2]])


def test_a_batch_that_does_not_fit_the_device_says_what_to_do(case: Case) -> None:
    def fail(batch: Batch) -> torch.Tensor:
        raise torch.OutOfMemoryError("no room")

    reward_model, _ = watched(case)
    reward_model.reader.body.states = fail  # type: ignore[method-assign]  # of a body that watches
    with pytest.raises(timetrial.UsageError, match=r"batch-tokens=1024"):
        reward_model.score(PROBLEM, PROMPT, case.completions())
    reading = timetrial.Reading(num_prompt_tokens=9, num_tokens=20, num_steps=3)
    with pytest.raises(timetrial.OutOfMemory):
        reward_model.score_timing(2, reading, clock=FakeClock(), seed=0)


# Timing


def test_timing_reads_different_solutions_as_long_as_asked_for_after_a_shared_prompt(case: Case) -> None:
    reward_model, shapes = watched(case)
    reading = timetrial.Reading(num_prompt_tokens=30, num_tokens=50, num_steps=4)
    spent = reward_model.score_timing(6, reading, clock=FakeClock(step_s=0.5), seed=3)
    assert shapes == [(30, 6, 50)]
    assert spent.score_s == 0.5


def test_timing_one_solution_shares_nothing(case: Case) -> None:
    reward_model, shapes = watched(case)
    reading = timetrial.Reading(num_prompt_tokens=30, num_tokens=50, num_steps=50)
    reward_model.score_timing(1, reading, clock=FakeClock(), seed=3)
    assert shapes == [(0, 1, 80)]


class TestContract(RewardModelContract):
    @pytest.fixture
    def reward_model(self, case: Case) -> timetrial.RewardModel:
        return case.load()
