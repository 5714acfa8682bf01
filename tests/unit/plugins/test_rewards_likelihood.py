"""The likelihood baseline: step scores are mean token probabilities, whatever the batching."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch

import timetrial
from timetrial.testing import RewardModelContract
from timetrial.testing.fake import FakeClock, FakeTokenizer
from timetrial_plugins.rewards import likelihood
from timetrial_plugins.rewards.likelihood import Likelihood, split_steps
from timetrial_plugins.rewards.plugin import timetrial_reward_models

VOCABULARY = 256


class ByteModel:
    """A language model over bytes whose probabilities depend on all tokens before, through their sum."""

    def __init__(self, context_length: int = 4096) -> None:
        self.tokenizer = FakeTokenizer()
        self.shapes: list[tuple[int, ...]] = []
        self.context_length = context_length

    @property
    def description(self) -> Mapping[str, Any]:
        return {"family": "bytes", "context_length": self.context_length}

    def synchronize(self) -> None:
        pass

    def logits(self, tokens: torch.Tensor) -> torch.Tensor:
        self.shapes.append(tuple(tokens.shape))
        past = tokens.cumsum(dim=1)[..., None].float()
        return torch.sin(past * 0.1 + torch.arange(VOCABULARY)) * 2


def completion(text: str, sample: int = 0) -> timetrial.Completion:
    return timetrial.Completion(
        model="m",
        task="t",
        temperature=0.5,
        problem="p",
        sample=sample,
        text=text,
        finish="stop",
        num_prompt_tokens=None,
        num_tokens=None,
        prompt_digest="",
    )


PROBLEM = timetrial.Problem(id="p", text="1 + 1?", gold="2")
PROMPT = timetrial.Prompt(problem="p", messages=(timetrial.Message("user", "1 + 1?"),))


def expected(model: ByteModel, text: str) -> list[float]:
    """Score one text a token at a time."""
    tokens = model.tokenizer.encode(model.tokenizer.render(PROMPT))
    scores = []
    for step in split_steps(text):
        logs = []
        for token in model.tokenizer.encode(step):
            logs.append(float(model.logits(torch.tensor([tokens]))[0, -1].log_softmax(0)[token]))
            tokens = [*tokens, token]
        scores.append(math.exp(sum(logs) / len(logs)))
    return scores


class TestLikelihoodContract(RewardModelContract):
    @pytest.fixture
    def reward_model(self) -> timetrial.RewardModel:
        return Likelihood(ref="bytes", model=ByteModel())  # type: ignore[arg-type]  # it has what is used of a model


TEXTS = [
    "One.\n\nTwo.\n\nThe final answer is 2",
    "Two.",
    "Six.",
    "Two.\n \nOne.",
    "  \n\n  Late start.\n\n\n\nEnd.\n\n",
    "Two.",
]


def test_a_score_is_the_geometric_mean_of_the_steps_token_probabilities() -> None:
    model = ByteModel()
    scores = Likelihood(ref="bytes", model=model).score(PROBLEM, PROMPT, [completion(text) for text in TEXTS])  # type: ignore[arg-type]
    for text, steps in zip(TEXTS, scores, strict=True):
        assert isinstance(steps, tuple)
        assert steps == pytest.approx(expected(ByteModel(), text), rel=1e-4)
    assert [len(steps) for steps in scores if isinstance(steps, tuple)] == [3, 1, 1, 2, 2, 1]


def test_texts_of_equal_length_share_a_batch_and_equal_texts_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ByteModel()
    reward_model = Likelihood(ref="bytes", model=model)  # type: ignore[arg-type]
    reward_model.score(PROBLEM, PROMPT, [completion("Two."), completion("Six."), completion("Two.")])
    assert [shape[0] for shape in model.shapes] == [1, 2]  # the first asks for the size of the vocabulary
    monkeypatch.setattr(likelihood, "MAX_LOGITS", 1)
    model.shapes.clear()
    reward_model.score(PROBLEM, PROMPT, [completion("Two."), completion("Six.")])
    assert [shape[0] for shape in model.shapes] == [1, 1, 1]


@pytest.mark.parametrize("text", ["", " \n\n \t"])
def test_a_completion_without_text_has_no_score(text: str) -> None:
    scores = Likelihood(ref="bytes", model=ByteModel()).score(PROBLEM, PROMPT, [completion(text)])  # type: ignore[arg-type]
    assert scores == [timetrial.Unscored(reason="no steps: nothing visible in the solution")]


@pytest.mark.parametrize("text", [*TEXTS, "a", "a\n\nb", "\n\na", "a\n\n\n\nb\nc\n\n", "a\n  \nb"])
def test_steps_joined_are_the_text(text: str) -> None:
    assert "".join(split_steps(text)) == text
    assert all(step.strip() for step in split_steps(text))


def test_a_completion_beyond_the_scoring_models_context_has_no_score_and_the_others_have() -> None:
    reward_model = Likelihood(ref="bytes", model=ByteModel(context_length=20))  # type: ignore[arg-type]
    long, short = reward_model.score(PROBLEM, PROMPT, [completion("word " * 10), completion("Two.")])
    assert long == timetrial.Unscored(reason="too long: 57 tokens, the scoring model reads 20")
    assert isinstance(short, tuple)
    assert reward_model.reading(PROBLEM, PROMPT, completion("word " * 10)) is None


def test_a_reading_counts_prompt_solution_and_steps() -> None:
    reward_model = Likelihood(ref="bytes", model=ByteModel())  # type: ignore[arg-type]
    reading = reward_model.reading(PROBLEM, PROMPT, completion("One.\n\nTwo."))
    assert reading == timetrial.Reading(num_prompt_tokens=7, num_tokens=10, num_steps=2)


def test_timing_reads_different_solutions_as_long_as_asked_for_between_two_readings_of_the_clock() -> None:
    model = ByteModel()
    reward_model = Likelihood(ref="bytes", model=model)  # type: ignore[arg-type]
    reading = timetrial.Reading(num_prompt_tokens=7, num_tokens=11, num_steps=3)
    spent = reward_model.score_timing(4, reading, clock=FakeClock(step_s=2.0), seed=1)
    assert spent.score_s == 2.0
    assert model.shapes[-1] == (4, 18)


def test_running_out_of_memory_while_timed_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: ByteModel, tokens: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("no room")

    reward_model = Likelihood(ref="bytes", model=ByteModel())  # type: ignore[arg-type]
    monkeypatch.setattr(ByteModel, "logits", fail)
    reading = timetrial.Reading(num_prompt_tokens=7, num_tokens=11, num_steps=3)
    with pytest.raises(timetrial.OutOfMemory):
        reward_model.score_timing(4, reading, clock=FakeClock(), seed=1)


def test_the_plugin_asks_for_a_model_to_score_with() -> None:
    spec = next(spec for spec in timetrial_reward_models() if spec.name == "likelihood")
    with pytest.raises(timetrial.UsageError, match="likelihood:MODEL"):
        spec.load(None, timetrial.LoadOptions())


def test_the_model_named_after_the_colon_is_loaded_with_the_options(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[tuple[str, str, str]] = []

    def load_model(ref: str, *, device: str, dtype: str) -> ByteModel:
        loaded.append((ref, device, dtype))
        return ByteModel()

    monkeypatch.setattr(timetrial, "load_model", load_model, raising=False)
    spec = next(spec for spec in timetrial_reward_models() if spec.name == "likelihood")
    reward_model = spec.load("nutshell-llama", timetrial.LoadOptions(device="cpu", dtype="float32"))
    assert loaded == [("nutshell-llama", "cpu", "float32")]
    assert reward_model.description["ref"] == "nutshell-llama"
