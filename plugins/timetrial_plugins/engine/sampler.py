"""Draw tokens from logits with random numbers that depend on (seed, problem, sample, position) and nothing else.

Every completion has a stream of its own: SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
generators", OOPSLA 2014), which is a hash of a counter, so token t takes output t wherever and whenever it is drawn.
The stream's seed is the first 8 bytes, big-endian, of the sha256 of "seed\\nsample\\nproblem" in UTF-8. Output t
(from 0), shifted right by 11 bits and divided by 2^53, is the uniform number u; the token is the first whose
cumulative probability, in the order of token ids, exceeds u. The arithmetic is exact on every device.

Shapes: B batch, V vocabulary.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from timetrial.error import UsageError
from timetrial.protocol import Sampling


def stream_seed(seed: int, problem: str, sample: int) -> int:
    """Return the seed of a completion's stream, as a signed 64-bit number."""
    digest = hashlib.sha256(f"{seed}\n{sample}\n{problem}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def uniforms(streams: Tensor, positions: Tensor) -> Tensor:
    """Return the number in [0, 1), float64, that each stream (int64) gives at its position (int64, from 0)."""
    state = streams + (positions + 1) * _signed(0x9E3779B97F4A7C15)
    state = (state ^ _shift_right(state, 30)) * _signed(0xBF58476D1CE4E5B9)
    state = (state ^ _shift_right(state, 27)) * _signed(0x94D049BB133111EB)
    return _shift_right(state ^ _shift_right(state, 31), 11).double() * 2.0**-53


def check_sampling(sampling: Sampling) -> None:
    """Refuse sampling parameters that mean nothing.

    Raises:
        UsageError: one is out of range.
    """
    if not 0 <= sampling.temperature < float("inf"):
        raise UsageError(f"temperature is {sampling.temperature}: expected 0 (greedy) or more")
    if not 0 < sampling.top_p <= 1:
        raise UsageError(f"top_p is {sampling.top_p}: expected more than 0 and at most 1 (1 keeps all tokens)")
    if sampling.top_k < 1 and sampling.top_k != -1:
        raise UsageError(f"top_k is {sampling.top_k}: expected 1 or more, or -1 for all tokens")
    if sampling.max_tokens < 1:
        raise UsageError(f"max_tokens is {sampling.max_tokens}: expected 1 or more")
    if "" in sampling.stop:
        raise UsageError("a stop string is empty: it would end every completion before its first token")


class Sampler:
    """Draws one token per row."""

    def __init__(self, sampling: Sampling) -> None:
        """Draw as `sampling` says: temperature first, then top-k, then top-p of what top-k left.

        Raises:
            UsageError: a parameter is out of range.
        """
        check_sampling(sampling)
        self._sampling = sampling

    @property
    def whole_temperature(self) -> float | None:
        """The temperature if all tokens may be drawn, 0 for the likeliest; None where top-k or top-p bars some."""
        bars = self._sampling.temperature > 0 and (self._sampling.top_k != -1 or self._sampling.top_p != 1)
        return None if bars else self._sampling.temperature

    def draw(self, logits: Tensor, streams: Tensor, positions: Tensor) -> Tensor:
        """Return the token of each row, (B,) int64; -1 where the logits (B, V) are not numbers.

        `streams` and `positions` (B,) say which random number each row takes. Greedy rows take the lowest of equally
        likely tokens.
        """
        return self.draw_with(logits, uniforms(streams, positions))

    def draw_with(self, logits: Tensor, numbers: Tensor) -> Tensor:
        """Do the same with the random numbers (B,) at hand."""
        if self._sampling.temperature == 0:
            best, tokens = logits.max(dim=-1)
            return tokens.masked_fill_(~best.isfinite(), -1)
        cumulative = self.probabilities(logits).cumsum(dim=-1, dtype=torch.float64)
        total = cumulative[:, -1]
        targets = numbers * total
        tokens = torch.searchsorted(cumulative, targets[:, None], right=True)[:, 0]
        return tokens.masked_fill_(~total.isfinite(), -1)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return what tokens are drawn with, (B, V) float32: 0 where excluded, the rest not renormalised."""
        temperature = self._sampling.temperature
        probabilities = torch.softmax(logits if temperature == 1 else logits / temperature, dim=-1)
        top_k, top_p = self._sampling.top_k, self._sampling.top_p
        if top_k == -1 and top_p == 1:
            return probabilities
        # Stable, so that among equals the lower token id stays and exactly top_k remain.
        ordered, order = probabilities.sort(dim=-1, descending=True, stable=True)
        if top_k != -1:
            ordered[:, top_k:].fill_(0)
        if top_p < 1:  # the smallest set that reaches top_p: a token stays if those before it do not
            before = ordered.cumsum(dim=-1, dtype=torch.float64) - ordered
            ordered.masked_fill_(before >= top_p * ordered.sum(dim=-1, keepdim=True, dtype=torch.float64), 0)
        return torch.zeros_like(probabilities).scatter_(-1, order, ordered)


def _shift_right(x: Tensor, bits: int) -> Tensor:
    """Shift int64 as if it were unsigned."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _signed(x: int) -> int:
    return x - (1 << 64) if x >= 1 << 63 else x
