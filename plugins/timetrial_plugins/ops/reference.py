"""The operations of a decode step in plain PyTorch, for any device: the oracle of every other implementation.

They are made of the models' reference operations and round where the models round.
Legend: see the package.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from timetrial.protocol import Sampling
from timetrial_plugins.engine.sampler import Sampler
from timetrial_plugins.models.layers import RotaryTables, rotate
from timetrial_plugins.models.scan.convolution import causal_conv_step
from timetrial_plugins.models.scan.precision import widen
from timetrial_plugins.models.scan.selective import SelectiveInputs, selective_step
from timetrial_plugins.models.scan.ssd import SSDInputs, ssd_step
from timetrial_plugins.models.shared_prompt import Attended, KeyValues, attend_plainly, merge
from timetrial_plugins.ops.step_ops import (
    Convolution,
    LlambaWeights,
    Mamba1Weights,
    Mamba2Weights,
    Memory,
    NormWeights,
    Place,
    ReplayMemory,
    SharedPrompts,
    StepOps,
)


def embed(tokens: Tensor, table: Tensor, out: Tensor | None = None) -> Tensor:
    """Return the embeddings of tokens; see `Embed`."""
    return _given(functional.embedding(tokens.clamp(min=0), table), out)


def llamba(projected: Tensor, weights: LlambaWeights, memory: Memory, out: Tensor | None = None) -> Tensor:
    """Do a discrete Mamba-2 step; see `LlambaStep`."""
    inputs, gate = _llamba_inputs(projected, weights, memory.window, memory.state)
    y, state = ssd_step(inputs, memory.state)
    memory.state.copy_(state)
    return _given(_llamba_gated(y, inputs.x, gate, weights), out)


def llamba_replay(
    projected: Tensor, weights: LlambaWeights, memory: ReplayMemory, fill: Tensor, out: Tensor | None = None
) -> Tensor:
    """Do a discrete Mamba-2 step without writing the state but every L steps; see `ReplayStep`.

    ReplaySSM (vllm RFC 49232):  y = exp(g) S c + sum over kept j of exp(g - g_j) (c . b_j) x_j, with g the sum of
    log-decays since S was written.
    """
    inputs, gate = _llamba_inputs(projected, weights, memory.window, memory.state)
    row = torch.arange(len(fill), device=fill.device)
    total = _total_before(memory, fill) + inputs.log_decay  # (B, H)
    memory.x[row, :, fill] = inputs.x
    memory.b[row, :, fill] = inputs.b
    memory.log_decay[row, :, fill] = total.to(memory.log_decay.dtype)
    per_group = memory.x.shape[1] // memory.b.shape[1]
    c = widen(inputs.c).repeat_interleave(per_group, dim=1)  # (B, H, N)
    decays, x, b = _kept(memory, total, fill)
    y = torch.einsum("bhpn,bhn->bhp", widen(memory.state), c) * total.exp()[..., None]
    y = y + torch.einsum("bhl,bhlp->bhp", torch.einsum("bhn,bhln->bhl", c, b) * decays, x)
    is_full = fill == memory.x.shape[2] - 1
    memory.state.copy_(torch.where(is_full[:, None, None, None], fold(memory, fill + 1), memory.state))
    return _given(_llamba_gated(y, inputs.x, gate, weights), out)


def fold(memory: ReplayMemory, fill: Tensor) -> Tensor:
    """Return the state (B, H, P, N) after the first `fill` (B,) kept inputs of each row, 0 to L; nothing is written."""
    total = _total_before(memory, fill)
    decays, x, b = _kept(memory, total, fill - 1)
    added = torch.einsum("bhl,bhlp,bhln->bhpn", decays, x, b)
    return (widen(memory.state) * total.exp()[..., None, None] + added).to(memory.state.dtype)


def mamba1(
    projected: Tensor, delta: Tensor, weights: Mamba1Weights, memory: Memory, out: Tensor | None = None
) -> Tensor:
    """Do a step of Mamba-1 in heads; see `Mamba1Step`."""
    heads, width, _ = weights.rates.shape
    inner, shared = heads * width, heads * width // weights.repeat
    z, x, b, c, _ = torch.split(
        projected, [inner, shared, shared, inner, projected.shape[1] - 2 * (inner + shared)], dim=1
    )
    x = _repeated(x, width, weights.repeat).flatten(1)  # (B, E)
    x = torch.unflatten(functional.silu(_convolved(x, weights.convolution, memory.window)), 1, (-1, width))
    delta = torch.unflatten(functional.softplus(widen(delta) + weights.delta_bias), 1, (-1, width))
    inputs = SelectiveInputs(x, delta, _repeated(b, width, weights.repeat), torch.unflatten(c, 1, (-1, width)))
    y, state = selective_step(inputs, weights.rates, memory.state)
    memory.state.copy_(state)
    y = y + widen(x) * torch.unflatten(widen(weights.skip), 0, (-1, width))
    return _given((y.flatten(1) * functional.silu(widen(z))).to(z.dtype), out)


def mamba2(projected: Tensor, weights: Mamba2Weights, memory: Memory, out: Tensor | None = None) -> Tensor:
    """Do a step of the hybrids' Mamba-2; see `Mamba2Step`."""
    heads, width, size = memory.state.shape[1:]
    inner, channels = heads * width, weights.convolution.taps.shape[0]
    shared = (channels - inner) // 2
    repeat = inner // shared
    z, convolved, dt = torch.split(projected, [inner, channels, heads], dim=1)
    convolved = functional.silu(_convolved(convolved, weights.convolution, memory.window))
    x, b, c = torch.split(convolved, [shared, shared, inner], dim=1)
    x = _repeated(x, width, repeat)  # (B, H, P)
    dt = functional.softplus(widen(dt) + weights.dt_bias)  # (B, H)
    inputs = SSDInputs(
        widen(x) * dt[..., None], weights.rates * dt, _repeated(b, size, repeat), torch.unflatten(c, 1, (-1, size))
    )
    y, state = ssd_step(inputs, memory.state)
    memory.state.copy_(state)
    y = y + widen(x) * widen(weights.skip)[:, None]
    y = y * torch.unflatten(functional.silu(widen(z)), 1, (-1, width))
    normed = functional.rms_norm(y, (width,), None, weights.norm_epsilon).flatten(1)
    return _given((normed * widen(weights.norm)).to(z.dtype), out)


def rotate_and_store(heads: Tensor, place: Place, own: KeyValues) -> Tensor:
    """Turn queries and keys by their positions and store keys and values; see `RotateAndStore`."""
    num_kv_heads = own.keys.shape[1]
    turned = heads[:, :-num_kv_heads]
    tables = RotaryTables(place.cos, place.sin).at(place.positions[:, None])
    turned.copy_(rotate(turned[:, None], tables)[:, 0])
    row = torch.arange(len(heads), device=heads.device)
    own.keys[row, :, place.slots] = turned[:, -num_kv_heads:]
    own.values[row, :, place.slots] = heads[:, -num_kv_heads:]
    return turned[:, :-num_kv_heads]


def attend(
    query: Tensor, own: KeyValues, lengths: Tensor, prompts: SharedPrompts | None, out: Tensor | None = None
) -> Tensor:
    """Attend to the own slots and to shared prompts; see `Attend`.

    Every row reads its prompt by itself.
    """
    grouped = torch.unflatten(query, 1, (own.keys.shape[1], -1))  # (B, G, H/G, P)
    attended = _attend_to_first(grouped, own, lengths)
    if prompts is not None:
        which = prompts.prompt_of_row.clamp(min=0).long()
        known = torch.where(prompts.prompt_of_row < 0, 0, prompts.lengths[which])
        entries = KeyValues(*(part[which] for part in prompts.entries))
        attended = Attended(merge(_attend_to_first(grouped, entries, known), attended), attended.log_sum)
    return _given(attended.mixed.flatten(1, 2), out)


def add_norm(hidden: Tensor, added: Tensor | None, weights: NormWeights, out: Tensor | None = None) -> Tensor:
    """Add to the residual in place and return its norm; see `AddNorm`."""
    if added is not None:
        hidden += added
    weight = weights.weight
    if weights.scales_first:
        normed = functional.rms_norm(widen(hidden), weight.shape, widen(weight), weights.epsilon).to(hidden.dtype)
    else:
        normed = functional.rms_norm(widen(hidden), weight.shape, None, weights.epsilon).to(hidden.dtype) * weight
    return _given(normed, out)


def gated_product(gate_and_up: Tensor, out: Tensor | None = None) -> Tensor:
    """Return silu(gate) * up; see `GatedProduct`."""
    gate, up = gate_and_up.chunk(2, dim=-1)
    return _given(functional.silu(gate) * up, out)


def draw(logits: Tensor, streams: Tensor, positions: Tensor, temperature: float, out: Tensor | None = None) -> Tensor:
    """Draw the next tokens; see `Draw`."""
    return _given(Sampler(Sampling(temperature=temperature)).draw(logits, streams, positions), out)


def count(counters: Tensor, active: Tensor) -> None:
    """Count for rows in use; see `Count`."""
    counters.add_(active)


REFERENCE = StepOps(
    embed=embed,
    llamba=llamba,
    llamba_replay=llamba_replay,
    mamba1=mamba1,
    mamba2=mamba2,
    rotate_and_store=rotate_and_store,
    attend=attend,
    add_norm=add_norm,
    gated_product=gated_product,
    draw=draw,
    count=count,
)
"""Plain PyTorch."""


def _llamba_inputs(
    projected: Tensor, weights: LlambaWeights, window: Tensor, state: Tensor
) -> tuple[SSDInputs, Tensor]:
    """Return what the recurrence reads and the gate (B, E), and write the inputs into the window."""
    heads, width, size = state.shape[1:]
    inner, channels = heads * width, weights.convolution.taps.shape[0]
    convolved, gate, decay = torch.split(projected, [channels, inner, heads], dim=1)
    convolved = _convolved(convolved, weights.convolution, window)
    group = (channels - inner) // 2
    x, b, c = torch.split(convolved, [inner, group, group], dim=1)
    log_decay = functional.logsigmoid(-widen(decay))
    inputs = SSDInputs(
        torch.unflatten(x, 1, (heads, width)),
        log_decay,
        torch.unflatten(b, 1, (-1, size)),
        torch.unflatten(c, 1, (-1, size)),
    )
    return inputs, gate


def _llamba_gated(y: Tensor, x: Tensor, gate: Tensor, weights: LlambaWeights) -> Tensor:
    """Return (B, E): the skip past the recurrence, then the gate."""
    y = (y + widen(weights.skip)[:, None] * widen(x)).to(gate.dtype).flatten(1)
    return y * functional.silu(gate if weights.gate_bias is None else gate + weights.gate_bias)


def _total_before(memory: ReplayMemory, fill: Tensor) -> Tensor:
    """Return the sum of log-decays of the first `fill` (B,) kept inputs, (B, H)."""
    row = torch.arange(len(fill), device=fill.device)
    return memory.log_decay[row, :, (fill - 1).clamp(min=0)].masked_fill((fill == 0)[:, None], 0)


def _kept(memory: ReplayMemory, total: Tensor, last: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the kept inputs up to entry `last` (B,) of each row, and zeros in place of the others.

    Returns:
        The decays (B, H, L) from each to a sum `total` (B, H) of log-decays, x (B, H, L, P) and b (B, H, L, N).
    """
    per_group = memory.x.shape[1] // memory.b.shape[1]
    is_past = (torch.arange(memory.x.shape[2], device=last.device) > last[:, None])[:, None]  # (B, 1, L)
    x, b = (widen(part).masked_fill(is_past[..., None], 0) for part in (memory.x, memory.b))
    decays = (total[..., None] - memory.log_decay).masked_fill(is_past, -torch.inf).exp()
    return decays, x, b.repeat_interleave(per_group, dim=1)


def _convolved(x: Tensor, convolution: Convolution, window: Tensor) -> Tensor:
    """Convolve one token, `x` (B, C), and write it into the window."""
    y, after = causal_conv_step(x, convolution.taps, convolution.bias, window)
    window.copy_(after)
    return y


def _repeated(x: Tensor, width: int, repeat: int) -> Tensor:  # (B, X) -> (B, H, width)
    return torch.unflatten(x, 1, (-1, width)).repeat_interleave(repeat, dim=1)


def _attend_to_first(query: Tensor, entries: KeyValues, lengths: Tensor) -> Attended:
    """Attend from `query` (B, G, H/G, P) to the first `lengths` (B,) slots of (B, G, S, P); a log-sum of -inf to none.

    Slots past a row's length are zeroed rather than weighted with zero, which would keep what is not a number.
    """
    is_past = torch.arange(entries.keys.shape[2], device=lengths.device) >= lengths[:, None]  # (B, S)
    keys, values = (part.masked_fill(is_past[:, None, :, None], 0) for part in entries)
    bias = torch.zeros(is_past.shape, device=lengths.device).masked_fill_(is_past, -torch.inf)[:, None, None]
    is_empty = (lengths == 0)[:, None, None]
    attended = attend_plainly(query, KeyValues(keys, values), bias.masked_fill(is_empty[..., None], 0))
    return Attended(
        attended.mixed.masked_fill(is_empty[..., None], 0), attended.log_sum.masked_fill(is_empty, -torch.inf)
    )


def _given(result: Tensor, out: Tensor | None) -> Tensor:
    """Return the result, in `out` if there is one."""
    return result if out is None else out.copy_(result)
