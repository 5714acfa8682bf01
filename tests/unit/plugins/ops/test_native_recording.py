"""Calls of native kernels that are recorded once do what was recorded, for any number of rows, and miss nothing."""

import pytest
import torch

from timetrial_plugins.ops.native.build import build_problem
from timetrial_plugins.ops.native.native_ops import native_kernels
from timetrial_plugins.ops.native.recording import NotRecordedError, Recording
from timetrial_plugins.ops.step_ops import NormWeights

pytestmark = pytest.mark.skipif(build_problem() is not None, reason=str(build_problem()))

ROWS, WIDTH = 9, 16


@pytest.fixture
def kernels():
    return native_kernels(torch.float32)


def chain(kernels):
    """A few operations from one static tensor to another, and a function that does them for some rows."""
    generator = torch.Generator().manual_seed(0)
    hidden, result = torch.randn(ROWS, WIDTH, generator=generator), torch.zeros(ROWS, 8)
    norm = NormWeights(torch.rand(WIDTH, generator=generator) + 0.5, 1e-5, False)
    wide, narrow = (kernels.product(torch.randn(*shape, generator=generator), None) for shape in ((32, WIDTH), (8, 16)))

    def do(rows):
        normed = kernels.add_norm(hidden[:rows], None, norm)
        narrow(kernels.gated_product(wide(normed)), out=result[:rows])

    return hidden, result, do


def test_what_was_recorded_is_done_for_any_number_of_rows(kernels):
    hidden, result, do = chain(kernels)
    calls = kernels.recorded(lambda: do(ROWS), ROWS)
    assert not result.any(), "recording does nothing yet"
    for rows in (ROWS, 1, 4):
        hidden += 1
        do(rows)
        expected = result.clone()
        result.zero_()
        calls(rows)
        assert torch.equal(result[:rows], expected[:rows]) and not result[rows:].any()


def test_calls_keep_the_room_they_work_in(kernels):
    _, result, do = chain(kernels)
    do(ROWS)
    expected = result.clone()
    calls = kernels.recorded(lambda: do(ROWS), ROWS)
    others = [torch.full((ROWS, width), torch.nan) for width in (8, 16, 32) for _ in range(50)]
    calls(ROWS)
    assert torch.equal(result, expected) and all(other.isnan().all() for other in others)


def test_calls_that_are_timed_are_made_all_the_same(kernels):
    _, result, do = chain(kernels)
    do(ROWS)
    expected = result.clone()
    result.zero_()
    timed = kernels.recorded(lambda: do(ROWS), ROWS).timed(ROWS)
    assert torch.equal(result, expected)
    assert [name for name, _ in timed] == ["add_norm", "product", "gated_product", "product"]
    assert all(seconds >= 0 for _, seconds in timed)


@pytest.mark.parametrize(
    "other", [lambda x: x + 1, lambda x: x.clone(), lambda x: x.mT.contiguous(), lambda x: x.mul_(2), torch.zeros_like]
)
def test_what_would_be_missed_is_refused_before_anything_is_done(kernels, other):
    hidden, result, do = chain(kernels)

    def both():
        do(ROWS)
        other(hidden)

    before = hidden.clone()
    with pytest.raises(NotRecordedError, match="a step calls aten"):
        kernels.recorded(both, ROWS)
    assert torch.equal(hidden, before) and not result.any()
    do(ROWS)
    assert result.any(), "and afterwards calls are made at once again"


def test_views_are_let_through(kernels):
    hidden, _, do = chain(kernels)

    def both():
        do(ROWS)
        hidden[:4].unflatten(1, (2, -1)).transpose(1, 2)[1:, 0].unsqueeze(0)

    calls = kernels.recorded(both, ROWS)
    assert len(calls.timed(ROWS)) == 4


def test_results_of_a_width_have_two_places_in_turn():
    recording = Recording(4)
    places = [recording.room(8, torch.float32).data_ptr() for _ in range(6)]
    assert len(set(places)) == 2 and places[::2] == places[:1] * 3
    assert recording.room(8, torch.float64).data_ptr() not in places and recording.room(9, torch.float32).shape == (
        4,
        9,
    )
