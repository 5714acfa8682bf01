"""The operations of a decode step in C, in float32 or bfloat16 on a CPU, with the signatures of `ops.step_ops`.

Tensors are handed over as addresses, so what the kernels rely on is checked here: numbers that lie side by side along
a row's last axis, and channels side by side in the memory of recurrent layers (`state_buffer`, `window_buffer`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from timetrial_plugins.models.shared_prompt import KeyValues
from timetrial_plugins.ops.native.build import build, cache_folder, find_compiler, load
from timetrial_plugins.ops.native.library import Argument, Calls, Library
from timetrial_plugins.ops.native.pages import LargePages
from timetrial_plugins.ops.native.products import NativeProduct, laid_out
from timetrial_plugins.ops.native.recording import Recording
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

DTYPES: Mapping[torch.dtype, Sequence[str]] = {torch.float32: (), torch.bfloat16: ("BFLOAT16",)}
"""The types there are kernels for, and what is defined where their sources are compiled."""


def native_kernels(dtype: torch.dtype) -> NativeKernels:
    """Return the kernels for weights and activations of a type, one of `DTYPES`, built if that was not done before.

    Raises:
        BuildError: they cannot be built here.
    """
    return NativeKernels(Library(load(build(find_compiler(), cache_folder(), DTYPES[dtype]))), dtype)


class NativeKernels:
    """The C functions as operations; calls are made at once, or recorded."""

    def __init__(self, library: Library, dtype: torch.dtype) -> None:
        """Call functions that were built for weights and activations of a type."""
        self._library, self._dtype = library, dtype
        self._recording: Recording | None = None
        self._weights = LargePages()

    @property
    def ops(self) -> StepOps:
        """The operations of a step; the one that puts off writing states is PyTorch's."""
        return replace(
            REFERENCE,
            embed=self.embed,
            llamba=self.llamba,
            mamba1=self.mamba1,
            mamba2=self.mamba2,
            rotate_and_store=self.rotate_and_store,
            attend=self.attend,
            add_norm=self.add_norm,
            gated_product=self.gated_product,
            draw=self.draw,
            count=self.count,
        )

    def recorded(self, part: Callable[[], None], rows: int) -> Calls:
        """Return what a part of a step calls, for any number up to `rows` rows; the part is not done.

        Raises:
            NotRecordedError: it does something else as well.
        """
        recording = Recording(rows)
        self._recording = recording
        try:
            with recording:
                part()
        finally:
            self._recording = None
        return self._library.prepared(recording.calls, recording)

    def product(self, weight: Tensor, bias: Tensor | None) -> NativeProduct:
        """Return the map of a weight (E, D) and a bias (E,), from copies of them as they are now."""
        panels = laid_out(weight, self._library.panel_outputs, self._weights)
        return NativeProduct(self.multiply, panels, None if bias is None else bias.clone(), weight.shape)

    def multiply(self, x: Tensor, panels: Tensor, added: Tensor | None, out: Tensor | int) -> Tensor:
        """Return the products (B, E) of x (B, D) with a weight in panels, and what is added to them, (E,) or (B, E).

        Args:
            x: the rows.
            panels: of `laid_out`.
            added: a bias, or products so far.
            out: where they are written, in the type of the weights or float32; else E.
        """
        result = self._result(x, out) if isinstance(out, int) else out
        self._check(x, panels, added)
        assert result.dtype in (self._dtype, torch.float32) and result.stride(1) == 1, "expected room for products"
        first = (None, 0) if added is None else (added.data_ptr(), added.stride(0) if added.dim() == 2 else 0)
        self._call(
            "product", len(x), *_rows(x), panels.data_ptr(), *first, *_rows(result), result.dtype == torch.float32,
            result.shape[1], x.shape[1],
        )  # fmt: skip
        return result

    def embed(self, tokens: Tensor, table: Tensor, out: Tensor | None = None) -> Tensor:
        """Return the embeddings of tokens; see `Embed`."""
        rows, width = len(tokens), table.shape[1]
        out = self._result(tokens, width, table.dtype) if out is None else out
        self._check(table, out)
        self._call("embed", rows, tokens.data_ptr(), table.data_ptr(), *_rows(out), width)
        return out

    def add_norm(self, hidden: Tensor, added: Tensor | None, weights: NormWeights, out: Tensor | None = None) -> Tensor:
        """Add to the residual in place and return its norm; see `AddNorm`."""
        rows, width = hidden.shape
        out = self._result(hidden, width) if out is None else out
        others = (None, 0) if added is None else _rows(added)
        self._check(hidden, added, out)
        self._call(
            "add_norm", rows, *_rows(hidden), *others, weights.weight.data_ptr(), weights.epsilon, weights.scales_first,
            *_rows(out), width,
        )  # fmt: skip
        return out

    def gated_product(self, gate_and_up: Tensor, out: Tensor | None = None) -> Tensor:
        """Return silu(gate) * up; see `GatedProduct`."""
        rows, width = len(gate_and_up), gate_and_up.shape[1] // 2
        out = self._result(gate_and_up, width) if out is None else out
        self._check(gate_and_up, out)
        self._call("gated_product", rows, *_rows(gate_and_up), *_rows(out), width)
        return out

    def rotate_and_store(self, heads: Tensor, place: Place, own: KeyValues) -> Tensor:
        """Turn queries and keys by their positions and store keys and values; see `RotateAndStore`."""
        rows, num_heads, width = heads.shape
        groups = own.keys.shape[1]
        queries = num_heads - 2 * groups
        self._check(heads, own.keys, own.values)
        self._call(
            "rotate_and_store", rows, *_rows(heads), place.cos.data_ptr(), place.sin.data_ptr(),
            place.positions.data_ptr(), place.slots.data_ptr(), own.keys.data_ptr(), own.values.data_ptr(),
            own.keys.stride(0), own.keys.stride(1), queries, groups, width,
        )  # fmt: skip
        return heads[:, :queries]

    def attend(
        self, query: Tensor, own: KeyValues, lengths: Tensor, prompts: SharedPrompts | None, out: Tensor | None = None
    ) -> Tensor:
        """Attend to the own slots and to shared prompts; see `Attend`."""
        rows, num_heads, width = query.shape
        groups = own.keys.shape[1]
        out = self._result(query, num_heads * width).view(query.shape) if out is None else out
        self._check(query, own.keys, own.values, out)
        shared: tuple[int | None, ...] = (None, None, 0, 0, None, None)
        if prompts is not None:
            (keys, values), known = prompts.entries, prompts.lengths
            shared = (
                keys.data_ptr(), values.data_ptr(), keys.stride(0), keys.stride(1),
                known.data_ptr(), prompts.prompt_of_row.data_ptr(),
            )  # fmt: skip
        self._call(
            "attend", rows, *_rows(query), own.keys.data_ptr(), own.values.data_ptr(), own.keys.stride(0),
            own.keys.stride(1), lengths.data_ptr(), *shared, *_rows(out), groups, num_heads // groups, width,
        )  # fmt: skip
        return out

    def llamba(self, projected: Tensor, weights: LlambaWeights, memory: Memory, out: Tensor | None = None) -> Tensor:
        """Do a discrete Mamba-2 step; see `LlambaStep`."""
        rows, heads, width, size = memory.state.shape
        taps, bias = weights.convolution.taps.t().contiguous(), weights.convolution.bias  # (K, C)
        inner, channels = heads * width, taps.shape[1]
        out = self._result(projected, inner) if out is None else out
        room = self._result(projected, channels + inner, torch.float32)
        self._check(projected, out)
        self._call(
            "llamba", rows, *_rows(projected), *_places(memory), taps.data_ptr(), _address(bias), len(taps),
            weights.skip.data_ptr(), _address(weights.gate_bias), room.data_ptr(), *_rows(out), heads,
            (channels - inner) // (2 * size), width, size,
        )  # fmt: skip
        return out

    def mamba1(
        self, projected: Tensor, delta: Tensor, weights: Mamba1Weights, memory: Memory, out: Tensor | None = None
    ) -> Tensor:
        """Do a step of Mamba-1 in heads; see `Mamba1Step`."""
        rows, heads, width, size = memory.state.shape
        taps, bias = weights.convolution.taps.t().contiguous(), weights.convolution.bias  # (K, C)
        rates = weights.rates.mT.contiguous()  # (H, N, P), no copy where the channels lie side by side
        out = self._result(projected, heads * width) if out is None else out
        room = self._result(projected, 4 * heads * width + (heads // weights.repeat + heads) * size, torch.float32)
        self._check(projected, delta, out)
        self._call(
            "mamba1", rows, *_rows(projected), *_rows(delta), *_places(memory), taps.data_ptr(), _address(bias),
            len(taps), rates.data_ptr(), weights.delta_bias.data_ptr(), weights.skip.data_ptr(), room.data_ptr(),
            *_rows(out), heads, weights.repeat, width, size,
        )  # fmt: skip
        return out

    def mamba2(self, projected: Tensor, weights: Mamba2Weights, memory: Memory, out: Tensor | None = None) -> Tensor:
        """Do a step of the hybrids' Mamba-2; see `Mamba2Step`."""
        rows, heads, width, size = memory.state.shape
        taps, bias = weights.convolution.taps.t().contiguous(), weights.convolution.bias  # (K, C)
        inner, channels = heads * width, taps.shape[1]
        out = self._result(projected, inner) if out is None else out
        room = self._result(projected, channels + 2 * inner, torch.float32)
        self._check(projected, out)
        self._call(
            "mamba2", rows, *_rows(projected), *_places(memory), taps.data_ptr(), _address(bias), len(taps),
            weights.rates.data_ptr(), weights.dt_bias.data_ptr(), weights.skip.data_ptr(), weights.norm.data_ptr(),
            weights.norm_epsilon, room.data_ptr(), *_rows(out), heads, 2 * inner // (channels - heads * size), width,
            size,
        )  # fmt: skip
        return out

    def draw(
        self, logits: Tensor, streams: Tensor, positions: Tensor, temperature: float, out: Tensor | None = None
    ) -> Tensor:
        """Draw the next tokens; see `Draw`."""
        rows, vocabulary = logits.shape
        out = self._result(streams, 1)[:, 0] if out is None else out
        weights = self._result(logits, vocabulary)
        sums = self._result(logits, -(-vocabulary // _TOKENS_TOGETHER), torch.float64)
        assert logits.dtype == torch.float32 and logits.stride(1) == 1, "expected logits in float32"
        self._call(
            "draw", rows, *_rows(logits), streams.data_ptr(), positions.data_ptr(), temperature,
            weights.data_ptr(), sums.data_ptr(), out.data_ptr(), vocabulary,
        )  # fmt: skip
        return out

    def count(self, counters: Tensor, active: Tensor) -> None:
        """Count for rows in use; see `Count`."""
        assert counters.dtype == active.dtype == torch.int64 and counters.stride(1) == 1, "expected counters by row"
        self._call("count", len(active), *_rows(counters), active.data_ptr(), len(counters))

    def _call(self, name: str, rows: int, *arguments: Argument) -> None:
        """Call a function for some rows, or record that it is called."""
        call = self._library.call(name, *arguments)
        if self._recording is None:
            self._library.prepared([call])(rows)
        else:
            self._recording.calls.append(call)

    def _result(self, like: Tensor, width: int, dtype: torch.dtype | None = None) -> Tensor:
        """Return room for as many rows of `width` numbers as `like` has rows, by default of its type."""
        rows, dtype = len(like), like.dtype if dtype is None else dtype
        if self._recording is None:
            return torch.empty(rows, width, dtype=dtype)
        return self._recording.room(width, dtype)[:rows]

    def _check(self, *tensors: Tensor | None) -> None:
        """Assert that tensors have the type and that their last axis is contiguous."""
        for tensor in tensors:
            assert tensor is None or (tensor.dtype == self._dtype and tensor.stride(-1) == 1), (
                f"expected {self._dtype} side by side"
            )


def _places(memory: Memory) -> tuple[int, int, int, int]:
    """Return where the windows and states of the rows begin, and how far apart they are."""
    window, state = memory
    assert window.mT[0].is_contiguous() and state.mT[0].is_contiguous(), "channels do not lie side by side"
    assert state.dtype == torch.float32, f"the state is {state.dtype}, expected float32"
    return window.data_ptr(), window.stride(0), state.data_ptr(), state.stride(0)


def _rows(tensor: Tensor) -> tuple[int, int]:
    """Return where the rows of a tensor begin, and how far apart they are."""
    return tensor.data_ptr(), tensor.stride(0)


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
