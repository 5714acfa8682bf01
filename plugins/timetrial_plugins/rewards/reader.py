"""Reads many solutions in few forwards: what all begin with once, the longest first, within a budget of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from timetrial_plugins.rewards.batching import token_batches
from timetrial_plugins.rewards.body import Body, make_batch
from timetrial_plugins.rewards.formats.encoded import Encoded
from timetrial_plugins.rewards.head import ScoreHead

Scores = tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SolutionReader:
    """A network that scores steps, and how it is run; the latter changes no score, floating point aside."""

    body: Body
    head: ScoreHead
    may_share: bool = True
    """Whether what solutions begin with may be read once for all, where the body can."""
    batch_tokens: int = 16384
    """The most tokens that are read together, padding included; a longer solution is read alone."""

    @property
    def shares_prompts(self) -> bool:
        """Whether what solutions begin with is read once."""
        return self.may_share and self.body.continues

    def read(self, solutions: Sequence[Encoded], prefix: int) -> list[Scores]:
        """Return the step scores of solutions, in order.

        Args:
            solutions: no two need be different, but each is read.
            prefix: how many tokens all of them begin with (`shared_prefix`); none of those is scored.
        """
        prefix = prefix if self.shares_prompts else 0
        scores: dict[int, Scores] = {}
        for numbers in token_batches([len(one.tokens) for one in solutions], self.batch_tokens):
            together = [solutions[number] for number in numbers]
            with torch.inference_mode():
                batch = make_batch(together, prefix, self.body.device)
                flat = iter(self.head(self.body.states(batch)).tolist())
            for number, solution in zip(numbers, together, strict=True):
                scores[number] = tuple(next(flat) for _ in solution.positions)
        return [scores[number] for number in range(len(solutions))]
