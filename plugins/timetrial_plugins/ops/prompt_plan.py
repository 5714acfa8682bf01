"""Which rows read which shared prompt together, in tensors that stay where they are when rows come and go.

Legend: see the package.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from timetrial_plugins.models.shared_prompt import KeyValues
from timetrial_plugins.ops.step_ops import SharedPrompts

_ROWS_OF_BLOCK = 16  # with three or four query heads to a key/value head: a matrix of up to 64 queries


class PromptPlan:
    """Rows in blocks of one prompt each; made on the host whenever rows come or go, not in every step."""

    def __init__(self, rows: int, prompts: int, device: torch.device) -> None:
        """Plan for up to `rows` rows that share up to `prompts` prompts; at first none shares any."""
        # Every prompt may leave one block that is not full.
        num_blocks = max(1, min(rows, rows // _ROWS_OF_BLOCK + prompts))
        self._prompts = prompts
        self._prompt_of_row = torch.full((rows,), -1, dtype=torch.int32, device=device)
        self._prompt_of_block = torch.full((num_blocks,), -1, dtype=torch.int32, device=device)
        self._rows_of_block = torch.full((num_blocks, _ROWS_OF_BLOCK), -1, dtype=torch.int32, device=device)

    def assign(self, prompt_of_row: Sequence[int]) -> None:
        """Let each row in use share the prompt of that index, -1 for none."""
        rows_of_prompt: dict[int, list[int]] = {}
        for row, prompt in enumerate(prompt_of_row):
            assert -1 <= prompt < self._prompts, f"row {row} shares prompt {prompt} of {self._prompts}"
            if prompt >= 0:
                rows_of_prompt.setdefault(prompt, []).append(row)
        blocks = [
            (prompt, rows[first : first + _ROWS_OF_BLOCK])
            for prompt, rows in rows_of_prompt.items()
            for first in range(0, len(rows), _ROWS_OF_BLOCK)
        ]
        _overwrite(self._prompt_of_row, list(prompt_of_row))
        _overwrite(self._prompt_of_block, [prompt for prompt, _ in blocks])
        filled = [number for _, rows in blocks for number in (*rows, *[-1] * (_ROWS_OF_BLOCK - len(rows)))]
        _overwrite(self._rows_of_block.view(-1), filled)

    def prompts(self, entries: KeyValues, lengths: Tensor, rows: int) -> SharedPrompts:
        """Return the plan of the first `rows` rows, with prompts `entries` (M, G, T, P) of `lengths` (M,)."""
        return SharedPrompts(entries, lengths, self._prompt_of_row[:rows], self._prompt_of_block, self._rows_of_block)


def _overwrite(tensor: Tensor, values: Sequence[int]) -> None:
    """Write values into the front of a tensor, and -1 behind them."""
    full = [*values, *[-1] * (len(tensor) - len(values))]
    tensor.copy_(torch.tensor(full, dtype=tensor.dtype))
