"""Score solution steps by how likely a model finds them.

The score of a step is the geometric mean of the probabilities that the scoring model gives to the step's tokens, after
the prompt and the steps before: exp(mean log p). It lies between 0 and 1. Steps are what blank lines separate.

This is a self-consistency baseline: it needs no trained verifier, and measures fluency under the scoring model, not
correctness. Reports should call it that.

Shapes: B completions of equal length, T tokens, V vocabulary.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any, NamedTuple

import torch

import timetrial
from timetrial_plugins.engine import placement

MAX_LOGITS = 2**26
"""Numbers in one (B, T, V) tensor of logits: a quarter of a GiB in float32."""
_STEP = re.compile(r"\s*\S.*?(?:\n[^\S\n]*\n\s*|\Z)", re.DOTALL)
Parts = tuple[tuple[int, ...], ...]
"""The tokens of a solution's steps."""


def load(ref: str | None, options: timetrial.LoadOptions) -> timetrial.RewardModel:
    """Load the scoring model named by `ref`.

    Raises:
        UsageError: no model is named.
        UnknownNameError: there is no such model.
        CheckpointError: the checkpoint cannot be loaded.
    """
    if ref is None:
        raise timetrial.UsageError(
            "the reward model 'likelihood' needs a model to score with: write likelihood:MODEL, "
            "for example likelihood:nutshell-llama"
        )
    model = timetrial.load_model(ref, device=options.device, dtype=options.dtype)
    return Likelihood(ref=ref, model=model)


class _Outlet(NamedTuple):
    """Where a model's logits come out."""

    vocabulary: int
    device: torch.device


@dataclass(frozen=True, kw_only=True, slots=True)
class Likelihood:
    """Scores steps with the probabilities of one model."""

    ref: str
    model: timetrial.Model

    @property
    def description(self) -> Mapping[str, Any]:
        """JSON-ready facts for provenance."""
        facts = {"kind": "likelihood", "format": "plain", "splitter": "blank-line", "ref": self.ref}
        return {**facts, "shares_prompts": False, "model": dict(self.model.description)}

    def score(
        self, problem: timetrial.Problem, prompt: timetrial.Prompt, completions: Sequence[timetrial.Completion]
    ) -> list[tuple[float, ...] | timetrial.Unscored]:
        """Return the step scores of each completion, in order, or why it has none."""
        context = self._context(prompt)
        found = {text: self._parts(context, text) for text in dict.fromkeys(one.text for one in completions)}
        distinct = list(dict.fromkeys(parts for parts in found.values() if not isinstance(parts, timetrial.Unscored)))
        scores = dict(zip(distinct, self._read(context, distinct), strict=True))
        return [
            parts if isinstance(parts, timetrial.Unscored) else scores[parts]
            for parts in (found[completion.text] for completion in completions)
        ]

    def reading(
        self, problem: timetrial.Problem, prompt: timetrial.Prompt, completion: timetrial.Completion
    ) -> timetrial.Reading | None:
        """Return how long a completion is in the scoring model's tokens; None if it would not be scored."""
        context = self._context(prompt)
        parts = self._parts(context, completion.text)
        if isinstance(parts, timetrial.Unscored):
            return None
        return timetrial.Reading(num_prompt_tokens=len(context), num_tokens=sum(map(len, parts)), num_steps=len(parts))

    def score_timing(
        self, batch: int, reading: timetrial.Reading, *, clock: timetrial.Clock, seed: int
    ) -> timetrial.ScoreTime:
        """Time scoring `batch` solutions of random tokens, all different; encoding text is not part of it.

        Raises:
            OutOfMemory: the batch does not fit.
        """
        with placement.memory_errors():
            outlet = self._outlet()
            generator = torch.Generator().manual_seed(seed)
            shape = (batch, reading.num_tokens)
            context = torch.randint(outlet.vocabulary, (reading.num_prompt_tokens,), generator=generator).tolist()
            rows = torch.randint(outlet.vocabulary, shape, generator=generator).tolist()
            solutions = [_in_steps(row, reading.num_steps) for row in rows]
            placement.reset_peak(outlet.device)
            self.model.synchronize()
            start_s = clock.now()
            self._read(context, solutions)
            self.model.synchronize()
            done_s = clock.now()
        return timetrial.ScoreTime(score_s=done_s - start_s, peak_bytes=placement.peak_bytes(outlet.device))

    def _context(self, prompt: timetrial.Prompt) -> list[int]:
        tokenizer = self.model.tokenizer
        return tokenizer.encode(tokenizer.render(prompt))

    def _parts(self, context: Sequence[int], text: str) -> Parts | timetrial.Unscored:
        encoded = (tuple(self.model.tokenizer.encode(step)) for step in split_steps(text))
        parts = tuple(tokens for tokens in encoded if tokens)
        if not parts:
            return timetrial.Unscored(reason="no steps: nothing visible in the solution")
        num_tokens, limit = len(context) + sum(map(len, parts)), self.model.description.get("context_length")
        if isinstance(limit, int) and num_tokens > limit:
            return timetrial.Unscored(reason=f"too long: {num_tokens:,} tokens, the scoring model reads {limit:,}")
        return parts

    def _read(self, context: Sequence[int], solutions: Sequence[Parts]) -> list[tuple[float, ...]]:
        """Return the step scores of solutions after the same context."""
        scores: dict[int, tuple[float, ...]] = {}
        for numbers in self._batches(len(context), solutions):
            sequences = [[*context, *chain.from_iterable(solutions[number])] for number in numbers]
            rows = self._log_probabilities(sequences, len(context))
            for number, row in zip(numbers, rows, strict=True):
                scores[number] = tuple(_step_scores(row, [len(tokens) for tokens in solutions[number]]))
        return [scores[number] for number in range(len(solutions))]

    def _batches(self, context: int, solutions: Sequence[Parts]) -> Iterator[list[int]]:
        """Group solutions, by number, of equal length, since logits take no padding, within the bound on memory."""
        by_length: dict[int, list[int]] = defaultdict(list)
        for number, parts in enumerate(solutions):
            by_length[sum(map(len, parts))].append(number)
        vocabulary = self._outlet().vocabulary if by_length else 1
        for length, numbers in sorted(by_length.items()):
            size = max(1, MAX_LOGITS // ((context + length) * vocabulary))
            yield from (numbers[start : start + size] for start in range(0, len(numbers), size))

    def _outlet(self) -> _Outlet:
        """Ask the model for the logits of one token."""
        logits = self.model.logits(torch.zeros((1, 1), dtype=torch.int64))
        return _Outlet(logits.shape[-1], logits.device)

    def _log_probabilities(self, sequences: list[list[int]], context: int) -> list[list[float]]:
        """Return the log probability of each token after the context, given all before it."""
        tokens = torch.tensor(sequences, dtype=torch.int64)  # (B, T)
        with torch.inference_mode():
            logits = self.model.logits(tokens)[:, context - 1 : -1]  # (B, T - context, V)
            targets = tokens[:, context:, None].to(logits.device)
            chosen = logits.gather(2, targets)[..., 0] - logits.logsumexp(dim=2)
        rows: list[list[float]] = chosen.double().tolist()
        return rows


def split_steps(text: str) -> list[str]:
    """Return the steps of a solution, each with the blank lines after it; joined they are the text.

    Leading space belongs to the first step. A text without a visible character has no steps.
    """
    return _STEP.findall(text)


def _step_scores(log_probabilities: list[float], lengths: list[int]) -> Iterator[float]:
    start = 0
    for length in lengths:
        yield math.exp(sum(log_probabilities[start : start + length]) / length)
        start += length


def _in_steps(tokens: Sequence[int], num_steps: int) -> Parts:
    """Cut a solution into steps of about the same length."""
    borders = [step * len(tokens) // num_steps for step in range(num_steps + 1)]
    return tuple(tuple(tokens[start:stop]) for start, stop in pairwise(borders))
