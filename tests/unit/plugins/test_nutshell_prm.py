"""The shipped verifier is found by name, and reads solutions as it was trained to."""

from __future__ import annotations

import pytest

from timetrial.catalog import open_catalog
from timetrial.error import UsageError
from timetrial.protocol import Unscored
from timetrial.record import Completion, Message, Problem, Prompt
from timetrial.spec import LoadOptions
from timetrial_plugins.nutshell.generator import NutshellProblem, test_problems

OPTIONS = LoadOptions(device="cpu")
SPEC = open_catalog().reward_model("nutshell-prm")


def completion(item: NutshellProblem, text: str) -> Completion:
    return Completion(
        model="",
        task="nutshell",
        temperature=0.8,
        problem=item.id,
        sample=0,
        text=text,
        finish="stop",
        num_prompt_tokens=None,
        num_tokens=None,
        prompt_digest="",
    )


def test_every_step_of_a_solution_has_a_score_and_again_the_same() -> None:
    model = SPEC.load(None, OPTIONS)
    for item in test_problems()[::40]:
        problem = Problem(id=item.id, text=item.text, gold=item.answer)
        prompt = Prompt(problem=item.id, messages=(Message("user", item.text),))
        (scores,) = model.score(problem, prompt, [completion(item, item.solution)])
        assert not isinstance(scores, Unscored)
        assert len(scores) == len(item.steps) + 1
        assert all(0 < score < 1 for score in scores)
        assert model.score(problem, prompt, [completion(item, item.solution)]) == [scores]


def test_it_says_how_it_reads() -> None:
    description = SPEC.load(None, OPTIONS).description
    assert (description["format"], description["splitter"]) == ("rlhflow", "blank-line")


def test_nothing_follows_its_name() -> None:
    with pytest.raises(UsageError, match="nothing follows its name .here 'other'."):
        SPEC.load("other", OPTIONS)
