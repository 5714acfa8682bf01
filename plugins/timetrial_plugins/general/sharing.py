"""Which token sequences to read together, so that what they begin with is read once.

A multiple-choice question asks for the likelihoods of several continuations of one context, and few-shot examples stand
in front of many questions. Sorted, sequences with a common beginning lie side by side; what remains is to cut the
sorted list into runs, each a tree of one trunk and its branches, at the least cost of reading them all.

Nothing here knows of a model, or of contexts and few-shot examples: it finds them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

Tokens = tuple[int, ...]

LEAST_SHARED = 8
"""Tokens below which sequences with a common beginning are read apart."""
_MOST_BRANCHES = 64


class Question(NamedTuple):
    """How likely are the last tokens of a sequence, given all before them?"""

    inputs: Tokens
    """What the model reads: the sequence without its last token."""
    targets: Tokens
    """The tokens asked about; the first of them follows `inputs[first]`."""

    @property
    def first(self) -> int:
        """The position in the inputs whose logits predict the first target."""
        return len(self.inputs) - len(self.targets)


class Branch(NamedTuple):
    """What a sequence has of its own, after the trunk of its tree."""

    tokens: Tokens
    questions: tuple[int, ...]
    """Which questions it answers: those whose inputs are the trunk and the branch, or a beginning of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tree:
    """Sequences that are read together: all begin with the trunk. A single one is all trunk."""

    trunk: Tokens
    branches: tuple[Branch, ...]

    @property
    def size(self) -> int:
        """Tokens to read."""
        return len(self.trunk) + sum(len(branch.tokens) for branch in self.branches)

    @property
    def longest(self) -> int:
        """Tokens of its longest sequence."""
        return len(self.trunk) + max(len(branch.tokens) for branch in self.branches)

    @property
    def is_single(self) -> bool:
        """Whether it is one sequence."""
        return len(self.branches) == 1


class Cost(Protocol):
    """What it costs to read a tree, in any unit."""

    def __call__(self, trunk: int, branches: int, count: int) -> float:
        """Return the cost of a trunk of so many tokens with `count` branches of so many tokens in all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sequence:
    """A sequence that is no beginning of another one."""

    tokens: Tokens
    questions: tuple[int, ...]
    first: int
    """The first position whose logits are needed; a trunk ends there, for its last logits are kept and no others."""


def grow(questions: Sequence[Question], cost: Cost, most_branches: int = _MOST_BRANCHES) -> list[Tree]:
    """Return trees that answer all questions between them, cut at the least cost.

    Args:
        questions: in any order; equal ones are answered together.
        cost: of reading a tree.
        most_branches: of one tree.
    """
    sequences = list(_sequences(questions))
    return [_tree(sequences[start:stop], trunk) for start, stop, trunk in _cut(sequences, cost, most_branches)]


def _sequences(questions: Sequence[Question]) -> Iterator[_Sequence]:
    """Yield the sequences to read, sorted: those that begin another are answered with it, and need no reading."""
    order = sorted(range(len(questions)), key=lambda number: questions[number].inputs)
    gathered: list[int] = []
    for place, number in enumerate(order):
        gathered.append(number)
        inputs = questions[number].inputs
        # Everything between a sequence and its continuation in sorted order continues it too.
        if place + 1 < len(order) and questions[order[place + 1]].inputs[: len(inputs)] == inputs:
            continue
        first = min(questions[each].first for each in gathered)
        yield _Sequence(tokens=inputs, questions=tuple(gathered), first=first)
        gathered = []


class _Cut(NamedTuple):
    """The cheapest way to read the sequences up to some place, and the run it ends with."""

    cost: float
    start: int
    trunk: int


def _cut(sequences: Sequence[_Sequence], cost: Cost, most_branches: int) -> list[tuple[int, int, int]]:
    """Return the runs (start, stop, trunk length) of least total cost, by dynamic programming over their ends."""
    common = [0, *(_common(one.tokens, two.tokens) for one, two in zip(sequences, sequences[1:], strict=False))]
    best = [_Cut(0.0, 0, 0)]
    for stop, last in enumerate(sequences, start=1):
        length = len(last.tokens)
        found = _Cut(best[stop - 1].cost + cost(length, 0, 1), stop - 1, length)
        trunk, total = length, length
        for start in range(stop - 2, max(-1, stop - 1 - most_branches), -1):
            trunk = min(trunk, common[start + 1], sequences[start].first + 1, last.first + 1)
            if trunk < LEAST_SHARED:
                break
            total += len(sequences[start].tokens)
            count = stop - start
            whole = best[start].cost + cost(trunk, total - count * trunk, count)
            if whole < found.cost:
                found = _Cut(whole, start, trunk)
        best.append(found)
    runs, stop = [], len(sequences)
    while stop:
        runs.append((best[stop].start, stop, best[stop].trunk))
        stop = best[stop].start
    return runs[::-1]


def _common(one: Tokens, two: Tokens) -> int:
    """Return how many tokens two sequences begin with in common."""
    low, high = 0, min(len(one), len(two))  # by bisection: comparing slices is fast
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == two[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _tree(run: Sequence[_Sequence], trunk: int) -> Tree:
    branches = (Branch(sequence.tokens[trunk:], sequence.questions) for sequence in run)
    return Tree(trunk=run[0].tokens[:trunk], branches=tuple(branches))
