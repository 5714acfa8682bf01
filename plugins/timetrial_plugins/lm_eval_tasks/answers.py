"""What lm-eval's filters and its exact_match metric make of a completion: an answer, its class, and a verdict.

exact_match removes what it is told to ignore from both texts and compares what is left. So what is left of an answer is
its class: the relation is an equivalence, and the gold answer is one more member.
"""

from __future__ import annotations

import hashlib
import json
import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from timetrial.record import Verdict

if TYPE_CHECKING:
    from lm_eval.api.filter import FilterEnsemble

Config = Mapping[str, Any]  # Any: whatever YAML can hold

INVALID = "[invalid]"
"""What lm-eval's regex filter leaves, unless told otherwise, where it finds nothing."""


class FilteredAnswer:
    """Finds the answer of a completion by a filter pipeline of lm-eval."""

    def __init__(self, pipeline: Config) -> None:
        """Build the pipeline."""
        self._filters = built(pipeline).filters
        self._nothing = {step.get("fallback", INVALID) for step in pipeline["filter"] if step["function"] == "regex"}

    def __call__(self, text: str) -> str | None:
        """Return the answer; None where the filters find none, or leave only white space."""
        responses: Any = [[text]]  # Any: each filter takes and gives what it likes
        for make in self._filters:
            responses = list(make().apply(responses, [{}]))
        answer = responses[0]
        assert isinstance(answer, str), "a usable pipeline ends with take_first"
        return None if answer in self._nothing or not answer.strip() else answer


def built(pipeline: Config) -> FilterEnsemble:
    """Build a filter pipeline of a task as lm-eval does."""
    from lm_eval.filters import build_filter_ensemble

    steps = [
        (step["function"], {key: value for key, value in step.items() if key != "function"})
        for step in pipeline["filter"]
    ]
    return build_filter_ensemble(pipeline["name"], steps)


@dataclass(frozen=True)
class ExactMatch:
    """lm-eval's exact_match as a grader. A gold answer that is a JSON list names several right answers."""

    options: Config
    """What it ignores: regexes_to_ignore, ignore_case, ignore_punctuation, ignore_numbers."""

    @property
    def name(self) -> str:
        """Of the metric, with a digest of what it ignores."""
        return f"lm-eval-exact-match/1-{hashlib.sha256(json.dumps(self.policy).encode()).hexdigest()[:8]}"

    @property
    def policy(self) -> Mapping[str, Any]:  # Any: JSON values
        """What it ignores."""
        return dict(self.options)

    @cached_property
    def _ignored(self) -> tuple[re.Pattern[str], ...]:
        return tuple(re.compile(pattern) for pattern in self.options.get("regexes_to_ignore") or ())

    def answer_class(self, answer: str) -> str:
        """Return what is left of an answer without what is ignored."""
        for pattern in self._ignored:
            answer = pattern.sub("", answer)
        if self.options.get("ignore_case"):
            answer = answer.lower()
        if self.options.get("ignore_punctuation"):
            answer = answer.translate(_WITHOUT_PUNCTUATION)
        if self.options.get("ignore_numbers"):
            answer = answer.translate(_WITHOUT_DIGITS)
        return answer

    def grade(self, gold: str, answer: str) -> Verdict:
        """Say whether the answer is left with the same as the gold answer, or as one of several."""
        return Verdict(correct=self.answer_class(answer) in map(self.answer_class, right_answers(gold)))


def right_answers(gold: str) -> list[str]:
    """Return the answers that a gold answer names: the texts of a JSON list, else itself."""
    try:
        listed = json.loads(gold)
    except ValueError:
        return [gold]
    is_list = isinstance(listed, list) and listed and all(isinstance(item, str) for item in listed)
    return listed if is_list else [gold]


_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)
_WITHOUT_DIGITS = str.maketrans("", "", string.digits)
