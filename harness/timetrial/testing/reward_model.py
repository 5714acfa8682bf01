"""The contract of reward models: a score belongs to a completion, not to the batch it came in."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import pytest

from timetrial.protocol import Reading, RewardModel, TimedRewardModel, Unscored
from timetrial.record import Completion, Message, Problem, Prompt
from timetrial.testing.fake import FakeClock

_TOLERANCE = 1e-4
_TEXTS = (
    "Five and three are eight.\n\nThe final answer is 8.",
    "The final answer is 9.",
    "Start with 5.\n\nAdd 3 and get 8.\n\nThen check: 8 - 3 = 5.\n\nThe final answer is 8.",
    "I do not know.",
    "",
    " \n\n \n",
)


class RewardModelContract:
    """Override `reward_model`."""

    @pytest.fixture
    def reward_model(self) -> RewardModel:
        """Return the reward model under test."""
        raise NotImplementedError("override the fixture `reward_model`")

    @pytest.fixture
    def problem(self) -> Problem:
        """Return a problem."""
        return Problem(id="sum", text="Mia has 5 coins and finds 3 more. How many has she now?", gold="8")

    @pytest.fixture
    def prompt(self, problem: Problem) -> Prompt:
        """Return the problem's prompt."""
        return Prompt(problem=problem.id, messages=(Message("user", problem.text),))

    @pytest.fixture
    def completions(self, problem: Problem) -> Sequence[Completion]:
        """Return solutions of different lengths, and two without anything visible."""
        return [
            Completion(
                model="model",
                task="task",
                temperature=0.8,
                problem=problem.id,
                sample=sample,
                text=text,
                finish="stop",
                num_prompt_tokens=None,
                num_tokens=None,
                prompt_digest="",
            )
            for sample, text in enumerate(_TEXTS)
        ]

    def test_it_has_everything_the_protocol_asks_for(self, reward_model: RewardModel) -> None:
        """A reward model has the protocol's members, and its description is JSON."""
        name = type(reward_model).__name__
        assert isinstance(reward_model, RewardModel), f"{name} lacks a member of timetrial.RewardModel"
        description = dict(reward_model.description)
        assert json.loads(json.dumps(description)) == description, "description must survive JSON unchanged"

    def test_it_scores_every_completion(
        self, reward_model: RewardModel, problem: Problem, prompt: Prompt, completions: Sequence[Completion]
    ) -> None:
        """There is one result per completion: one or more finite floats, or the reason why there are none."""
        scores = reward_model.score(problem, prompt, completions)
        assert len(scores) == len(completions), f"{len(completions)} completions gave {len(scores)} lists of scores"
        for completion, steps in zip(completions, scores, strict=True):
            if isinstance(steps, Unscored):
                kind, colon, detail = steps.reason.partition(": ")
                assert kind and colon and detail, f"a reason is '<kind>: <detail>', not {steps.reason!r}"
                continue
            assert isinstance(steps, tuple) and steps, f"no scores for {completion.text!r}: {steps!r}"
            assert all(type(step) is float and math.isfinite(step) for step in steps), f"not finite floats: {steps!r}"
        assert reward_model.score(problem, prompt, []) == [], "no completions must give no scores"

    def test_a_completion_without_a_step_has_no_score(
        self, reward_model: RewardModel, problem: Problem, prompt: Prompt, completions: Sequence[Completion]
    ) -> None:
        """Where there is nothing to judge, a number would be made up: the completion must abstain instead."""
        scores = reward_model.score(problem, prompt, completions)
        for completion, steps in zip(completions, scores, strict=True):
            if not completion.text.strip():
                message = f"{completion.text!r} has no steps, so it must be Unscored, not {steps!r}"
                assert isinstance(steps, Unscored) and steps.reason.startswith("no steps: "), message

    def test_scores_do_not_depend_on_company_or_order(
        self, reward_model: RewardModel, problem: Problem, prompt: Prompt, completions: Sequence[Completion]
    ) -> None:
        """A completion gets the same scores alone, in a batch, and in the reversed batch."""
        together = reward_model.score(problem, prompt, completions)
        reversed_ = reward_model.score(problem, prompt, completions[::-1])[::-1]
        for completion, steps, again in zip(completions, together, reversed_, strict=True):
            alone = reward_model.score(problem, prompt, [completion])[0]
            assert _alike(steps, again), f"order changes the scores of {completion.text!r}"
            assert _alike(steps, alone), f"company changes the scores of {completion.text!r}"

    def test_equal_completions_get_equal_scores(
        self, reward_model: RewardModel, problem: Problem, prompt: Prompt, completions: Sequence[Completion]
    ) -> None:
        """A text that comes twice is scored as one that comes once."""
        once = reward_model.score(problem, prompt, completions)
        twice = reward_model.score(problem, prompt, [*completions, *completions])
        for completion, steps, first, second in zip(
            completions, once, twice[: len(once)], twice[len(once) :], strict=True
        ):
            assert _alike(first, second), f"two copies of {completion.text!r} got {first!r} and {second!r}"
            assert _alike(steps, first), f"a copy changes the scores of {completion.text!r}"

    def test_it_reads_as_many_steps_as_it_scores(
        self, reward_model: RewardModel, problem: Problem, prompt: Prompt, completions: Sequence[Completion]
    ) -> None:
        """If it can be timed, `reading` agrees with `score`: its steps, and None where there is no score."""
        if not isinstance(reward_model, TimedRewardModel):
            pytest.skip("it cannot be timed")
        scores = reward_model.score(problem, prompt, completions)
        for completion, steps in zip(completions, scores, strict=True):
            reading = reward_model.reading(problem, prompt, completion)
            if isinstance(steps, Unscored):
                assert reading is None, f"{completion.text!r} has no score, but {reading!r}"
            else:
                assert reading is not None, f"{completion.text!r} has scores, but no reading"
                assert reading.num_steps == len(steps), f"{len(steps)} scores, {reading.num_steps} steps are read"
                assert reading.num_tokens >= reading.num_steps, f"{reading!r}: a step has a token or more"

    @pytest.mark.parametrize("batch", [1, 3])
    def test_it_is_timed_on_the_clock_it_is_given(self, reward_model: RewardModel, batch: int) -> None:
        """If it can be timed, its seconds are what the given clock says, and nothing else."""
        if not isinstance(reward_model, TimedRewardModel):
            pytest.skip("it cannot be timed")
        clock, reading = FakeClock(), Reading(num_prompt_tokens=5, num_tokens=12, num_steps=3)
        spent = reward_model.score_timing(batch, reading, clock=clock, seed=0)
        assert clock.num_readings >= 2, "score_timing must read the clock it is given, before and after"
        assert 0 < spent.score_s < clock.num_readings, f"{spent.score_s} s is not between two readings of the clock"
        assert spent.peak_bytes is None or spent.peak_bytes > 0, f"{spent.peak_bytes} is no size"


def _alike(one: tuple[float, ...] | Unscored, other: tuple[float, ...] | Unscored) -> bool:
    """Whether two results agree, floating point aside."""
    if isinstance(one, Unscored) or isinstance(other, Unscored):
        return one == other
    return len(one) == len(other) and one == pytest.approx(other, abs=_TOLERANCE)
