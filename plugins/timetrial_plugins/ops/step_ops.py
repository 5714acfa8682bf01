"""What a decode step computes between its matrix products: the operations, and the records they read.

Every operation reads device tensors only, never waits for the host, and writes where it always writes, so that a step
made of them can be captured in a CUDA graph. What an operation returns goes into `out` if one is given, a tensor of the
result's shape, type and unit stride along its last axis. Rows do not see each other.
Legend: see the package.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from torch import Tensor

from timetrial_plugins.models.shared_prompt import KeyValues


class Memory(NamedTuple):
    """What a recurrent layer keeps of the tokens before; a step writes over both."""

    window: Tensor  # (B, C, K - 1) the last inputs of the convolution
    state: Tensor  # (B, H, P, N) float32, or the type it was asked to be kept in


class ReplayMemory(NamedTuple):
    """A recurrent layer's memory whose state is written every L steps only, and the inputs since.

    A row's `fill`, known to all layers together, counts its inputs since its state was written, 0 to L - 1.
    """

    window: Tensor  # (B, C, K - 1)
    state: Tensor  # (B, H, P, N) before the first of the kept inputs
    x: Tensor  # (B, H, L, P) of the type of the activations
    b: Tensor  # (B, G, L, N)
    log_decay: Tensor  # (B, H, L) float32: the sum since the state was written, up to and with each input


class Convolution(NamedTuple):
    """Weights of a causal depthwise convolution."""

    taps: Tensor  # (C, K); the last tap belongs to the token itself
    bias: Tensor | None  # (C,)


class LlambaWeights(NamedTuple):
    """What discrete Mamba-2 reads besides its projections; `models.llamba` has the equations."""

    convolution: Convolution  # of x | B | C
    skip: Tensor  # (H,) D
    gate_bias: Tensor | None  # (E,)


class Mamba1Weights(NamedTuple):
    """What Mamba-1 in heads reads besides its projections; `models.mamba_mixer` has the equations."""

    convolution: Convolution  # of x with repeated heads
    rates: Tensor  # (H, P, N) float32, < 0: -exp(A_log); fastest with the channels side by side, as states have them
    delta_bias: Tensor  # (E,) float32: the stored bias as often as it counts
    skip: Tensor  # (E,) D
    repeat: int  # H over the heads of x and B as projected


class Mamba2Weights(NamedTuple):
    """What the hybrids' Mamba-2 reads besides its projections; `models.mamba_mixer` has the equations."""

    convolution: Convolution  # of x | B | C, before the heads of x and B are repeated
    rates: Tensor  # (H,) float32, < 0: -exp(A_log)
    dt_bias: Tensor  # (H,) float32: the stored bias as often as it counts
    skip: Tensor  # (H,) D
    norm: Tensor  # (E,) weight of the RMSNorm within each head
    norm_epsilon: float


class NormWeights(NamedTuple):
    """An RMSNorm; with `scales_first` the weight is multiplied before the cast back to the input's type."""

    weight: Tensor  # (D,)
    epsilon: float
    scales_first: bool


class Place(NamedTuple):
    """Where the tokens of a step stand in their sequences and in the memory."""

    cos: Tensor  # (positions, P / 2) float32 of the rotary angles
    sin: Tensor
    positions: Tensor  # (B,) int64: each token's position, which says how far its heads are turned
    slots: Tensor  # (B,) int64: the slot of its row that its key and value go to


class SharedPrompts(NamedTuple):
    """Prompts that rows share, and which rows share them, in tensors whose shapes survive a change of both.

    Rows of one prompt are read in blocks, each of which reads the prompt once. A row is in one block or in none.
    """

    entries: KeyValues  # (M, G, T, P)
    lengths: Tensor  # (M,) int64: tokens of each prompt, 0 to T
    prompt_of_row: Tensor  # (B,) int32; -1: none
    prompt_of_block: Tensor  # (blocks,) int32; -1: the block is not in use
    rows_of_block: Tensor  # (blocks, rows of a block) int32; -1: no row


class Embed(Protocol):
    """What a step begins with."""

    def __call__(self, tokens: Tensor, table: Tensor, out: Tensor | None = None) -> Tensor:
        """Return (B, D) of tokens (B,) int64 and a table (V, D); something or other where a token is -1."""


class LlambaStep(Protocol):
    """From in_proj's output to out_proj's input."""

    def __call__(self, projected: Tensor, weights: LlambaWeights, memory: Memory, out: Tensor | None = None) -> Tensor:
        """Return (B, E) from `projected` (B, C + E + H): x | B | C, the gate and A_log."""


class ReplayStep(Protocol):
    """`LlambaStep` with a state that is written every L steps."""

    def __call__(
        self, projected: Tensor, weights: LlambaWeights, memory: ReplayMemory, fill: Tensor, out: Tensor | None = None
    ) -> Tensor:
        """Return (B, E) from `projected` (B, C + E + H); keep the input as entry `fill` (B,) int64 of its row.

        A row whose last entry this is has its state written. The caller then advances `fill` by one, modulo L.
        """


class Mamba1Step(Protocol):
    """From in_proj's and dt_proj's output to out_proj's input."""

    def __call__(
        self, projected: Tensor, delta: Tensor, weights: Mamba1Weights, memory: Memory, out: Tensor | None = None
    ) -> Tensor:
        """Return (B, E) from `projected` (B, 2 E + 2 X + rank): z | x | B | C | dt, and `delta` (B, E) without bias."""


class Mamba2Step(Protocol):
    """From in_proj's output to out_proj's input."""

    def __call__(self, projected: Tensor, weights: Mamba2Weights, memory: Memory, out: Tensor | None = None) -> Tensor:
        """Return (B, E) from `projected` (B, 2 E + 2 X + H): z | x | B | C | dt."""


class RotateAndStore(Protocol):
    """What is done to query, key and value before attention."""

    def __call__(self, heads: Tensor, place: Place, own: KeyValues) -> Tensor:
        """Turn queries and keys of `heads` (B, H + 2 G, P) in place and store keys and values (B, G, S, P).

        Returns:
            The queries, (B, H, P), a view of `heads`.
        """


class Attend(Protocol):
    """Grouped-query attention from one token per row."""

    def __call__(
        self, query: Tensor, own: KeyValues, lengths: Tensor, prompts: SharedPrompts | None, out: Tensor | None = None
    ) -> Tensor:
        """Return (B, H, P) for `query` of that shape, from the first `lengths` (B,) int64 slots and from the prompts.

        `own` is (B, G, S, P). What lies past a row's length is not read, so it may be anything. A row must have at
        least one key, its own or a prompt's.
        """


class AddNorm(Protocol):
    """A residual and the norm behind it."""

    def __call__(self, hidden: Tensor, added: Tensor | None, weights: NormWeights, out: Tensor | None = None) -> Tensor:
        """Add `added` (B, D) to `hidden` (B, D) in place, if there is something to add; return its norm (B, D)."""


class GatedProduct(Protocol):
    """The inside of a SwiGLU MLP."""

    def __call__(self, gate_and_up: Tensor, out: Tensor | None = None) -> Tensor:
        """Return silu(gate) * up, (B, F), of both side by side, (B, 2 F)."""


class Draw(Protocol):
    """The choice of the next token."""

    def __call__(
        self, logits: Tensor, streams: Tensor, positions: Tensor, temperature: float, out: Tensor | None = None
    ) -> Tensor:
        """Return the token of each row, (B,) int64, as `engine.sampler` draws it without top-k and top-p.

        `logits` (B, V) are float32; `streams` and `positions` (B,) int64 say which random number a row takes. 0 is
        greedy: the lowest of equally likely tokens. -1 where the logits are not numbers.
        """


class Count(Protocol):
    """What a step ends with."""

    def __call__(self, counters: Tensor, active: Tensor) -> None:
        """Add `active` (B,), 1 for rows in use and 0 for idle ones, to `counters` (any, B) in place; all are int64."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepOps:
    """One implementation of each operation."""

    embed: Embed
    llamba: LlambaStep
    llamba_replay: ReplayStep
    mamba1: Mamba1Step
    mamba2: Mamba2Step
    rotate_and_store: RotateAndStore
    attend: Attend
    add_norm: AddNorm
    gated_product: GatedProduct
    draw: Draw
    count: Count
