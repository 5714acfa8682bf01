"""Curves become figures of the registry and come back as they were."""

from __future__ import annotations

from dataclasses import replace

import pytest

from timetrial.curve_figures import curves_of, figures_of
from timetrial.record import Curve
from timetrial_registry.records import Metric

COVERAGE = Curve(
    model="student@champion", task="repeat", temperature=0.6, rule="coverage", reward_model=None, reduction=None,
    ks=(1, 2, 4), values=(0.25, 0.5, 0.75), standard_errors=(0.1, 0.05, 0.01), low=(0.2, 0.4, 0.7),
    high=(0.3, 0.6, 0.8), monte_carlo_errors=None, seconds=(1.0, 1.5, None), seconds_low=(0.9, 1.4, None),
    seconds_high=(1.1, 1.6, None), num_problems=20, num_samples=4,
)  # fmt: skip
WEIGHTED = replace(
    COVERAGE, rule="weighted", reward_model="short", reduction="min", monte_carlo_errors=(0.0, 0.001, 0.002)
)
UNTIMED = replace(COVERAGE, rule="majority", seconds=None, seconds_low=None, seconds_high=None)
SINGLE = replace(COVERAGE, rule="majority", standard_errors=None, num_problems=1)


def figures(curve: Curve, **facts: object) -> list[Metric]:
    return list(figures_of(curve, task_version="1", run_digest="a" * 64, facts=facts))


@pytest.mark.parametrize("curve", [COVERAGE, WEIGHTED, UNTIMED, SINGLE])
def test_a_curve_comes_back_as_it_was_but_for_the_models_name(curve: Curve) -> None:
    ((again, _),) = curves_of(reversed(figures(curve, hardware="H200")), "student@3")
    assert again == replace(curve, model="student@3")


def test_curves_of_one_version_stay_apart() -> None:
    everything = [metric for curve in (COVERAGE, WEIGHTED, UNTIMED) for metric in figures(curve)]
    assert {curve.rule for curve, _ in curves_of(everything, "student@3")} == {"coverage", "weighted", "majority"}


def test_a_figure_says_what_it_depends_on_and_nothing_that_it_does_not() -> None:
    first = figures(COVERAGE, hardware="H200", top_p=None)[0]
    assert (first.dataset, first.metric, first.revision, first.n, first.stderr) == ("repeat", "coverage", "1", 20, 0.1)
    assert first.params == {
        "task": "repeat", "temperature": 0.6, "k": 1, "num_samples": 4, "hardware": "H200", "low": 0.2, "high": 0.3,
        "seconds": 1.0, "seconds_low": 0.9, "seconds_high": 1.1,
    }  # fmt: skip
    weighted = figures(WEIGHTED)[1]
    assert weighted.metric == "accuracy"
    assert weighted.params.items() >= {"aggregator": "weighted", "reward_model": "short", "reduction": "min"}.items()


def test_figures_that_are_no_curves_are_left_out() -> None:
    by_hand = [
        Metric(dataset="wiki", metric="perplexity", value=8.0),
        Metric(dataset="repeat", metric="accuracy", value=0.5, params={"k": 1}),
    ]
    assert curves_of(by_hand, "student@3") == []
