"""From records in the layouts of published data sets to labelled solutions."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from timetrial.error import UnknownNameError, UsageError
from timetrial_distillation.data.adapters import AUTO, UnfitError
from timetrial_distillation.data.records import Json
from timetrial_distillation.rewards.labels import LabelledSolution

_MARKS = {"+": True, "-": False}
_TAG = "\u043a\u0438"  # Cyrillic "ki", which Math-Shepherd puts where a label belongs
_FIRST_STEP = re.compile(r"\s(?=Step 1:)")
_SPACE = re.compile(r"(?<=\S) (?=\S)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """How records with certain columns are read."""

    name: str
    columns: tuple[str, ...]
    read: Callable[[Json], LabelledSolution]
    """Raises UnfitError for a record that is no labelled solution."""
    doc: str
    """Which data sets look so."""


def find_layout(name: str, columns: Sequence[str]) -> Layout:
    """Return the layout of that name, or for "auto" the first whose columns are all there.

    Raises:
        UnknownNameError: there is none of that name; offers the closest.
        UsageError: its columns are not there, or for "auto" no layout's are; lists the columns found.
    """
    if name != AUTO and name not in {layout.name for layout in LAYOUTS}:
        raise UnknownNameError("layout of labels", name, [AUTO, *(layout.name for layout in LAYOUTS)])
    for layout in LAYOUTS:
        if name in (AUTO, layout.name) and set(layout.columns) <= set(columns):
            return layout
    known = "; ".join(f"{one.name}: {', '.join(one.columns)}" for one in LAYOUTS if name in (AUTO, one.name))
    raise UsageError(f"the source has the columns {', '.join(columns)}; expected those of labelled steps ({known})")


def _own(record: Json) -> LabelledSolution:
    values = {name: record.get(name) for name in ("steps", "right", "rollouts", "truth")}
    lists = {name: None if value is None else tuple(value) for name, value in values.items()}
    return LabelledSolution(problem_id=_text(record, "problem_id"), problem=_text(record, "problem"), **lists)  # type: ignore[arg-type]  # checked by itself, and None is refused there


def _conversations(record: Json) -> LabelledSolution:
    turns = record.get("conversations")
    if not isinstance(turns, Sequence) or len(turns) < 2 or len(turns) % 2:
        raise UnfitError("malformed: expected pairs of turns, a step and its label")
    contents = [_text(turn, "value" if "value" in turn else "content").strip() for turn in turns]
    first, *later = contents[::2]
    problem, step = _divided(first)
    return _marked(problem, [step, *later], contents[1::2])


def _tagged(record: Json) -> LabelledSolution:
    """Read a text with a tag behind each step, and the same text with labels in the tags' places."""
    *steps, rest = _text(record, "input").split(_TAG)
    if not steps or rest.strip():
        raise UnfitError(f"malformed: expected steps that each end with {_TAG!r}")
    labels, labelled = [], _text(record, "label")
    for step in steps:
        label = labelled[len(step) : len(step) + 1]
        if labelled[: len(step)] != step:
            raise UnfitError("malformed: input and label differ outside their labels")
        labels.append(label)
        labelled = labelled[len(step) + 1 :]
    problem, first = _divided(steps[0].strip())
    return _marked(problem, [first, *(step.strip() for step in steps[1:])], labels)


def _stepwise(record: Json) -> LabelledSolution:
    labels = [bool(label) for label in _items(record, "labels")]
    steps = [str(step).strip() for step in _items(record, "completions")]
    return _judged(_text(record, "prompt").strip(), steps, labels, None)


def _first_errors(record: Json) -> LabelledSolution:
    steps, error = [str(step).strip() for step in _items(record, "steps")], record.get("label")
    if not isinstance(error, int) or not -1 <= error < len(steps):
        raise UnfitError(f"malformed: label is {error!r}; expected -1 or the number of a step, from 0")
    truth = tuple(error == -1 or number < error for number in range(len(steps)))
    return _judged(_text(record, "problem").strip(), steps, truth, truth)


def _divided(text: str) -> tuple[str, str]:
    """Return problem and first step of one text.

    Only "Step 1:" tells where a step begins. Otherwise the text is divided at its first space: conversations are
    trained on in RLHFlow's format, which joins both parts by a space, so any place gives the same tokens.
    """
    place = _FIRST_STEP.search(text) or _SPACE.search(text)
    if place is None:
        raise UnfitError("malformed: the first turn holds a single word, expected a problem and a step")
    return text[: place.start()].strip(), text[place.end() :].strip()


def _marked(problem: str, steps: Sequence[str], marks: Sequence[str]) -> LabelledSolution:
    for mark in marks:
        if mark not in _MARKS:
            raise UnfitError(f"malformed: a label is {mark!r:.40}, expected + or -")
    return _judged(problem, steps, [_MARKS[mark] for mark in marks], None)


def _judged(
    problem: str, steps: Sequence[str], labels: Sequence[bool], truth: tuple[bool, ...] | None
) -> LabelledSolution:
    return LabelledSolution(
        problem_id=hashlib.sha256(problem.encode()).hexdigest()[:16],
        problem=problem,
        steps=tuple(steps),
        right=tuple(map(int, labels)),
        rollouts=(1,) * len(labels),
        truth=truth,
    )


def _text(record: Json, name: str) -> str:
    value = record.get(name) if isinstance(record, Mapping) else None
    if not isinstance(value, str) or not value.strip():
        raise UnfitError(f"malformed: {name!r} holds {value!r:.60}, expected text")
    return value


def _items(record: Json, name: str) -> Sequence[object]:
    value = record.get(name)
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise UnfitError(f"malformed: {name!r} holds {value!r:.60}, expected a list")
    return value


LAYOUTS = (
    Layout(
        name="rollouts",
        columns=("problem_id", "problem", "steps", "right", "rollouts"),
        read=_own,
        doc="what `timetrial distill label-steps` writes",
    ),
    Layout(
        name="conversations",
        columns=("conversations",),
        read=_conversations,
        doc="RLHFlow/Mistral-PRM-Data and RLHFlow/Deepseek-PRM-Data: turns of a step and + or -",
    ),
    Layout(
        name="math-shepherd",
        columns=("input", "label"),
        read=_tagged,
        doc="peiyi9979/Math-Shepherd: text with tags, and with labels in their places",
    ),
    Layout(
        name="stepwise",
        columns=("prompt", "completions", "labels"),
        read=_stepwise,
        doc="trl-lib/prm800k, trl-lib/math_shepherd: lists of steps and of labels",
    ),
    Layout(
        name="processbench",
        columns=("problem", "steps", "label"),
        read=_first_errors,
        doc="Qwen/ProcessBench: the number of the first wrong step, for evaluation",
    ),
)
