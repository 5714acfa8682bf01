"""A generation task of lm-eval as a task of timetrial: N samples, votes, budgets and all the rest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from timetrial.protocol import Grader as GraderProtocol
from timetrial.record import Problem, Prompt
from timetrial_plugins.grading import Grader, extract_answer
from timetrial_plugins.lm_eval_tasks.answers import ExactMatch, FilteredAnswer
from timetrial_plugins.lm_eval_tasks.definition import Definition, read_definition
from timetrial_plugins.lm_eval_tasks.documents import Documents
from timetrial_plugins.lm_eval_tasks.kinds import Reading, reading_of
from timetrial_plugins.lm_eval_tasks.reference import parse_reference

MATH_STYLE = "math"
"""Timetrial's extraction where its own grader grades."""
DEFAULT_MAX_TOKENS = 256
"""lm-eval's, of a task that sets no limit."""
_LIMITS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")


def load_named(reference: str, data: Path | None) -> LmEvalTask:
    """Make the task that `lm-eval:REFERENCE` asks for.

    Raises:
        UsageError: lm-eval is not installed, or the task is of a kind that cannot be used; says why.
        UnknownNameError: there is no such task, filter or option.
    """
    asked = parse_reference(reference)
    definition = read_definition(asked)
    reading = reading_of(asked.name, definition.config, asked)
    documents = Documents(definition, data, asked.num_fewshot, reading.grader)
    return LmEvalTask(definition=definition, reading=reading, documents=documents)


@dataclass(frozen=True, kw_only=True)
class LmEvalTask:
    """Poses the documents of an lm-eval task. Extraction and grading need no data."""

    definition: Definition
    reading: Reading
    documents: Documents

    @cached_property
    def version(self) -> str:
        """A digest of problems, prompts and filter, behind lm-eval's own version of the task."""
        prompts = [self.documents.prompts[problem.id] for problem in self.problems()]
        parts = [
            [(problem.id, problem.text, problem.gold) for problem in self.problems()],
            [(prompt.messages, prompt.plain, prompt.start) for prompt in prompts],
            [self.reading.grader, dict(self.reading.filter)],
        ]
        told = (self.definition.config.get("metadata") or {}).get("version", "unknown")
        return f"{told}-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]}"

    @property
    def grader(self) -> GraderProtocol:
        """exact_match, or timetrial's own."""
        if self.reading.grader == "math":
            return Grader()
        return ExactMatch(self.reading.exact_match)

    @property
    def max_tokens(self) -> int:
        """The limit that the task sets, else lm-eval's default."""
        told = next((self._generation[name] for name in _LIMITS if name in self._generation), None)
        return int(told or DEFAULT_MAX_TOKENS)

    @property
    def stop(self) -> tuple[str, ...]:
        """The task's `until`; without one, what separates worked examples, as lm-eval has it."""
        until = self._generation.get("until", self.definition.config.get("fewshot_delimiter", "\n\n"))
        return tuple(text for text in ([until] if isinstance(until, str) else until) if text)

    def problems(self) -> Sequence[Problem]:
        """Return the documents of the evaluated split, in its order."""
        return self.documents.problems

    def prompt(self, problem: Problem) -> Prompt:
        """Return lm-eval's prompt, worked examples included."""
        return self.documents.prompts[problem.id]

    def extract(self, text: str) -> str | None:
        """Return what the filter leaves of a completion; None if it finds nothing."""
        return self._extract(text)

    @property
    def _generation(self) -> Mapping[str, Any]:  # Any: whatever YAML can hold
        return self.definition.config.get("generation_kwargs") or {}

    @cached_property
    def _extract(self) -> FilteredAnswer | partial[str | None]:
        if self.reading.grader == "math":
            return partial(extract_answer, style=MATH_STYLE)
        return FilteredAnswer(self.reading.filter)
