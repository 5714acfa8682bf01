"""Fakes that keep the contracts: a clock, a plugin, a model, a task that suits it, a grader and a reward model.

They are small, deterministic and quick, and they are not perfect: sampled at a temperature above 0, the model makes
typing errors, so that coverage, votes and grades all have something to tell apart. None needs torch but
`EchoModel.logits`.

Shapes: B batch, T tokens, V vocabulary.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from timetrial.clock import Clock
from timetrial.protocol import Generation, PhaseTimes, Request, Sampling, StepCost, Unscored
from timetrial.record import Completion, Finish, Message, Problem, Prompt, Verdict

if TYPE_CHECKING:
    import torch

    FloatArray = np.ndarray[Any, np.dtype[np.float64]]


class FakeClock:
    """A clock that moves on by a fixed step whenever it is read."""

    def __init__(self, step_s: float = 1.0, start_s: float = 0.0) -> None:
        self.step_s = step_s
        self.num_readings = 0
        self._now_s = start_s

    def now(self) -> float:
        """Return the time in seconds, then move on by one step."""
        now_s = self._now_s
        self.num_readings += 1
        self._now_s += self.step_s
        return now_s

    def advance(self, seconds: float) -> None:
        """Let time pass without a reading."""
        self._now_s += seconds


class FakeDistribution(NamedTuple):
    """Where a fake plugin claims to come from."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class FakePlugin:
    """A plugin that is not installed: `open_catalog([FakePlugin("mine", module)])` loads it as if it were."""

    name: str
    plugin: Any  # a module or any other object with hooks
    dist: FakeDistribution = FakeDistribution("fake", "0")

    @property
    def value(self) -> str:
        """The name of the module, for messages."""
        return str(getattr(self.plugin, "__name__", self.name))

    def load(self) -> Any:
        """Return the plugin; if it is an exception, raise it, as a broken import would."""
        if isinstance(self.plugin, BaseException):
            raise self.plugin
        return self.plugin


class FakeTokenizer:
    """Bytes are tokens; the rendered prompt is the turns, one a line, a marker byte, and the answer's beginning."""

    ASK = 30
    """The record separator of ASCII stands before every answer."""
    END = 256
    """End of sequence."""
    SIZE = 257

    def encode(self, text: str) -> list[int]:
        """Return the UTF-8 bytes."""
        return list(text.encode("utf-8", errors="replace"))

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of the bytes, incomplete characters replaced, the end of sequence left out."""
        return bytes(token for token in tokens if token < self.END).decode("utf-8", errors="replace")

    def render(self, prompt: Prompt) -> str:
        """Return the contents of the turns, the marker, and what the answer starts with."""
        return "\n".join(message.content for message in prompt.messages) + chr(self.ASK) + prompt.start


class EchoModel:
    """Repeats its prompt, byte by byte, and seldom hits the wrong key.

    As a language model: after the marker that ends the prompt, the next byte is the prompt's, in order, by `certainty`
    logits above all others; after the last one, the end of sequence. Before the marker all tokens are alike.
    """

    def __init__(self, certainty: float = 6.0) -> None:
        self._certainty = certainty
        self._tokenizer = FakeTokenizer()

    @property
    def tokenizer(self) -> FakeTokenizer:
        """Bytes as tokens."""
        return self._tokenizer

    @property
    def description(self) -> Mapping[str, Any]:  # Any: JSON values
        """Say that this is a fake."""
        return {"family": "echo", "certainty": self._certainty, "dtype": "float32", "device": "cpu"}

    def logits(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return next-token logits (B, T, V) in float32 for `tokens` (B, T)."""
        import torch

        rows = [[self._next(row[: end + 1]) for end in range(len(row))] for row in tokens.tolist()]
        return torch.from_numpy(np.array(rows, dtype=np.float32))

    def generate(self, requests: Sequence[Request], sampling: Sampling, *, batch_size: int) -> Iterator[Generation]:
        """Yield one Generation per request, in order."""
        for request in requests:
            rendered = self._tokenizer.render(request.prompt)
            tokens, text, finish = self._complete(self._tokenizer.encode(rendered), request, sampling)
            yield Generation(
                request=request,
                text=text,
                finish=finish,
                num_prompt_tokens=len(self._tokenizer.encode(rendered)),
                num_tokens=len(tokens),
                prompt_digest=hashlib.sha256(rendered.encode()).hexdigest(),
            )

    def decode_timing(self, batch: int, prompt_tokens: int, new_tokens: int, *, clock: Clock, seed: int) -> PhaseTimes:
        """Time the computation of one token for the prompt and of `new_tokens` for each of the batch."""
        tokens = [self._tokenizer.ASK] * prompt_tokens
        start_s = clock.now()
        self._next(tokens)
        prefilled_s = clock.now()
        for _ in range(batch * new_tokens):
            self._next(tokens)
        return PhaseTimes(prefill_s=prefilled_s - start_s, decode_s=clock.now() - prefilled_s)

    def synchronize(self) -> None:
        """Do nothing: there is no device."""

    def costs(self, batch: int, context: int) -> StepCost:
        """Return the cost of reading the context and writing one row of logits, for each sequence."""
        return StepCost(bytes_moved=float(batch * (context + 8 * FakeTokenizer.SIZE)), flops=float(batch))

    def _next(self, tokens: Sequence[int]) -> FloatArray:
        """Return the logits (V,) after `tokens`."""
        logits = np.zeros(FakeTokenizer.SIZE)
        if FakeTokenizer.ASK in tokens:
            length = list(tokens).index(FakeTokenizer.ASK)
            position = len(tokens) - length - 1
            logits[tokens[position] if position < length else FakeTokenizer.END] = self._certainty
        return logits

    def _complete(self, prompt: list[int], request: Request, sampling: Sampling) -> tuple[list[int], str, Finish]:
        """Draw tokens until the end of sequence, a stop string or the limit."""
        generator = np.random.default_rng(_seed(sampling.seed, request.prompt.problem, request.sample))
        tokens: list[int] = []
        while len(tokens) < sampling.max_tokens:
            tokens.append(draw(self._next(prompt + tokens), sampling, generator))
            text = self._tokenizer.decode(tokens)
            cuts = [text.index(stop) for stop in sampling.stop if stop in text]
            if cuts or tokens[-1] == FakeTokenizer.END:
                return tokens, text[: min(cuts, default=None)], "stop"
        return tokens, self._tokenizer.decode(tokens), "length"


def draw(logits: FloatArray, sampling: Sampling, generator: np.random.Generator) -> int:
    """Draw a token from logits (V,), as temperature, top-k and top-p say; every call uses one random number.

    The smallest set of most likely tokens whose probabilities reach `top_p` is kept.
    """
    uniform = generator.random()
    if sampling.temperature == 0:
        return int(np.argmax(logits))
    order = np.argsort(-logits, kind="stable")[: None if sampling.top_k < 0 else sampling.top_k]
    weights = np.exp((logits[order] - logits[order[0]]) / sampling.temperature)
    cumulative = np.cumsum(weights / weights.sum())
    num_kept = min(int(np.searchsorted(cumulative, sampling.top_p)) + 1, len(order))
    return int(order[np.searchsorted(cumulative[: num_kept - 1], uniform * cumulative[num_kept - 1], side="right")])


def _seed(*parts: object) -> int:
    """Return a number that depends on all parts and on nothing else."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big")


class FakeTask:
    """Asks for numbers to be repeated: the last integer of the text is the answer."""

    version = "1"
    max_tokens = 64
    stop: tuple[str, ...] = ()

    def __init__(self, num_problems: int = 8) -> None:
        self._problems = tuple(
            Problem(id=f"repeat/{index}", text=f"Repeat: {37 * index + 11}", gold=str(37 * index + 11), level=1)
            for index in range(num_problems)
        )
        self.grader = FakeGrader()

    def problems(self) -> Sequence[Problem]:
        """Return the problems."""
        return self._problems

    def prompt(self, problem: Problem) -> Prompt:
        """Return one user turn, the problem's text."""
        return Prompt(problem=problem.id, messages=(Message("user", problem.text),))

    def extract(self, text: str) -> str | None:
        """Return the last integer of the text."""
        found = re.findall(r"[0-9]+", text)
        return found[-1] if found else None


class FakeGrader:
    """Compares whole numbers by value."""

    name = "fake-integer/1"

    @property
    def policy(self) -> Mapping[str, Any]:  # Any: JSON values
        """Say what it forgives."""
        return {"leading_zeros": "do not count"}

    def answer_class(self, answer: str) -> str:
        """Return the number without leading zeros, or the text if it is none."""
        stripped = answer.strip()
        return (stripped.lstrip("0") or "0") if re.fullmatch("[0-9]+", stripped) else stripped

    def grade(self, gold: str, answer: str) -> Verdict:
        """Compare the classes."""
        return Verdict(correct=self.answer_class(gold) == self.answer_class(answer))


class FakeRewardModel:
    """Likes short lines: the score of a line is 1 / (1 + its length)."""

    @property
    def description(self) -> Mapping[str, Any]:  # Any: JSON values
        """Say that this is a fake."""
        return {"family": "fake-reward"}

    def score(
        self, problem: Problem, prompt: Prompt, completions: Sequence[Completion]
    ) -> list[tuple[float, ...] | Unscored]:
        """Return one score a line; where nothing is visible there is no step."""
        return [
            tuple(1 / (1 + len(line)) for line in completion.text.split("\n"))
            if completion.text.strip()
            else Unscored(reason="no steps: nothing visible in the solution")
            for completion in completions
        ]
