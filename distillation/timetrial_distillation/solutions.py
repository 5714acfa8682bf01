"""What the nutshell's teacher learns: to continue the chat prompt of a problem with its worked solution.

A row is one problem with its solution; the prompt itself is not learned. Rows come in lots of a step's size, each lot
sorted by length, so that micro-batches pad little. Unlike `data.generated` there is a curriculum and no packing.
Shapes: B rows, T tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch

from timetrial.error import UsageError
from timetrial_distillation.data.rows import IGNORED, Rows
from timetrial_plugins.nutshell.generator import LEVELS, NutshellProblem, training_problem
from timetrial_plugins.nutshell.tokenizer import MAX_LENGTH, load_tokenizer
from timetrial_registry.digest import tokenizer_digest


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


class _Example(NamedTuple):
    tokens: list[int]  # (T,)
    labels: list[int]  # (T,)


class SolutionRows:
    """The stream as a source of rows, each as long as the longest that is asked for with it."""

    def __init__(self, stream: SolutionStream, folder: Path) -> None:
        """Read the problems of `stream` through the tokenizer in `folder`."""
        self._stream = stream
        self._tokenizer = load_tokenizer(folder)
        self._lot = lru_cache(2)(self._encode_lot)
        self.tokenizer_digest = tokenizer_digest(folder)
        """Digest of the tokenizer's files."""

    @property
    def length(self) -> int:
        """Tokens that no row has more of."""
        return MAX_LENGTH

    @property
    def digest(self) -> str:
        """Digest of the stream's choices, of its first lot, and of the tokenizer."""
        parts = [asdict(self._stream), self._lot(0), self.tokenizer_digest]
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def rows(self, start: int, count: int) -> Rows:
        """Return the global rows `start` to `start + count - 1`."""
        size = self._stream.batch_examples
        return self._pad([self._lot(place // size)[place % size] for place in range(start, start + count)])

    def _encode_lot(self, lot: int) -> list[_Example]:
        size = self._stream.batch_examples
        examples = [self._encode(self._stream.problem(index)) for index in range(lot * size, (lot + 1) * size)]
        return sorted(examples, key=lambda example: len(example.tokens))

    def _encode(self, problem: NutshellProblem) -> _Example:
        chat = [{"role": "user", "content": problem.text}]
        prompt = self._tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        chat.append({"role": "assistant", "content": problem.solution})
        whole = self._tokenizer.apply_chat_template(chat, tokenize=False)
        num_prompt = len(self._tokenizer.encode(prompt, add_special_tokens=False))
        tokens = self._tokenizer.encode(whole, add_special_tokens=False)
        return _Example(tokens[:-1], [IGNORED] * (num_prompt - 1) + tokens[num_prompt:])

    def _pad(self, examples: Sequence[_Example]) -> Rows:
        length = max((len(example.tokens) for example in examples), default=0)
        pads = [length - len(example.tokens) for example in examples]
        pad = self._tokenizer.pad_token_id
        return Rows(
            tokens=torch.tensor([e.tokens + [pad] * n for e, n in zip(examples, pads, strict=True)]),
            labels=torch.tensor([e.labels + [IGNORED] * n for e, n in zip(examples, pads, strict=True)]),
            doc_ids=torch.tensor([[0] * (length - n) + [1] * n for n in pads]),
            num_tokens=sum(len(e.tokens) for e in examples),
            num_labels=sum(label != IGNORED for e in examples for label in e.labels),
        )
