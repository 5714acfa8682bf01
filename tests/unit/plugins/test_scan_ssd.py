"""The scalar-decay recurrence: every form equals a loop over the equations in float64, and stays finite.

Shapes: B batch, T tokens, H heads, G groups, P channels per head, N state size.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from timetrial_plugins.models.scan.convolution import causal_conv
from timetrial_plugins.models.scan.ssd import (
    SSDInputs,
    ssd_chunked,
    ssd_matrix,
    ssd_sequential,
    ssd_step,
    ssd_step_in_place,
)

B, H, G, P, N = 2, 4, 2, 3, 5
FORMS = {
    "sequential": ssd_sequential,
    "chunked 1": partial(ssd_chunked, chunk_size=1),
    "chunked 7": partial(ssd_chunked, chunk_size=7),
    "chunked 16": partial(ssd_chunked, chunk_size=16),
    "chunked 128": ssd_chunked,
}
LENGTHS = (0, 1, 2, 15, 16, 17, 50)
TOLERANCES = {torch.float64: 1e-12, torch.float32: 2e-5}
Form = Callable[..., tuple[Tensor, Tensor]]


def draw(length: int, *, groups: int = G, dtype: torch.dtype = torch.float64, seed: int = 0) -> SSDInputs:
    generator = torch.Generator().manual_seed(seed)
    normal = partial(torch.randn, generator=generator, dtype=torch.float64)
    log_decay = -torch.nn.functional.softplus(4 * normal(B, length, H))
    inputs = SSDInputs(normal(B, length, H, P), log_decay, normal(B, length, groups, N), normal(B, length, groups, N))
    return SSDInputs(*(tensor.to(dtype) for tensor in inputs))


def draw_state(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(B, H, P, N, generator=torch.Generator().manual_seed(9), dtype=torch.float64).to(dtype)


def documents(length: int) -> Tensor:
    """Rows of several documents each, of other lengths in each row, with ids that are not in order."""
    ids = torch.tensor(
        [7, 7, 7, 2, 9, 9, 9, 9, 9, 9, 0, 0, 0, 0, 0, 0, 0, 0, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3] + [5] * 40
    )
    return torch.stack((ids[:length], ids[2 : length + 2]))


def loop(inputs: SSDInputs, state: Tensor | None, doc_ids: Tensor | None) -> tuple[np.ndarray, np.ndarray]:
    """S = exp(log_decay) S + x b^T; y = S c; token by token and head by head."""
    x, log_decay, b, c = (tensor.double().numpy() for tensor in inputs)
    length, per_group = x.shape[1], H // b.shape[2]
    memory = np.zeros((B, H, P, N)) if state is None else state.double().numpy().copy()
    y = np.zeros((B, length, H, P))
    for row in range(B):
        for t in range(length):
            if doc_ids is not None and t and doc_ids[row, t] != doc_ids[row, t - 1]:
                memory[row] = 0
            for h in range(H):
                group = h // per_group
                outer = np.outer(x[row, t, h], b[row, t, group])
                memory[row, h] = np.exp(log_decay[row, t, h]) * memory[row, h] + outer
                y[row, t, h] = memory[row, h] @ c[row, t, group]
    return y, memory


def difference(got: Tensor, expected: np.ndarray) -> float:
    assert got.shape == expected.shape
    return float(np.abs(got.double().numpy() - expected).max(initial=0.0)) / max(1.0, np.abs(expected).max(initial=0.0))


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("is_packed", [False, True], ids=["one document", "packed"])
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_is_the_recurrence(form: Form, length: int, is_packed: bool, dtype: torch.dtype) -> None:
    inputs = draw(length, dtype=dtype)
    doc_ids = documents(length) if is_packed else None
    for state in (None, draw_state(dtype)):
        y, after = form(inputs, state, doc_ids)
        expected_y, expected_after = loop(inputs, state, doc_ids)
        assert y.dtype == after.dtype == dtype
        assert difference(y, expected_y) < TOLERANCES[dtype] and difference(after, expected_after) < TOLERANCES[dtype]


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_heads_share_b_and_c_of_their_group(groups: int) -> None:
    inputs = draw(20, groups=groups)
    expected, _ = loop(inputs, None, None)
    for form in FORMS.values():
        assert difference(form(inputs)[0], expected) < 1e-12


def test_steps_are_the_sequential_form() -> None:
    inputs, state = draw(12), draw_state()
    expected, last = ssd_sequential(inputs, state)
    for t in range(12):
        y, state = ssd_step(SSDInputs(*(tensor[:, t] for tensor in inputs)), state)
        assert torch.equal(y, expected[:, t])
    assert torch.equal(state, last)


@pytest.mark.parametrize("is_packed", [False, True], ids=["one document", "packed"])
@pytest.mark.parametrize("cut", [0, 5, 14, 23, 32, 50])  # row 0 has boundaries at 3, 4, 10, 18, 30, row 1 two earlier
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_sequence_may_be_split_anywhere_outside_a_document_boundary(form: Form, cut: int, is_packed: bool) -> None:
    inputs, state = draw(50), draw_state()
    doc_ids = documents(50) if is_packed else None
    whole, last = form(inputs, state, doc_ids)
    first, middle = form(SSDInputs(*(t[:, :cut] for t in inputs)), state, None if doc_ids is None else doc_ids[:, :cut])
    rest = SSDInputs(*(tensor[:, cut:] for tensor in inputs))
    second, end = form(rest, middle, None if doc_ids is None else doc_ids[:, cut:])
    assert difference(torch.cat((first, second), dim=1), whole.numpy()) < 1e-12
    assert difference(end, last.numpy()) < 1e-12


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_a_split_at_a_chunk_changes_no_bit(dtype: torch.dtype) -> None:
    inputs, state = draw(50, dtype=dtype), draw_state(dtype)
    whole, last = ssd_chunked(inputs, state, chunk_size=16)
    first, middle = ssd_chunked(SSDInputs(*(tensor[:, :32] for tensor in inputs)), state, chunk_size=16)
    second, end = ssd_chunked(SSDInputs(*(tensor[:, 32:] for tensor in inputs)), middle, chunk_size=16)
    assert torch.equal(torch.cat((first, second), dim=1), whole) and torch.equal(end, last)


def test_packed_documents_are_what_they_are_alone() -> None:
    inputs, doc_ids, state = draw(50), documents(50), draw_state()
    for form in FORMS.values():
        y, last = form(inputs, state, doc_ids)
        for row in range(B):
            starts = [0, *(t for t in range(1, 50) if doc_ids[row, t] != doc_ids[row, t - 1]), 50]
            for begin, end in zip(starts, starts[1:], strict=False):
                alone = SSDInputs(*(tensor[row : row + 1, begin:end] for tensor in inputs))
                expected, after = ssd_sequential(alone, state[row : row + 1] if begin == 0 else None)
                assert torch.allclose(y[row : row + 1, begin:end], expected, rtol=0, atol=1e-12)
            assert torch.allclose(last[row : row + 1], after, rtol=0, atol=1e-12)


def test_the_matrix_is_the_recurrence() -> None:
    inputs = draw(33)
    for doc_ids in (None, documents(33)):
        matrix = ssd_matrix(inputs.log_decay, inputs.b, inputs.c, doc_ids)  # (B, H, T, T)
        assert torch.equal(matrix, matrix.tril())
        expected, _ = loop(inputs, None, doc_ids)
        assert difference(torch.einsum("bhts,bshp->bthp", matrix, inputs.x), expected) < 1e-12


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_any_decay_from_none_to_all_is_finite_and_exact(dtype: torch.dtype) -> None:
    """Decays sigmoid(-A) for A from -120 to 120 in one sequence, and a decay of exactly 0, forwards and backwards."""
    inputs = draw(60, dtype=dtype)
    logits = torch.linspace(-120, 120, 60, dtype=dtype)[torch.randperm(60, generator=torch.Generator().manual_seed(4))]
    log_decay = torch.nn.functional.logsigmoid(-logits)[None, :, None].repeat(B, 1, H)
    log_decay[:, 30] = -torch.inf
    inputs = inputs._replace(log_decay=log_decay)
    expected, _ = loop(inputs, None, None)
    for form in FORMS.values():
        leaves = SSDInputs(*(tensor.clone().requires_grad_() for tensor in inputs))
        y, state = form(leaves)
        assert difference(y.detach(), expected) < TOLERANCES[dtype] and state.isfinite().all()
        gradients = torch.autograd.grad(y.sum() + state.sum(), leaves)
        assert all(gradient.isfinite().all() for gradient in gradients)


def test_a_long_document_without_any_decay_adds_up_and_one_of_full_decay_forgets() -> None:
    inputs = draw(2000, dtype=torch.float32)
    kept = inputs._replace(log_decay=torch.zeros(B, 2000, H))
    _, state = ssd_chunked(kept)
    expected = torch.einsum("bthp,bthn->bhpn", kept.x.double(), kept.b.double().repeat_interleave(H // G, dim=2))
    assert torch.allclose(state.double(), expected, rtol=0, atol=1e-3)
    forgotten = inputs._replace(log_decay=torch.full((B, 2000, H), -1e4))
    y, _ = ssd_chunked(forgotten)
    products = torch.einsum("btgn,btgn->btg", inputs.b, inputs.c).repeat_interleave(H // G, dim=2)
    assert torch.allclose(y, products[..., None] * inputs.x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("is_packed", [False, True], ids=["one document", "packed"])
@pytest.mark.parametrize("form", [ssd_sequential, partial(ssd_chunked, chunk_size=3)], ids=["sequential", "chunked"])
def test_gradients_are_those_of_finite_differences(form: Form, is_packed: bool) -> None:
    inputs = tuple(tensor[:1, :5].clone().requires_grad_() for tensor in draw(5))
    state = draw_state()[:1].clone().requires_grad_()
    doc_ids = torch.tensor([[1, 1, 0, 0, 0]]) if is_packed else None
    assert torch.autograd.gradcheck(lambda *leaves: form(SSDInputs(*leaves[:4]), leaves[4], doc_ids), (*inputs, state))


def test_gradients_of_all_forms_agree() -> None:
    def gradients(form: Form) -> tuple[Tensor, ...]:
        leaves = SSDInputs(*(tensor.clone().requires_grad_() for tensor in draw(40)))
        y, state = form(leaves, draw_state(), documents(40))
        return torch.autograd.grad((y * y.detach().cos()).sum() + state.square().sum(), leaves)

    expected = gradients(ssd_sequential)
    for form in FORMS.values():
        assert all(torch.allclose(a, b, rtol=1e-10, atol=1e-10) for a, b in zip(gradients(form), expected, strict=True))


def test_half_formats_are_computed_in_float32() -> None:
    inputs = draw(40, dtype=torch.bfloat16)
    inputs = inputs._replace(log_decay=inputs.log_decay.float())
    wide = SSDInputs(*(tensor.float() for tensor in inputs))
    state = draw_state(torch.bfloat16)
    for form in FORMS.values():
        y, after = form(inputs, state)
        expected_y, expected_after = form(wide, state.float())
        assert y.dtype == after.dtype == torch.float32
        assert torch.equal(y, expected_y) and torch.equal(after, expected_after)


def test_nothing_that_is_handed_over_is_written_to() -> None:
    inputs, state, doc_ids = draw(20), draw_state(), documents(20)
    copies = [tensor.clone() for tensor in (*inputs, state, doc_ids)]
    for form in FORMS.values():
        form(inputs, state, doc_ids)
    ssd_step(SSDInputs(*(tensor[:, 0] for tensor in inputs)), state)
    assert all(torch.equal(a, b) for a, b in zip((*inputs, state, doc_ids), copies, strict=True))


@pytest.mark.parametrize("length", [1, 16, 37])
def test_a_mamba_2_mixer_is_that_of_transformers(length: int) -> None:
    """Mamba-2 with a step size: x * dt and log_decay = dt * A, around it the convolution, skip and gated norm."""
    transformers = pytest.importorskip("transformers")
    from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer

    config = transformers.Mamba2Config(
        hidden_size=24, num_heads=6, head_dim=8, state_size=5, n_groups=2, expand=2, chunk_size=16, conv_kernel=4
    )
    torch.manual_seed(0)
    theirs = Mamba2Mixer(config, layer_idx=0).eval()
    for name, parameter in theirs.named_parameters():
        if name in ("dt_bias", "D", "norm.weight", "conv1d.bias"):
            torch.nn.init.normal_(parameter)
    hidden = torch.randn(3, length, 24)
    with torch.no_grad():
        expected = theirs(hidden)
        gate, convolved, dt = theirs.in_proj(hidden).split((48, 48 + 2 * 10, 6), dim=-1)
        convolved, _ = causal_conv(convolved, theirs.conv1d.weight[:, 0], theirs.conv1d.bias)
        x, b, c = torch.nn.functional.silu(convolved).split((48, 10, 10), dim=-1)
        x, b, c = x.unflatten(-1, (6, 8)), b.unflatten(-1, (2, 5)), c.unflatten(-1, (2, 5))
        dt = torch.nn.functional.softplus(dt + theirs.dt_bias)
        y, _ = ssd_chunked(SSDInputs(x * dt[..., None], -dt * theirs.A_log.exp(), b, c), chunk_size=16)
        ours = theirs.out_proj(theirs.norm((y + theirs.D[:, None] * x).flatten(2), gate))
    assert torch.allclose(ours, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kept", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_a_step_in_place_is_a_step_whatever_the_state_is_kept_in(dtype: torch.dtype, kept: torch.dtype) -> None:
    inputs, state = SSDInputs(*(tensor[:, 0] for tensor in draw(1, dtype=dtype))), draw_state(kept)
    expected, after = ssd_step(inputs, state)
    y = ssd_step_in_place(inputs, state)
    assert y.dtype == dtype and state.dtype == kept and torch.allclose(y, expected, atol=TOLERANCES[dtype])
    assert torch.allclose(state, after.to(kept), atol=1e-5)
