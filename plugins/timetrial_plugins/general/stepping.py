"""Answer questions about trees with any module that decodes: trunks are read once, branches in steps, all together.

A recurrence keeps one state a sequence, so what a trunk left is copied to a row for each of its branches.

Shapes: B rows, V vocabulary.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from timetrial_plugins.engine.batch import LEAST_SHARERS, PrefilledPrompt, closing_moves, read_prompts
from timetrial_plugins.general.reading import Likely, Module, Wanted, likelihoods
from timetrial_plugins.general.sharing import Branch, Question, Tokens, Tree
from timetrial_plugins.models.interface import DecodeState

_MOST_TOKENS_READ = 8192  # at once: what is made of them on the way takes memory


class _Row(NamedTuple):
    """A branch that is being read."""

    branch: Branch
    trunk: int
    """How many tokens came before it."""


def step_through(module: Module, trees: Sequence[Tree], questions: Sequence[Question]) -> Iterator[Likely]:
    """Yield how likely each target of the trees' questions is."""
    with torch.inference_mode():
        num_rows = sum(len(tree.branches) for tree in trees)
        state = module.init_state(num_rows, max(tree.longest for tree in trees))
        rows = []
        for tree, prompt in _read_trunks(module, trees):
            its_rows = [_Row(branch, len(tree.trunk)) for branch in tree.branches]
            yield from _answer(prompt.logits.expand(len(its_rows), -1), its_rows, -1, questions)
            is_shared = state.lengths.device.type == "cpu" and len(its_rows) >= LEAST_SHARERS
            (state.share if is_shared else state.append)(prompt.state, len(its_rows), prompt.row)
            rows += its_rows
        step = 0
        while rows:
            tokens = torch.tensor([row.branch.tokens[step] for row in rows], device=state.lengths.device)
            yield from _answer(module.step(tokens, state), rows, step, questions)
            step += 1
            rows = _without_finished(rows, step, state)


def _read_trunks(module: Module, trees: Sequence[Tree]) -> Iterator[tuple[Tree, PrefilledPrompt]]:
    """Yield the trees with what their trunks left in a state; trunks of one length are read together."""
    device = module.anatomy.embedding.weight.device
    by_length: dict[int, list[Tree]] = defaultdict(list)
    for tree in trees:
        by_length[len(tree.trunk)].append(tree)
    for length, alike in by_length.items():
        size = max(1, _MOST_TOKENS_READ // length)
        for start in range(0, len(alike), size):
            some = alike[start : start + size]
            trunks: list[Tokens] = [tree.trunk for tree in some]
            yield from zip(some, read_prompts(module, trunks, device), strict=True)


def _answer(logits: Tensor, rows: Sequence[_Row], step: int, questions: Sequence[Question]) -> Iterator[Likely]:
    """Yield what `logits` (B, V), after so many tokens of each row's branch and one, answer."""
    wanted = []
    for place, row in enumerate(rows):
        for number in row.branch.questions:
            asked = row.trunk + step - questions[number].first
            if 0 <= asked < len(questions[number].targets):
                wanted.append(Wanted(place, questions[number].targets[asked], number))
    if wanted:
        yield from likelihoods(logits, wanted)


def _without_finished(rows: list[_Row], step: int, state: DecodeState) -> list[_Row]:
    """Take the rows out whose branches have been read; return those that are left, in their places in the state."""
    finished = {place for place, row in enumerate(rows) if len(row.branch.tokens) == step}
    if not finished:
        return rows
    left = list(rows)
    moves = closing_moves(len(rows), finished)
    for source, target in moves:
        left[target] = rows[source]
    both = torch.tensor(moves, dtype=torch.int64, device=state.lengths.device).reshape(-1, 2)
    sources, targets = both.unbind(1)
    state.move(sources, targets, len(rows) - len(finished))
    return left[: len(rows) - len(finished)]
