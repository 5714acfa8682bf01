"""Products with weights in panels are those of the weights, for any number of rows, on any number of threads."""

import pytest
import torch

from timetrial_plugins.ops.native.build import build_problem
from timetrial_plugins.ops.native.native_ops import DTYPES, native_kernels

pytestmark = pytest.mark.skipif(build_problem() is not None, reason=str(build_problem()))

ROWS = (1, 2, 3, 5, 6, 7, 8, 9, 24, 31, 32, 33, 40, 77, 300)  # fewer than a block, between, and more than a chunk


@pytest.fixture(params=[1, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def drawn(*shape, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


def assert_same(result, expected):
    """Compare with what was worked out in float64: bfloat16 results are rounded once."""
    precision = {"rtol": 1e-5, "atol": 1e-4} if result.dtype == torch.float32 else {"rtol": 1e-2, "atol": 1e-2}
    torch.testing.assert_close(result.double(), expected, **precision)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("outputs", [1, 31, 32, 100])
@pytest.mark.parametrize("inputs", [64, 61, 1])
def test_it_is_the_product(threads, inputs, outputs, dtype):
    weight, bias = drawn(outputs, inputs, dtype=dtype), drawn(outputs, dtype=dtype)
    kernels = native_kernels(dtype)
    plain, biased = kernels.product(weight, None), kernels.product(weight, bias)
    for rows in ROWS:
        x = drawn(rows, 2 * inputs, dtype=dtype)[:, :inputs]  # rows may lie apart
        expected = x.double() @ weight.double().T
        assert_same(plain(x), expected)
        assert_same(biased(x), expected + bias.double())


@pytest.mark.parametrize("dtype", DTYPES)
def test_it_is_added_to_what_there_is_or_written_where_it_belongs(dtype):
    weight, x, there = drawn(40, 16, dtype=dtype), drawn(3, 2, 16, dtype=dtype), drawn(3, 2, 40, dtype=dtype)
    product = native_kernels(dtype).product(weight, None)
    expected = x.double() @ weight.double().T
    assert_same(product(x, onto=there.clone()), expected + there.double())
    logits = torch.full((5, 60), 7.0)
    product(x[0], out=logits[1:3, :40])
    assert torch.equal(logits[1:3, :40], product(x[0]).float()), "float32, rounded as the others are"
    assert (logits[1:3, 40:] == 7).all() and (logits[[0, 3, 4]] == 7).all(), "nothing else is touched"


def test_a_row_does_not_depend_on_the_others():
    weight, x = drawn(100, 64), drawn(300, 64)
    product = native_kernels(torch.float32).product(weight, None)
    whole = product(x)
    for rows in ROWS:
        assert torch.equal(product(x[:rows]), whole[:rows])


def test_weights_are_taken_as_they_are():
    weight, bias, x = drawn(8, 4), drawn(8), drawn(1, 4)
    product = native_kernels(torch.float32).product(weight, bias)
    before = product(x)
    weight.zero_(), bias.zero_()
    assert torch.equal(product(x), before)
