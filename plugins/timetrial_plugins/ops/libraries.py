"""Other libraries' kernels behind the signatures of the operations: mamba-ssm with causal-conv1d, and flash-attn.

An adapter is given the library's functions, so that it can be tried with others of the same meaning. Llamba has none:
mamba-ssm's kernel multiplies its input by a step size, which Llamba does not have, and dividing by it first is not a
number for strong decays (docs/models.md).
Legend: see the package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from timetrial_plugins.models.shared_prompt import KeyValues
from timetrial_plugins.ops.step_ops import Attend, Mamba1Weights, Mamba2Weights, Memory, SharedPrompts

Kernel = Callable[..., Tensor]  # the library's own signature
Operations = Mapping[str, Callable[..., Any]]  # Any: a field of StepOps and its implementation


def load_mamba_ssm() -> Operations:
    """Return the operations made of mamba-ssm 2's state update and causal-conv1d's update.

    Raises:
        ImportError: one of them cannot be imported.
    """
    from causal_conv1d import causal_conv1d_update
    from mamba_ssm.ops.triton.selective_state_update import selective_state_update

    kernels = MambaKernels(update=selective_state_update, convolve=causal_conv1d_update)
    return {"mamba1": kernels.mamba1, "mamba2": kernels.mamba2}


def load_flash_attn(fallback: Attend) -> Operations:
    """Return attention by flash-attn; `fallback` is asked where prompts are shared, or in float32.

    Raises:
        ImportError: it cannot be imported.
    """
    from flash_attn import flash_attn_with_kvcache

    return {"attend": FlashAttention(kernel=flash_attn_with_kvcache, fallback=fallback).attend}


@dataclass(frozen=True, kw_only=True, slots=True)
class MambaKernels:
    """Mamba-1 and Mamba-2 steps by the kernels of mamba-ssm and causal-conv1d."""

    update: Kernel
    """mamba_ssm's selective_state_update, version 2 or later: it knows heads."""
    convolve: Kernel
    """causal_conv1d's causal_conv1d_update."""

    def mamba1(
        self,
        projected: Tensor,
        delta: Tensor,
        weights: Mamba1Weights,
        memory: Memory,
        out: Tensor | None = None,
    ) -> Tensor:
        """Do a step of Mamba-1 in heads; see `Mamba1Step`."""
        heads, width, size = weights.rates.shape
        inner, shared = heads * width, heads * width // weights.repeat
        z, x, b, c = torch.split(projected[:, : 2 * (inner + shared)], [inner, shared, shared, inner], dim=1)
        taps, bias = weights.convolution
        x = _heads(x, width).repeat_interleave(weights.repeat, dim=1).flatten(1)
        y = self.update(
            memory.state,
            _heads(self.convolve(x, memory.window, taps, bias, "silu"), width),
            _heads(delta, width),
            weights.rates,
            _heads(b, size).repeat_interleave(weights.repeat, dim=1),
            _heads(c, size),
            D=torch.unflatten(weights.skip, 0, (-1, width)),
            z=_heads(z, width),
            dt_bias=torch.unflatten(weights.delta_bias, 0, (-1, width)),
            dt_softplus=True,
        )
        return _given(y.flatten(1), out)

    def mamba2(
        self,
        projected: Tensor,
        weights: Mamba2Weights,
        memory: Memory,
        out: Tensor | None = None,
    ) -> Tensor:
        """Do a step of the hybrids' Mamba-2; see `Mamba2Step`."""
        heads, width, size = memory.state.shape[1:]
        inner, channels = heads * width, weights.convolution.taps.shape[0]
        shared = (channels - inner) // 2
        repeat = inner // shared
        z, convolved, dt = torch.split(projected, [inner, channels, heads], dim=1)
        taps, bias = weights.convolution
        convolved = self.convolve(convolved, memory.window, taps, bias, "silu")
        x, b, c = torch.split(convolved, [shared, shared, inner], dim=1)
        # One number for all channels of a head: strides of 0 tell the kernel.
        rates = weights.rates[:, None, None].expand(heads, width, size)
        dt, dt_bias, skip = (part[..., None].expand(*part.shape, width) for part in (dt, weights.dt_bias, weights.skip))
        y = self.update(
            memory.state,
            _heads(x, width).repeat_interleave(repeat, dim=1),
            dt,
            rates,
            _heads(b, size).repeat_interleave(repeat, dim=1),
            _heads(c, size),
            D=skip,
            z=_heads(z, width),
            dt_bias=dt_bias,
            dt_softplus=True,
        )
        normed = functional.rms_norm(y.float(), (width,), None, weights.norm_epsilon).flatten(1)
        return _given((normed * weights.norm.float()).to(projected.dtype), out)


@dataclass(frozen=True, kw_only=True, slots=True)
class FlashAttention:
    """Attention by flash-attn."""

    kernel: Kernel
    """flash_attn's flash_attn_with_kvcache, version 2.5 or later."""
    fallback: Attend

    def attend(
        self,
        query: Tensor,
        own: KeyValues,
        lengths: Tensor,
        prompts: SharedPrompts | None,
        out: Tensor | None = None,
    ) -> Tensor:
        """Attend to a row's own keys; see `Attend`."""
        if prompts is not None or query.dtype not in (torch.bfloat16, torch.float16):
            return self.fallback(query, own, lengths, prompts, out)
        keys, values = (part.transpose(1, 2) for part in own)  # (B, S, G, P)
        mixed = self.kernel(query[:, None], keys, values, cache_seqlens=lengths.int(), causal=False)  # (B, 1, H, P)
        return _given(mixed[:, 0], out)


def _heads(x: Tensor, width: int) -> Tensor:  # (B, E) -> (B, H, width)
    return torch.unflatten(x, 1, (-1, width))


def _given(result: Tensor, out: Tensor | None) -> Tensor:
    return result if out is None else out.copy_(result)
