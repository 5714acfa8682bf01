"""Results like the paper's, made up with a seed: six models at two scales, a split batch, truncated completions."""

import dataclasses
import math

import numpy as np
import pytest

from timetrial.analysis import (
    Analysis,
    BudgetValue,
    Comparison,
    FrontShare,
    PairedDifference,
    ParetoPoint,
    PoolFacts,
    SkippedRule,
    SpeedUp,
    TimeTable,
    TimeToReach,
)
from timetrial.record import Completion, Curve, Grade, Problem, Series, Timing
from timetrial.report.data import (
    Example,
    GraderFacts,
    GradingStatistics,
    ReportData,
    SeriesStatistics,
    UnknownAnswer,
)

NUM_PROBLEMS = 200
NUM_SAMPLES = 256
KS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
MODELS = {
    # name: (temperature, skill, seconds of one sample, seconds added per sample)
    "llama-1b": (0.6, 0.55, 5.2, 0.060),
    "llama-3b": (0.8, 0.95, 9.4, 0.080),
    "mamba-in-llama-1b": (0.6, 0.42, 3.1, 0.012),
    "mamba-in-llama-3b": (0.8, 0.80, 5.6, 0.016),
    "llamba-1b": (0.6, 0.30, 3.4, 0.014),
    "llamba-4b": (0.8, 0.66, 7.1, 0.020),
}
RULES = {"majority": 0.50, "best-of-n": 0.42, "weighted-best-of-n": 0.66}


def make_curve(model, *, rule="coverage", temperature=None, is_timed=True, task="math-500", gain=1.0, **changes):
    """Make a plausible curve of one of the models, or of any other name."""
    recommended, skill, first_s, per_sample_s = MODELS.get(model, (0.8, 0.5, 1.0, 0.01))
    temperature = recommended if temperature is None else temperature
    growth = gain * RULES.get(rule, 1.0)
    values = [1 / (1 + math.exp(-(skill - 1.6 + growth * 0.42 * math.log2(k) ** 0.95))) for k in KS]
    errors = [math.sqrt(value * (1 - value) / NUM_PROBLEMS) for value in values]
    times = [
        first_s + per_sample_s * k if model != "llama-3b" or k < 256 else 2 * (first_s + 128 * per_sample_s) for k in KS
    ]
    fields = {
        "model": model,
        "task": task,
        "temperature": temperature,
        "rule": rule,
        "reward_model": "prm" if rule.endswith("best-of-n") else None,
        "reduction": "last" if rule.endswith("best-of-n") else None,
        "ks": KS,
        "values": tuple(values),
        "standard_errors": tuple(errors),
        "low": tuple(max(0.0, value - 1.96 * error) for value, error in zip(values, errors, strict=True)),
        "high": tuple(min(1.0, value + 1.96 * error) for value, error in zip(values, errors, strict=True)),
        "monte_carlo_errors": tuple(0.001 for _ in KS) if rule == "weighted-best-of-n" else None,
        "seconds": tuple(times) if is_timed else None,
        "seconds_low": tuple(0.98 * second for second in times) if is_timed else None,
        "seconds_high": tuple(1.03 * second for second in times) if is_timed else None,
        "num_problems": NUM_PROBLEMS,
        "num_samples": NUM_SAMPLES,
    }
    return Curve(**{**fields, **changes})


def make_timings(model, *, environment="h200"):
    """Time every batch of a model three times after one warm-up; llama-3b runs out of memory at 256."""
    _, _, first_s, per_sample_s = MODELS[model]
    noise = np.random.default_rng(len(model)).normal(1, 0.01, size=(len(KS), 4))
    timings = []
    for row, batch in enumerate(KS):
        fits = model != "llama-3b" or batch < 256
        for repeat in range(4):
            seconds = (first_s + per_sample_s * batch) * noise[row, repeat] * (1.6 if repeat == 0 else 1)
            timings.append(
                Timing(
                    model=model,
                    batch=batch,
                    prompt_tokens=512,
                    new_tokens=512,
                    repeat=repeat,
                    is_warmup=repeat == 0,
                    status="ok" if fits else "out_of_memory",
                    prefill_s=0.05 if fits else None,
                    decode_s=seconds if fits else None,
                    peak_bytes=(2 + batch) << 28 if fits else None,
                    environment=environment,
                )
            )
    return timings


def make_example(series, *, text="First, 12 + 8 = 20.\n\nThe final answer is 20.", correct=True, sample=0):
    """Make a graded completion of a problem."""
    model, task, temperature = series
    key = {"model": model, "task": task, "temperature": temperature, "problem": "p-17", "sample": sample}
    problem = Problem(id="p-17", text="Tom has 12 nuts and finds 8 more. How many has he?", gold="20", level=2)
    completion = Completion(
        **key, text=text, finish="stop", num_prompt_tokens=40, num_tokens=23, prompt_digest="", error=None
    )
    answer = "20" if correct else "21"
    return Example(
        problem=problem,
        completion=completion,
        grade=Grade(**key, answer=answer, answer_class=answer, correct=correct, grader="math/2"),
    )


def make_statistics(series):
    return SeriesStatistics(
        series=series,
        num_problems=NUM_PROBLEMS,
        num_completions=NUM_PROBLEMS * NUM_SAMPLES,
        num_truncated=912,
        num_errors=0,
        num_identical_problems=0,
        mean_tokens=211.4,
    )


def make_grading(series, **changes):
    """Grade the completions of a series: half right, one in four unknown."""
    fields = {
        "series": series,
        "num_right": 25_600,
        "num_wrong": 10_800,
        "unknown": (("not understood", 12_000), ("timed out", 800)),
        "num_no_answer": 1_204,
        "num_cut": 796,
        "num_failed": 0,
        "num_second_opinions": 7,
        "graders": ("math/2", "other/1"),
    }
    return GradingStatistics(**{**fields, **changes})


def make_unknown(**changes):
    fields = {
        "task": "math-500",
        "problem": "p-17",
        "gold": "20",
        "answer": "twenty-ish",
        "reason": "not understood: twenty-ish",
        "count": 12,
    }
    return UnknownAnswer(**{**fields, **changes})


def make_comparison(rule, curves, **changes):
    """Compare curves 0 and 1: the first reaches 60 % twice as late, only the second reaches 90 %."""
    pair = {"curve": 0, "baseline": 1}
    fields = {
        "task": "math-500",
        "rule": rule,
        "reward_model": None,
        "curves": curves,
        "num_problems": 190,
        "differences": (
            PairedDifference(**pair, ks=(1, 2), differences=(0.1, -0.02), low=(0.05, -0.06), high=(0.15, 0.01)),
        ),
        "time_range_s": (1.0, 100.0),
        "budget_values": (
            BudgetValue(curve=0, budget_s=5.0, k=None, value=0.0, low=0.0, high=0.1),
            BudgetValue(curve=1, budget_s=5.0, k=16, value=0.5, low=0.4, high=0.6),
        ),
        "times_to_reach": (
            TimeToReach(curve=0, level=0.6, seconds=4.0, low=3.0, high=None, censored_share=0.1),
            TimeToReach(curve=0, level=0.9, seconds=None, low=None, high=None, censored_share=1.0),
            TimeToReach(curve=1, level=0.6, seconds=2.0, low=1.5, high=2.5, censored_share=0.0),
            TimeToReach(curve=1, level=0.9, seconds=8.0, low=6.0, high=None, censored_share=0.2),
        ),
        "speed_ups": (
            SpeedUp(**pair, level=0.6, ratio=0.5, low=0.4, high=None, censored_share=0.1),
            SpeedUp(**pair, level=0.9, ratio=None, low=None, high=None, censored_share=1.0),
        ),
        "areas": (),
        "front": (
            ParetoPoint(curve=0, k=4, seconds=4.0, value=0.5, is_dominated=True, front_probability=0.1),
            ParetoPoint(curve=1, k=8, seconds=3.0, value=0.6, is_dominated=False, front_probability=0.8),
        ),
        "front_shares": (
            FrontShare(model="llama-1b", temperature=0.6, dominated_share=1.0, share=0.25, low=0.1, high=0.4),
        ),
    }
    return Comparison(**{**fields, **changes})


def make_analysis(*comparisons):
    return Analysis(
        replicates=2_000,
        curve_replicates=10_000,
        permutations=256,
        seed=0,
        pools=(
            PoolFacts(
                model="llama-1b",
                task="math-500",
                temperature=0.6,
                num_samples=256,
                num_problems=200,
                num_left_out=3,
                num_abstaining=12,
                num_unknown=None,
                num_split_classes=0,
                num_scored=(),
            ),
        ),
        skipped=(
            SkippedRule(model="llama-1b", task="math-500", temperature=0.6, rule="best-of-n", reason="no scores"),
        ),
        time_tables=(
            TimeTable(
                model="llama-3b",
                prompt_tokens=512,
                new_tokens=512,
                environment="h200",
                batches=(1, 256),
                batch_seconds=(9.4, 29.4),
                num_repeats=(3, 3),
                out_of_memory=(512,),
                ks=(1, 512),
                seconds=(9.4, 58.8),
                low=(9.3, 58.0),
                high=(9.5, 59.0),
                splits=((1,), (256, 256)),
            ),
        ),
        comparisons=comparisons,
    )


@pytest.fixture
def curve():
    return make_curve


@pytest.fixture
def example():
    return make_example


@pytest.fixture
def grading():
    return make_grading


@pytest.fixture
def unknown():
    return make_unknown


@pytest.fixture
def timings():
    return make_timings


@pytest.fixture
def comparison():
    return make_comparison


@pytest.fixture
def analysis():
    return make_analysis


def make_report(models=tuple(MODELS), rules=("coverage", *RULES), **changes):
    """Make the report of a run over some of the models and rules."""
    series = [Series(model, "math-500", MODELS[model][0]) for model in models]
    report = ReportData(
        title="paper-like",
        curves=tuple(make_curve(model, rule=rule) for model in models for rule in rules),
        analysis=make_analysis(make_comparison("coverage", (0, 1))),
        timings=tuple(timing for model in models for timing in make_timings(model)),
        statistics=tuple(make_statistics(each) for each in series),
        grading=tuple(make_grading(each) for each in series),
        graders=(
            GraderFacts(task="math-500", role="grader", name="math/2", policy={"percent": True, "units": "forgiven"}),
            GraderFacts(task="math-500", role="second opinion", name="other/1", policy={}),
        ),
        unknown_answers=(make_unknown(),),
        examples=tuple(
            example
            for each in series[:2]
            for example in (make_example(each), make_example(each, correct=False, sample=1))
        ),
        config={"models": list(models), "tasks": ["math-500"], "num_samples": NUM_SAMPLES, "seed": 0},
        environment={"h200": {"accelerators": ["NVIDIA H200"], "processor": "x", "torch": "2.13"}},
        warnings=("2 problems of llama-1b gave the same text 256 times",),
    )
    return dataclasses.replace(report, **changes)


@pytest.fixture
def report():
    return make_report
