"""The records of a run: what each line of each file in a run folder holds.

Every stage reads one kind of record and writes the next; none is ever changed after it was made. A failure is a
value (`finish="error"`, `correct=None` with a reason), never a silent 0. Files and locks are `store.py`'s business.
"""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeVar

Finish = Literal["stop", "length", "error"]
TimingStatus = Literal["ok", "out_of_memory"]
Weights = Literal["checkpoint", "random"]
Accounting = Literal["generation", "generation + verifier"]

Record = TypeVar("Record")


class Series(NamedTuple):
    """What one curve is about: a model on a task at a sampling temperature."""

    model: str
    task: str
    temperature: float


class SampleKey(NamedTuple):
    """What makes a completion the one it is; a key occurs at most once in a run."""

    model: str
    task: str
    temperature: float
    problem: str
    sample: int


class Message(NamedTuple):
    """One turn of a chat, as chat templates take it."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One problem of a task."""

    id: str
    """Unique within the task and stable between runs; it enters the random numbers of every sample."""
    text: str
    gold: str
    """The reference answer, in the task's own notation."""
    level: int | None = None
    """Difficulty from 1 (easy) to 5, as MATH has it; None if the task does not grade difficulty."""
    subject: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """What a model is asked: the chat turns before its own, which its template renders."""

    problem: str
    messages: tuple[Message, ...]
    plain: str | None = None
    """The whole prompt for a checkpoint without a chat template; None: the turns, joined by blank lines."""
    start: str = ""
    """What the model's own turn begins with: it goes on from there, and a completion is what comes after it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Completion:
    """One sample: a line of samples.jsonl. It carries no time; time comes from measurement only."""

    model: str
    task: str
    temperature: float
    problem: str
    sample: int
    text: str
    finish: Finish
    """stop: end of sequence or a stop string; length: cut at the token limit; error: generation failed."""
    num_prompt_tokens: int | None
    num_tokens: int | None
    """Generated tokens, the end-of-sequence token included; None if unknown (imported dumps)."""
    prompt_digest: str
    """sha256 of the rendered prompt, so that a changed template is noticed; "" if unknown."""
    error: str | None = None

    @property
    def series(self) -> Series:
        """The curve this sample belongs to."""
        return Series(self.model, self.task, self.temperature)

    @property
    def key(self) -> SampleKey:
        """The sample's identity."""
        return SampleKey(self.model, self.task, self.temperature, self.problem, self.sample)


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What a grader says of an answer against the gold answer."""

    correct: bool | None
    """None: the grader cannot tell, for the reason given."""
    reason: str | None = None
    """Given exactly if `correct` is None, as "<kind>: <detail>": reports count by the kind, so it is one of a few
    words that do not depend on the answer, for example "not understood", "undecided" or "timed out"."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Grade:
    """The graded answer of one completion: a line of grades.jsonl."""

    model: str
    task: str
    temperature: float
    problem: str
    sample: int
    answer: str | None
    """The extracted answer; None if the text holds none, and then the completion abstains from every vote."""
    answer_class: str | None
    """Canonical key of the answer: equal keys are equivalent answers. None exactly if the answer is None."""
    correct: bool | None
    grader: str
    """Name and version of the grader whose verdict it is; without an answer, of the one that would have been asked."""
    reason: str | None = None
    """Why `correct` is None, or why there is no answer, as "<kind>: <detail>"; the kinds of the grade stage are "no
    answer", "cut", "generation failed", "extraction failed" and "grading failed", the others are the grader's."""

    @property
    def key(self) -> SampleKey:
        """The identity of the graded sample."""
        return SampleKey(self.model, self.task, self.temperature, self.problem, self.sample)

    @property
    def series(self) -> Series:
        """The curve the graded sample belongs to."""
        return Series(self.model, self.task, self.temperature)

    @property
    def kind(self) -> str | None:
        """The kind of reason, by which reports count; None if there is none."""
        return None if self.reason is None else self.reason.partition(":")[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class StepScores:
    """A reward model's scores of one completion: a line of scores.jsonl. All steps are kept."""

    model: str
    task: str
    temperature: float
    problem: str
    sample: int
    reward_model: str
    scores: tuple[float, ...]
    """One score a step, in order; an outcome reward model gives one. Empty exactly if there is a reason."""
    reason: str | None = None
    """Why the reward model gave no score, as "<kind>: <detail>": the completion abstains wherever scores decide."""

    @property
    def key(self) -> SampleKey:
        """The identity of the scored sample."""
        return SampleKey(self.model, self.task, self.temperature, self.problem, self.sample)


@dataclass(frozen=True, kw_only=True, slots=True)
class Count:
    """Correct completions of one problem, imported without their texts: a line of counts.jsonl."""

    model: str
    task: str
    temperature: float
    problem: str
    num_samples: int
    num_correct: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """One timed repeat: a line of timings.jsonl. All times in seconds on a monotonic clock, device synchronised."""

    model: str
    batch: int
    prompt_tokens: int
    new_tokens: int
    repeat: int
    is_warmup: bool
    """Warm-ups are recorded and reported, and never enter a mean."""
    status: TimingStatus
    prefill_s: float | None
    """Seconds from the prompt to the first new token's logits; None if out of memory."""
    decode_s: float | None
    """Seconds for the `new_tokens` decode steps after the prefill; None if out of memory."""
    peak_bytes: int | None
    """Peak memory of the device (accelerator) or of the process (CPU); None if the platform cannot tell."""
    environment: str
    """Key into environment.json: times of different machines never share a curve."""
    engine: str = "own"
    """What ran it: "own" for the engine of the family's plugin, else the name of another one (docs/timing.md)."""
    weights: Weights = "checkpoint"
    """"random" if they were drawn to time the configuration: such a model has no quality, and no samples."""
    kernels: str | None = None
    """How the steps were run, in the words of the model's description; None if it does not say."""
    is_prompt_shared: bool | None = None
    """Whether a step read the prompt's keys and values once for the batch; None if unknown."""
    step_bytes: float | None = None
    """Bytes that one decode step has to move, the mean over the steps; None if it was timed without, as are all
    below."""
    step_flops: float | None = None
    """Operations of one decode step's matrix products, the mean over the steps."""
    floor_s: float | None = None
    """The least seconds in which this machine, as measured, could do the decode steps (docs/timing.md)."""

    @property
    def floor_share(self) -> float | None:
        """The floor as a share of the measured seconds: 1 is as fast as can be; None if either is unknown."""
        return None if self.floor_s is None or not self.decode_s else self.floor_s / self.decode_s


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreTiming:
    """One timed repeat of scoring a batch of solutions of one problem: a line of score_timings.jsonl."""

    reward_model: str
    batch: int
    """Solutions scored together, all different."""
    prompt_tokens: int
    """Tokens before a solution, which all of them share: as the next two, the mean of the run's completions."""
    tokens: int
    """Tokens of each solution, in the reward model's own."""
    steps: int
    """Steps of each solution."""
    repeat: int
    is_warmup: bool
    """Warm-ups are recorded and reported, and never enter a mean."""
    status: TimingStatus
    score_s: float | None
    """Seconds from encoded texts to the last score; None if out of memory."""
    peak_bytes: int | None
    environment: str
    """Key into environment.json."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EndToEnd:
    """One problem's completions generated again in one call, and the wall clock: a line of end_to_end.jsonl."""

    model: str
    task: str
    temperature: float
    problem: str
    num_samples: int
    """Completions generated together, samples 0 to k - 1 of the problem."""
    repeat: int
    is_warmup: bool
    """Recorded, and left out of every comparison."""
    num_prompt_tokens: int
    lengths: tuple[int, ...]
    """Generated tokens of each completion, in the order they finished."""
    wall_s: float
    """Seconds on a monotonic clock from the call to the last text: prefill, decoding and the making of texts."""
    reference_s: float
    """Decode seconds of a batch of as many, timed right after it: how fast the machine was at that moment."""
    reference_prompt_tokens: int
    reference_new_tokens: int
    environment: str
    """Key into environment.json."""

    @property
    def series(self) -> Series:
        """The model, task and temperature."""
        return Series(self.model, self.task, self.temperature)


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """A quality as a function of the number of samples and of the seconds they cost: an entry of curves.json."""

    model: str
    task: str
    temperature: float
    rule: str
    """"coverage" (pass@k) or the name of an aggregator."""
    reward_model: str | None
    reduction: str | None
    """How step scores became one score: last, min, prod or mean; None if the rule takes no scores."""
    gamma: float = 1.0
    """The power that scores were raised to before they were added up; 1 for rules that add none up."""
    ks: tuple[int, ...]
    values: tuple[float, ...]
    """Mean over problems, between 0 and 1, one per k."""
    standard_errors: tuple[float, ...] | None
    """Over problems; None for a single problem."""
    low: tuple[float, ...]
    high: tuple[float, ...]
    """Ends of the 95 % bootstrap interval over problems."""
    monte_carlo_errors: tuple[float, ...] | None
    """Standard error of the permutation estimate; None for exact estimators."""
    accounting: Accounting = "generation"
    """What the seconds count: decoding alone, or scoring all k samples with the reward model as well."""
    seconds: tuple[float | None, ...] | None
    """T*(k): decode seconds of k samples with the best split; None where nothing large enough was measured."""
    seconds_low: tuple[float | None, ...] | None
    seconds_high: tuple[float | None, ...] | None
    num_problems: int
    num_samples: int

    @property
    def series(self) -> Series:
        """The model, task and temperature of the curve."""
        return Series(self.model, self.task, self.temperature)


def to_json(record: Any) -> dict[str, Any]:  # Any: every record above
    """Turn a record into a JSON-ready dict, its fields in the order of their definition."""
    names = _field_names(type(record))  # type: ignore[arg-type]  # a class can be hashed
    return {name: getattr(record, name) for name in names.all}


def from_json(kind: type[Record], data: dict[str, Any]) -> Record:
    """Make a record from a dict read from JSON; unknown fields are refused.

    Raises:
        ValueError: a field is missing or unknown; the message names it.
    """
    names = _field_names(kind)  # type: ignore[arg-type]  # a class can be hashed
    if not names.required.keys() <= data.keys() <= names.all.keys():
        missing = ", ".join(sorted(names.required.keys() - data.keys()))
        unknown = ", ".join(sorted(data.keys() - names.all.keys()))
        parts = [f"{what} {found}" for what, found in (("missing", missing), ("unknown", unknown)) if found]
        raise ValueError(f"not a {kind.__name__}: {'; '.join(parts)}")
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in data.items()})


class _FieldNames(NamedTuple):
    all: dict[str, None]
    """In the order of their definition."""
    required: dict[str, None]


@functools.cache  # looking fields up costs more than reading a line
def _field_names(kind: type) -> _FieldNames:
    fields = dataclasses.fields(kind)
    required = (field.name for field in fields if field.default is dataclasses.MISSING)
    return _FieldNames(dict.fromkeys(field.name for field in fields), dict.fromkeys(required))
