"""Scores all steps of many solutions in one forward each, and is timed doing so.

The solutions of a problem share its prompt: what all of them begin with is read once. Equal solutions are read once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from timetrial.clock import Clock
from timetrial.error import UsageError
from timetrial.protocol import OutOfMemory, Reading, ScoreTime, Unscored
from timetrial.record import Completion, Problem, Prompt
from timetrial_plugins.engine import placement
from timetrial_plugins.rewards.batching import shared_prefix
from timetrial_plugins.rewards.formats.encoded import Encoded, Format
from timetrial_plugins.rewards.reader import Scores, SolutionReader
from timetrial_plugins.rewards.steps import split_steps


@dataclass(frozen=True, kw_only=True, slots=True)
class StepRewardModel:
    """A reward model of any published format, over any body."""

    ref: str
    format: Format
    splitter: str
    reader: SolutionReader
    origin: Mapping[str, Any]  # Any: JSON-ready
    """Which checkpoint it is."""

    @property
    def description(self) -> Mapping[str, Any]:  # Any: JSON-ready
        """Facts for provenance: what decides the scores, what runs, and which weights these are."""
        return {
            "kind": "reward model",
            "ref": self.ref,
            "format": self.format.name,
            "splitter": self.splitter,
            **self.format.facts,
            "head": self.format.head,
            "shares_prompts": self.reader.shares_prompts,
            "batch_tokens": self.reader.batch_tokens,
            "context_length": self.reader.body.context_length,
            **self.reader.body.facts,
            **self.origin,
        }

    def score(self, problem: Problem, prompt: Prompt, completions: Sequence[Completion]) -> list[Scores | Unscored]:
        """Return the step scores of each completion, in order, or why it has none.

        Raises:
            UsageError: the solutions do not fit the device.
        """
        texts = dict.fromkeys(completion.text for completion in completions)  # in order: what is read together stays so
        readable = {text: self._encode(problem, prompt, text) for text in texts}
        distinct = list(dict.fromkeys(found for found in readable.values() if isinstance(found, Encoded)))
        try:
            with placement.memory_errors():
                scores = dict(zip(distinct, self.reader.read(distinct, shared_prefix(distinct)), strict=True))
        except OutOfMemory as cause:
            raise UsageError(
                f"{self.ref!r} does not fit the device when it reads {self.reader.batch_tokens:,} tokens together "
                f"({cause}): allow fewer, for example {self.ref}?batch-tokens={max(1, self.reader.batch_tokens // 4)}"
            ) from cause
        found = (readable[completion.text] for completion in completions)
        return [scores[one] if isinstance(one, Encoded) else one for one in found]

    def reading(self, problem: Problem, prompt: Prompt, completion: Completion) -> Reading | None:
        """Return how long a completion is in this model's tokens; None if it would not be scored."""
        encoded = self._encode(problem, prompt, completion.text)
        if isinstance(encoded, Unscored):
            return None
        return Reading(
            num_prompt_tokens=encoded.num_prompt_tokens,
            num_tokens=len(encoded.tokens) - encoded.num_prompt_tokens,
            num_steps=len(encoded.positions),
        )

    def score_timing(self, batch: int, reading: Reading, *, clock: Clock, seed: int) -> ScoreTime:
        """Time reading `batch` solutions of random tokens, all different; encoding text is not part of it.

        Raises:
            OutOfMemory: the batch does not fit.
        """
        solutions, device = self._random_solutions(batch, reading, seed), self.reader.body.device
        with placement.memory_errors():
            placement.reset_peak(device)
            placement.synchronize(device)
            start_s = clock.now()
            self.reader.read(solutions, reading.num_prompt_tokens if batch > 1 else 0)
            placement.synchronize(device)
            done_s = clock.now()
        return ScoreTime(score_s=done_s - start_s, peak_bytes=placement.peak_bytes(device))

    def _encode(self, problem: Problem, prompt: Prompt, text: str) -> Encoded | Unscored:
        # A solution begins with what the prompt put into the model's mouth.
        steps = split_steps(prompt.start + text, self.splitter) if text.strip() else []
        if not steps:
            return Unscored(reason="no steps: nothing visible in the solution")
        encoded = self.format.encode(problem.text, steps)
        limit = self.reader.body.context_length
        if limit is not None and len(encoded.tokens) > limit:
            return Unscored(reason=f"too long: {len(encoded.tokens):,} tokens, the reward model reads {limit:,}")
        return encoded

    def _random_solutions(self, batch: int, reading: Reading, seed: int) -> list[Encoded]:
        """Return solutions as long as a reading says, scored at the ends of steps of equal length."""
        generator = torch.Generator().manual_seed(seed)
        prompt, length, steps = reading.num_prompt_tokens, reading.num_tokens, reading.num_steps
        shared = torch.randint(self.reader.body.vocab_size, (prompt,), generator=generator).tolist()
        own = torch.randint(self.reader.body.vocab_size, (batch, length), generator=generator).tolist()
        positions = tuple(prompt + (step + 1) * length // steps - 1 for step in range(steps))
        return [Encoded((*shared, *tokens), positions, prompt) for tokens in own]
