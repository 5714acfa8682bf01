"""The contract of reward models: a score belongs to a completion, not to the batch it came in."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import pytest

from timetrial.protocol import RewardModel
from timetrial.record import Completion, Message, Problem, Prompt

_TOLERANCE = 1e-4
_TEXTS = (
    "Five and three are eight.\n\nThe final answer is 8.",
    "The final answer is 9.",
    "Start with 5.\n\nAdd 3 and get 8.\n\nThen check: 8 - 3 = 5.\n\nThe final answer is 8.",
    "I do not know.",
    "",
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
        """Return solutions of different lengths, one of them empty."""
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
        """There is one tuple per completion, with one or more finite floats."""
        scores = reward_model.score(problem, prompt, completions)
        assert len(scores) == len(completions), f"{len(completions)} completions gave {len(scores)} lists of scores"
        for completion, steps in zip(completions, scores, strict=True):
            assert isinstance(steps, tuple) and steps, f"no scores for {completion.text!r}: {steps!r}"
            assert all(type(step) is float and math.isfinite(step) for step in steps), f"not finite floats: {steps!r}"
        assert reward_model.score(problem, prompt, []) == [], "no completions must give no scores"

    def test_scores_do_not_depend_on_company_or_order(
        self, reward_model: RewardModel, problem: Problem, prompt: Prompt, completions: Sequence[Completion]
    ) -> None:
        """A completion gets the same scores alone, in a batch, and in the reversed batch."""
        together = reward_model.score(problem, prompt, completions)
        reversed_ = reward_model.score(problem, prompt, completions[::-1])[::-1]
        for completion, steps, again in zip(completions, together, reversed_, strict=True):
            alone = reward_model.score(problem, prompt, [completion])[0]
            assert steps == pytest.approx(again, abs=_TOLERANCE), f"order changes the scores of {completion.text!r}"
            assert steps == pytest.approx(alone, abs=_TOLERANCE), f"company changes the scores of {completion.text!r}"
