"""What the nutshell's models learn: to continue the chat prompt of a problem with its worked solution.

The prompt itself is not learned. Shapes: B examples, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from timetrial.error import UsageError
from timetrial_distillation.loop import IGNORED, Batch
from timetrial_plugins.nutshell.generator import LEVELS, NutshellProblem, training_problem

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True, kw_only=True, slots=True)
class SolutionStream:
    """Which generated problems are learned from, in which order and in which batches."""

    seed: int = 0
    """Of the training stream."""
    batch_examples: int = 64
    """Problems a step."""
    num_batches: int = 4
    """Batches a step is split into, by length, so that little is padded. Changes speed, not gradients."""
    easy_problems: int = 0
    """A curriculum: over so many problems the highest level rises evenly from 1 to 5. 0: all levels at once."""

    def __post_init__(self) -> None:
        """Refuse batches that cannot be split.

        Raises:
            UsageError: names the field.
        """
        if not 1 <= self.num_batches <= self.batch_examples:
            raise UsageError(f"num_batches is {self.num_batches}; expected 1 to batch_examples, {self.batch_examples}")
        if self.easy_problems < 0:
            raise UsageError(f"easy_problems is {self.easy_problems}; expected 0 or more")

    def problem(self, index: int) -> NutshellProblem:
        """Return the problem at a place in the stream."""
        is_easy = index < self.easy_problems
        highest = LEVELS[len(LEVELS) * index // self.easy_problems] if is_easy else LEVELS[-1]
        return training_problem(self.seed, index, highest)


class SolutionObjective:
    """Cross-entropy of the solution's tokens, given the problem. Step s takes the s-th lot of the stream."""

    def __init__(self, stream: SolutionStream, tokenizer: PreTrainedTokenizerFast) -> None:
        """Read the problems of `stream` through `tokenizer`."""
        self._stream = stream
        self._tokenizer = tokenizer

    def batches(self, step: int) -> list[Batch]:
        """Return the step's examples, sorted by length and cut into batches of about equal numbers."""
        num_examples, num_batches = self._stream.batch_examples, self._stream.num_batches
        places = range(step * num_examples, (step + 1) * num_examples)
        examples = sorted((self._encode(self._stream.problem(index)) for index in places), key=lambda e: len(e[0]))
        bounds = [i * num_examples // num_batches for i in range(num_batches + 1)]
        return [self._pad(examples[bounds[i] : bounds[i + 1]]) for i in range(num_batches)]

    def loss(self, model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """Return the summed cross-entropy over the labels."""
        logits = model.logits(batch.tokens)  # type: ignore[operator]  # every family has it
        return torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORED, reduction="sum"
        )

    def _encode(self, problem: NutshellProblem) -> tuple[list[int], list[int]]:
        """Return the inputs and the labels of one example, (T,) each."""
        chat = [{"role": "user", "content": problem.text}]
        prompt = self._tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        chat.append({"role": "assistant", "content": problem.solution})
        whole = self._tokenizer.apply_chat_template(chat, tokenize=False)
        num_prompt = len(self._tokenizer.encode(prompt, add_special_tokens=False))
        tokens = self._tokenizer.encode(whole, add_special_tokens=False)
        return tokens[:-1], [IGNORED] * (num_prompt - 1) + tokens[num_prompt:]

    def _pad(self, examples: Sequence[tuple[list[int], list[int]]]) -> Batch:
        length = max(len(tokens) for tokens, _ in examples)
        pad = self._tokenizer.pad_token_id
        return Batch(
            tokens=torch.tensor([tokens + [pad] * (length - len(tokens)) for tokens, _ in examples]),
            labels=torch.tensor([labels + [IGNORED] * (length - len(labels)) for _, labels in examples]),
            num_tokens=sum(len(tokens) for tokens, _ in examples),
        )
