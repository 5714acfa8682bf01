"""Plans as pieces: properties that hold for any lengths, any row length, any seed."""

from collections import Counter
from itertools import takewhile

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from timetrial.error import UsageError
from timetrial_distillation.data.best_fit import BestFitPlan, best_fit
from timetrial_distillation.data.concat import ConcatPlan
from timetrial_distillation.data.packed import make_plan, summarise_packing
from timetrial_distillation.data.plan import PlanConfig

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=60).map(lambda sizes: np.array(sizes, dtype=np.int32))
CONFIGS = {
    "length": st.integers(2, 50),
    "seed": st.integers(0, 2**64),
    "window": st.integers(1, 20),
}


def epoch_rows(plan, epoch):
    """All rows of an epoch, after those of the epochs before it."""
    position, rows = 0, []
    while (its_epoch := plan.epoch(position)) <= epoch:
        if its_epoch == epoch:
            rows.append(plan.row(position))
        position += 1
    return rows


@settings(deadline=None, max_examples=50)
@given(lengths=LENGTHS, config=st.builds(PlanConfig, mode=st.just("concat"), **CONFIGS), epoch=st.integers(0, 2))
def test_concat_loses_and_doubles_no_token(lengths, config, epoch):
    rows = epoch_rows(ConcatPlan(lengths, config), epoch)
    places = Counter((p.document, place) for row in rows for p in row for place in range(p.start, p.stop))
    assert places == Counter((document, place) for document, n in enumerate(lengths) for place in range(n))


@settings(deadline=None, max_examples=50)
@given(lengths=LENGTHS, config=st.builds(PlanConfig, mode=st.just("concat"), **CONFIGS))
def test_concat_pads_one_row_an_epoch_at_most(lengths, config):
    rows = epoch_rows(ConcatPlan(lengths, config), 0)
    short = [row for row in rows if sum(p.stop - p.start for p in row) < config.length]
    assert len(short) <= 1 and all(p.start < p.stop for row in rows for p in row)
    assert len(rows) == -(-int(lengths.sum()) // config.length)


@settings(deadline=None, max_examples=50)
@given(lengths=LENGTHS, config=st.builds(PlanConfig, mode=st.just("bfd"), **CONFIGS), epoch=st.integers(0, 2))
def test_best_fit_has_every_document_that_fits_whole_and_once(lengths, config, epoch):
    assume(lengths.min() <= config.length)
    rows = epoch_rows(BestFitPlan(lengths, config), epoch)
    pieces = [piece for row in rows for piece in row]
    assert all((piece.start, piece.stop) == (0, lengths[piece.document]) for piece in pieces)
    assert sorted(piece.document for piece in pieces) == np.flatnonzero(lengths <= config.length).tolist()
    assert all(0 < sum(piece.stop for piece in row) <= config.length for row in rows)


@settings(deadline=None, max_examples=50)
@given(
    lengths=LENGTHS,
    config=st.builds(PlanConfig, mode=st.sampled_from(["bfd", "concat"]), **CONFIGS),
    positions=st.lists(st.integers(0, 79), max_size=8),
)
def test_a_row_is_a_function_of_its_position_whatever_was_asked_before(lengths, config, positions):
    assume(config.mode == "concat" or lengths.min() <= config.length)
    walked = make_plan(lengths, config)
    in_order = [list(walked.row(position)) for position in range(80)]
    jumping = make_plan(lengths, config)
    for position in positions:
        assert list(jumping.row(position)) == in_order[position]
        assert jumping.epoch(position) == walked.epoch(position)


@pytest.mark.parametrize("mode", ["bfd", "concat"])
def test_epochs_and_seeds_differ_in_their_order(mode):
    lengths = np.random.default_rng(0).integers(5, 60, 300).astype(np.int32)
    firsts = [epoch_rows(make_plan(lengths, PlanConfig(length=64, mode=mode, seed=seed)), 0) for seed in (0, 1)]
    plan = make_plan(lengths, PlanConfig(length=64, mode=mode))
    assert firsts[0] == epoch_rows(plan, 0)
    assert len({repr(rows[:3]) for rows in (*firsts, epoch_rows(plan, 1))}) == 3


def test_pieces_of_a_long_document_do_not_follow_one_another():
    plan = ConcatPlan(np.array([10_000], dtype=np.int32), PlanConfig(length=100, mode="concat"))
    starts = [plan.row(position)[0].start for position in range(100)]
    assert sorted(starts) == list(range(0, 10_000, 100)) and starts != sorted(starts)
    assert sum(after - before == 100 for before, after in zip(starts, starts[1:], strict=False)) < 10


def test_rows_that_best_fit_fills_first_do_not_come_first():
    lengths = np.arange(1, 1001, dtype=np.int32)
    rows = epoch_rows(BestFitPlan(lengths, PlanConfig(length=1024)), 0)
    longest = [max(piece.stop for piece in row) for row in rows]
    assert abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.2


@settings(deadline=None, max_examples=50)
@given(sizes=st.lists(st.integers(1, 30), max_size=60), capacity=st.integers(30, 80))
def test_best_fit_is_what_a_naive_one_does(sizes, capacity):
    bins, rooms = [], []
    for item in sorted(range(len(sizes)), key=lambda item: -sizes[item]):
        fitting = [number for number, room in enumerate(rooms) if room >= sizes[item]]
        if not fitting:
            bins.append([])
            rooms.append(capacity)
            fitting = [len(bins) - 1]
        fullest = min(fitting, key=lambda number: rooms[number])
        bins[fullest].append(item)
        rooms[fullest] -= sizes[item]
    assert best_fit(sizes, capacity) == bins


def test_large_windows_fill_rows_to_the_brim():
    lengths = np.random.default_rng(0).integers(20, 901, 20_000).astype(np.int32)
    fills = [summarise_packing(lengths, PlanConfig(length=8192, window=window)).fill for window in (500, 4096)]
    assert 0.97 < fills[0] < 0.99 < fills[1]


def test_the_summary_counts_what_is_too_long():
    lengths = np.array([10, 100, 101, 200] * 50, dtype=np.int32)
    summary = summarise_packing(lengths, PlanConfig(length=100))
    assert (summary.documents_left_out, summary.tokens_left_out) == (100, 50 * 301)
    plan = BestFitPlan(lengths, PlanConfig(length=100))
    assert summary.num_rows == len(list(takewhile(lambda p: plan.epoch(p) == 0, range(10**6)))) == 55
    assert summary.fill == pytest.approx(5500 / 5500)
    nothing = summarise_packing(lengths, PlanConfig(length=100, mode="concat"))
    assert (nothing.documents_left_out, nothing.tokens_left_out, nothing.num_rows) == (0, 0, 206)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"length": 1}, "length is 1"),
        ({"length": 8, "mode": "wrapped"}, "mode is 'wrapped'"),
        ({"length": 8, "window": 0}, "window is 0"),
    ],  # fmt: skip # noqa: E501
)
def test_impossible_plans_are_refused(values, message):
    with pytest.raises(UsageError, match=message):
        PlanConfig(**values)


def test_documents_that_are_all_too_long_are_refused():
    with pytest.raises(UsageError, match=r"no document fits into a row of 8 tokens \(the shortest has 9\)"):
        BestFitPlan(np.array([9, 12], dtype=np.int32), PlanConfig(length=8))
