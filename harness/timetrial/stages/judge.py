"""Judge an answer: ask the grader and, where it cannot tell, the one that gives second opinions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from timetrial.error import PluginError
from timetrial.protocol import Grader
from timetrial.record import Verdict

GRADING_FAILED = "grading failed"
"""The kind of reason when a grader raises."""
MAX_CAUSE = 200
"""Characters kept of what a plugin raised: it may quote a whole completion."""


class Judgement(NamedTuple):
    """A verdict and whose it is."""

    verdict: Verdict
    grader: str
    """`Grader.name`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Graders:
    """Who judges the answers of a task."""

    grader: Grader
    """Makes the answer classes, and judges one answer of each."""
    second_opinion: Grader | None = None
    """Asked only where the grader cannot tell."""

    def __post_init__(self) -> None:
        """Refuse what is no grader, before anything is graded.

        Raises:
            PluginError: names what is missing.
        """
        for grader in (self.grader, self.second_opinion):
            if grader is not None and not isinstance(grader, Grader):
                members = ("name", "policy", "answer_class", "grade")
                missing = ", ".join(name for name in members if not hasattr(grader, name))
                raise PluginError(
                    f"{type(grader).__module__}.{type(grader).__name__} is no grader: it lacks {missing}. "
                    "docs/write-a-plugin.md shows one"
                )

    def judge(self, gold: str, answer: str) -> Judgement:
        """Judge an answer. Whatever a grader raises becomes an unknown verdict, never a silent "wrong"."""
        verdict = _ask(self.grader, gold, answer)
        if verdict.correct is not None or self.second_opinion is None:
            return Judgement(verdict, self.grader.name)
        second = _ask(self.second_opinion, gold, answer)
        if second.correct is not None:
            return Judgement(second, self.second_opinion.name)
        reason = f"{verdict.reason}; {self.second_opinion.name}: {second.reason}"
        return Judgement(Verdict(correct=None, reason=reason), self.grader.name)

    def facts(self) -> dict[str, Any]:  # Any: JSON-ready
        """Return what config.json records of them."""
        second = self.second_opinion
        return {**_facts(self.grader), "second_opinion": None if second is None else _facts(second)}


def cause_text(cause: Exception) -> str:
    """Return what a plugin raised, as the detail of a reason."""
    return f"{cause!r:.{MAX_CAUSE}}"


def _ask(grader: Grader, gold: str, answer: str) -> Verdict:
    try:
        return grader.grade(gold, answer)
    except Exception as cause:  # a plugin's code: whatever it raises is this answer's problem only
        return Verdict(correct=None, reason=f"{GRADING_FAILED}: {cause_text(cause)}")


def _facts(grader: Grader) -> dict[str, Any]:  # Any: JSON-ready
    return {"grader": grader.name, "policy": dict(grader.policy)}
