"""The contract of models: what makes their completions comparable and their seconds believable.

Run it on a CPU in float32, where completions must be equal to the last character.
Shapes: B batch, T tokens, V vocabulary.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import pytest

from timetrial.protocol import Generation, Model, Request, Sampling
from timetrial.record import Message, Prompt
from timetrial.testing.fake import FakeClock

if TYPE_CHECKING:
    import torch

# Two logits closer than this are a tie: floating point may decide it either way.
_TIE = 1e-3
_TOLERANCE = 1e-4


class _Outcome(NamedTuple):
    """What must not depend on how requests are batched."""

    text: str
    finish: str
    num_tokens: int


class ModelContract:
    """Override `model`; override `prompts` if the model can only answer certain ones."""

    @pytest.fixture
    def model(self) -> Model:
        """Return the model under test."""
        raise NotImplementedError("override the fixture `model`")

    @pytest.fixture
    def prompts(self) -> Sequence[Prompt]:
        """Return some prompts of different lengths."""
        texts = ("What is 2 + 3?", "Tom has 12 apples and eats 5. How many are left?", "Name a prime number.")
        return [Prompt(problem=str(i), messages=(Message("user", text),)) for i, text in enumerate(texts)]

    @pytest.fixture
    def greedy(self) -> Sampling:
        """Return short greedy sampling."""
        return Sampling(temperature=0.0, max_tokens=12, seed=0)

    @pytest.fixture
    def sampled(self) -> Sampling:
        """Return short sampling at a temperature."""
        return Sampling(temperature=0.8, max_tokens=12, seed=0)

    def test_it_has_everything_the_protocol_asks_for(self, model: Model) -> None:
        """A model has the protocol's members."""
        assert isinstance(model, Model), f"{type(model).__name__} lacks a member of timetrial.Model"

    def test_its_description_is_json(self, model: Model) -> None:
        """The description goes into config.json and names the family."""
        description = dict(model.description)
        assert json.loads(json.dumps(description)) == description, "description must survive JSON unchanged"
        assert "family" in description, "description must name the family"

    def test_its_tokenizer_renders_and_encodes_the_same_way_twice(
        self, model: Model, prompts: Sequence[Prompt]
    ) -> None:
        """A rendered prompt holds the question, and encoding is deterministic."""
        for prompt in prompts:
            rendered = model.tokenizer.render(prompt)
            tokens = model.tokenizer.encode(rendered)
            assert rendered == model.tokenizer.render(prompt), "render must return the same text every time"
            assert prompt.messages[-1].content.strip() in rendered, "the rendered prompt must hold the user's turn"
            assert tokens and all(type(token) is int for token in tokens), "encode must return a list of int"
            assert tokens == model.tokenizer.encode(rendered), "encode must return the same tokens every time"
            assert isinstance(model.tokenizer.decode(tokens), str), "decode must return a str"
            started = model.tokenizer.render(replace(prompt, start="First, \n\n"))
            assert started == rendered + "First, \n\n", "what the model's turn starts with must come last, as it is"

    def test_it_answers_every_request_exactly_once(
        self, model: Model, prompts: Sequence[Prompt], sampled: Sampling
    ) -> None:
        """Requests may finish in any order, but none is lost, doubled or changed."""
        requests = _requests(prompts, 3)
        answered = [generation.request for generation in model.generate(requests, sampled, batch_size=4)]
        assert len(answered) == len(requests), f"{len(requests)} requests gave {len(answered)} generations"
        missing = [request for request in requests if request not in answered]
        assert not missing, f"no generation for {missing}"
        assert list(model.generate([], sampled, batch_size=4)) == [], "no requests must give no generations"

    def test_what_it_says_of_a_generation_is_true(
        self, model: Model, prompts: Sequence[Prompt], sampled: Sampling
    ) -> None:
        """Counts, digest and the way it ended fit together."""
        for generation in model.generate(_requests(prompts, 2), sampled, batch_size=4):
            rendered = model.tokenizer.render(generation.request.prompt)
            num_prompt_tokens = len(model.tokenizer.encode(rendered))
            digest = hashlib.sha256(rendered.encode()).hexdigest()
            assert generation.finish in ("stop", "length"), f"ended with {generation.finish!r}: {generation.error}"
            assert generation.error is None, "error must be set only if finish is 'error'"
            assert generation.prompt_digest == digest, "prompt_digest must be the sha256 of the rendered prompt"
            assert generation.num_prompt_tokens == num_prompt_tokens, "num_prompt_tokens must count the rendered prompt"
            assert generation.num_tokens >= 1, "at least one token is generated, if only the end of sequence"

    @pytest.mark.parametrize("max_tokens", [1, 3, 12])
    def test_it_honours_max_tokens(
        self, model: Model, prompts: Sequence[Prompt], sampled: Sampling, max_tokens: int
    ) -> None:
        """A completion has at most `max_tokens` tokens, and exactly as many if it was cut."""
        for generation in model.generate(_requests(prompts, 2), replace(sampled, max_tokens=max_tokens), batch_size=4):
            assert generation.num_tokens <= max_tokens, f"{generation.num_tokens} tokens, {max_tokens} allowed"
            if generation.finish == "length":
                assert generation.num_tokens == max_tokens, "finish='length' means that the limit was reached"

    def test_greedy_decoding_is_deterministic(self, model: Model, prompts: Sequence[Prompt], greedy: Sampling) -> None:
        """At temperature 0 neither the sample's number nor the seed nor the call matters."""
        first = _outcomes(model, _requests(prompts, 2), greedy, 4)
        again = _outcomes(model, _requests(prompts, 2), replace(greedy, seed=1), 4)
        assert first == again, "greedy completions differ between two calls"
        for prompt in prompts:
            texts = {first[Request(prompt=prompt, sample=sample)].text for sample in range(2)}
            assert len(texts) == 1, f"greedy samples of one prompt differ: {texts}"

    def test_greedy_decoding_follows_the_logits(
        self, model: Model, prompts: Sequence[Prompt], greedy: Sampling
    ) -> None:
        """The first greedy token is the most likely one by `logits`; ties excepted."""
        import torch

        one = replace(greedy, max_tokens=1)
        for generation in model.generate(_requests(prompts, 1), one, batch_size=4):
            tokens = model.tokenizer.encode(model.tokenizer.render(generation.request.prompt))
            top = torch.topk(model.logits(torch.tensor([tokens]))[0, -1].cpu(), 2)
            if top.values[0] - top.values[1] > _TIE:
                expected = model.tokenizer.decode([int(top.indices[0])])
                assert generation.text == expected, f"logits say {expected!r}, generate says {generation.text!r}"

    @pytest.mark.parametrize("batch_size", [1, 2, 7])
    def test_batching_does_not_change_completions(
        self, model: Model, prompts: Sequence[Prompt], sampled: Sampling, batch_size: int
    ) -> None:
        """Neither the batch size nor the order nor the company of a request matters, so a run can be resumed."""
        requests = _requests(prompts, 3)
        reference = _outcomes(model, requests, sampled, len(requests))
        batched = _outcomes(model, requests[::-1], sampled, batch_size)
        assert batched == reference, f"batch size {batch_size} in reverse order changes completions"
        alone = _outcomes(model, requests[-1:], sampled, batch_size)
        assert alone[requests[-1]] == reference[requests[-1]], "a request generated alone gives another completion"

    def test_a_stop_string_ends_a_completion_and_is_cut_off(
        self, model: Model, prompts: Sequence[Prompt], greedy: Sampling
    ) -> None:
        """The text ends right before the first stop string."""
        for request, outcome in _outcomes(model, _requests(prompts, 1), greedy, 4).items():
            if len(outcome.text) < 2:
                continue
            stop = outcome.text[len(outcome.text) // 2 :][:2]
            stopped = _outcomes(model, [request], replace(greedy, stop=(stop,)), 4)[request]
            expected = outcome.text[: outcome.text.index(stop)]
            assert stopped.text == expected, f"stop string {stop!r}: expected {expected!r}, got {stopped.text!r}"
            assert stopped.finish == "stop", f"a stop string must give finish='stop', not {stopped.finish!r}"

    def test_logits_have_the_right_shape_and_type(self, model: Model, prompts: Sequence[Prompt]) -> None:
        """Logits are (B, T, V), float32 and finite, and V covers the tokens."""
        import torch

        tokens = _tokens(model, prompts)
        logits = model.logits(tokens)
        assert logits.shape[:2] == tokens.shape, f"tokens {tuple(tokens.shape)} gave logits {tuple(logits.shape)}"
        assert logits.dim() == 3 and logits.shape[2] > int(tokens.max()), "the last dimension must be the vocabulary"
        assert logits.dtype == torch.float32, f"logits must be float32, not {logits.dtype}"
        assert bool(torch.isfinite(logits).all()), "logits must be finite"

    def test_logits_do_not_look_ahead(self, model: Model, prompts: Sequence[Prompt]) -> None:
        """Changing the last token leaves the logits before it alone."""
        tokens = _tokens(model, prompts)
        changed = tokens.clone()
        changed[:, -1] = (tokens[:, -1] + 1) % (tokens.max() + 1)
        before, after = model.logits(tokens)[:, :-1], model.logits(changed)[:, :-1]
        assert _difference(before, after) < _TOLERANCE, "the last token influences the logits of earlier ones"

    def test_rows_of_a_batch_do_not_influence_each_other(self, model: Model, prompts: Sequence[Prompt]) -> None:
        """A row alone gives the logits it gives in a batch."""
        tokens = _tokens(model, prompts)
        together = model.logits(tokens)
        for row in range(len(tokens)):
            difference = _difference(together[row : row + 1], model.logits(tokens[row : row + 1]))
            assert difference < _TOLERANCE, f"row {row} gives other logits alone, by {difference}"

    def test_decode_timing_reads_the_clock_it_is_given(self, model: Model) -> None:
        """Every second comes from that clock: this one ticks in whole units of 1000 s."""
        clock = FakeClock(step_s=1000.0)
        times = model.decode_timing(2, 5, 3, clock=clock, seed=0)
        assert clock.num_readings >= 2, "decode_timing must read the clock"
        for phase, seconds in (("prefill_s", times.prefill_s), ("decode_s", times.decode_s)):
            assert seconds > 0 and seconds % 1000 == 0, f"{phase} = {seconds} was not read from the given clock"
        elapsed_s = 1000.0 * (clock.num_readings - 1)
        assert times.prefill_s + times.decode_s <= elapsed_s, "prefill and decode overlap"
        assert times.peak_bytes is None or times.peak_bytes > 0, "peak_bytes must be positive, or None if unknown"

    def test_costs_are_finite_and_grow_with_the_batch(self, model: Model) -> None:
        """More sequences, or longer ones, never cost less; more sequences always compute more."""
        whatever, small, wide, deep = (model.costs(*size) for size in ((0, 64), (1, 64), (8, 64), (1, 512)))
        for cost in (small, wide, deep):
            assert cost.bytes_moved > 0 and cost.flops > 0, f"costs must be positive: {cost}"
            assert math.isfinite(cost.bytes_moved) and math.isfinite(cost.flops), f"costs must be finite: {cost}"
        assert 0 <= whatever.bytes_moved <= small.bytes_moved, "a batch of 0 costs what every step moves: the weights"
        assert wide.flops > small.flops, "eight sequences must compute more than one"
        assert wide.bytes_moved >= small.bytes_moved, "eight sequences cannot move fewer bytes than one"
        assert deep.flops >= small.flops and deep.bytes_moved >= small.bytes_moved, "a longer context cannot cost less"


def _requests(prompts: Sequence[Prompt], num_samples: int) -> list[Request]:
    return [Request(prompt=prompt, sample=sample) for prompt in prompts for sample in range(num_samples)]


def _outcomes(
    model: Model, requests: Sequence[Request], sampling: Sampling, batch_size: int
) -> dict[Request, _Outcome]:
    generations: list[Generation] = list(model.generate(requests, sampling, batch_size=batch_size))
    return {g.request: _Outcome(g.text, g.finish, g.num_tokens) for g in generations}


def _tokens(model: Model, prompts: Sequence[Prompt]) -> torch.Tensor:
    """Return the prompts cut to the length of the shortest, (B, T) int64."""
    import torch

    rows = [model.tokenizer.encode(model.tokenizer.render(prompt)) for prompt in prompts]
    length = min(map(len, rows))
    return torch.tensor([row[-length:] for row in rows])


def _difference(left: torch.Tensor, right: torch.Tensor) -> float:
    """Return the largest difference relative to the largest logit, 0 for none."""
    scale = max(1.0, float(left.abs().max()))
    return float((left - right).abs().max()) / scale
