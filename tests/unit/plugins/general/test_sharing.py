"""Sequences with a common beginning become trees; every question is answered by exactly one of them."""

from __future__ import annotations

import math
import random
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timetrial_plugins.general.sharing import LEAST_SHARED, Question, Tree, grow


def tokens_read(trunk: int, branches: int, count: int) -> float:
    return trunk + branches


def steps_are_dear(trunk: int, branches: int, count: int) -> float:
    return trunk + 5 * branches


def nothing_shared(trunk: int, branches: int, count: int) -> float:
    return trunk if count == 1 else math.inf


def question(context: list[int], continuation: list[int]) -> Question:
    return Question(tuple(context + continuation)[:-1], tuple(continuation))


def total(trees: list[Tree]) -> int:
    return sum(tree.size for tree in trees)


CONTEXT = list(range(100, 130))
FEW_SHOT = list(range(200, 260))


def test_continuations_of_one_context_share_it():
    (tree,) = grow([question(CONTEXT, [1, 2, 3]), question(CONTEXT, [4, 5]), question(CONTEXT, [6, 7, 8])], tokens_read)
    assert tree.trunk == tuple(CONTEXT)
    assert sorted(branch.tokens for branch in tree.branches) == [(1, 2), (4,), (6, 7)]


def test_single_token_continuations_need_nothing_but_their_context():
    (tree,) = grow([question(CONTEXT, [token]) for token in range(4)], tokens_read)
    assert tree.is_single and tree.trunk == tuple(CONTEXT)
    assert sorted(tree.branches[0].questions) == [0, 1, 2, 3]


def test_a_continuation_that_begins_another_one_is_answered_with_it():
    (tree,) = grow([question(CONTEXT, [1, 2]), question(CONTEXT, [1, 2, 3, 4])], tokens_read)
    assert tree.is_single and tree.size == len(CONTEXT) + 3


def test_questions_behind_the_same_worked_examples_share_them():
    questions = [question([*FEW_SHOT, *range(10 * i, 10 * i + 9)], [token]) for i in range(5) for token in (1, 2)]
    (tree,) = grow(questions, tokens_read)
    assert tree.trunk == tuple(FEW_SHOT) and len(tree.branches) == 5


def test_nothing_is_shared_where_it_costs_more_than_it_saves():
    questions = [question([*CONTEXT[:10], *range(50 * i, 50 * i + 40)], [1, 2]) for i in range(4)]
    assert all(tree.is_single for tree in grow(questions, steps_are_dear))


def test_a_trunk_never_covers_a_position_that_is_asked_about():
    """Continuations may begin alike; a trunk keeps the logits of its last token only."""
    (tree,) = grow([question(CONTEXT, [1, 2, 3, 4]), question(CONTEXT, [1, 2, 5, 6])], tokens_read)
    assert tree.trunk == tuple(CONTEXT)


def test_a_tree_has_no_more_branches_than_allowed():
    trees = grow([question(CONTEXT, [token, 1]) for token in range(10)], tokens_read, most_branches=4)
    assert max(len(tree.branches) for tree in trees) == 4
    assert sum(len(tree.branches) for tree in trees) == 10


@pytest.mark.parametrize("cost", [tokens_read, steps_are_dear, nothing_shared])
@settings(deadline=None)
@given(data=st.data())
def test_every_question_is_asked_once_where_its_tokens_are_read(cost, data):
    draw = random.Random(data.draw(st.integers(0, 10**6)))
    contexts = [[draw.randrange(3) for _ in range(draw.randrange(1, 30))] for _ in range(draw.randrange(1, 5))]
    prefix = [7] * draw.randrange(12)
    questions = [
        question(prefix + context, [draw.randrange(3) for _ in range(draw.randrange(1, 5))])
        for context in contexts
        for _ in range(draw.randrange(1, 5))
    ]
    trees = grow(questions, cost)
    answered = [number for tree in trees for branch in tree.branches for number in branch.questions]
    assert sorted(answered) == list(range(len(questions)))
    for tree in trees:
        assert tree.is_single or len(tree.trunk) >= LEAST_SHARED
        for branch in tree.branches:
            for number in branch.questions:
                assert (tree.trunk + branch.tokens)[: len(questions[number].inputs)] == questions[number].inputs
                assert tree.is_single or questions[number].first >= len(tree.trunk) - 1


def test_the_cut_is_the_cheapest_of_all():
    draw = random.Random(4)
    for _ in range(30):
        heads = [[draw.randrange(2) for _ in range(10)] for _ in range(2)]
        questions = [question(draw.choice(heads) + [draw.randrange(4) for _ in range(6)], [9]) for _ in range(6)]
        inputs = sorted({each.inputs for each in questions})
        grown = sum(cost_of(tree, steps_are_dear) for tree in grow(questions, steps_are_dear))
        cuts = product([False, True], repeat=len(inputs) - 1)
        assert grown == pytest.approx(min(cost_of_cut(inputs, cut) for cut in cuts))


def cost_of(tree: Tree, cost) -> float:
    return cost(len(tree.trunk), sum(len(branch.tokens) for branch in tree.branches), len(tree.branches))


def cost_of_cut(inputs, is_cut) -> float:
    runs = [[inputs[0]]]
    for tokens, cuts in zip(inputs[1:], is_cut, strict=True):
        runs.append([tokens]) if cuts else runs[-1].append(tokens)
    return sum(cost_of_run(run) for run in runs)


def cost_of_run(run) -> float:
    if len(run) == 1:
        return steps_are_dear(len(run[0]), 0, 1)
    trunk = next((n for n in range(len(run[0])) if len({tokens[n] for tokens in run}) > 1), len(run[0]))
    if trunk < LEAST_SHARED:
        return math.inf
    return steps_are_dear(trunk, sum(len(tokens) - trunk for tokens in run), len(run))
