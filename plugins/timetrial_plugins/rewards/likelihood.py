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
from typing import Any

import torch

import timetrial

MAX_LOGITS = 2**26
"""Numbers in one (B, T, V) tensor of logits: a quarter of a GiB in float32."""
EMPTY_SCORE = 0.0
"""The only score of a completion without text, which has no step to score."""
_STEP = re.compile(r"\s*\S.*?(?:\n[^\S\n]*\n\s*|\Z)", re.DOTALL)


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Likelihood:
    """Scores steps with the probabilities of one model."""

    ref: str
    model: timetrial.Model

    @property
    def description(self) -> Mapping[str, Any]:
        """JSON-ready facts for provenance."""
        return {"kind": "likelihood", "ref": self.ref, "model": dict(self.model.description)}

    def score(
        self, problem: timetrial.Problem, prompt: timetrial.Prompt, completions: Sequence[timetrial.Completion]
    ) -> list[tuple[float, ...]]:
        """Return the step scores of each completion, in order.

        Raises:
            UsageError: a completion does not fit the scoring model's context.
        """
        tokenizer = self.model.tokenizer
        context = tokenizer.encode(tokenizer.render(prompt))
        steps = {
            text: [tokens for step in split_steps(text) if (tokens := tokenizer.encode(step))]
            for text in {completion.text for completion in completions}
        }
        scores: dict[str, tuple[float, ...]] = {text: (EMPTY_SCORE,) for text, parts in steps.items() if not parts}
        self._check_length(len(context) + max((sum(map(len, parts)) for parts in steps.values()), default=0))
        for texts in self._batches(len(context), steps):
            sequences = [context + sum(steps[text], []) for text in texts]
            log_probabilities = self._log_probabilities(sequences, len(context))
            for text, row in zip(texts, log_probabilities, strict=True):
                scores[text] = tuple(_step_scores(row, [len(tokens) for tokens in steps[text]]))
        return [scores[completion.text] for completion in completions]

    def _check_length(self, num_tokens: int) -> None:
        limit = self.model.description.get("context_length")
        if isinstance(limit, int) and num_tokens > limit:
            raise timetrial.UsageError(
                f"a prompt with its completion has {num_tokens:,} tokens, but the scoring model {self.ref!r} reads "
                f"{limit:,}: score with a model of a longer context, or sample with a smaller --max-tokens"
            )

    def _batches(self, context: int, steps: Mapping[str, list[list[int]]]) -> Iterator[list[str]]:
        """Group texts of equal length, since logits take no padding, within the bound on memory."""
        by_length: dict[int, list[str]] = defaultdict(list)
        for text, parts in steps.items():
            if parts:
                by_length[sum(map(len, parts))].append(text)
        vocabulary = None
        for length, texts in sorted(by_length.items()):
            if vocabulary is None:
                vocabulary = self._vocabulary()
            size = max(1, MAX_LOGITS // ((context + length) * vocabulary))
            yield from (texts[start : start + size] for start in range(0, len(texts), size))

    def _vocabulary(self) -> int:
        with torch.inference_mode():
            return int(self.model.logits(torch.zeros((1, 1), dtype=torch.int64)).shape[-1])

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
