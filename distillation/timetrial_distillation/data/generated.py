"""The nutshell's generated problems and solutions as rows: endless, without a file, any row at any time.

Rows are made in blocks. A block draws problems from a stretch of the training stream that is its own, puts each into
the fullest row that takes it, and is complete with the first problem that none takes. So a block is a function of its
number, and no row needs those before it. The few problems that are longer than a row are passed over.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, insort
from collections.abc import Iterator
from functools import lru_cache
from itertools import count

from timetrial.error import UsageError
from timetrial.record import Message
from timetrial_distillation.data.adapters import Chat, UnfitError
from timetrial_distillation.data.assembly import assemble
from timetrial_distillation.data.documents import SUPERVISIONS, EncodedDocument, Supervision, cut_segment
from timetrial_distillation.data.encoding import DocumentEncoder
from timetrial_distillation.data.rows import Rows
from timetrial_plugins.nutshell.generator import NutshellProblem, training_problem

BLOCK_ROWS = 32
NUM_DRAWN = 32
"""Problems that are written and encoded together."""
NUM_DIGESTED = 64
"""Problems that stand for the generator in the digest."""


class NutshellRows:
    """Rows of generated problems with their worked solutions."""

    def __init__(
        self, encoder: DocumentEncoder, length: int, *, seed: int = 0, supervise: Supervision = "answers"
    ) -> None:
        """Draw a few problems, to see that they fit.

        Raises:
            UsageError: rows are too short for the problems, or `supervise` is neither of the two.
        """
        if supervise not in SUPERVISIONS:
            raise UsageError(f"supervise is {supervise!r}; expected {' or '.join(SUPERVISIONS)}")
        self._encoder = encoder
        self._length = length
        self._seed = seed
        self._supervise = supervise
        sample = self._encode([training_problem(seed, index) for index in range(NUM_DIGESTED)])
        longest = max(len(document.tokens) for document in sample)
        if longest > length:
            raise UsageError(
                f"rows of {length} tokens are too short for the nutshell: one of its first {NUM_DIGESTED} problems"
                f" takes {longest} with its solution. Take rows of {2 * longest} tokens or longer."
            )
        self._sample_digest = hashlib.sha256(b"".join(document.tokens.tobytes() for document in sample)).hexdigest()
        self._block = lru_cache(4)(self._fill_block)

    @property
    def length(self) -> int:
        """Tokens a row."""
        return self._length

    @property
    def digest(self) -> str:
        """Digest of the first problems as tokens, and of all choices."""
        parts = [self._sample_digest, self._length, self._seed, self._supervise, BLOCK_ROWS]
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    @property
    def tokenizer_digest(self) -> str:
        """Digest of the encoder's tokenizer."""
        return self._encoder.digest

    def rows(self, start: int, count: int) -> Rows:
        """Return the global rows `start` to `start + count - 1`."""
        rows = []
        for position in range(start, start + count):
            block, place = divmod(position, BLOCK_ROWS)
            documents = self._block(block)[place]
            rows.append([cut_segment(document, 0, len(document.tokens), self._supervise) for document in documents])
        return assemble(rows, self._length)

    def _fill_block(self, block: int) -> list[list[EncodedDocument]]:
        rows: list[list[EncodedDocument]] = [[] for _ in range(BLOCK_ROWS)]
        rooms = [(self._length, row) for row in range(BLOCK_ROWS)]
        for document in self._documents(block):
            place = bisect_left(rooms, (len(document.tokens), 0))
            if place == len(rooms):
                return rows
            room, row = rooms.pop(place)
            rows[row].append(document)
            insort(rooms, (room - len(document.tokens), row))
        raise AssertionError("the stream of problems has no end")

    def _documents(self, block: int) -> Iterator[EncodedDocument]:
        """Yield the problems of a block; no two blocks share one, for a block has room for fewer than it owns."""
        first = block * BLOCK_ROWS * self._length
        for start in count(first, NUM_DRAWN):
            drawn = self._encode([training_problem(self._seed, start + index) for index in range(NUM_DRAWN)])
            yield from (document for document in drawn if len(document.tokens) <= self._length)

    def _encode(self, problems: list[NutshellProblem]) -> list[EncodedDocument]:
        chats = [Chat((Message("user", problem.text), Message("assistant", problem.solution))) for problem in problems]
        encoded = self._encoder.encode_documents(chats)
        unfit = next((result for result in encoded if isinstance(result, UnfitError)), None)
        if unfit is not None:
            raise UsageError(f"the tokenizer in {self._encoder.folder} cannot encode the nutshell's problems: {unfit}")
        return [result for result in encoded if isinstance(result, EncodedDocument)]
