"""A task made of problems, a system prompt, a way of extracting answers, and the mathematical grader."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from timetrial.protocol import Grader as GraderProtocol
from timetrial.record import Message, Problem, Prompt
from timetrial_plugins.grading import Grader, extract_answer


@dataclass(frozen=True, kw_only=True)
class ChatTask:
    """Poses a problem as one user turn, after a system turn if there is a system prompt.

    The data is read when the problems are first asked for: extraction and grading work without it.
    """

    read: Callable[[], Iterable[Problem]]
    """Reads the problems; what it raises, `problems` raises."""
    system_prompt: str | None
    style: str
    """The extraction style, see `timetrial_plugins.grading.extract`."""
    max_tokens: int
    stop: tuple[str, ...] = ()

    @cached_property
    def items(self) -> tuple[Problem, ...]:
        """All problems, read once."""
        return tuple(self.read())

    @property
    def version(self) -> str:
        """A digest of the problems, the prompt and the style of extraction; the grader is recorded beside it."""
        parts = [self.system_prompt, self.style, *((p.id, p.text, p.gold) for p in self.items)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]

    @property
    def grader(self) -> GraderProtocol:
        """The mathematical grader."""
        return Grader()

    def problems(self) -> Sequence[Problem]:
        """Return all problems, in the order of the file."""
        return self.items

    def prompt(self, problem: Problem) -> Prompt:
        """Return the chat turns that pose the problem."""
        system = () if self.system_prompt is None else (Message("system", self.system_prompt),)
        return Prompt(problem=problem.id, messages=(*system, Message("user", problem.text)))

    def extract(self, text: str) -> str | None:
        """Return the answer a completion gives, or None if it gives none."""
        return extract_answer(text, self.style)
