"""Answer questions by reading trees in whole forward passes; only the positions asked about reach the output head.

Attention reads a tree in one row: trunk and branches one after the other, each branch counting its positions from the
trunk's end and seeing the trunk and itself. A recurrence cannot; its trunks are read once and its branches step by
step, see `stepping.py`.

Shapes: B rows, T tokens, D model width, V vocabulary, U positions asked about.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from timetrial_plugins.general.sharing import Question, Tree
from timetrial_plugins.models.attention import SequenceView
from timetrial_plugins.models.interface import CausalModule
from timetrial_plugins.models.scan.precision import widen

MOST_LOGITS = 2**25
"""Numbers in one (U, V) tensor of logits: an eighth of a GiB in float32."""

Module = CausalModule[Any]  # Any: nothing here looks into a family's state


class Likely(NamedTuple):
    """How likely a model finds one token."""

    question: int
    log_probability: float
    is_greedy: bool
    """Whether no token is likelier."""


class Wanted(NamedTuple):
    """A token asked about."""

    place: int
    """Which of the positions."""
    target: int
    question: int


def is_attention_only(module: Module) -> bool:
    """Whether all a module remembers are keys and values, so that a mask decides what a token sees."""
    return module.footprint.state_bytes == 0


def read(module: Module, trees: Sequence[Tree], questions: Sequence[Question]) -> Iterator[Likely]:
    """Yield how likely each target of the trees' questions is; trees with branches need a module of attention only."""
    embedding = module.anatomy.embedding.weight
    rows = [[*tree.trunk, *(token for branch in tree.branches for token in branch.tokens)] for tree in trees]
    length = max(map(len, rows))
    tokens = torch.tensor([row + [0] * (length - len(row)) for row in rows], device=embedding.device)
    with torch.inference_mode():
        # To the right of a row nothing is asked, and nothing there is seen from the left.
        view = module.view(tokens, None)
        if not all(tree.is_single for tree in trees):
            view = _tree_view(view, trees, length, embedding.device)
        hidden = module.anatomy.embedding(tokens)  # (B, T, D)
        for layer in module.anatomy.layers:
            hidden, _ = layer(hidden, view)
        places, wanted = _wanted(trees, questions)
        chosen = hidden.flatten(0, 1)[torch.tensor([row * length + column for row, column in places]).to(hidden.device)]
        yield from _answer(module, chosen, wanted)


def likelihoods(logits: Tensor, wanted: Sequence[Wanted]) -> Iterator[Likely]:
    """Yield how likely the targets are by `logits` (U, V), in float32 or wider."""
    places, targets, _ = torch.tensor(wanted, device=logits.device).unbind(1)
    log_probabilities = logits[places, targets] - logits.logsumexp(dim=1)[places]
    is_greedy = logits.argmax(dim=1)[places] == targets
    for one, log_probability, greedy in zip(wanted, log_probabilities.tolist(), is_greedy.tolist(), strict=True):
        yield Likely(one.question, log_probability, greedy)


def _answer(module: Module, hidden: Tensor, wanted: Sequence[Wanted]) -> Iterator[Likely]:
    """Run the output head over the positions asked about, `hidden` (U, D), some at a time."""
    size = max(1, MOST_LOGITS // module.vocab_size)
    for start in range(0, len(hidden), size):
        logits = _head(module, hidden[start : start + size])
        asked = [one._replace(place=one.place - start) for one in wanted if start <= one.place < start + size]
        yield from likelihoods(logits, asked)


def _head(module: Module, hidden: Tensor) -> Tensor:  # (U, D) -> (U, V)
    """Return the logits of the last layer's outputs; rows that pad the vocabulary are no tokens."""
    norm, head = module.anatomy.norm, module.anatomy.head
    bias = getattr(head, "bias", None)
    size = module.vocab_size
    return widen(functional.linear(norm(hidden), head.weight[:size], None if bias is None else bias[:size]))


def _wanted(trees: Sequence[Tree], questions: Sequence[Question]) -> tuple[list[tuple[int, int]], list[Wanted]]:
    """Return the (row, column) of each position asked about, and what is asked there."""
    places: dict[tuple[int, int], int] = {}
    wanted = []
    for row, tree in enumerate(trees):
        trunk = len(tree.trunk)
        starts = accumulate((len(branch.tokens) for branch in tree.branches), initial=0)
        for start, branch in zip(starts, tree.branches, strict=False):
            for number in branch.questions:
                question = questions[number]
                for position, target in enumerate(question.targets, start=question.first):
                    column = position if position < trunk else position + start
                    wanted.append(Wanted(places.setdefault((row, column), len(places)), target, number))
    return list(places), wanted


def _tree_view(view: SequenceView, trees: Sequence[Tree], length: int, device: torch.device) -> SequenceView:
    """Return what layers must know of rows that hold a tree each: positions, and who sees whom."""
    positions = torch.zeros(len(trees), length, dtype=torch.int64)
    branch_ids = torch.zeros(len(trees), length, dtype=torch.int64)  # 0 for the trunk
    for row, tree in enumerate(trees):
        start = len(tree.trunk)
        positions[row, :start] = torch.arange(start)
        for number, branch in enumerate(tree.branches, start=1):
            stop = start + len(branch.tokens)
            positions[row, start:stop] = torch.arange(len(tree.trunk), len(tree.trunk) + stop - start)
            branch_ids[row, start:stop] = number
            start = stop
    branch_ids = branch_ids.to(device)
    keys, queries = branch_ids[:, None, :], branch_ids[:, :, None]
    is_seen = ((keys == 0) | (keys == queries)).tril()  # (B, T, T)
    return view._replace(tables=view.tables.at(positions.to(device)), mask=is_seen[:, None])
