"""Rows of a batch are read in spans, and kept in an order in which spans waste little, whoever leaves."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timetrial_plugins.engine.batch import Move, sorting_moves
from timetrial_plugins.models.spans import ROWS_TOGETHER, Span, spans_of

SLOTS = st.lists(st.integers(0, 500), max_size=100)


def after(rows: Sequence[int], moves: Sequence[Move], left: int) -> list[int]:
    """Return the rows that are left where moves put them, one after the other."""
    places = list(rows)
    for source, target in moves:
        places[target] = places[source]
    return places[:left]


@given(SLOTS, st.integers(1, 5000))
def test_spans_are_all_rows_in_order_and_reach_their_last_slots(slots: list[int], least_saved: int) -> None:
    spans = spans_of(slots, least_saved)
    assert [row for span in spans for row in range(span.start, span.stop)] == list(range(len(slots)))
    for span in spans:
        assert (span.least, span.most) == (min(slots[span.rows]), max(slots[span.rows]))


@given(SLOTS, st.integers(1, 5000))
def test_every_border_saves_what_it_must(slots: list[int], least_saved: int) -> None:
    spans = spans_of(slots, least_saved)
    for span, after_it in zip(spans, spans[1:], strict=False):
        assert span.joined(after_it).read - span.read - after_it.read >= least_saved


def test_rows_alike_are_one_span_and_a_long_one_among_many_is_read_by_itself() -> None:
    assert spans_of([7] * 64, 1) == [Span(0, 64, 7, 7)]
    assert spans_of([300] * ROWS_TOGETHER + [10] * 40, 1000) == [
        Span(0, ROWS_TOGETHER, 300, 300),
        Span(ROWS_TOGETHER, ROWS_TOGETHER + 40, 10, 10),
    ]


def test_a_span_grows_with_its_rows() -> None:
    assert Span(2, 5, 3, 9).later() == Span(2, 5, 4, 10)


@st.composite
def leaving(draw: st.DrawFn) -> tuple[list[int], set[int]]:
    """Slots of each row, and the rows that leave."""
    slots = draw(SLOTS)
    return slots, draw(st.sets(st.sampled_from(range(len(slots))))) if slots else set()


@given(leaving())
def test_the_rows_left_are_the_first_whether_moves_are_done_at_once_or_one_after_the_other(
    case: tuple[list[int], set[int]],
) -> None:
    slots, dropped = case
    left, rows = len(slots) - len(dropped), list(range(len(slots)))
    moves = sorting_moves(slots, dropped)
    assert sorted(after(rows, moves, left)) == [row for row in rows if row not in dropped]
    at_once = list(rows)
    for source, target in moves:
        at_once[target] = rows[source]
    assert at_once[:left] == after(rows, moves, left) and all(source > target for source, target in moves)


@given(leaving())
def test_a_sorted_batch_stays_sorted_from_span_to_span(case: tuple[list[int], set[int]]) -> None:
    slots, dropped = sorted(case[0], reverse=True), case[1]
    left = after(slots, sorting_moves(slots, dropped), len(slots) - len(dropped))
    blocks = [left[start : start + ROWS_TOGETHER] for start in range(0, len(left), ROWS_TOGETHER)]
    for block, later in zip(blocks, blocks[1:], strict=False):
        assert min(block) > max(later) - 32


@pytest.mark.parametrize("slots", [[40] * 64, list(range(63, -1, -1))], ids=["alike", "of all lengths"])
def test_a_place_costs_one_move_where_rows_are_alike_and_at_most_one_a_span_elsewhere(slots: list[int]) -> None:
    assert sorting_moves([40] * 64, [3]) == [Move(63, 3)]
    assert len(sorting_moves(slots, [3])) <= len(slots) / ROWS_TOGETHER
    assert sorting_moves(slots, [63, 62]) == [] and sorting_moves(slots, range(64)) == []
