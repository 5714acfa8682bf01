"""A matrix times one vector, laid out for one thread or for several."""

import pytest
import torch

from timetrial_plugins.models.single_row import SingleRow
from timetrial_plugins.ops.native.build import build_problem
from timetrial_plugins.ops.native.native_ops import native_kernels


@pytest.fixture(params=["pytorch", "native"])
def row_products(request):
    if request.param == "pytorch":
        return SingleRow
    if (problem := build_problem()) is not None:
        pytest.skip(problem)
    return native_kernels(torch.float32).row_products


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("outputs", [1, 2, 583, 768])
@pytest.mark.parametrize("inputs", [64, 61, 5])
def test_it_is_the_product_whatever_the_number_of_threads(row_products, threads, inputs, outputs):
    generator = torch.Generator().manual_seed(outputs)
    weight = torch.randn(outputs, inputs, generator=generator)
    product = row_products(weight)
    for rows in {1, 2, 5, product.most_rows}:
        if rows <= product.most_rows:
            x = torch.randn(rows, 2 * inputs, generator=generator)[:, :inputs]  # rows may lie apart
            result = product(x)
            assert result.shape == (rows, outputs)
            torch.testing.assert_close(result.double(), x.double() @ weight.double().T, rtol=1e-5, atol=1e-4)


def test_it_stays_right_when_the_number_of_threads_changes_afterwards(row_products, threads):
    weight, x = torch.randn(10, 8), torch.randn(1, 8)
    single = row_products(weight)
    torch.set_num_threads(4)
    torch.testing.assert_close(single(x), x @ weight.T)
