"""What steps are made of: values kept of parameters, norms in fewer operations, functions compiled or not."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from timetrial_plugins.models.kept import Kept
from timetrial_plugins.models.layers import RMSNorm
from timetrial_plugins.models.step_function import StepFunction


def test_a_value_follows_the_parameters_until_it_is_kept_and_again_when_kept_anew() -> None:
    layer = nn.Linear(2, 2)
    doubled = Kept(layer, lambda owner: owner.weight * 2)
    for is_kept in (False, True):
        if is_kept:
            doubled.keep()
        before = doubled().detach().clone()
        layer.weight.data += 1
        assert torch.equal(doubled(), before) is is_kept
    doubled.keep()
    assert torch.equal(doubled(), layer.weight * 2) and not doubled().requires_grad


@pytest.mark.parametrize("scales_first", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_a_step_of_a_norm_is_the_norm(scale: float, dtype: torch.dtype, scales_first: bool) -> None:
    torch.manual_seed(0)
    norm = RMSNorm(48, 1e-5, scales_first=scales_first).to(dtype)
    with torch.inference_mode():
        norm.weight.copy_(torch.randn(48))
        x = (torch.randn(5, 48) * scale).to(dtype)
        x[2] = 0
        tolerance = {torch.float64: 1e-12, torch.float32: 1e-6, torch.bfloat16: 0.0}[dtype]
        assert norm.step(x).dtype == dtype
        assert torch.allclose(norm.step(x), norm(x), rtol=tolerance, atol=0)


@pytest.mark.parametrize("not_a_number", [torch.nan, torch.inf])
def test_a_norm_hides_nothing_that_is_not_a_number(not_a_number: float) -> None:
    x = torch.ones(3, 8)
    x[1, 2] = not_a_number
    with torch.inference_mode():
        assert RMSNorm(8, 1e-5).step(x).isfinite().all(dim=-1).tolist() == [True, False, True]


def test_a_step_function_is_its_function() -> None:
    function = StepFunction(torch.add)
    assert function.name == "add" and torch.equal(function(torch.ones(2), torch.ones(2)), torch.full((2,), 2.0))
