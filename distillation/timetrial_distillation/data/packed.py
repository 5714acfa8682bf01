"""Prepared documents as rows of one length: the source of rows that training reads."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from itertools import takewhile

import numpy as np

from timetrial.error import UsageError
from timetrial_distillation.data.assembly import assemble
from timetrial_distillation.data.best_fit import BestFitPlan
from timetrial_distillation.data.concat import ConcatPlan
from timetrial_distillation.data.documents import SUPERVISIONS, Segment, Supervision, cut_segment
from timetrial_distillation.data.plan import Lengths, Mode, Plan, PlanConfig
from timetrial_distillation.data.prepared import PreparedData
from timetrial_distillation.data.rows import Rows

ARRANGEMENT = 1
"""Counted up when the same data and config would give other rows."""
SAMPLED_ROWS = 4096
"""Rows that a summary looks at."""


class PackedRows:
    """The rows of one prepared folder."""

    def __init__(self, data: PreparedData, config: PlanConfig, supervise: Supervision = "answers") -> None:
        """Arrange nothing yet: rows are worked out when they are asked for.

        Raises:
            UsageError: no document fits into a row, or `supervise` is neither of the two.
        """
        if supervise not in SUPERVISIONS:
            raise UsageError(f"supervise is {supervise!r}; expected {' or '.join(SUPERVISIONS)}")
        self._data = data
        self._config = config
        self._supervise = supervise
        self._plan = make_plan(data.lengths, config)

    @property
    def length(self) -> int:
        """Tokens a row."""
        return self._config.length

    @property
    def digest(self) -> str:
        """Digest of the data and of how it is arranged and supervised."""
        parts = [ARRANGEMENT, self._data.index.digest, asdict(self._config), self._supervise]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def tokenizer_digest(self) -> str:
        """Digest of the tokenizer the data was made with."""
        return self._data.index.tokenizer_digest

    def rows(self, start: int, count: int) -> Rows:
        """Return the global rows `start` to `start + count - 1`."""
        return assemble([self._segments(position) for position in range(start, start + count)], self.length)

    def epoch(self, position: int) -> int:
        """Return the epoch that a row belongs to, from 0."""
        return self._plan.epoch(position)

    def _segments(self, position: int) -> list[Segment]:
        return [
            cut_segment(self._data.document(piece.document), piece.start, piece.stop, self._supervise)
            for piece in self._plan.row(position)
        ]


@dataclass(frozen=True, kw_only=True, slots=True)
class PackingSummary:
    """What rows of a length make of the documents, in one epoch."""

    length: int
    mode: Mode
    fill: float
    """Share of the places of the first SAMPLED_ROWS rows that are no padding."""
    num_rows: int
    """An estimate from that share."""
    documents_left_out: int
    """Documents longer than a row, which the mode bfd leaves out."""
    tokens_left_out: int
    """Their tokens."""


def make_plan(lengths: Lengths, config: PlanConfig) -> Plan:
    """Return the plan of a config.

    Raises:
        UsageError: no document fits into a row.
    """
    return BestFitPlan(lengths, config) if config.mode == "bfd" else ConcatPlan(lengths, config)


def summarise_packing(lengths: Lengths, config: PlanConfig) -> PackingSummary:
    """Say how well documents of these lengths fill rows, from the first rows of the plan.

    Raises:
        UsageError: no document fits into a row.
    """
    plan = make_plan(lengths, config)
    rows = [plan.row(position) for position in takewhile(lambda p: plan.epoch(p) == 0, range(SAMPLED_ROWS))]
    fill = sum(piece.stop - piece.start for row in rows for piece in row) / (len(rows) * config.length)
    left_out = lengths[lengths > config.length] if config.mode == "bfd" else lengths[:0]
    num_left_out = int(left_out.sum(dtype=np.int64))
    return PackingSummary(
        length=config.length,
        mode=config.mode,
        fill=fill,
        num_rows=math.ceil((int(lengths.sum(dtype=np.int64)) - num_left_out) / (fill * config.length)),
        documents_left_out=len(left_out),
        tokens_left_out=num_left_out,
    )
