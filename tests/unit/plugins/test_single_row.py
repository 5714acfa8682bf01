"""A matrix times one vector, laid out for one thread or for several."""

import pytest
import torch

from timetrial_plugins.models.single_row import SingleRow


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("outputs", [1, 2, 583, 768])
@pytest.mark.parametrize("inputs", [64, 61, 5])
def test_it_is_the_product_whatever_the_number_of_threads(threads, inputs, outputs):
    generator = torch.Generator().manual_seed(outputs)
    weight, x = torch.randn(outputs, inputs, generator=generator), torch.randn(1, inputs, generator=generator)
    result = SingleRow(weight)(x)
    assert result.shape == (1, outputs)
    torch.testing.assert_close(result.double(), x.double() @ weight.double().T, rtol=1e-5, atol=1e-4)


def test_it_stays_right_when_the_number_of_threads_changes_afterwards(threads):
    weight, x = torch.randn(10, 8), torch.randn(1, 8)
    single = SingleRow(weight)
    torch.set_num_threads(4)
    torch.testing.assert_close(single(x), x @ weight.T)
