"""The operations of a decode step in C, in float32 or bfloat16 on a CPU, with the signatures of `ops.step_ops`.

Tensors are handed over as addresses, so what the kernels rely on is checked here: numbers that lie side by side along
a row's last axis, and channels side by side in the memory of recurrent layers (`state_buffer`, `window_buffer`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from timetrial_plugins.models.shared_prompt import KeyValues
from timetrial_plugins.ops.native.build import build, cache_folder, find_compiler, load
from timetrial_plugins.ops.native.library import Function, declared
from timetrial_plugins.ops.reference import REFERENCE
from timetrial_plugins.ops.step_ops import (
    LlambaWeights,
    Mamba1Weights,
    Mamba2Weights,
    Memory,
    NormWeights,
    Place,
    SharedPrompts,
    StepOps,
)

_TOKENS_TOGETHER = 256  # TILE of drawing.c

MOST_ROWS = 16  # of what is multiplied by `NativeRow`

DTYPES: Mapping[torch.dtype, Sequence[str]] = {torch.float32: (), torch.bfloat16: ("BFLOAT16",)}
"""The types there are kernels for, and what is defined where their sources are compiled."""


def native_kernels(dtype: torch.dtype) -> NativeKernels:
    """Return the kernels for weights and activations of a type, one of `DTYPES`, built if that was not done before.

    Raises:
        BuildError: they cannot be built here.
    """
    return NativeKernels(declared(load(build(find_compiler(), cache_folder(), DTYPES[dtype]))), dtype)


class NativeKernels:
    """Calls of the C functions."""

    def __init__(self, functions: Mapping[str, Function], dtype: torch.dtype) -> None:
        """Call functions that were built for weights and activations of a type."""
        self._dtype = dtype
        self._add_norm, self._gated_product = functions["add_norm"], functions["gated_product"]
        self._rotate_and_store, self._attend = functions["rotate_and_store"], functions["attend"]
        self._llamba, self._mamba1, self._mamba2 = (functions[name] for name in ("llamba", "mamba1", "mamba2"))
        self._draw, self._row_product = functions["draw"], functions["row_product"]

    @property
    def ops(self) -> StepOps:
        """The operations of a step; the one that puts off writing states is PyTorch's."""
        return replace(
            REFERENCE,
            llamba=self.llamba,
            mamba1=self.mamba1,
            mamba2=self.mamba2,
            rotate_and_store=self.rotate_and_store,
            attend=self.attend,
            add_norm=self.add_norm,
            gated_product=self.gated_product,
            draw=self.draw,
        )

    def _check(self, *tensors: Tensor | None) -> None:
        """Assert that tensors have the type and that their last axis is contiguous."""
        for tensor in tensors:
            assert tensor is None or (tensor.dtype == self._dtype and tensor.stride(-1) == 1), (
                f"expected {self._dtype} side by side"
            )

    def row_products(self, weight: Tensor) -> NativeRow:
        """Return the map of a weight (E, D) in float32 for few rows, which keeps the weight as it is."""
        return NativeRow(self._row_product, weight.contiguous())

    def add_norm(self, hidden: Tensor, added: Tensor | None, weights: NormWeights, out: Tensor | None = None) -> Tensor:
        """Add to the residual in place and return its norm; see `AddNorm`."""
        out = torch.empty_like(hidden) if out is None else out
        others = (None, 0) if added is None else (added.data_ptr(), added.stride(0))
        self._check(hidden, added, out)
        self._add_norm(
            hidden.data_ptr(), hidden.stride(0), *others, weights.weight.data_ptr(), weights.epsilon,
            weights.scales_first, out.data_ptr(), out.stride(0), *hidden.shape,
        )  # fmt: skip
        return out

    def gated_product(self, gate_and_up: Tensor, out: Tensor | None = None) -> Tensor:
        """Return silu(gate) * up; see `GatedProduct`."""
        rows, width = gate_and_up.shape[0], gate_and_up.shape[1] // 2
        out = gate_and_up.new_empty(rows, width) if out is None else out
        self._check(gate_and_up, out)
        self._gated_product(gate_and_up.data_ptr(), gate_and_up.stride(0), out.data_ptr(), out.stride(0), rows, width)
        return out

    def rotate_and_store(self, heads: Tensor, place: Place, own: KeyValues) -> Tensor:
        """Turn queries and keys by their positions and store keys and values; see `RotateAndStore`."""
        rows, num_heads, width = heads.shape
        groups = own.keys.shape[1]
        queries = num_heads - 2 * groups
        self._check(heads, own.keys, own.values)
        self._rotate_and_store(
            heads.data_ptr(), heads.stride(0), place.cos.data_ptr(), place.sin.data_ptr(),
            place.positions.data_ptr(), place.slots.data_ptr(), own.keys.data_ptr(), own.values.data_ptr(),
            own.keys.stride(0), own.keys.stride(1), rows, queries, groups, width,
        )  # fmt: skip
        return heads[:, :queries]

    def attend(
        self, query: Tensor, own: KeyValues, lengths: Tensor, prompts: SharedPrompts | None, out: Tensor | None = None
    ) -> Tensor:
        """Attend to the own slots and to shared prompts; see `Attend`."""
        rows, num_heads, width = query.shape
        groups = own.keys.shape[1]
        out = query.new_empty(query.shape) if out is None else out
        self._check(query, own.keys, own.values, out)
        shared: tuple[int | None, ...] = (None, None, 0, 0, None, None)
        if prompts is not None:
            (keys, values), known = prompts.entries, prompts.lengths
            shared = (
                keys.data_ptr(), values.data_ptr(), keys.stride(0), keys.stride(1),
                known.data_ptr(), prompts.prompt_of_row.data_ptr(),
            )  # fmt: skip
        self._attend(
            query.data_ptr(), query.stride(0), own.keys.data_ptr(), own.values.data_ptr(), own.keys.stride(0),
            own.keys.stride(1), lengths.data_ptr(), *shared, out.data_ptr(), out.stride(0),
            rows, groups, num_heads // groups, width,
        )  # fmt: skip
        return out

    def llamba(self, projected: Tensor, weights: LlambaWeights, memory: Memory, out: Tensor | None = None) -> Tensor:
        """Do a discrete Mamba-2 step; see `LlambaStep`."""
        rows, heads, width, size = memory.state.shape
        taps, bias = weights.convolution.taps.t().contiguous(), weights.convolution.bias  # (K, C)
        channels = taps.shape[1]
        out = projected.new_empty(rows, heads * width) if out is None else out
        room = torch.empty(rows, channels + heads * width)
        self._check(projected, out)
        self._llamba(
            projected.data_ptr(), projected.stride(0), *_places(memory), taps.data_ptr(), _address(bias),
            len(taps), weights.skip.data_ptr(), _address(weights.gate_bias), room.data_ptr(),
            out.data_ptr(), out.stride(0), rows, heads, (channels - heads * width) // (2 * size), width, size,
        )  # fmt: skip
        return out

    def mamba1(
        self, projected: Tensor, delta: Tensor, weights: Mamba1Weights, memory: Memory, out: Tensor | None = None
    ) -> Tensor:
        """Do a step of Mamba-1 in heads; see `Mamba1Step`."""
        rows, heads, width, size = memory.state.shape
        taps, bias = weights.convolution.taps.t().contiguous(), weights.convolution.bias  # (K, C)
        rates = weights.rates.mT.contiguous()  # (H, N, P), no copy where the channels lie side by side
        out = projected.new_empty(rows, heads * width) if out is None else out
        room = torch.empty(rows, 4 * heads * width + (heads // weights.repeat + heads) * size)
        self._check(projected, delta, out)
        self._mamba1(
            projected.data_ptr(), projected.stride(0), delta.data_ptr(), delta.stride(0), *_places(memory),
            taps.data_ptr(), _address(bias), len(taps), rates.data_ptr(),
            weights.delta_bias.data_ptr(), weights.skip.data_ptr(), room.data_ptr(), out.data_ptr(), out.stride(0),
            rows, heads, weights.repeat, width, size,
        )  # fmt: skip
        return out

    def mamba2(self, projected: Tensor, weights: Mamba2Weights, memory: Memory, out: Tensor | None = None) -> Tensor:
        """Do a step of the hybrids' Mamba-2; see `Mamba2Step`."""
        rows, heads, width, size = memory.state.shape
        taps, bias = weights.convolution.taps.t().contiguous(), weights.convolution.bias  # (K, C)
        inner, channels = heads * width, taps.shape[1]
        repeat = 2 * inner // (channels - heads * size)
        out = projected.new_empty(rows, inner) if out is None else out
        room = torch.empty(rows, channels + 2 * inner)
        self._check(projected, out)
        self._mamba2(
            projected.data_ptr(), projected.stride(0), *_places(memory), taps.data_ptr(), _address(bias),
            len(taps), weights.rates.data_ptr(), weights.dt_bias.data_ptr(), weights.skip.data_ptr(),
            weights.norm.data_ptr(), weights.norm_epsilon, room.data_ptr(), out.data_ptr(), out.stride(0),
            rows, heads, repeat, width, size,
        )  # fmt: skip
        return out

    def draw(
        self, logits: Tensor, streams: Tensor, positions: Tensor, temperature: float, out: Tensor | None = None
    ) -> Tensor:
        """Draw the next tokens; see `Draw`."""
        rows, vocabulary = logits.shape
        out = streams.new_empty(rows) if out is None else out
        weights = torch.empty_like(logits, memory_format=torch.contiguous_format)
        sums = torch.empty(rows, -(-vocabulary // _TOKENS_TOGETHER), dtype=torch.float64)
        assert logits.dtype == torch.float32 and logits.stride(1) == 1, "expected logits in float32"
        self._draw(
            logits.data_ptr(), logits.stride(0), streams.data_ptr(), positions.data_ptr(), temperature,
            weights.data_ptr(), sums.data_ptr(), out.data_ptr(), rows, vocabulary,
        )  # fmt: skip
        return out


class NativeRow:
    """A matrix whose product with few rows reads every weight once, on all threads."""

    most_rows = MOST_ROWS

    def __init__(self, function: Function, weight: Tensor) -> None:
        self._function, self._weight = function, weight
        self._num_outputs, self.num_inputs = weight.shape

    def __call__(self, x: Tensor) -> Tensor:  # (B, D) -> (B, E)
        """Return the product."""
        assert x.dtype == torch.float32 and x.stride(1) == 1, "expected rows in float32"
        out = x.new_empty(len(x), self._num_outputs)
        self._function(
            x.data_ptr(), x.stride(0), self._weight.data_ptr(), out.data_ptr(), self._num_outputs,
            len(x), self._num_outputs, self.num_inputs,
        )  # fmt: skip
        return out


def _places(memory: Memory) -> tuple[int, int, int, int]:
    """Return where the windows and states of the rows begin, and how far apart they are."""
    window, state = memory
    assert window.mT[0].is_contiguous() and state.mT[0].is_contiguous(), "channels do not lie side by side"
    assert state.dtype == torch.float32, f"the state is {state.dtype}, expected float32"
    return window.data_ptr(), window.stride(0), state.data_ptr(), state.stride(0)


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
