"""The Mamba layers of the published hybrids: Mamba-1 in heads, and Mamba-2.

Both project z | x | B | C | dt from the input, in that order. x and B are projected for fewer heads than C, as values
and keys of grouped-query attention are, and each of their heads is repeated for the `repeat` neighbours that share it.
Facts: docs/models.md.

Shapes: B batch, T tokens, D model width, E inner width (d_inner), X width of x and B as projected (d_xb), H heads,
P channels per head, N state size, K convolution width, C convolution channels, R width in front of dt (dt_rank).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from timetrial_plugins.models.hybrid_config import HybridConfig
from timetrial_plugins.models.initial import (
    Fresh,
    constant,
    counted_rates,
    drawn_dt_bias,
    drawn_rates,
    drawn_uniform,
)
from timetrial_plugins.models.joint import JointLinear
from timetrial_plugins.models.kept import Kept
from timetrial_plugins.models.scan.convolution import causal_conv, causal_conv_step_in_place, side_by_side
from timetrial_plugins.models.scan.precision import widen
from timetrial_plugins.models.scan.selective import (
    SelectiveInputs,
    binary_rates,
    selective_chunked,
    selective_step_in_place,
)
from timetrial_plugins.models.scan.ssd import Mixing, SSDInputs, ssd_chunked, ssd_step_in_place
from timetrial_plugins.models.step_function import StepFunction

NORM_EPSILON = 1e-5  # of the norm inside Mamba-2; the published code has it as a literal


class MambaMemory(NamedTuple):
    """What a layer keeps of the tokens it has read."""

    window: Tensor  # (B, C, K - 1) the last inputs of the convolution
    state: Tensor  # (B, H, P, N)


class MambaMixer(nn.Module, ABC):
    """What a hybrid asks of its Mamba layers."""

    def __init__(self, config: HybridConfig) -> None:
        super().__init__()
        self.head_width, self.repeat = config.d_state, config.repeat
        self.dt_bias_multiplicity = config.dt_bias_multiplicity
        self.part_rows = config.part_rows
        self.in_proj = nn.Linear(config.llama.hidden_size, sum(self.part_rows.values()), bias=False)
        self.out_proj = nn.Linear(config.d_inner, config.llama.hidden_size, bias=False)
        channels, reach = config.window_shape
        self.conv1d = nn.Conv1d(channels, channels, reach + 1, groups=channels)
        self.joint_in, self.joint_out = JointLinear(self.in_proj), JointLinear(self.out_proj)
        self._taps = Kept(self.conv1d, side_by_side)

    @abstractmethod
    def read(self, x: Tensor, doc_ids: Tensor | None) -> tuple[Tensor, MambaMemory]:
        """Mix `x` (B, T, D) from an empty memory; return the output (B, T, D) and the memory after it."""

    @abstractmethod
    def step(self, x: Tensor, memory: MambaMemory, onto: Tensor | None = None) -> Tensor:
        """Mix one new token per row, `x` (B, D), and write it into the memory; return the output (B, D).

        It is added to `onto`, if given, which may be overwritten.
        """

    def mixing(self, x: Tensor, doc_ids: Tensor | None) -> Mixing:
        """Return what decides how the tokens of `x` (B, T, D) are mixed, if `mixing_rows` is not empty."""
        raise NotImplementedError(f"{type(self).__name__} mixes tokens by no matrix per head")

    @property
    def mixing_rows(self) -> Mapping[str, tuple[slice, ...]]:
        """The parameters that `mixing` depends on, and which of their rows; none where no matrix per head exists."""
        return {}

    @abstractmethod
    def fresh(self, generator: torch.Generator) -> dict[str, Fresh]:
        """Draw what a student never gets from a teacher: all parameters but those of in_proj and out_proj."""

    def _fresh_convolution(self, generator: torch.Generator) -> dict[str, Fresh]:
        weight, bias = self.conv1d.weight, self.conv1d.bias
        assert bias is not None
        bound = weight.shape[-1] ** -0.5
        return {
            "conv1d.weight": drawn_uniform(weight.shape, bound, generator),
            "conv1d.bias": drawn_uniform(bias.shape, bound, generator),
        }

    def _split(self, projected: Tensor) -> list[Tensor]:  # in_proj's output -> z, x, B, C, dt
        return list(torch.split(projected, list(self.part_rows.values()), dim=-1))

    def _convolve(self, x: Tensor, doc_ids: Tensor | None) -> tuple[Tensor, Tensor]:
        """Convolve `x` (B, T, C) and apply SiLU; return the result and the window after it."""
        y, window = causal_conv(x, self.conv1d.weight[:, 0], self.conv1d.bias, None, doc_ids)
        return functional.silu(y), window

    def _convolve_step(self, x: Tensor, window: Tensor) -> Tensor:
        """Do the same for one token, `x` (B, C), and write it into the window."""
        y = causal_conv_step_in_place(x, self._taps(), self.conv1d.bias, window)
        return functional.silu(y, inplace=True)

    def _heads(self, x: Tensor) -> Tensor:  # (..., E) -> (..., H, P)
        return torch.unflatten(x, -1, (-1, self.head_width))

    def _shared_heads(self, x: Tensor) -> Tensor:  # (..., X) -> (..., H, P): head h is projected head h // repeat
        heads = self._heads(x)
        repeated = heads[..., None, :].expand(*heads.shape[:-1], self.repeat, -1)  # repeat_interleave takes longer
        return repeated.flatten(-3, -2)


class Mamba1Mixer(MambaMixer):
    """Mamba-1: a decay for each channel and state, heads of 16 channels that share B and C, no norm.

        delta = softplus(W dt + m b)        m: how often the stored bias counts (twice in the published code)
        S     = exp(delta A) S + delta x B^T;    y = S C + D x;    out = out_proj(y * silu(z))

    Only x is convolved, after its heads have been repeated.
    """

    def __init__(self, config: HybridConfig) -> None:
        super().__init__(config)
        self.dt_proj = nn.Linear(config.dt_rank, config.d_inner)
        self.joint_delta = JointLinear(self.dt_proj, has_bias=False)  # which counts more than once
        self._binary_rates = Kept(self, _binary_rates_of)
        self._recur = StepFunction(selective_step_in_place)
        self.A_log = nn.Parameter(counted_rates(config.d_inner, config.d_state).value)  # (E, N)
        self.D = nn.Parameter(torch.ones(config.d_inner))

    def read(self, x: Tensor, doc_ids: Tensor | None) -> tuple[Tensor, MambaMemory]:
        """Mix `x` (B, T, D) from an empty memory; return the output (B, T, D) and the memory after it."""
        (projected,) = self.joint_in.apart(x)
        z, x, b, c, dt = self._split(projected)
        x, window = self._convolve(self._shared_heads(x).flatten(-2), doc_ids)  # (B, T, E)
        inputs = self._inputs(x, b, c, dt)
        y, state = selective_chunked(inputs, self._rates(), None, doc_ids)  # (B, T, H, P)
        (output,) = self.joint_out.apart(self._gated(y, inputs.x, z))
        return output, MambaMemory(window, state)

    def step(self, x: Tensor, memory: MambaMemory, onto: Tensor | None = None) -> Tensor:
        """Mix one new token per row, `x` (B, D), and write it into the memory; return the output (B, D).

        It is added to `onto`, if given, which may be overwritten.
        """
        z, x, b, c, dt = self._split(self.joint_in(x))
        inputs = self._inputs(self._convolve_step(self._shared_heads(x).flatten(-2), memory.window), b, c, dt)
        y = self._recur(inputs, self._binary_rates(), memory.state)
        return self.joint_out(self._gated(y, inputs.x, z), onto)

    def fresh(self, generator: torch.Generator) -> dict[str, Fresh]:
        """Draw what a student never gets from a teacher: all parameters but those of in_proj and out_proj."""
        inner, rank = self.dt_proj.weight.shape
        return {
            **self._fresh_convolution(generator),
            "dt_proj.weight": drawn_uniform((inner, rank), rank**-0.5, generator),
            "dt_proj.bias": drawn_dt_bias(inner, generator),
            "A_log": counted_rates(*self.A_log.shape),
            "D": constant((inner,), 1.0),
        }

    def _inputs(self, x: Tensor, b: Tensor, c: Tensor, dt: Tensor) -> SelectiveInputs:
        """Return the scan's inputs from x (..., E), B (..., X), C (..., E) and dt (..., R)."""
        bias = self.dt_bias_multiplicity * widen(self.dt_proj.bias)
        (delta,) = self.joint_delta.apart(dt)
        delta = functional.softplus(widen(delta) + bias)  # (..., E)
        return SelectiveInputs(self._heads(x), self._heads(delta), self._shared_heads(b), self._heads(c))

    def _rates(self) -> Tensor:  # A, (H, P, N)
        return torch.unflatten(-widen(self.A_log).exp(), 0, (-1, self.head_width))

    def _gated(self, y: Tensor, x: Tensor, z: Tensor) -> Tensor:
        """Return out_proj's input from what was read out of the state and from x, (..., H, P), and z (..., E)."""
        y = torch.addcmul(y, widen(x), self._heads(self.D)).flatten(-2) * functional.silu(widen(z))
        return y.to(z.dtype)


def _binary_rates_of(mixer: Mamba1Mixer) -> Tensor:  # (H, P, N)
    return binary_rates(mixer._rates())


class Mamba2Mixer(MambaMixer):
    """Mamba-2: one decay for each head, heads as wide as the teacher's, a norm behind the gate.

        dt  = softplus(dt + m b)            m: how often the stored bias counts (once in the published code)
        S   = exp(dt A) S + dt x B^T;    y = S C + D x;    out = out_proj(norm(y * silu(z)))

    x, B and C are convolved, before the heads of x and B are repeated.
    """

    def __init__(self, config: HybridConfig) -> None:
        super().__init__(config)
        self.dt_bias = nn.Parameter(torch.zeros(config.num_heads))
        self.A_log = nn.Parameter(torch.zeros(config.num_heads))
        self.D = nn.Parameter(torch.ones(config.num_heads))
        self.norm = HeadNorm(config.d_inner, config.num_heads)
        self._recur = StepFunction(ssd_step_in_place)
        rows = config.part_rows
        self._step_parts = [rows["z"], rows["x"] + rows["B"] + rows["C"], rows["dt"]]  # x, B and C lie together

    def read(self, x: Tensor, doc_ids: Tensor | None) -> tuple[Tensor, MambaMemory]:
        """Mix `x` (B, T, D) from an empty memory; return the output (B, T, D) and the memory after it."""
        (projected,) = self.joint_in.apart(x)
        z, *convolved, dt = self._split(projected)
        xbc, window = self._convolve(torch.cat(convolved, dim=-1), doc_ids)  # (B, T, 2 X + E)
        x, inputs = self._inputs(xbc, dt)
        y, state = ssd_chunked(inputs, None, doc_ids)  # (B, T, H, P)
        (output,) = self.joint_out.apart(self._gated(y, x, z))
        return output, MambaMemory(window, state)

    def mixing(self, x: Tensor, doc_ids: Tensor | None) -> Mixing:
        """Return what decides how the tokens of `x` (B, T, D) are mixed before the gate and the norm."""
        _, *convolved, dt = self._split(self.in_proj(x))
        xbc, _ = self._convolve(torch.cat(convolved, dim=-1), doc_ids)  # (B, T, 2 X + E)
        _, b, c = self._convolved_parts(xbc)
        dt, log_decay = self._steps(dt)
        return Mixing(log_decay, widen(self._shared_heads(b)) * dt[..., None], self._heads(c), self.D.clone())

    @property
    def mixing_rows(self) -> Mapping[str, tuple[slice, ...]]:
        """The parameters that `mixing` depends on, and which of their rows: all that is not z or x."""
        convolved, whole = (slice(self.part_rows["x"], None),), (slice(None),)
        return {
            "in_proj.weight": (slice(self.part_rows["z"] + self.part_rows["x"], None),),
            "conv1d.weight": convolved,
            "conv1d.bias": convolved,
            "dt_bias": whole,
            "A_log": whole,
            "D": whole,
        }

    def step(self, x: Tensor, memory: MambaMemory, onto: Tensor | None = None) -> Tensor:
        """Mix one new token per row, `x` (B, D), and write it into the memory; return the output (B, D).

        It is added to `onto`, if given, which may be overwritten.
        """
        z, xbc, dt = torch.split(self.joint_in(x), self._step_parts, dim=-1)
        x, inputs = self._inputs(self._convolve_step(xbc, memory.window), dt)
        y = self._recur(inputs, memory.state)
        return self.joint_out(self._gated(y, x, z), onto)

    def fresh(self, generator: torch.Generator) -> dict[str, Fresh]:
        """Draw what a student never gets from a teacher: all parameters but those of in_proj and out_proj."""
        heads = self.A_log.numel()
        return {
            **self._fresh_convolution(generator),
            "dt_bias": drawn_dt_bias(heads, generator),
            "A_log": drawn_rates(heads, generator),
            "D": constant((heads,), 1.0),
            "norm.weight": constant(self.norm.weight.shape, 1.0),
        }

    def _inputs(self, xbc: Tensor, dt: Tensor) -> tuple[Tensor, SSDInputs]:
        """Return x in heads and the scan's inputs from x, B, C (..., 2 X + E) and dt (..., H)."""
        x, b, c = self._convolved_parts(xbc)
        dt, log_decay = self._steps(dt)
        x = self._shared_heads(x)  # (..., H, P)
        return x, SSDInputs(widen(x) * dt[..., None], log_decay, self._shared_heads(b), self._heads(c))

    def _convolved_parts(self, xbc: Tensor) -> list[Tensor]:  # (..., 2 X + E) -> x, B, C
        return list(torch.split(xbc, [self.part_rows[part] for part in ("x", "B", "C")], dim=-1))

    def _steps(self, dt: Tensor) -> tuple[Tensor, Tensor]:
        """Return the step sizes and the logarithms of the decays, (..., H) each, from in_proj's dt."""
        dt = functional.softplus(widen(dt) + self.dt_bias_multiplicity * widen(self.dt_bias))
        return dt, -widen(self.A_log).exp() * dt

    def _gated(self, y: Tensor, x: Tensor, z: Tensor) -> Tensor:
        """Return out_proj's input from what was read out of the state and from x, (..., H, P), and z (..., E)."""
        y = torch.addcmul(y, widen(x), self.D[:, None]).flatten(-2) * functional.silu(widen(z))
        normed: Tensor = self.norm(y).to(z.dtype)
        return normed


class HeadNorm(nn.Module):
    """RMSNorm within each head, over all heads' channels one weight each."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.num_heads = num_heads

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised `x` (..., E), of the same type."""
        heads = torch.unflatten(x, -1, (self.num_heads, -1))
        normed = functional.rms_norm(heads, heads.shape[-1:], None, NORM_EPSILON).flatten(-2)
        return normed * self.weight.to(x.dtype)
