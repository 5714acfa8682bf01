"""Three small things to measure real models against: a quorum, the easiest task there is, and a model that guesses.

The guesser answers without reading the question, with the frequencies of a task's gold answers. What it reaches is
what a benchmark gives away: subtract it before you praise a coverage curve.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import timetrial

if TYPE_CHECKING:
    import torch


class Quorum:
    """Chooses the class that more than half of the samples vote for, if there is one."""

    needs_scores = False

    def choose(self, classes: Any, scores: Any) -> Any:  # Any: numpy arrays, (R, k) and (R,)
        """Return the class of each row with more than k / 2 votes, -1 where none has."""
        votes = (classes[:, :, None] == classes[:, None, :]).sum(axis=2)  # (R, k): votes for each sample's own class
        has_quorum = (2 * votes > classes.shape[1]) & (classes != -1)
        chosen = classes[np.arange(len(classes)), has_quorum.argmax(axis=1)]
        return np.where(has_quorum.any(axis=1), chosen, -1)


@timetrial.hookimpl
def timetrial_aggregators() -> list[timetrial.AggregatorSpec]:
    """Offer the quorum."""
    return [timetrial.AggregatorSpec(name="quorum", make=Quorum, doc="More than half of all samples, or no answer.")]


class Integers:
    """Grades whole numbers by value."""

    name = "timetrial-example-integers/1"
    policy = {"numbers": "of up to 9 digits, by value", "anything else": "as it is written"}

    def answer_class(self, answer: str) -> str:
        """Return the number in its shortest form; what is no number is a class of its own."""
        stripped = answer.strip()
        return str(int(stripped)) if re.fullmatch(r"-?[0-9]{1,9}", stripped) else stripped

    def grade(self, gold: str, answer: str) -> timetrial.Verdict:
        """Compare by value."""
        return timetrial.Verdict(correct=self.answer_class(gold) == self.answer_class(answer))


class Sums:
    """All 81 sums of two digits from 1 to 9, or the questions of a file."""

    version = "1"
    max_tokens = 256
    stop: tuple[str, ...] = ()
    grader = Integers()

    def __init__(self, path: Path | None = None) -> None:
        self._problems = sums() if path is None else list(read_questions(path))

    def problems(self) -> Sequence[timetrial.Problem]:
        """Return the problems."""
        return self._problems

    def prompt(self, problem: timetrial.Problem) -> timetrial.Prompt:
        """Return one user turn."""
        text = f"{problem.text} End with: The final answer is N."
        return timetrial.Prompt(problem=problem.id, messages=(timetrial.Message("user", text),))

    def extract(self, text: str) -> str | None:
        """Return the last whole number of the text."""
        numbers = re.findall(r"-?[0-9]{1,9}", text)
        return numbers[-1] if numbers else None


def sums() -> list[timetrial.Problem]:
    """Return all sums of two digits; their level grows with the sum."""
    return [
        timetrial.Problem(id=f"{a}+{b}", text=f"What is {a} + {b}?", gold=str(a + b), level=1 + (a + b) // 4)
        for a in range(1, 10)
        for b in range(1, 10)
    ]


def read_questions(path: Path) -> Iterator[timetrial.Problem]:
    """Yield a problem per line of a JSONL file with the fields question and answer.

    Raises:
        DataError: a line cannot be read or lacks a field.
    """
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
                yield timetrial.Problem(id=f"line-{number}", text=row["question"], gold=str(row["answer"]))
            except (ValueError, KeyError, TypeError) as cause:
                message = f"expected an object with question and answer, found {line.strip()[:60]!r} ({cause!r})"
                raise timetrial.DataError(message, path, number) from cause


@timetrial.hookimpl
def timetrial_tasks() -> list[timetrial.TaskSpec]:
    """Offer the sums."""
    return [
        timetrial.TaskSpec(name="sums", load=Sums, doc="81 sums of two digits, or --data FILE with your questions.")
    ]


END = 256  # bytes are tokens 0 to 255, then the end of sequence, then one token per answer
IMPOSSIBLE = -100.0


class Bytes:
    """Encodes text as bytes; decodes each answer token as a sentence."""

    def __init__(self, answers: Sequence[str]) -> None:
        self._answers = answers

    def encode(self, text: str) -> list[int]:
        """Return the bytes of the text."""
        return list(text.encode("utf-8"))

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of bytes and answers."""
        spelled = [
            f"The final answer is $\\boxed{{{self._answers[t - END - 1]}}}$.".encode() for t in tokens if t > END
        ]
        return b"".join([bytes(t for t in tokens if t < END), *spelled]).decode("utf-8", errors="replace")

    def render(self, prompt: timetrial.Prompt) -> str:
        """Return the turns, one after the other, and what the answer starts with."""
        return "".join(f"{message.role}: {message.content}\n" for message in prompt.messages) + prompt.start


class Guesser:
    """Says one of its answers, as often as it has seen it, and stops. Shapes: B batch, T tokens, V vocabulary."""

    def __init__(self, answers: Sequence[str], counts: Any) -> None:  # Any: a numpy array, one count per answer
        self._tokenizer = Bytes(answers)
        self._after_text = np.full(END + 1 + len(answers), IMPOSSIBLE)  # (V,)
        self._after_text[END + 1 :] = np.log(counts / counts.sum())
        self._after_answer = np.where(np.arange(len(self._after_text)) == END, 0.0, IMPOSSIBLE)  # (V,)

    @property
    def tokenizer(self) -> Bytes:
        """Bytes and answers."""
        return self._tokenizer

    @property
    def description(self) -> Mapping[str, Any]:  # Any: JSON values
        """Name the family and its size."""
        return {"family": "guesser", "num_answers": len(self._after_text) - END - 1, "device": "cpu"}

    def logits(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return next-token logits (B, T, V): only the token before matters."""
        import torch

        rows = torch.from_numpy(np.stack([self._after_text, self._after_answer])).float()
        return rows[(tokens >= END).long()]

    def generate(
        self, requests: Sequence[timetrial.Request], sampling: timetrial.Sampling, *, batch_size: int
    ) -> Iterator[timetrial.Generation]:
        """Yield a Generation per request; there is nothing to gain from batches."""
        for request in requests:
            rendered = self._tokenizer.render(request.prompt)
            key = f"{sampling.seed}/{request.prompt.problem}/{request.sample}".encode()
            generator = np.random.default_rng(list(hashlib.sha256(key).digest()))
            tokens = [draw(self._after_text, sampling, generator)]
            if sampling.max_tokens > 1:
                tokens.append(draw(self._after_answer, sampling, generator))
            text = self._tokenizer.decode(tokens)
            cut = min((text.index(stop) for stop in sampling.stop if stop in text), default=None)
            yield timetrial.Generation(
                request=request,
                text=text[:cut],
                finish="length" if cut is None and tokens[-1] != END else "stop",
                num_prompt_tokens=len(self._tokenizer.encode(rendered)),
                num_tokens=len(tokens),
                prompt_digest=hashlib.sha256(rendered.encode()).hexdigest(),
            )

    def decode_timing(
        self, batch: int, prompt_tokens: int, new_tokens: int, *, clock: timetrial.Clock, seed: int
    ) -> timetrial.PhaseTimes:
        """Time the encoding of a prompt, and one draw per new token and sequence."""
        sampling, generator = timetrial.Sampling(temperature=1.0), np.random.default_rng(seed)
        start_s = clock.now()
        self._tokenizer.encode("x" * prompt_tokens)
        prefilled_s = clock.now()
        for _ in range(batch * new_tokens):
            draw(self._after_text, sampling, generator)
        return timetrial.PhaseTimes(prefill_s=prefilled_s - start_s, decode_s=clock.now() - prefilled_s)

    def synchronize(self) -> None:
        """Do nothing: numpy works on the CPU, at once."""

    def costs(self, batch: int, context: int) -> timetrial.StepCost:
        """Return the cost of reading V numbers, and of an exponential, a sum and a comparison of each."""
        num_tokens = len(self._after_text)
        return timetrial.StepCost(bytes_moved=8.0 * batch * num_tokens, flops=3.0 * batch * num_tokens)


def draw(logits: Any, sampling: timetrial.Sampling, generator: np.random.Generator) -> int:  # Any: a numpy array
    """Draw a token from logits (V,) at a temperature, from the top k, and from as many as reach top p."""
    uniform = generator.random()
    order = np.argsort(-logits, kind="stable")[: None if sampling.top_k == -1 else sampling.top_k]
    if sampling.temperature == 0:
        return int(order[0])
    weights = np.exp((logits[order] - logits[order[0]]) / sampling.temperature)
    cumulative = np.cumsum(weights / weights.sum())
    kept = cumulative[: np.searchsorted(cumulative, sampling.top_p) + 1]
    return int(order[np.searchsorted(kept, uniform * kept[-1], side="right")])


def fit(answers: Iterable[str], folder: Path | str) -> None:
    """Train a guesser on gold answers, and write it as a checkpoint: config.json and model.safetensors."""
    from safetensors.numpy import save_file

    counted = Counter(answers).most_common()
    config = {"model_type": "guesser", "answers": [answer for answer, _ in counted]}
    Path(folder).mkdir(parents=True, exist_ok=True)
    (Path(folder) / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file({"counts": np.array([float(count) for _, count in counted])}, Path(folder) / "model.safetensors")


def load(folder: Path, options: timetrial.LoadOptions) -> Guesser:
    """Load a guesser.

    Raises:
        CheckpointError: it was asked for on another device, or its files do not fit together.
    """
    from safetensors.numpy import load_file

    if options.device not in ("auto", "cpu"):
        raise timetrial.CheckpointError(
            f"a guesser runs on the CPU: expected device auto or cpu, not {options.device!r}"
        )
    answers = json.loads((folder / "config.json").read_text(encoding="utf-8"))["answers"]
    counts = load_file(folder / "model.safetensors")["counts"]
    if len(answers) != len(counts):
        raise timetrial.CheckpointError(f"{folder}: config.json has {len(answers)} answers, the tensor {len(counts)}")
    return Guesser(answers, counts)


@timetrial.hookimpl
def timetrial_models() -> list[timetrial.ModelSpec]:
    """Offer the guesser."""
    return [
        timetrial.ModelSpec(
            family="guesser",
            load=load,
            doc="Answers without reading the question.",
            recognises=lambda config: config.get("model_type") == "guesser",
        )
    ]
