"""The per-channel-decay recurrence: every form equals a loop over the equations in float64, and stays finite.

Shapes: B batch, T tokens, H heads, P channels per head, N state size.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from timetrial_plugins.models.scan.selective import (
    SelectiveInputs,
    binary_rates,
    selective_chunked,
    selective_sequential,
    selective_step,
    selective_step_in_place,
)

B, H, P, N = 2, 3, 4, 5
FORMS = {
    "sequential": selective_sequential,
    "chunked 1": partial(selective_chunked, chunk_size=1),
    "chunked 6": partial(selective_chunked, chunk_size=6),
    "chunked 16": partial(selective_chunked, chunk_size=16),
    "chunked 32": selective_chunked,
}
LENGTHS = (0, 1, 2, 15, 16, 17, 50)
TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-5}
Form = Callable[..., tuple[Tensor, Tensor]]


def draw(length: int, *, dtype: torch.dtype = torch.float64) -> SelectiveInputs:
    normal = partial(torch.randn, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    delta = torch.nn.functional.softplus(2 * normal(B, length, H, P) - 1)
    inputs = SelectiveInputs(normal(B, length, H, P), delta, normal(B, length, H, N), normal(B, length, H, N))
    return SelectiveInputs(*(tensor.to(dtype) for tensor in inputs))


def rates(dtype: torch.dtype = torch.float64) -> Tensor:
    """a as Mamba-1 starts with it, -1 to -N, a little different in every channel."""
    noise = torch.randn(H, P, N, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    return (-torch.arange(1, N + 1) * (0.2 * noise).exp()).to(dtype)


def draw_state(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(B, H, P, N, generator=torch.Generator().manual_seed(9), dtype=torch.float64).to(dtype)


def documents(length: int) -> Tensor:
    """Rows of several documents each, of other lengths in each row, with ids that are not in order."""
    ids = torch.tensor([7] * 3 + [2] + [9] * 6 + [0] * 8 + [3] * 12 + [5] * 40)
    return torch.stack((ids[:length], ids[2 : length + 2]))


def cut(inputs: SelectiveInputs, *index: slice) -> SelectiveInputs:
    return SelectiveInputs(*(tensor[index] for tensor in inputs))


def loop(
    inputs: SelectiveInputs, a: Tensor, state: Tensor | None, doc_ids: Tensor | None
) -> tuple[np.ndarray, np.ndarray]:
    """S = exp(delta a) S + delta x b; y = <S, c>; token by token and channel by channel."""
    x, delta, b, c = (tensor.double().numpy() for tensor in inputs)
    rate = a.double().numpy()
    memory = np.zeros((B, H, P, N)) if state is None else state.double().numpy().copy()
    y = np.zeros(x.shape)
    for row in range(B):
        for t in range(x.shape[1]):
            if doc_ids is not None and t and doc_ids[row, t] != doc_ids[row, t - 1]:
                memory[row] = 0
            for h in range(H):
                for p in range(P):
                    step = delta[row, t, h, p]
                    kept = np.exp(step * rate[h, p]) * memory[row, h, p]
                    memory[row, h, p] = kept + step * x[row, t, h, p] * b[row, t, h]
                    y[row, t, h, p] = memory[row, h, p] @ c[row, t, h]
    return y, memory


def difference(got: Tensor, expected: np.ndarray) -> float:
    assert got.shape == expected.shape
    return float(np.abs(got.double().numpy() - expected).max(initial=0.0)) / max(1.0, np.abs(expected).max(initial=0.0))


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("is_packed", [False, True], ids=["one document", "packed"])
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_is_the_recurrence(form: Form, length: int, is_packed: bool, dtype: torch.dtype) -> None:
    inputs, a = draw(length, dtype=dtype), rates(dtype)
    doc_ids = documents(length) if is_packed else None
    for state in (None, draw_state(dtype)):
        y, after = form(inputs, a, state, doc_ids)
        expected_y, expected_after = loop(inputs, a, state, doc_ids)
        assert y.dtype == after.dtype == dtype
        assert difference(y, expected_y) < TOLERANCES[dtype] and difference(after, expected_after) < TOLERANCES[dtype]


def test_steps_are_the_sequential_form() -> None:
    inputs, a, state = draw(12), rates(), draw_state()
    expected, last = selective_sequential(inputs, a, state)
    for t in range(12):
        y, state = selective_step(SelectiveInputs(*(tensor[:, t] for tensor in inputs)), a, state)
        assert torch.equal(y, expected[:, t])
    assert torch.equal(state, last)


@pytest.mark.parametrize("is_packed", [False, True], ids=["one document", "packed"])
@pytest.mark.parametrize("at", [0, 5, 14, 23, 32, 50])  # row 0 has boundaries at 3, 4, 10, 18, 30, row 1 two earlier
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_sequence_may_be_split_anywhere_within_a_document(form: Form, at: int, is_packed: bool) -> None:
    inputs, a, state = draw(50), rates(), draw_state()
    before, behind = (slice(None), slice(at)), (slice(None), slice(at, None))
    doc_ids = documents(50) if is_packed else None
    whole, last = form(inputs, a, state, doc_ids)
    first, middle = form(cut(inputs, *before), a, state, None if doc_ids is None else doc_ids[before])
    second, end = form(cut(inputs, *behind), a, middle, None if doc_ids is None else doc_ids[behind])
    assert difference(torch.cat((first, second), dim=1), whole.numpy()) < 1e-12
    assert difference(end, last.numpy()) < 1e-12


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_a_split_at_a_chunk_changes_no_bit(dtype: torch.dtype) -> None:
    inputs, a, state = draw(50, dtype=dtype), rates(dtype), draw_state(dtype)
    whole, last = selective_chunked(inputs, a, state, chunk_size=16)
    first, middle = selective_chunked(cut(inputs, slice(None), slice(32)), a, state, chunk_size=16)
    second, end = selective_chunked(cut(inputs, slice(None), slice(32, None)), a, middle, chunk_size=16)
    assert torch.equal(torch.cat((first, second), dim=1), whole) and torch.equal(end, last)


def test_packed_documents_are_what_they_are_alone() -> None:
    inputs, a, doc_ids, state = draw(50), rates(), documents(50), draw_state()
    for form in FORMS.values():
        y, last = form(inputs, a, state, doc_ids)
        for row in range(B):
            starts = [0, *(t for t in range(1, 50) if doc_ids[row, t] != doc_ids[row, t - 1]), 50]
            for begin, end in zip(starts, starts[1:], strict=False):
                alone = cut(inputs, slice(row, row + 1), slice(begin, end))
                expected, after = selective_sequential(alone, a, state[row : row + 1] if begin == 0 else None)
                assert torch.allclose(y[row : row + 1, begin:end], expected, rtol=0, atol=1e-12)
            assert torch.allclose(last[row : row + 1], after, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_decays_that_underflow_are_finite_and_exact(dtype: torch.dtype) -> None:
    """Steps from 1e-8 to 1e4 in one sequence: decays from nearly 1 to exactly 0, forwards and backwards."""
    steps = torch.logspace(-8, 4, 40, dtype=dtype)[torch.randperm(40, generator=torch.Generator().manual_seed(4))]
    inputs, a = draw(40, dtype=dtype), rates(dtype)
    inputs = inputs._replace(delta=steps[None, :, None, None].repeat(B, 1, H, P), x=inputs.x / steps[:, None, None])
    assert (inputs.delta[..., None] * a).exp().eq(0).any()
    expected, _ = loop(inputs, a, None, None)
    for form in FORMS.values():
        leaves = SelectiveInputs(*(tensor.clone().requires_grad_() for tensor in inputs))
        y, state = form(leaves, a)
        assert difference(y.detach(), expected) < TOLERANCES[dtype] and state.isfinite().all()
        assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(y.sum() + state.sum(), leaves))


@pytest.mark.parametrize("is_packed", [False, True], ids=["one document", "packed"])
@pytest.mark.parametrize(
    "form", [selective_sequential, partial(selective_chunked, chunk_size=3)], ids=["sequential", "chunked"]
)
def test_gradients_are_those_of_finite_differences(form: Form, is_packed: bool) -> None:
    leaves = (*(tensor[:1, :5] for tensor in draw(5)), rates(), draw_state()[:1])
    doc_ids = torch.tensor([[1, 1, 0, 0, 0]]) if is_packed else None

    def run(*tensors: Tensor) -> tuple[Tensor, Tensor]:
        return form(SelectiveInputs(*tensors[:4]), tensors[4], tensors[5], doc_ids)

    assert torch.autograd.gradcheck(run, tuple(leaf.clone().requires_grad_() for leaf in leaves))


def test_half_formats_are_computed_in_float32() -> None:
    inputs, a, state = draw(40, dtype=torch.bfloat16), rates(torch.float32), draw_state(torch.bfloat16)
    wide = SelectiveInputs(*(tensor.float() for tensor in inputs))
    for form in FORMS.values():
        y, after = form(inputs, a, state)
        expected_y, expected_after = form(wide, a, state.float())
        assert y.dtype == after.dtype == torch.float32
        assert torch.equal(y, expected_y) and torch.equal(after, expected_after)


def test_nothing_that_is_handed_over_is_written_to() -> None:
    inputs, a, state, doc_ids = draw(20), rates(), draw_state(), documents(20)
    copies = [tensor.clone() for tensor in (*inputs, a, state, doc_ids)]
    for form in FORMS.values():
        form(inputs, a, state, doc_ids)
    selective_step(SelectiveInputs(*(tensor[:, 0] for tensor in inputs)), a, state)
    assert all(torch.equal(x, y) for x, y in zip((*inputs, a, state, doc_ids), copies, strict=True))


def test_the_scan_of_a_mamba_1_layer_is_that_of_transformers() -> None:
    """Mamba-1 has one b and c for all channels: a head of all of them."""
    transformers = pytest.importorskip("transformers")
    from transformers.models.mamba.modeling_mamba import MambaMixer

    config = transformers.MambaConfig(hidden_size=12, state_size=N, conv_kernel=4, expand=2, time_step_rank=3)
    torch.manual_seed(0)
    theirs = MambaMixer(config, layer_idx=0).eval()
    torch.nn.init.normal_(theirs.dt_proj.bias)
    torch.nn.init.normal_(theirs.D)
    hidden = torch.randn(3, 37, 12)
    with torch.no_grad():
        expected = theirs(hidden)
        x, gate = theirs.in_proj(hidden).chunk(2, dim=-1)
        x = torch.nn.functional.silu(theirs.conv1d(x.transpose(1, 2))[..., :37].transpose(1, 2))
        step, b, c = theirs.x_proj(x).split((3, N, N), dim=-1)
        delta = torch.nn.functional.softplus(theirs.dt_proj(step))
        inputs = SelectiveInputs(x[:, :, None], delta[:, :, None], b[:, :, None], c[:, :, None])
        y, _ = selective_chunked(inputs, -theirs.A_log.exp()[None])
        ours = theirs.out_proj((y[:, :, 0] + theirs.D * x) * torch.nn.functional.silu(gate))
    assert torch.allclose(ours, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kept", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_a_step_in_place_is_a_step_whatever_the_state_is_kept_in(dtype: torch.dtype, kept: torch.dtype) -> None:
    inputs, state = SelectiveInputs(*(tensor[:, 0] for tensor in draw(1, dtype=dtype))), draw_state(kept)
    expected, after = selective_step(inputs, rates(dtype), state)
    y = selective_step_in_place(inputs, binary_rates(rates(dtype)), state)
    assert y.dtype == dtype and state.dtype == kept and torch.allclose(y, expected, atol=TOLERANCES[dtype])
    assert torch.allclose(state, after.to(kept), atol=1e-5)
