"""The sequences that a device decodes together: rows come and go on the host, steps are replayed.

The host knows how long every row is without asking, because all rows in use advance together.
Legend: see the package.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from timetrial_plugins.device.memory import RowMemory, move_rows, write_rows
from timetrial_plugins.device.step import DeviceStep
from timetrial_plugins.engine.batch import Move, PrefilledPrompt, closing_moves, read_prompts
from timetrial_plugins.engine.graph import Runner
from timetrial_plugins.models.interface import CausalModule


class DeviceBatch:
    """Rows that are decoded together; the first `size` are in use."""

    # Any: each family has its own kind of state
    def __init__(
        self, module: CausalModule[Any], memory: RowMemory, step: DeviceStep, runner: Runner, num_prompts: int
    ) -> None:
        """Decode with `step`, run by `runner`, on `memory`, which has room for `num_prompts` shared prompts."""
        self._module, self._memory, self._step, self._runner = module, memory, step, runner
        self._device = step.tokens.device
        self._size = self._num_steps = 0
        self._begun: list[int] = []  # of each row in use, its own slots less the steps done
        self._prompt_of_row: list[int] = []  # -1: none
        self._assigned: list[int] = []  # the same, as memory has it
        self._open: list[int] = []  # rows whose completions have left and that the next are to take
        self._placed: list[PrefilledPrompt | None] = [None] * num_prompts

    @property
    def size(self) -> int:
        """Rows in use."""
        return self._size

    def prefill(self, tokens: Sequence[int]) -> PrefilledPrompt:
        """Read a prompt, once, whatever the number of its completions."""
        (prompt,) = self.prefill_together([tokens])
        return prompt

    def prefill_together(self, prompts: Sequence[Sequence[int]]) -> list[PrefilledPrompt]:
        """Read prompts of one length at once."""
        return read_prompts(self._module, prompts, self._device)

    def prepare(self, rows: int, first: int, last: int) -> None:
        """Record the steps that rows of `first` to `last` tokens take, all in use; none may be in use now."""
        assert not self.size, "steps are prepared on idle rows"
        with torch.inference_mode(), self._on_device():
            for slots in range(first + 1, last + 1) if self._memory.has_slots else (1,):
                self._runner.prepare(rows, slots)

    def admit(self, prompt: PrefilledPrompt, streams: Sequence[int]) -> Sequence[int]:
        """Add one completion of the prompt for each stream of random numbers; return the rows they take."""
        rows = self._take(len(streams))
        place = self._place(prompt)
        self._memory.put(prompt.state, prompt.row, rows, streams, is_shared=place >= 0)
        write_rows(self._step.logits, rows, prompt.logits.float())
        begun = (0 if place >= 0 else prompt.state.longest) - self._num_steps
        for row in rows:
            self._begun[row], self._prompt_of_row[row] = begun, place
        return rows

    def advance(self) -> Tensor:
        """Draw the next token of every row and read it; return the tokens, (B,), -1 where there is none."""
        assert not self._open, f"rows {self._open} were kept for completions that did not come"
        with torch.inference_mode(), self._on_device():
            if self._assigned != self._prompt_of_row:  # rows often come where others of their prompt left
                self._memory.assign_prompts(self._prompt_of_row)
                self._assigned = self._prompt_of_row.copy()
            self._runner.run(self.size, self._num_slots() + 1 if self._memory.has_slots else 1)
            self._num_steps += 1
            return self._step.tokens[: self.size].clone()  # the next step writes over them

    def drop(self, rows: Collection[int], *, spoilt: Collection[int] = (), num_next: int = 0) -> list[Move]:
        """Take rows out of the batch; return which of the last rows took the place of which dropped ones.

        The first `num_next` of the dropped are kept open, and still counted as in use, until completions are admitted
        into them. What `spoilt` rows leave behind is not read: attention stops at a row's end, and a new row brings its
        states.
        """
        assert not self._open, f"rows {self._open} are open already"
        holes = sorted(rows)
        self._open = holes[:num_next]
        for row in self._open:
            self._prompt_of_row[row] = -1
        return self._close(holes[num_next:])

    def _take(self, num_rows: int) -> Sequence[int]:
        """Return as many rows that are in use from now on: open ones first, then those behind the last."""
        taken, self._open = self._open[:num_rows], self._open[num_rows:]
        behind = range(self.size, self.size + num_rows - len(taken))
        self._begun += [0] * len(behind)
        self._prompt_of_row += [-1] * len(behind)
        self._size = behind.stop
        return [*taken, *behind]

    def _close(self, holes: Collection[int]) -> list[Move]:
        """Let the last rows take the places of holes, which are behind all open rows; return which took which."""
        if not holes:
            return []
        moves = closing_moves(self.size, holes)
        slots, self._size = self._num_slots(), self.size - len(holes)
        for source, target in moves:
            self._begun[target], self._prompt_of_row[target] = self._begun[source], self._prompt_of_row[source]
        del self._begun[self.size :], self._prompt_of_row[self.size :]
        with torch.inference_mode():
            self._memory.move(moves, slots)
            move_rows([self._step.logits], moves)
            self._memory.idle(self.size)
        return moves

    def _place(self, prompt: PrefilledPrompt) -> int:
        """Return where the prompt lies for sharing; -1 where rows get copies: prompts are not shared, or too many are.

        However few rows come now, most often others of the prompt follow.
        """
        if not self._memory.can_share:
            return -1
        for place, kept in enumerate(self._placed):
            if kept is not None and kept.state is prompt.state and kept.row == prompt.row:
                return place
        in_use = set(self._prompt_of_row)
        self._placed = [kept if place in in_use else None for place, kept in enumerate(self._placed)]
        if None not in self._placed:
            return -1
        place = self._placed.index(None)
        self._placed[place] = prompt
        self._memory.place_prompt(prompt.state, prompt.row, place)
        return place

    def _num_slots(self) -> int:
        """Return the most own slots of a row in use."""
        return max(self._begun, default=-self._num_steps) + self._num_steps

    def _on_device(self) -> AbstractContextManager[None]:
        """Make the device the current one: Triton launches on that, whatever its arguments lie on."""
        return torch.cuda.device(self._device) if self._device.type == "cuda" else nullcontext()
