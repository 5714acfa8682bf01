"""Adapters of other libraries give the reference's results when the libraries do what they document.

The functions here stand in for the libraries': they compute what those document, in plain PyTorch.
"""

import torch
from torch.nn import functional

from timetrial_plugins.models.shared_prompt import KeyValues
from timetrial_plugins.ops.libraries import FlashAttention, MambaKernels
from timetrial_plugins.ops.reference import REFERENCE
from timetrial_plugins.ops.trials import Trials, TrialSizes

SIZES = TrialSizes(
    rows=3, model_width=96, heads=6, kv_heads=2, head_dim=16, mlp_width=8, vocabulary=8, slots=8, prompt_tokens=4
)


def selective_state_update(state, x, dt, a, b, c, D=None, z=None, dt_bias=None, dt_softplus=False):  # noqa: N803
    """Of mamba-ssm 2, with heads: state (B, H, P, N), x, dt, z (B, H, P), a (H, P, N), b, c (B, G, N), D (H, P)."""
    assert dt_softplus and x.shape == dt.shape == z.shape == state.shape[:3]
    assert a.shape == state.shape[1:] and D.shape == dt_bias.shape == a.shape[:2]
    assert b.shape == c.shape and state.shape[1] % b.shape[1] == 0
    b, c = (part.float().repeat_interleave(state.shape[1] // part.shape[1], dim=1) for part in (b, c))
    dt = functional.softplus(dt.float() + dt_bias)
    state.mul_((dt[..., None] * a).exp()).add_((dt * x)[..., None] * b[:, :, None])
    y = (state * c[:, :, None]).sum(-1) + x * D
    return (y * functional.silu(z.float())).to(x.dtype)


def causal_conv1d_update(x, conv_state, weight, bias=None, activation=None):
    """Of causal-conv1d: x (B, C), conv_state (B, C, K - 1) or longer, weight (C, K)."""
    assert activation == "silu" and conv_state.shape == (*x.shape, weight.shape[1] - 1)
    inputs = torch.cat((conv_state, x[..., None]), dim=2)
    conv_state.copy_(inputs[..., 1:])
    return functional.silu((inputs * weight).sum(2) + bias)


def flash_attn_with_kvcache(q, k_cache, v_cache, *, cache_seqlens, causal):
    """Of flash-attn: q (B, 1, H, P), caches (B, S, G, P)."""
    assert cache_seqlens.dtype == torch.int32 and k_cache.stride(-1) == 1 and q.shape[1] == 1
    own = KeyValues(k_cache.transpose(1, 2).float(), v_cache.transpose(1, 2).float())
    return REFERENCE.attend(q[:, 0].float(), own, cache_seqlens.long(), None)[:, None].to(q.dtype)


def trials(dtype=torch.float32):
    return Trials(SIZES, torch.device("cpu"), dtype).all()


def check_step(operation, step):
    ours, theirs = trials()[operation], trials()[operation]
    found, expected = step(*ours), getattr(REFERENCE, operation)(*theirs)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    for written, reference in zip(ours[-1], theirs[-1], strict=True):
        torch.testing.assert_close(written, reference, rtol=1e-5, atol=1e-6)


def test_mamba_steps_are_the_references():
    kernels = MambaKernels(update=selective_state_update, convolve=causal_conv1d_update)
    check_step("mamba1", kernels.mamba1)
    check_step("mamba2", kernels.mamba2)


def test_attention_is_the_references_and_prompts_and_float32_go_elsewhere():
    asked = []

    def fallback(*arguments):
        asked.append(arguments)
        return REFERENCE.attend(*arguments)

    library = FlashAttention(kernel=flash_attn_with_kvcache, fallback=fallback)
    arguments = trials(torch.bfloat16)["attend"]
    torch.testing.assert_close(library.attend(*arguments), REFERENCE.attend(*arguments), rtol=2e-2, atol=2e-2)
    assert asked == []
    library.attend(*trials(torch.bfloat16)["attend shared"])
    library.attend(*trials()["attend"])
    assert len(asked) == 2


def test_trials_are_arguments_of_every_operation_and_equal_for_equal_seeds():
    ours, theirs = trials(), trials()
    for name, arguments in ours.items():
        found = getattr(REFERENCE, name.partition(" ")[0])(*arguments)
        expected = getattr(REFERENCE, name.partition(" ")[0])(*theirs[name])
        assert torch.equal(found, expected) and len(found) == SIZES.rows
        assert found.dtype == torch.int64 or found.isfinite().all()
