"""The next token of every row from logits in tiles: temperature and inverse distribution function, or greedy.

    tiles:  a program has one row and one tile of the vocabulary: its largest logit, and its sum of exponentials
    choice: a program has one row: the tile in which the cumulative sum passes u times the total, then the token in it

Sums are float64, exponentials float32, as `engine.sampler` has them, but not divided by their sum: a token differs from
the sampler's where u lies within about 1e-6 of the border between two. Random numbers are equal to the bit.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from timetrial_plugins.ops.kernels.launch import block, check_contiguous

_TILE = 4096


@triton.jit
def tile_kernel(
    logits_ptr, largest_ptr, sums_ptr, first_ptr, logits_stride, temperature, vocabulary, tiles,
    IS_GREEDY: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Sum up one tile of one row; the grid is (rows, tiles)."""
    row, tile = tl.program_id(0).to(tl.int64), tl.program_id(1)
    token = tile * TILE + tl.arange(0, TILE)
    logits = tl.load(logits_ptr + row * logits_stride + token, mask=token < vocabulary, other=float("-inf"))
    if not IS_GREEDY:
        logits = tl.div_rn(logits, temperature)
    largest = tl.max(logits, axis=0)
    origin = tl.where(largest == float("-inf"), 0.0, largest)
    place = row * tiles + tile
    tl.store(largest_ptr + place, largest)
    tl.store(sums_ptr + place, tl.sum(tl.exp(logits - origin).to(tl.float64), axis=0))
    if IS_GREEDY:
        tl.store(first_ptr + place, tl.min(tl.where(logits == largest, token, vocabulary), axis=0))


@triton.jit
def choice_kernel(
    logits_ptr, largest_ptr, sums_ptr, first_ptr, streams_ptr, positions_ptr, out_ptr,
    logits_stride, temperature, vocabulary, tiles,
    IS_GREEDY: tl.constexpr, TILE: tl.constexpr, BLOCK_TILES: tl.constexpr,
):  # fmt: skip
    """Choose one row's token; the grid is (rows,)."""
    row, tile = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK_TILES)
    is_tile, place = tile < tiles, row * tiles + tile
    maxima = tl.load(largest_ptr + place, mask=is_tile, other=float("-inf"))
    sums = tl.load(sums_ptr + place, mask=is_tile, other=0.0)
    largest = tl.max(maxima, axis=0)
    masses = sums * tl.exp(maxima - largest).to(tl.float64)
    cumulative = tl.cumsum(masses, axis=0)
    total = tl.sum(masses, axis=0)
    # Neither infinite nor not a number: then the difference is 0. The largest may be +inf with a finite total.
    is_finite = (total - total == 0.0) & (largest - largest == 0.0)
    if IS_GREEDY:
        first = tl.load(first_ptr + place, mask=is_tile, other=vocabulary)
        chosen = tl.min(tl.where(maxima == largest, first, vocabulary), axis=0)
    else:
        number = _uniform(tl.load(streams_ptr + row), tl.load(positions_ptr + row))
        target = number * total
        last_tile = tl.max(tl.where(masses > 0, tile, 0), axis=0)
        found = tl.minimum(tl.sum((is_tile & (cumulative <= target)).to(tl.int32), axis=0), last_tile)
        before = tl.sum(tl.where(tile < found, masses, 0.0), axis=0)
        token = found * TILE + tl.arange(0, TILE)
        logits = tl.load(logits_ptr + row * logits_stride + token, mask=token < vocabulary, other=float("-inf"))
        weights = tl.exp(tl.div_rn(logits, temperature) - largest).to(tl.float64)
        passed = (before + tl.cumsum(weights, axis=0) <= target).to(tl.int32)
        # Rounding may leave the target past the tile's end: then it is the last token that can be drawn at all.
        last = tl.max(tl.where(weights > 0, token, 0), axis=0)
        chosen = tl.minimum(found * TILE + tl.sum(passed, axis=0), last)
    tl.store(out_ptr + row, tl.where(is_finite, chosen, -1).to(tl.int64))


@triton.jit
def _uniform(stream, position):
    """Return the number in [0, 1) that a stream gives at its position: SplitMix64, see `engine.sampler`."""
    state = stream.to(tl.uint64, bitcast=True) + (position + 1).to(tl.uint64, bitcast=True) * 0x9E3779B97F4A7C15
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB
    return ((state ^ (state >> 31)) >> 11).to(tl.float64) * (1.0 / 9007199254740992.0)  # 2^-53


def draw(logits: Tensor, streams: Tensor, positions: Tensor, temperature: float, out: Tensor | None = None) -> Tensor:
    """Draw the next tokens; see `Draw`."""
    rows, vocabulary = logits.shape
    assert logits.dtype == torch.float32, f"logits are {logits.dtype}, expected float32"
    check_contiguous(logits=logits)
    out = streams.new_empty(rows) if out is None else out
    tiles = triton.cdiv(vocabulary, _TILE)
    largest = logits.new_empty(rows, tiles)
    sums = torch.empty_like(largest, dtype=torch.float64)
    first = torch.empty_like(largest, dtype=torch.int32)
    sizes = {"IS_GREEDY": temperature == 0, "TILE": _TILE}
    tile_kernel[(rows, tiles)](
        logits, largest, sums, first, logits.stride(0), float(temperature), vocabulary, tiles, **sizes, num_warps=8
    )
    choice_kernel[(rows,)](
        logits, largest, sums, first, streams, positions, out, logits.stride(0), float(temperature), vocabulary, tiles,
        **sizes, BLOCK_TILES=block(tiles), num_warps=8,
    )  # fmt: skip
    return out
