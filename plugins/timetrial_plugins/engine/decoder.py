"""The decode loop: prompts in, completions out, in whatever batch; it knows no family and no text but stop strings.

Each distinct prompt is read once, and those of one length that can begin at once together. Rows leave the batch when
they are finished, and waiting completions take their places. The host looks at the rows every few steps only; what a
row drew past its end is thrown away. Finished completions are handed over a few at a time: steps of small models drive
everything else out of the caches, and whoever writes a record after each has to have all of it fetched each time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from timetrial.clock import Clock, MonotonicClock
from timetrial.protocol import Tokenizer
from timetrial.record import Finish
from timetrial_plugins.engine.batch import Batch, PrefilledPrompt
from timetrial_plugins.engine.stop import StopStrings

_MOST_PROMPT_TOKENS = 8192  # read at once: what is made of them on the way takes memory
_HELD_S = 0.1  # before finished completions are handed over; a look at the rows of a larger model takes longer anyway


class Sample(NamedTuple):
    """One completion wanted of a prompt."""

    tag: int
    """The caller's name for it."""
    stream: int
    """The seed of its random numbers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptJob:
    """A prompt and the completions wanted of it."""

    tokens: Sequence[int]
    limit: int
    """Most tokens of a completion."""
    samples: Sequence[Sample]


class Decoded(NamedTuple):
    """A finished completion."""

    tag: int
    text: str
    finish: Finish
    num_tokens: int
    error: str | None = None


class _Ended(NamedTuple):
    """A finished completion whose text is still to be made."""

    tag: int
    tokens: Sequence[int]
    """Those of its text."""
    finish: Finish
    num_tokens: int
    text: str | None = None
    """If it is known."""


@dataclass(kw_only=True, slots=True)
class _Waiting:
    """A job some of whose completions have not begun."""

    job: PromptJob
    prompt: PrefilledPrompt | None = None
    num_begun: int = 0


@dataclass(kw_only=True, slots=True)
class _Row:
    """A completion in the batch and the tokens drawn for it so far."""

    tag: int
    limit: int
    tokens: list[int] = field(default_factory=list)


class Ending:
    """Decides when a completion is finished, and what its text is."""

    def __init__(self, eos_ids: Collection[int], stop: StopStrings, tokenizer: Tokenizer) -> None:
        self._enders = {*eos_ids, -1}
        self._stop = stop if stop else None
        self._tokenizer = tokenizer

    def among(self, rows: Mapping[int, _Row], drawn: Sequence[Sequence[int]]) -> dict[int, _Ended]:
        """Give each row the tokens drawn at its place; return the completions that these finished, by place."""
        is_plain, has_no_ender = self._stop is None, self._enders.isdisjoint
        finished: dict[int, _Ended] = {}
        for place, row in rows.items():
            new = drawn[place]
            row.tokens += new
            if is_plain and has_no_ender(new) and len(row.tokens) < row.limit:
                continue  # as most rows do, so this is told at once
            if ended := self._of(row, len(new)):
                finished[place] = ended
        return finished

    def decoded(self, ended: _Ended) -> Decoded:
        """Return a completion with its text."""
        tag, tokens, finish, num_tokens, text = ended
        error = f"the logits after {len(tokens)} tokens are not finite numbers" if finish == "error" else None
        return Decoded(tag, self._tokenizer.decode(tokens) if text is None else text, finish, num_tokens, error)

    def _of(self, row: _Row, num_new: int) -> _Ended | None:
        """Return the completion if the last `num_new` tokens finished it."""
        tokens = row.tokens
        end, finish = self._end(row, num_new)
        text_tokens = tokens[:end]
        if self._stop and (finish or self._stop.may_end_in(text_tokens, num_new)):
            stopped = self._stop.find(text_tokens)
            if stopped is not None:
                return _Ended(row.tag, text_tokens, "stop", stopped.num_tokens, stopped.text)
        return finish and _Ended(row.tag, text_tokens, finish, end + 1 if finish == "stop" else end)

    def _end(self, row: _Row, num_new: int) -> tuple[int, Finish | None]:
        """Return how many tokens are text, and why there are no more."""
        tokens = row.tokens
        for position in range(len(tokens) - num_new, min(len(tokens), row.limit)):
            if tokens[position] in self._enders:
                return position, "error" if tokens[position] == -1 else "stop"
        return (row.limit, "length") if len(tokens) >= row.limit else (len(tokens), None)


class DecodeLoop:
    """Runs jobs through a batch."""

    def __init__(self, batch: Batch, ending: Ending, max_rows: int, steps_per_look: int) -> None:
        """Keep up to `max_rows` rows in `batch`, and look at what they drew every `steps_per_look` steps."""
        self._batch, self._ending = batch, ending
        self._max_rows, self._steps_per_look = max_rows, steps_per_look
        self._rows: dict[int, _Row] = {}  # by their places in the batch
        self._waiting: deque[_Waiting] = deque()
        self._num_waiting = 0  # completions

    def run(self, jobs: Sequence[PromptJob]) -> Iterator[Decoded]:
        """Yield every completion, at most a tenth of a second after the look that found it finished."""
        self._waiting.extend(_Waiting(job=job) for job in jobs)
        self._num_waiting += sum(len(job.samples) for job in jobs)
        for ended in _together(self._looks(), MonotonicClock()):
            yield self._ending.decoded(ended)

    def _looks(self) -> Iterator[Collection[_Ended]]:
        """Take steps until all is done; yield what each look at the rows finds finished."""
        while self._waiting or self._rows:
            self._fill()
            yield self._collect(self._look())

    def _fill(self) -> None:
        """Admit waiting completions until the batch is full."""
        while self._waiting and (free := self._max_rows - len(self._rows)):
            first = self._waiting[0]
            if first.prompt is None:
                self._prefill(free)
            assert first.prompt is not None
            samples = first.job.samples[first.num_begun : first.num_begun + free]
            places = self._batch.admit(first.prompt, [sample.stream for sample in samples])
            for place, sample in zip(places, samples, strict=True):
                self._rows[place] = _Row(tag=sample.tag, limit=first.job.limit)
            first.num_begun += len(samples)
            self._num_waiting -= len(samples)
            if first.num_begun == len(first.job.samples):
                self._waiting.popleft()

    def _prefill(self, free: int) -> None:
        """Read the first waiting prompt, and with it those of its length that find a free row now too."""
        length = len(self._waiting[0].job.tokens)
        together: list[_Waiting] = []
        for one in self._waiting:
            if free <= 0 or (together and (len(together) + 1) * length > _MOST_PROMPT_TOKENS):
                break
            free -= len(one.job.samples)
            if one.prompt is None and len(one.job.tokens) == length:
                together.append(one)
        prompts = self._batch.prefill_together([one.job.tokens for one in together])
        for one, prompt in zip(together, prompts, strict=True):
            one.prompt = prompt

    def _look(self) -> list[tuple[int, ...]]:
        """Take some steps; return the tokens that each row drew, by its place."""
        drawn = [self._batch.advance() for _ in range(self._steps_per_look)]
        # A copy from an accelerator waits for it, so one for all steps; on a CPU there is nothing to wait for.
        steps = [tokens.tolist() for tokens in drawn] if drawn[0].is_cpu else torch.stack(drawn).tolist()
        return list(zip(*steps, strict=True))

    def _collect(self, drawn: Sequence[Sequence[int]]) -> Collection[_Ended]:
        """Give each row the tokens it drew; take the finished ones out."""
        finished = self._ending.among(self._rows, drawn)
        if finished:
            self._drop(finished)
        return finished.values()

    def _drop(self, finished: Mapping[int, _Ended]) -> None:
        """Take finished rows out; as many completions as are waiting will come in their places."""
        for place in finished:
            del self._rows[place]
        spoilt = [place for place, ended in finished.items() if ended.finish == "error"]
        num_next = min(self._num_waiting, len(finished))
        for move in self._batch.drop(finished, spoilt=spoilt, num_next=num_next):
            self._rows[move.target] = self._rows.pop(move.source)


def _together(looks: Iterator[Collection[_Ended]], clock: Clock) -> Iterator[_Ended]:
    """Yield what looks find, a few looks' at a time; if one fails or is interrupted, what is held comes first."""
    held: deque[_Ended] = deque()
    handed_s = clock.now()
    try:
        for found in looks:
            held += found
            if clock.now() - handed_s >= _HELD_S:
                while held:
                    yield held.popleft()
                handed_s = clock.now()
    except GeneratorExit:  # nobody is there to take them
        raise
    except BaseException:
        yield from held
        raise
    yield from held
