"""Labelled solutions as rows of tokens: what a reward model is trained on.

The tokens, and the places where scores are read, are those of the format that scores with the model afterwards, so
training and scoring cannot diverge. Shapes: L tokens of a solution, S steps, T tokens a row.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from timetrial.error import UnknownNameError, UsageError
from timetrial.progress import ProgressFactory, silent
from timetrial_distillation.data.assembly import assemble
from timetrial_distillation.data.documents import Segment
from timetrial_distillation.data.packed import make_plan
from timetrial_distillation.data.plan import PlanConfig
from timetrial_distillation.data.rows import IGNORED, Rows
from timetrial_distillation.rewards.data import LabelData
from timetrial_distillation.rewards.labels import LABEL_KINDS, LabelKind, LabelledSolution
from timetrial_plugins.models.tokenizer import ChatTokenizer
from timetrial_plugins.rewards.declaration import Declaration
from timetrial_plugins.rewards.formats.choice import make_format
from timetrial_plugins.rewards.formats.encoded import Format, Labels
from timetrial_plugins.rewards.steps import WHOLE
from timetrial_registry.digest import tokenizer_digest

Replies = Literal["plus", "labels"]
REPLIES: tuple[Replies, ...] = get_args(Replies)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """How labelled solutions are read."""

    declaration: Declaration
    labels: LabelKind = "hard"
    replies: Replies = "plus"
    """What stands in the conversation behind earlier steps. plus: "+", as when scores are read. labels: the steps' own
    labels, as RLHFlow's data has it; the model then sees after a wrong step what it never sees when it scores."""

    def __post_init__(self) -> None:
        """Refuse what there is not.

        Raises:
            UnknownNameError: there is no such kind of label or of reply.
        """
        if self.labels not in LABEL_KINDS:
            raise UnknownNameError("kind of label", str(self.labels), LABEL_KINDS)
        if self.replies not in REPLIES:
            raise UnknownNameError("kind of reply", str(self.replies), REPLIES)


class _Lesson(NamedTuple):
    """A solution in tokens."""

    tokens: NDArray[np.uint32]  # (L,)
    positions: NDArray[np.int32]  # (S,) of the tokens at which scores are read
    targets: NDArray[np.float32]  # (S,) the share of "+"


class LabelledRows:
    """Labelled solutions packed whole into rows of one length, epoch after epoch."""

    def __init__(
        self, data: LabelData, reading: Reading, tokenizer: Path, plan: PlanConfig, progress: ProgressFactory = silent
    ) -> None:
        """Encode the solutions; those longer than a row are left out and counted.

        Raises:
            UsageError: the format has no "+" and "-" to be trained, or no replies; the tokenizer lacks them; or no
                solution fits into a row.
        """
        self._format = make_format(reading.declaration, ChatTokenizer(tokenizer))
        self.labels = _trained_labels(self._format)
        if reading.replies == "labels" and self._format.name != "rlhflow":
            raise UsageError(f"format {self._format.name!r} has no replies to earlier steps: they cannot be labels")
        self._reading, self._plan_config = reading, plan
        lessons = []
        with progress("encode solutions", len(data.solutions)) as advance:
            for solution in data.solutions:
                lessons.append(self._encode(solution))
                advance(1)
        lengths = np.array([len(lesson.tokens) for lesson in lessons], dtype=np.int32)
        self._lessons, self._plan = lessons, make_plan(lengths, plan)
        self.num_too_long = int((lengths > plan.length).sum())
        """Solutions that are longer than a row."""
        self.tokenizer_digest = tokenizer_digest(tokenizer)
        """Digest of the tokenizer's files."""
        self._digest = hashlib.sha256(
            json.dumps([data.digest, asdict(reading), asdict(plan), self.tokenizer_digest]).encode()
        ).hexdigest()

    @property
    def length(self) -> int:
        """Tokens a row."""
        return self._plan_config.length

    @property
    def digest(self) -> str:
        """Digest of the labels and of all that decides how they become rows."""
        return self._digest

    def rows_per_epoch(self) -> int:
        """Return how many rows it takes to see every solution once."""
        count = 0
        while self._plan.epoch(count) == 0:
            count += 1
        return count

    def rows(self, start: int, count: int) -> Rows:
        """Return the global rows `start` to `start + count - 1`."""
        chosen = [[self._lessons[piece.document] for piece in self._plan.row(p)] for p in range(start, start + count)]
        shares = np.zeros((count, self.length), dtype=np.float32)
        for number, lessons in enumerate(chosen):
            first = 0
            for lesson in lessons:
                shares[number, first + lesson.positions] = lesson.targets
                first += len(lesson.tokens)
        rows = assemble([[self._segment(lesson) for lesson in lessons] for lessons in chosen], self.length)
        return rows._replace(shares=torch.from_numpy(shares))

    def _segment(self, lesson: _Lesson) -> Segment:
        labels = np.full(len(lesson.tokens), IGNORED, dtype=np.int64)
        labels[lesson.positions] = self.labels.plus
        return Segment(lesson.tokens, labels)

    def _encode(self, solution: LabelledSolution) -> _Lesson:
        is_whole = self._reading.declaration.splitter == WHOLE
        encoded = self._format.encode(solution.problem, (solution.text,) if is_whole else solution.steps)
        targets = solution.targets(self._reading.labels)[-len(encoded.positions) :]
        tokens = np.array(encoded.tokens, dtype=np.uint32)
        if self._reading.replies == "labels":
            self._reply(tokens, encoded.positions, targets)
        return _Lesson(tokens, np.array(encoded.positions, dtype=np.int32), np.array(targets, dtype=np.float32))

    def _reply(self, tokens: NDArray[np.uint32], positions: Sequence[int], targets: Sequence[float]) -> None:
        """Put the labels of all steps but the last where the conversation has "+" behind them."""
        for position, target in zip(positions[:-1], targets[:-1], strict=True):
            tokens[position + 1] = self.labels.plus if target > 0 else self.labels.minus


def _trained_labels(form: Format) -> Labels:
    """Return the tokens that are trained.

    Raises:
        UsageError: the format's scores are no odds of "+" against "-".
    """
    if form.labels is None:
        raise UsageError(
            f"format {form.name!r} reads scores with a head of its own: what can be trained here are rlhflow, outcome"
            " and math-shepherd, whose scores are the odds of two tokens"
        )
    return form.labels
