"""The causal depthwise convolution: a loop over the equation, the window between calls, packed documents.

Shapes: B batch, T tokens, C channels, K width.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from timetrial_plugins.models.scan.convolution import (
    causal_conv,
    causal_conv_step,
    causal_conv_step_in_place,
    side_by_side,
    window_buffer,
)

B, C = 2, 6
LENGTHS = (0, 1, 2, 3, 4, 9, 20)


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def documents(length: int) -> Tensor:
    ids = torch.tensor([4, 4, 1, 8, 8, 8, 8, 8, 0, 0] + [2] * 20)
    return torch.stack((ids[:length], ids[1 : length + 1]))


def loop(x: Tensor, weight: Tensor, bias: Tensor | None, window: Tensor, doc_ids: Tensor | None) -> np.ndarray:
    """y_t = bias + sum over k of weight[K - 1 - k] x_{t - k}, each tap in the token's own document."""
    length, width = x.shape[1], weight.shape[1]
    past = torch.cat((window.transpose(1, 2), x), dim=1).double().numpy()
    y = np.zeros((B, length, C)) + (0 if bias is None else bias.double().numpy())
    for row in range(B):
        for t in range(length):
            for lag in range(width):
                source = t - lag
                if doc_ids is not None and doc_ids[row, max(source, 0)] != doc_ids[row, t]:
                    continue
                y[row, t] += weight[:, width - 1 - lag].double().numpy() * past[row, width - 1 + source]
    return y


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("is_packed", [False, True], ids=["one document", "packed"])
@pytest.mark.parametrize("width", [1, 2, 4])
@pytest.mark.parametrize("length", LENGTHS)
def test_it_is_the_sum_of_the_taps(length: int, width: int, is_packed: bool, dtype: torch.dtype) -> None:
    x, weight, bias = draw(B, length, C, dtype=dtype), draw(C, width, seed=1, dtype=dtype), draw(C, seed=2, dtype=dtype)
    doc_ids = documents(length) if is_packed else None
    for window in (None, draw(B, C, width - 1, seed=3, dtype=dtype)):
        for its_bias in (bias, None):
            y, after = causal_conv(x, weight, its_bias, window, doc_ids)
            zeros = torch.zeros(B, C, width - 1) if window is None else window
            expected = loop(x, weight, its_bias, zeros, doc_ids)
            assert y.dtype == after.dtype == dtype and after.shape == (B, C, width - 1)
            assert np.abs(y.double().numpy() - expected).max(initial=0) < (1e-12 if dtype == torch.float64 else 1e-5)


@pytest.mark.parametrize("at", LENGTHS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_a_sequence_may_be_split_anywhere_to_the_last_bit(at: int, dtype: torch.dtype) -> None:
    x, weight, bias = draw(B, 20, C, dtype=dtype), draw(C, 4, seed=1, dtype=dtype), draw(C, seed=2, dtype=dtype)
    whole, last = causal_conv(x, weight, bias)
    first, middle = causal_conv(x[:, :at], weight, bias)
    second, end = causal_conv(x[:, at:], weight, bias, middle)
    assert torch.equal(torch.cat((first, second), dim=1), whole) and torch.equal(end, last)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_steps_are_the_whole(dtype: torch.dtype) -> None:
    x, weight, bias = draw(B, 9, C, dtype=dtype), draw(C, 4, seed=1, dtype=dtype), draw(C, seed=2, dtype=dtype)
    expected, last = causal_conv(x, weight, bias)
    window = torch.zeros(B, C, 3, dtype=dtype)
    for t in range(9):
        y, window = causal_conv_step(x[:, t], weight, bias, window)
        assert y.dtype == dtype and torch.allclose(y, expected[:, t], rtol=0.01 if dtype == torch.bfloat16 else 1e-5)
    assert torch.equal(window, last)


def test_packed_documents_are_what_they_are_alone_and_the_window_is_the_last_ones() -> None:
    x, weight, bias, doc_ids = draw(B, 20, C), draw(C, 4, seed=1), draw(C, seed=2), documents(20)
    y, window = causal_conv(x, weight, bias, draw(B, C, 3, seed=3), doc_ids)
    for row in range(B):
        starts = [t for t in range(1, 20) if doc_ids[row, t] != doc_ids[row, t - 1]]
        for begin, end in zip(starts, [*starts[1:], 20], strict=True):
            expected, after = causal_conv(x[row : row + 1, begin:end], weight, bias)
            assert torch.equal(y[row : row + 1, begin:end], expected)
        assert torch.equal(window[row : row + 1], after)


def test_the_window_of_a_document_shorter_than_it_holds_zeros_before() -> None:
    x = draw(B, 5, C)
    _, window = causal_conv(x, draw(C, 4), None, None, torch.tensor([[1, 1, 1, 1, 2], [1, 1, 1, 2, 2]]))
    expected = x.transpose(1, 2)[..., 2:].clone()
    expected[0, :, :2] = 0
    expected[1, :, :1] = 0
    assert torch.equal(window, expected)


@pytest.mark.parametrize("is_packed", [False, True], ids=["one document", "packed"])
def test_gradients_are_those_of_finite_differences(is_packed: bool) -> None:
    leaves = (draw(B, 5, C), draw(C, 4, seed=1), draw(C, seed=2), draw(B, C, 3, seed=3))
    doc_ids = documents(5) if is_packed else None

    def run(*tensors: Tensor) -> tuple[Tensor, Tensor]:
        return causal_conv(*tensors, doc_ids)

    assert torch.autograd.gradcheck(run, tuple(leaf.requires_grad_() for leaf in leaves))


def test_it_is_pytorchs_convolution() -> None:
    x, weight, bias = draw(B, 20, C), draw(C, 4, seed=1), draw(C, seed=2)
    padded = torch.nn.functional.pad(x.transpose(1, 2), (3, 0))
    expected = torch.nn.functional.conv1d(padded, weight[:, None], bias, groups=C).transpose(1, 2)
    assert torch.allclose(causal_conv(x, weight, bias)[0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_a_step_in_place_is_a_step(dtype: torch.dtype, has_bias: bool) -> None:
    x, weight, window = draw(B, C, dtype=dtype), draw(C, 4, seed=1, dtype=dtype), draw(B, C, 3, seed=3, dtype=dtype)
    bias = draw(C, seed=2, dtype=dtype) if has_bias else None
    expected, after = causal_conv_step(x, weight, bias, window)
    y = causal_conv_step_in_place(x, weight, bias, window)
    assert y.dtype == dtype and torch.allclose(y, expected, rtol=1e-2 if dtype == torch.bfloat16 else 1e-5)
    assert torch.equal(window, after)


def test_the_layout_of_steps_shows_in_nothing_but_strides() -> None:
    convolution, window = torch.nn.Conv1d(C, C, 4, groups=C), window_buffer((3, B, C, 3), torch.zeros(1))
    taps = side_by_side(convolution)
    assert torch.equal(taps, convolution.weight[:, 0]) and taps.stride() == (1, C)
    assert window.shape == (3, B, C, 3) and window.stride()[-2:] == (1, C) and not window.any()
