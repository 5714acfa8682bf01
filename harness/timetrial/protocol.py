"""What plugins provide and what is passed to and fro: models, tasks, graders, aggregators and reward models.

How a plugin offers them is `spec.py`'s business. Nothing here is imported from a plugin or imports torch.

Shapes: B batch, T tokens, V vocabulary, P problems, N samples per problem, R resampled subsets, k subset size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from timetrial.clock import Clock
from timetrial.record import Completion, Finish, Problem, Prompt, Verdict

if TYPE_CHECKING:
    import numpy as np
    import torch

    from timetrial.statistics.table import VoteTable

    IntArray = np.ndarray[Any, np.dtype[np.int64]]
    FloatArray = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How tokens are drawn. The defaults are the paper's, temperature aside (0.6 at 1B, 0.8 at 3B)."""

    temperature: float
    """0 is greedy."""
    top_p: float = 1.0
    top_k: int = -1
    """-1 considers all tokens."""
    max_tokens: int = 2048
    stop: tuple[str, ...] = ()
    """Strings that end a completion; the text is cut before them."""
    seed: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One completion to generate. Its random numbers depend on (seed, problem, sample, position) only."""

    prompt: Prompt
    sample: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Generation:
    """What a model made of one request."""

    request: Request
    text: str
    finish: Finish
    num_prompt_tokens: int
    """The length of the encoded rendered prompt."""
    num_tokens: int
    """Generated tokens, the end-of-sequence token included."""
    prompt_digest: str
    """sha256 (hexadecimal) of the rendered prompt."""
    error: str | None = None
    """Why generation failed; set exactly if `finish` is "error"."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PhaseTimes:
    """Seconds of one timed batch, prefill and decode apart."""

    prefill_s: float
    decode_s: float
    peak_bytes: int | None = None
    is_prompt_shared: bool = False
    """Whether each step read the prompt's keys and values once for the whole batch, instead of once per sequence."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepCost:
    """What one decode step of a batch must move and compute: the floor that a timing is printed beside."""

    bytes_moved: float
    flops: float


class OutOfMemory(Exception):
    """A batch does not fit the device. Models raise it from `decode_timing`; the grid marks the cell."""


class Tokenizer(Protocol):
    """Text to token ids and back."""

    def encode(self, text: str) -> list[int]:
        """Return the token ids of `text`, without special tokens added."""
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of `tokens`, special tokens left out."""
        ...

    def render(self, prompt: Prompt) -> str:
        """Return the prompt as the model reads it: the chat template applied up to the model's turn, then its start."""
        ...


@runtime_checkable
class Model(Protocol):
    """A loaded checkpoint that can generate, be measured, and state its costs."""

    @property
    def tokenizer(self) -> Tokenizer:
        """The checkpoint's tokenizer."""
        ...

    @property
    def description(self) -> Mapping[str, Any]:
        """JSON-ready facts for provenance: family, parameters, dtype, device, kernels, checkpoint digest."""
        ...

    def logits(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return next-token logits (B, T, V) in float32 for int64 `tokens` (B, T) without padding.

        `tokens` may lie on any device; the logits lie on the model's.
        """
        ...

    def generate(self, requests: Sequence[Request], sampling: Sampling, *, batch_size: int) -> Iterator[Generation]:
        """Yield one Generation per request as they finish, in any order.

        `batch_size` bounds how many sequences are decoded together. It must not influence what is generated,
        floating point aside. A request that cannot be generated yields `finish="error"` with the cause.
        """
        ...

    def decode_timing(self, batch: int, prompt_tokens: int, new_tokens: int, *, clock: Clock, seed: int) -> PhaseTimes:
        """Time one batch of equal prompts: `prompt_tokens` in, `new_tokens` decode steps, end of sequence ignored.

        The prompt is prefilled once and shared by the batch. Read `clock` only, at a synchronised device. `seed` is
        not negative.

        Raises:
            OutOfMemory: the batch does not fit.
        """
        ...

    def synchronize(self) -> None:
        """Wait until the device has finished everything queued."""
        ...

    def costs(self, batch: int, context: int) -> StepCost:
        """Return the cost of one decode step of `batch` sequences at `context` tokens each.

        A `batch` of 0 gives what a step moves whatever the batch: the weights.
        """
        ...


@runtime_checkable
class Grader(Protocol):
    """Decides which answers are the same and which are right. It keeps no memory that changes what it says."""

    @property
    def name(self) -> str:
        """Name and version, recorded with every verdict: it changes whenever a class or a verdict may change."""
        ...

    @property
    def policy(self) -> Mapping[str, Any]:
        """What is a matter of convention in its verdicts, as JSON values: recorded with every run beside the name."""
        ...

    def answer_class(self, answer: str) -> str:
        """Return the canonical key of an answer: equal keys, equivalent answers (an equivalence relation).

        It depends on the text of the answer alone, and takes any text.
        """
        ...

    def grade(self, gold: str, answer: str) -> Verdict:
        """Judge an answer against the gold answer. Called once per answer class of a problem.

        It takes any texts, and returns within seconds: what cannot be told is a Verdict with the reason.
        """
        ...


@runtime_checkable
class Task(Protocol):
    """Problems, how to ask them, and how to read and grade what comes back."""

    @property
    def version(self) -> str:
        """Changes whenever the task changes: data, prompt or extraction. Its grader has a name of its own."""
        ...

    @property
    def grader(self) -> Grader:
        """The task's grader."""
        ...

    @property
    def max_tokens(self) -> int:
        """The default token limit of a completion."""
        ...

    @property
    def stop(self) -> tuple[str, ...]:
        """The default stop strings."""
        ...

    def problems(self) -> Sequence[Problem]:
        """Return all problems, in a fixed order, ids unique."""
        ...

    def prompt(self, problem: Problem) -> Prompt:
        """Return the chat turns that pose the problem."""
        ...

    def extract(self, text: str) -> str | None:
        """Return the answer a completion gives, or None if it gives none."""
        ...


@runtime_checkable
class Aggregator(Protocol):
    """Chooses one answer class from k samples."""

    @property
    def needs_scores(self) -> bool:
        """Whether `choose` reads reward-model scores."""
        ...

    def choose(self, classes: IntArray, scores: FloatArray | None) -> IntArray:
        """Return the chosen class of each row, (R,) int64; -1 for no choice, which counts as wrong.

        `classes` (R, k) int64 numbers the answer classes of one problem from 0, -1 abstains; `scores` (R, k)
        float64 or None. Rows are independent random subsets in random order, so a deterministic tie-break by
        position is a uniform one in expectation.
        """
        ...


@runtime_checkable
class ExactAggregator(Aggregator, Protocol):
    """An aggregator that knows its expected accuracy in closed form."""

    def expected_accuracy(self, table: VoteTable, ks: Sequence[int]) -> FloatArray:
        """Return the accuracy expected over all k-subsets, (P, K) for K values of k."""
        ...


@runtime_checkable
class WeighingAggregator(Aggregator, Protocol):
    """An aggregator that adds scores up, and so chooses otherwise when they are raised to a power first."""

    @property
    def gamma(self) -> float:
        """The power it raises scores to."""
        ...

    def with_gamma(self, gamma: float) -> Aggregator:
        """Return the same rule with another power, finite and not negative: 0 gives every score the same weight."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Unscored:
    """A completion that a reward model gives no score: it abstains wherever scores decide."""

    reason: str
    """As "<kind>: <detail>"; reports count by the kind: "no steps" or "too long"."""


@runtime_checkable
class RewardModel(Protocol):
    """Scores the steps of solutions."""

    @property
    def description(self) -> Mapping[str, Any]:
        """JSON-ready facts for provenance, as `Model.description`; format and step splitter are part of them."""
        ...

    def score(
        self, problem: Problem, prompt: Prompt, completions: Sequence[Completion]
    ) -> Sequence[tuple[float, ...] | Unscored]:
        """Return the step scores of each completion of one problem, in order: one score or more, or why there is none.

        Scores depend on the texts alone, floating point aside: not on their order, nor on what is scored with them.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """How long one solution is to the reward model that reads it, in its own tokens."""

    num_prompt_tokens: int
    """Those before the solution's first, which all solutions of the problem share."""
    num_tokens: int
    """Those of the solution, with whatever the format puts between steps."""
    num_steps: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreTime:
    """Seconds of one timed batch of solutions."""

    score_s: float
    peak_bytes: int | None = None


@runtime_checkable
class TimedRewardModel(RewardModel, Protocol):
    """A reward model whose seconds can be measured, so that they are paid for out of the budget."""

    def reading(self, problem: Problem, prompt: Prompt, completion: Completion) -> Reading | None:
        """Return how long a completion is as it would be read; None if it would not be scored."""
        ...

    def score_timing(self, batch: int, reading: Reading, *, clock: Clock, seed: int) -> ScoreTime:
        """Time scoring `batch` different solutions of one problem, all as long as `reading` says.

        The path is that of `score`, the prompt shared as it shares it. Read `clock` only, at a synchronised device.

        Raises:
            OutOfMemory: the batch does not fit.
        """
        ...
