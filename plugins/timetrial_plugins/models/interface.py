"""What every family offers the engine: one shape of module, and one kind of memory for the sequences it decodes.

A family keeps its memory (keys and values, convolution windows, recurrent states) in the buffers of a DecodeState, so
the engine can broadcast, append and drop rows without knowing the family.
Shapes: B batch, T tokens, V vocabulary, L layers, R rows allocated.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn

from timetrial_plugins.models.joint import JointLinear, Products
from timetrial_plugins.models.kept import Kept
from timetrial_plugins.models.step_function import StepFunction
from timetrial_registry.error import CheckpointError


class DecodeState:
    """Pre-allocated buffers, each (L, R, ...), whose first `batch` rows are sequences with a length each.

    How a buffer lies in memory is the family's choice, by its strides, and shows in nothing but speed.
    """

    def __init__(self, buffers: Mapping[str, Tensor], capacity: int) -> None:
        """Own `buffers`, no row in use; `capacity` bounds the tokens of a row."""
        self.buffers = dict(buffers)
        self.capacity = capacity
        self.batch = 0
        """Rows in use."""
        self.longest = 0
        """The length of the longest row in use, known to the host without asking the device."""
        any_buffer = next(iter(self.buffers.values()))
        self.lengths = torch.zeros(any_buffer.shape[1], dtype=torch.int64, device=any_buffer.device)
        """Tokens seen by each row, (R,)."""

    def append(self, source: DecodeState, copies: int, row: int = 0) -> None:
        """Broadcast a row of another state, all of whose rows are as long, to `copies` new rows here.

        The other state has the same or a smaller capacity.
        """
        one = {name: buffer[:, row : row + 1] for name, buffer in source.buffers.items()}
        self._add(one, source.lengths[row : row + 1], copies, source.longest)

    def share(self, source: DecodeState, copies: int, row: int = 0) -> None:
        """Do what `append` does, but keep what can be read by all rows together in one place, if there is any."""
        self.append(source, copies, row)

    def snapshot(self) -> dict[str, Tensor]:
        """Return copies of the rows in use, (L, B, ...) by the buffers' names, and "lengths" (B,).

        `safetensors.torch.save_file` can write it.
        """
        contiguous = torch.contiguous_format
        rows = {name: part[:, : self.batch].clone(memory_format=contiguous) for name, part in self.buffers.items()}
        return rows | {"lengths": self.lengths[: self.batch].clone()}

    def restore(self, snapshot: Mapping[str, Tensor]) -> None:
        """Add the rows of a snapshot, from a state of the same or smaller capacity, after the rows in use.

        Raises:
            CheckpointError: the snapshot is another model's, or does not fit.
        """
        lengths = snapshot.get("lengths", self.lengths[:0])
        count = len(lengths)
        problems = [
            f"{name} is there on one side only" for name in sorted(snapshot.keys() ^ {*self.buffers, "lengths"})
        ]
        for name in sorted(snapshot.keys() & self.buffers.keys()):
            problems += self._misfit(name, snapshot[name], count)
        if problems:
            raise CheckpointError(f"the saved decode state does not fit this model's: {'; '.join(problems)}")
        rows = {name: snapshot[name] for name in self.buffers}
        self._add(rows, lengths, count, int(lengths.max()) if count else 0)

    def move(self, sources: Tensor, targets: Tensor, batch: int) -> None:
        """Copy rows `sources` over rows `targets`, one after the other; then leave the first `batch` rows in use."""
        moves = list(zip(sources.tolist(), targets.tolist(), strict=True))
        for buffer in (*self._used().values(), self.lengths[None]):
            for source, target in moves:  # by slices: by indices it takes up to twenty times as long
                buffer[:, target] = buffer[:, source]
        self.batch = batch
        self.longest = int(self.lengths[:batch].max()) if batch else 0

    def wipe(self, rows: Tensor) -> None:
        """Zero the memory of rows: what is not a number there would outlive them, since even weight 0 keeps it."""
        for buffer in self.buffers.values():
            buffer[:, rows] = 0

    def slots_read(self) -> list[int] | None:
        """Return how much a step reads of each row in use, where that differs; rows alike are best neighbours."""
        return None

    def _used(self) -> dict[str, Tensor]:
        """Return the parts of the buffers, all rows of them, in which there is anything."""
        return self.buffers

    def _add(self, rows: Mapping[str, Tensor], lengths: Tensor, count: int, longest: int) -> None:
        """Write `count` rows after those in use; a single row, (L, 1, ...), is broadcast."""
        start, stop = self.batch, self.batch + count
        for name, row in rows.items():
            buffer = self.buffers[name]
            buffer[(slice(None), slice(start, stop), *(slice(size) for size in row.shape[2:]))] = row
        self.lengths[start:stop] = lengths
        self.batch = stop
        self.longest = max(self.longest, longest)

    @property
    def _slots(self) -> int:
        """How many tokens of a row the buffers hold that grow with its length."""
        return self.capacity

    def _misfit(self, name: str, saved: Tensor, count: int) -> list[str]:
        """Say what keeps `count` saved rows out of the free rows of a buffer; only the slots may be fewer."""
        free = self.buffers[name][:, self.batch :]
        sizes = zip(saved.shape[2:], free.shape[2:], strict=False)
        fits = saved.dim() == free.dim() and saved.shape[0] == free.shape[0] and saved.shape[1] == count
        if not fits or count > free.shape[1] or any(s != f and not s < f == self._slots for s, f in sizes):
            return [f"{name} has shape {list(saved.shape)}, and there is room for {list(free.shape)}"]
        return [] if saved.dtype == free.dtype else [f"{name} is {saved.dtype}, expected {free.dtype}"]


class Footprint(NamedTuple):
    """What one decode step of a model reads, writes and multiplies (docs/models.md)."""

    weight_bytes: int
    """Weights read once per step, whatever the batch."""
    linear_parameters: int
    """Parameters of the matrix products, the output head included."""
    kv_bytes_per_token: int
    """Keys and values read per sequence and token of context."""
    state_bytes: int
    """Recurrent state per sequence, read and written."""


class Layer(Protocol):
    """A mixer and an MLP, each behind a norm and around a residual. Any: each family has its own view and memory."""

    def __call__(self, hidden: Tensor, view: Any, /) -> tuple[Tensor, Any]:
        """Return the layer's output (B, T, D) for its input, and what a decode step needs of it."""
        ...

    def mix(self, hidden: Tensor, view: Any, /) -> tuple[Tensor, Any]:
        """Return what the mixer adds to the layer's input, (B, T, D), and what a decode step needs of it."""
        ...


class Anatomy(NamedTuple):
    """A model's modules in the order in which `logits` uses them, for training that stops in between."""

    embedding: nn.Embedding
    layers: Sequence[Layer]
    norm: nn.Module
    head: nn.Embedding | nn.Linear
    """Its weight has a row for each token of the vocabulary, and perhaps padding after them; the embedding if tied."""


State = TypeVar("State", bound=DecodeState)


class CausalModule(nn.Module, ABC, Generic[State]):
    """A language model as the engine sees it; parameters have the names of the published checkpoints."""

    config: Any  # Any: each family has a dataclass of its own
    vocab_size: int
    context_length: int | None
    """The most tokens, prompt and completion together, the model was made for; None if nothing bounds them."""
    state_dtype: torch.dtype | None = None
    """Of recurrent states, where there are some; None for float32, or float64 if the weights are."""
    default_eos_ids: frozenset[int] = frozenset()
    """Tokens that end a sequence by the family's convention, besides those that a checkpoint's files name."""
    redundant_tensors: Sequence[str] = ()
    """Regular expressions for tensors that a checkpoint may hold and the module does not need."""

    def pack(self, products: Products) -> None:
        """Multiply by what `products` makes of the weights as they are now, copies in a layout of its own.

        To be called again when weights change: steps use the copies, and so does everything in inference mode.
        """
        for aid in self._aids():
            if isinstance(aid, JointLinear):
                aid.pack(products)

    def fuse(self) -> None:
        """Move weights of the same input next to each other; steps then multiply by them at once, on any device."""
        for aid in self._aids():
            if isinstance(aid, JointLinear):
                aid.fuse()

    def keep(self) -> None:
        """Work out what steps need of the parameters beside products, once; to be called again when weights change."""
        for aid in self._aids():
            if isinstance(aid, Kept):
                aid.keep()

    def compile_steps(self) -> list[str]:
        """Compile the parts of a step that gain by it, at their next call; return their names."""
        functions = [aid for aid in self._aids() if isinstance(aid, StepFunction)]
        for function in functions:
            function.compile()
        return sorted({function.name for function in functions})

    def _aids(self) -> list[Any]:  # Any: whatever a module has
        return [value for module in self.modules() for value in vars(module).values()]

    @property
    @abstractmethod
    def footprint(self) -> Footprint:
        """What a decode step costs."""

    @property
    @abstractmethod
    def anatomy(self) -> Anatomy:
        """The modules that `logits` runs one after the other."""

    @abstractmethod
    def view(self, tokens: Tensor, doc_ids: Tensor | None) -> Any:  # Any: each family has its own
        """Return what the layers must know of sequences `tokens` (B, T), with `doc_ids` of the same shape or None."""

    @abstractmethod
    def logits(self, tokens: Tensor, doc_ids: Tensor | None = None) -> Tensor:
        """Return next-token logits (B, T, V) for `tokens` (B, T) without padding; differentiable.

        They are float32, or float64 where the weights are. `doc_ids` (B, T), integers, say which document a token
        belongs to; a document is contiguous in its row, and its logits are those it gets in a row of its own. None
        means one document a row.
        """

    @abstractmethod
    def init_state(self, rows: int, capacity: int) -> State:
        """Return a state with room for `rows` sequences of `capacity` tokens, none in use."""

    @abstractmethod
    def prefill(self, tokens: Tensor, state: State) -> Tensor:
        """Read prompts of equal length, (B, T), into an empty state; return the logits (B, V) after them."""

    @abstractmethod
    def step(self, tokens: Tensor, state: State) -> Tensor:
        """Read one token per row in use, (B,); return the next token's logits (B, V) in float32."""
