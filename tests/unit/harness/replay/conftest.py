"""Small pools whose every subset can be tried, and rules with and without closed forms."""

from dataclasses import replace

import numpy as np
import pytest

from timetrial.record import Completion, Grade, Series, Timing
from timetrial.stages.deadline_values import Contender
from timetrial.stages.lengths import LengthPool
from timetrial.stages.pools import VotePool
from timetrial.statistics.best_of import best_of_k
from timetrial.statistics.choice import best_of_choice, majority_choice, weighted_choice
from timetrial.statistics.majority import majority_at_k
from timetrial.statistics.step_seconds import StepSeconds
from timetrial.statistics.table import VoteTable

STEPS = StepSeconds(batches=(1, 2, 4, 8), fixed_s=(1.0, 1.3, 1.6, 2.0), per_token_s=(0.001, 0.002, 0.009, 0.01))


class Majority:
    needs_scores = False

    def choose(self, classes, scores):
        return majority_choice(classes)

    def expected_accuracy(self, table, ks):
        return majority_at_k(table, ks)


class BestOf:
    needs_scores = True

    def choose(self, classes, scores):
        return best_of_choice(classes, scores)

    def expected_accuracy(self, table, ks):
        return best_of_k(table, ks)


class Weighted:
    needs_scores = True

    def choose(self, classes, scores):
        return weighted_choice(classes, scores)


@pytest.fixture(scope="session")
def rules():
    return {"majority": Majority(), "best-of-n": BestOf(), "weighted": Weighted()}


def make_contender(model="big", seed=0, *, problems=3, samples=6, ks=(1, 2, 4, 6), prefix="p"):
    rng = np.random.default_rng(seed)
    table = VoteTable(
        problems=tuple(f"{prefix}{number}" for number in range(problems)),
        classes=rng.integers(-1, 3, (problems, samples)),
        correct=np.tile([True, False, False], (problems, 1)),
    )
    series = Series(model, "task", 0.8)
    scored = {"prm": replace(table, scores=rng.permuted(np.linspace(0.1, 1, problems * samples)).reshape(problems, -1))}
    return Contender(
        votes=VotePool(series=series, table=table, scored=scored, num_left_out=0, num_unknown=0, num_split_classes=0),
        lengths=LengthPool(
            series=series,
            problems=table.problems,
            prompt_tokens=rng.integers(3, 20, problems),
            lengths=rng.integers(1, 40, (problems, samples)),
            num_left_out=0,
        ),
        steps=STEPS,
        ks=ks,
    )


@pytest.fixture(scope="session")
def contender():
    return make_contender


def make_timing(batch, prompt_tokens, *, model="m", new_tokens=8, repeat=0, seconds=None, **changes):
    """Time a batch whose step takes 2 ms, 0.1 ms per sequence and 1 us per sequence and token."""
    context = prompt_tokens + (new_tokens + 1) / 2
    decode_s = new_tokens * (2e-3 + 1e-4 * batch + 1e-6 * batch * context) if seconds is None else seconds
    fields = {
        "model": model,
        "batch": batch,
        "prompt_tokens": prompt_tokens,
        "new_tokens": new_tokens,
        "repeat": repeat,
        "is_warmup": repeat < 0,
        "status": "ok",
        "prefill_s": 1e-3 + 1e-5 * prompt_tokens,
        "decode_s": decode_s * (100 if repeat < 0 else 1),
        "peak_bytes": None,
        "environment": "here",
        "step_bytes": 1000.0 + batch * context,
    }
    return Timing(**{**fields, **changes})


@pytest.fixture
def timing():
    return make_timing


@pytest.fixture
def grid_rows():
    """Rows of one model at two prompt lengths, each with a warm-up that would show in any mean."""

    def rows(model="m", prompts=(50, 150), batches=(1, 2, 4, 8), **changes):
        return [
            make_timing(batch, prompt, model=model, repeat=repeat, **changes)
            for prompt in prompts
            for batch in batches
            for repeat in (-1, 0, 1)
        ]

    return rows


@pytest.fixture
def completion():
    def make(problem, sample, num_tokens=10, *, model="m", temperature=0.8, prompt=20, **changes):
        fields = {
            "model": model,
            "task": "task",
            "temperature": temperature,
            "problem": problem,
            "sample": sample,
            "text": "text",
            "finish": "stop",
            "num_prompt_tokens": prompt,
            "num_tokens": num_tokens,
            "prompt_digest": "",
        }
        return Completion(**{**fields, **changes})

    return make


@pytest.fixture
def grade():
    def make(problem, sample, *, correct=True, model="m", temperature=0.8):
        answer = "1" if correct else "2"
        return Grade(
            model=model,
            task="task",
            temperature=temperature,
            problem=problem,
            sample=sample,
            answer=answer,
            answer_class=answer,
            correct=correct,
            grader="g/1",
        )

    return make
