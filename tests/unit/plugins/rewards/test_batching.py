"""Which solutions are read together, and what they share."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from timetrial_plugins.rewards.batching import shared_prefix, token_batches
from timetrial_plugins.rewards.formats.encoded import Encoded


def solution(tokens: list[int], first: int) -> Encoded:
    return Encoded(tuple(tokens), (min(first, len(tokens) - 1), len(tokens) - 1), 0)


SOLUTIONS = st.lists(
    st.builds(solution, st.lists(st.integers(0, 1), min_size=1, max_size=12), st.integers(0, 11)), max_size=6
)


@given(SOLUTIONS)
def test_the_prefix_is_the_longest_that_all_share_and_that_holds_no_score(solutions: list[Encoded]) -> None:
    prefix = shared_prefix(solutions)
    if len(solutions) < 2:
        assert prefix == 0
        return
    assert len({one.tokens[:prefix] for one in solutions}) == 1
    assert all(prefix <= one.positions[0] for one in solutions)
    is_longest = len({one.tokens[: prefix + 1] for one in solutions}) > 1
    assert is_longest or any(prefix == one.positions[0] for one in solutions)


@given(st.lists(st.integers(1, 50), max_size=30), st.integers(1, 200))
def test_every_sequence_is_in_one_batch_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = token_batches(lengths, budget)
    assert sorted(number for batch in batches for number in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[number] for number in batch) <= budget
    longest = [max(lengths[number] for number in batch) for batch in batches]
    assert longest == sorted(longest, reverse=True)


def test_sequences_of_like_length_meet() -> None:
    assert token_batches([3, 9, 3, 8, 3, 9], budget=27) == [[1, 5, 3], [0, 2, 4]]
