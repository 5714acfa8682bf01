"""Several sources of rows as one, by weight: which source a row comes from is a function of its position.

Positions are cut into blocks of BLOCK_ROWS. Each block has the same number of rows of every source, as near to the
weights as whole rows can be, in a seeded order; each source is read in its own order, without a gap. So the shares hold
in every stretch of training, and resuming needs the position alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

from timetrial.error import UsageError
from timetrial_distillation.data.order import Integers, Permutation
from timetrial_distillation.data.rows import Rows, RowSource

BLOCK_ROWS = 1000
"""So weights are met to half a thousandth."""


class Component(NamedTuple):
    """A source and its share of the rows, in any unit."""

    source: RowSource
    weight: float


class Mixture:
    """Rows of several sources of one length and one tokenizer."""

    def __init__(self, components: Sequence[Component], seed: int = 0) -> None:
        """Mix the components.

        Raises:
            UsageError: they differ in length or tokenizer, or a weight gives no row in a block.
        """
        if not components:
            raise UsageError("a mixture needs at least one source of rows")
        for number, component in enumerate(components):
            _check(number, component, components[0].source)
        self._sources = [source for source, _ in components]
        self._seed = seed
        self.block_rows = _apportion([weight for _, weight in components])
        """Rows of each source in a block."""
        if 0 in self.block_rows:
            raise UsageError(
                f"weight {self.block_rows.index(0)} of the mixture gives less than one row in {BLOCK_ROWS}:"
                " leave that source out, or give it more weight"
            )
        self._block = lru_cache(4)(self._order_block)

    @property
    def length(self) -> int:
        """Tokens a row."""
        return self._sources[0].length

    @property
    def digest(self) -> str:
        """Digest of the sources, their shares and the seed."""
        parts = [[source.digest for source in self._sources], self.block_rows, self._seed, BLOCK_ROWS]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    @property
    def tokenizer_digest(self) -> str:
        """The digest that all sources have."""
        return self._sources[0].tokenizer_digest

    def rows(self, start: int, count: int) -> Rows:
        """Return the global rows `start` to `start + count - 1`."""
        chosen = np.array([self.choose(position) for position in range(start, start + count)])
        chosen = chosen.reshape(count, 2)
        parts, places = [], []
        for number, source in enumerate(self._sources):
            mine = np.flatnonzero(chosen[:, 0] == number)
            # Between two rows of a source there are none of it: its own positions follow one another.
            parts.append(source.rows(int(chosen[mine[0], 1]) if len(mine) else 0, len(mine)))
            places.append(mine)
        order = torch.from_numpy(np.argsort(np.concatenate(places)))
        return Rows(
            tokens=torch.cat([part.tokens for part in parts])[order],
            labels=torch.cat([part.labels for part in parts])[order],
            doc_ids=torch.cat([part.doc_ids for part in parts])[order],
            num_tokens=sum(part.num_tokens for part in parts),
            num_labels=sum(part.num_labels for part in parts),
        )

    def choose(self, position: int) -> tuple[int, int]:
        """Return the number of the source of a row, and the row's position in that source."""
        block, place = divmod(position, BLOCK_ROWS)
        sources, ranks = self._block(block)
        source = int(sources[place])
        return source, block * self.block_rows[source] + int(ranks[place])

    def _order_block(self, block: int) -> tuple[Integers, Integers]:
        """Return the source of each row of a block, and how many rows of that source stand before it in the block."""
        slots = np.repeat(np.arange(len(self.block_rows)), self.block_rows)
        sources = slots[Permutation(BLOCK_ROWS, "mixture", self._seed, block).at(0, BLOCK_ROWS)]
        ranks = np.empty(BLOCK_ROWS, dtype=np.int64)
        for source, num_rows in enumerate(self.block_rows):
            ranks[sources == source] = np.arange(num_rows)
        return sources, ranks


def _check(number: int, component: Component, first: RowSource) -> None:
    source, weight = component
    if source.length != first.length:
        raise UsageError(
            f"source {number} of the mixture has rows of {source.length} tokens; the first, {first.length}"
        )
    if source.tokenizer_digest != first.tokenizer_digest:
        raise UsageError(
            f"source {number} of the mixture was made with another tokenizer (digest {source.tokenizer_digest[:12]})"
            f" than the first ({first.tokenizer_digest[:12]})"
        )
    if not 0 < weight < float("inf"):
        raise UsageError(f"weight {number} of the mixture is {weight}; expected a positive number")


def _apportion(weights: Sequence[float]) -> list[int]:
    """Divide the rows of a block by weight: whole shares first, the rest to the largest remainders."""
    exact = [BLOCK_ROWS * weight / sum(weights) for weight in weights]
    rows = [int(share) for share in exact]
    by_remainder = sorted(range(len(rows)), key=lambda number: rows[number] - exact[number])
    for number in by_remainder[: BLOCK_ROWS - sum(rows)]:
        rows[number] += 1
    return rows
