"""The sequences decoded together: their memory, and the step that draws and reads one token for all of them.

`advance` is what is timed. `DecodeBatch` calls the module's own steps; what runs them on an accelerator is `device`.
Shapes: R rows allocated, B rows in use, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from timetrial_plugins.engine.sampler import Sampler, uniforms
from timetrial_plugins.models.interface import CausalModule, DecodeState
from timetrial_plugins.models.spans import ROWS_TOGETHER

_NUMBERS_AHEAD = 16  # steps whose random numbers are made at once: a dozen operations, on one number a row or more
_ALIKE = 32  # slots within which rows count as having come as far: of those the last moves, and no others behind it
LEAST_SHARERS = 8  # measured: 4 rows are faster with copies of their prompt, 8 to 12 are as fast, 16 are slower


class PrefilledPrompt(NamedTuple):
    """A prompt that has been read once, ready to be shared by its completions."""

    state: DecodeState
    row: int
    """Which row of the state it is."""
    logits: Tensor  # (1, V) after the prompt


class Move(NamedTuple):
    """A row that takes the place of another one."""

    source: int
    target: int


class Batch(Protocol):
    """Rows that are decoded together, whatever runs their steps; the first `size` are in use."""

    @property
    def size(self) -> int:
        """Rows in use."""

    def prefill(self, tokens: Sequence[int]) -> PrefilledPrompt:
        """Read a prompt, once, whatever the number of its completions."""

    def prefill_together(self, prompts: Sequence[Sequence[int]]) -> list[PrefilledPrompt]:
        """Read prompts of one length at once."""

    def prepare(self, rows: int, first: int, last: int) -> None:
        """Do what the steps of `rows` rows of `first` to `last` tokens need once, so that none of them pays for it.

        No row is in use.
        """

    def admit(self, prompt: PrefilledPrompt, streams: Sequence[int]) -> Sequence[int]:
        """Add one completion of the prompt for each stream of random numbers; return the rows they take."""

    def advance(self) -> Tensor:
        """Draw the next token of every row and read it; return the tokens, (B,), -1 where there is none."""

    def drop(self, rows: Collection[int], *, spoilt: Collection[int] = (), num_next: int = 0) -> list[Move]:
        """Take rows out of the batch; return which rows took the place of which ones, one after the other.

        `spoilt` are those among the dropped whose memory may hold values that are not numbers. `num_next` completions
        or more are admitted before the next step: for as many, places may be kept open, so that no row has to move.
        """


class DecodeBatch:
    """Rows whose steps are the module's own."""

    # Any: each family has its own kind of state, and only the family looks into it
    def __init__(
        self, module: CausalModule[Any], sampler: Sampler, rows: int, capacity: int, *, shares_prompts: bool = False
    ) -> None:
        """Allocate `rows` rows of `capacity` tokens each, prompt and completion together.

        With `shares_prompts` rows that are admitted together read the keys and values of their prompt together.
        """
        self._shares_prompts = shares_prompts
        self._module, self._sampler = module, sampler
        with torch.inference_mode():
            self._state: DecodeState = module.init_state(rows, capacity)
            self._device = self._state.lengths.device
            self._streams = torch.zeros(rows, dtype=torch.int64, device=self._device)  # (R,) seeds of random numbers
            self._counts = torch.zeros(rows, dtype=torch.int64, device=self._device)  # (R,) tokens drawn
            self._logits = torch.empty(0, device=self._device)  # (B, V) for the next token
            self._columns: list[Tensor] = []  # (B,) each: random numbers of the next steps, the last one first

    @property
    def size(self) -> int:
        """Rows in use."""
        return self._state.batch

    def prefill(self, tokens: Sequence[int]) -> PrefilledPrompt:
        """Read a prompt, once, whatever the number of its completions."""
        (prompt,) = self.prefill_together([tokens])
        return prompt

    def prefill_together(self, prompts: Sequence[Sequence[int]]) -> list[PrefilledPrompt]:
        """Read prompts of one length at once."""
        return read_prompts(self._module, prompts, self._device)

    def prepare(self, rows: int, first: int, last: int) -> None:
        """Do nothing: each of these steps is an ordinary call."""

    def admit(self, prompt: PrefilledPrompt, streams: Sequence[int]) -> Sequence[int]:
        """Add one completion of the prompt for each stream of random numbers; return the rows they take."""
        with torch.inference_mode():
            start, stop = self.size, self.size + len(streams)
            if self._shares_prompts and len(streams) >= LEAST_SHARERS:
                self._state.share(prompt.state, len(streams), prompt.row)
            else:
                self._state.append(prompt.state, len(streams), prompt.row)
            self._streams[start:stop] = torch.tensor(streams, dtype=torch.int64)
            self._counts[start:stop] = 0
            self._columns = []
            new = prompt.logits.expand(len(streams), -1)
            self._logits = torch.cat((self._logits, new)) if start else new.clone()
        return range(start, stop)

    def advance(self) -> Tensor:
        """Draw the next token of every row and read it; return the tokens, (B,), -1 where there is none."""
        with torch.inference_mode():
            counts = self._counts[: self.size]
            if not self._columns:
                ahead = torch.arange(_NUMBERS_AHEAD, device=self._device)
                numbers = uniforms(self._streams[: self.size, None], counts[:, None] + ahead)
                self._columns = list(numbers.flip(1).unbind(1))
            tokens = self._sampler.draw_with(self._logits, self._columns.pop())
            counts += 1
            # A row without a next token is on its way out: what it reads until then does not matter.
            self._logits = self._module.step(tokens.clamp(min=0), self._state)
        return tokens

    def drop(self, rows: Collection[int], *, spoilt: Collection[int] = (), num_next: int = 0) -> list[Move]:
        """Take rows out of the batch; return which rows took the place of which ones.

        `spoilt` are those among the dropped whose memory may hold values that are not numbers. No place is kept open
        for the next: rows stay in the order in which they came, which is that of their lengths.
        """
        size, slots = self.size - len(rows), self._state.slots_read()
        moves = closing_moves(self.size, rows) if slots is None else sorting_moves(slots, rows)
        with torch.inference_mode():
            if spoilt:
                self._state.wipe(torch.tensor(sorted(spoilt), device=self._device))
            both = torch.tensor(moves, dtype=torch.int64, device=self._device).reshape(-1, 2)
            sources, targets = both.unbind(1)
            self._state.move(sources, targets, size)
            for tensor in (self._streams, self._counts, self._logits):
                tensor[targets] = tensor[sources]
            self._logits = self._logits[:size]
            self._columns = []
        return moves


# Any: each family has its own kind of state
def read_prompts(
    module: CausalModule[Any], prompts: Sequence[Sequence[int]], device: torch.device
) -> list[PrefilledPrompt]:
    """Read prompts of one length at once."""
    with torch.inference_mode():
        state = module.init_state(len(prompts), len(prompts[0]))
        logits = module.prefill(torch.tensor(prompts, device=device), state)
    return [PrefilledPrompt(state, row, logits[row : row + 1]) for row in range(len(prompts))]


def closing_moves(size: int, dropped: Collection[int]) -> list[Move]:
    """Return which of the last of `size` rows take the places of dropped ones, so that those left are the first."""
    left = size - len(dropped)
    holes = sorted(row for row in dropped if row < left)
    fillers = (row for row in range(left, size) if row not in dropped)
    return [Move(source, target) for target, source in zip(holes, fillers, strict=True)]


def sorting_moves(slots: Sequence[int], dropped: Collection[int]) -> list[Move]:
    """Do what `closing_moves` does, and keep rows together that have come as far, given the slots of each.

    Rows that came first are the longest, so a batch is sorted by itself, but for the places of rows that left: such a
    place goes to the longest of the rows behind its neighbours, whose own place goes to the longest behind that, and so
    on. Rows only move to the front, so the moves may be done at once or one after the other.
    """
    left, held = len(slots) - len(dropped), list(range(len(slots)))  # the row at each place, -1 where it left
    for place in dropped:
        held[place] = -1
    for place in sorted(dropped):
        while place < left:
            behind = min((place // ROWS_TOGETHER + 1) * ROWS_TOGETHER, left)
            rows = ((slots[held[at]] // _ALIKE, at) for at in range(behind, len(held)) if held[at] >= 0)
            _, longest = max(rows)
            held[place], held[longest] = held[longest], -1
            place = longest
    return [Move(source, target) for target, source in enumerate(held[:left]) if source != target]
