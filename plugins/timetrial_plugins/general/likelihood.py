"""The likelihoods of many questions on one model: shared where it pays, sorted by length, batched, cut where too large.

How a batch is read depends on the model: attention alone reads trees in one forward pass, a family with a recurrence
reads branches in steps, and a model whose plugin brings its own engine is asked for its logits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

import torch

import timetrial
from timetrial_plugins.engine.model import EngineModel
from timetrial_plugins.engine.placement import memory_errors
from timetrial_plugins.general.reading import Likely, Module, Wanted, is_attention_only, likelihoods, read
from timetrial_plugins.general.sharing import Question, Tree, grow
from timetrial_plugins.general.stepping import step_through

Advance = Callable[[int], None]

_TOKENS_AT_ONCE = {"cpu": 8192, "cuda": 65536}
_STEP_COST = {"cpu": 1.5, "cuda": 8.0}  # of a token read in a step over one read in a forward pass, at 64 rows


class Answer(NamedTuple):
    """How likely a question's targets are together."""

    log_likelihood: float
    is_greedy: bool
    """Whether greedy decoding would give them."""


class Reader(Protocol):
    """A way to read trees on one kind of model."""

    @property
    def tokens_at_once(self) -> int:
        """How many to read together if nobody says how many sequences."""

    def cost(self, trunk: int, branches: int, count: int) -> float:
        """Return what it costs to read a trunk of so many tokens and `count` branches of so many in all."""

    def read(self, trees: Sequence[Tree], questions: Sequence[Question]) -> Iterator[Likely]:
        """Yield how likely each target is; either all trees have branches, or none has."""


class TreeReader:
    """Whole forward passes, trees and all: for attention only."""

    def __init__(self, module: Module) -> None:
        weight = module.anatomy.embedding.weight
        self._module, self._width = module, weight.shape[1]
        self.tokens_at_once = _TOKENS_AT_ONCE[weight.device.type]

    def cost(self, trunk: int, branches: int, count: int) -> float:
        """Count tokens, and for attention's products n^2 / (6 D) more, of which a causal mask saves half."""
        tokens = trunk + branches
        return tokens + tokens**2 / (self._width * (12 if count == 1 else 6))

    def read(self, trees: Sequence[Tree], questions: Sequence[Question]) -> Iterator[Likely]:
        """Read a tree a row."""
        return read(self._module, trees, questions)


class SteppingReader:
    """Forward passes for single sequences and for trunks, steps for branches: for any family."""

    def __init__(self, module: Module) -> None:
        device_type = module.anatomy.embedding.weight.device.type
        self._module, self._step_cost = module, _STEP_COST[device_type]
        self.tokens_at_once = _TOKENS_AT_ONCE[device_type]

    def cost(self, trunk: int, branches: int, count: int) -> float:
        """Count tokens, dearer ones in steps."""
        return trunk + self._step_cost * branches

    def read(self, trees: Sequence[Tree], questions: Sequence[Question]) -> Iterator[Likely]:
        """Read single sequences a row each, and others in steps."""
        if trees[0].is_single:
            return read(self._module, trees, questions)
        return step_through(self._module, trees, questions)


class PlainReader:
    """The model's own logits, a sequence at a time."""

    tokens_at_once = 1

    def __init__(self, model: timetrial.Model) -> None:
        self._model = model

    def cost(self, trunk: int, branches: int, count: int) -> float:
        """Allow no branches."""
        return trunk if count == 1 else math.inf

    def read(self, trees: Sequence[Tree], questions: Sequence[Question]) -> Iterator[Likely]:
        """Read one sequence after the other."""
        for tree in trees:
            logits = self._model.logits(torch.tensor([tree.trunk]))[0]  # (T, V)
            for number in tree.branches[0].questions:
                places = enumerate(questions[number].targets, start=questions[number].first)
                yield from likelihoods(logits, [Wanted(place, target, number) for place, target in places])


def reader_for(model: timetrial.Model) -> Reader:
    """Return the best way to read on a model."""
    if not isinstance(model, EngineModel):
        return PlainReader(model)
    module = model.module
    return TreeReader(module) if is_attention_only(module) else SteppingReader(module)


class Likelihoods:
    """Answers questions on one model."""

    def __init__(self, reader: Reader, most_sequences: int | None) -> None:
        """Read up to `most_sequences` at once, a tree counting by its tokens; None: up to a bound on tokens.

        What does not fit the device is read in parts.
        """
        self._reader, self._most_sequences = reader, most_sequences
        self._most_tokens = reader.tokens_at_once

    def answer(self, questions: Sequence[Question], advance: Advance) -> list[Answer]:
        """Return the answers in the questions' order; `advance` is called with numbers of answered questions.

        Raises:
            UsageError: a sequence does not fit the device.
            CheckpointError: the model's logits are not numbers.
        """
        sums, is_greedy = [0.0] * len(questions), [True] * len(questions)
        trees = grow(questions, self._reader.cost)
        for batch in self._batches(trees):
            for likely in self._read(batch, questions):
                sums[likely.question] += likely.log_probability
                is_greedy[likely.question] &= likely.is_greedy
            advance(sum(len(branch.questions) for tree in batch for branch in tree.branches))
        if any(map(math.isnan, sums)):
            raise timetrial.CheckpointError(
                "the model's logits are not numbers: its weights are damaged, or too large for the number format; "
                "try --dtype float32"
            )
        return [Answer(*pair) for pair in zip(sums, is_greedy, strict=True)]

    def _batches(self, trees: Sequence[Tree]) -> Iterator[list[Tree]]:
        """Yield trees in batches of similar size, the largest first, so that what does not fit is known early."""
        for is_single in (False, True):
            batch: list[Tree] = []
            for tree in sorted((one for one in trees if one.is_single == is_single), key=lambda one: -one.size):
                if batch and self._is_full([*batch, tree]):
                    yield batch
                    batch = []
                batch.append(tree)
            if batch:
                yield batch

    def _is_full(self, batch: Sequence[Tree]) -> bool:
        most = self._most_tokens
        if self._most_sequences is not None:
            most = self._most_sequences * max(tree.longest for tree in batch)
        return len(batch) * batch[0].size > most

    def _read(self, batch: Sequence[Tree], questions: Sequence[Question]) -> list[Likely]:
        """Read a batch, in halves if it does not fit."""
        try:
            with memory_errors():
                return list(self._reader.read(batch, questions))
        except timetrial.OutOfMemory as cause:
            if len(batch) == 1 and batch[0].is_single:
                raise timetrial.UsageError(
                    f"a sequence of {batch[0].size} tokens does not fit the device ({cause}): use a smaller "
                    "max_length, another --dtype, or a larger device"
                ) from cause
        self._most_tokens = max(1, self._most_tokens // 2)
        halves = _halves(batch)
        return [likely for half in halves for likely in self._read(half, questions)]


def _halves(batch: Sequence[Tree]) -> list[list[Tree]]:
    """Return the batch in two parts; a lone tree falls into its sequences."""
    if len(batch) > 1:
        middle = len(batch) // 2
        return [list(batch[:middle]), list(batch[middle:])]
    (tree,) = batch
    return [
        [Tree(trunk=tree.trunk + branch.tokens, branches=(branch._replace(tokens=()),))] for branch in tree.branches
    ]
