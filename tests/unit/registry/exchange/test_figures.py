"""Which figures stand where several runs measured the same."""

from __future__ import annotations

from dataclasses import replace

from timetrial_registry.figures import standing
from timetrial_registry.records import Metric

ONE = Metric(
    dataset="nutshell", metric="coverage", value=0.5, n=100, run_digest="1", at="2026-01-01T00:00:00Z",
    params={"k": 1, "temperature": 0.6, "num_samples": 4, "hardware": "cpu"},
)  # fmt: skip


def with_params(metric: Metric, **params: object) -> Metric:
    return replace(metric, params={**metric.params, **params})


def test_the_run_of_most_problems_stands_then_the_one_of_most_samples_then_the_newest() -> None:
    small = replace(ONE, n=10, run_digest="2", at="2026-02-01T00:00:00Z")
    more_samples = with_params(replace(ONE, run_digest="3"), num_samples=8)
    newer = replace(more_samples, run_digest="4", at="2026-01-02T00:00:00Z")
    assert standing([ONE, small]) == (ONE,)
    assert standing([more_samples, ONE, small]) == (more_samples,)
    assert standing([newer, more_samples, ONE, small]) == (newer,)


def test_a_runs_figures_stand_together_by_the_number_of_samples() -> None:
    run = [with_params(ONE, k=k, seconds=float(k)) for k in (4, 1, 2)]
    assert [metric.params["k"] for metric in standing([*run, replace(ONE, run_digest="2", n=1)])] == [1, 2, 4]


def test_another_setting_stands_beside_it() -> None:
    others = [
        with_params(ONE, temperature=1.0),
        with_params(ONE, hardware="gpu"),
        with_params(ONE, grader="other/1"),
        replace(ONE, revision="v2"),
        replace(ONE, metric="accuracy"),
    ]
    assert set(map(repr, standing([ONE, *others]))) == set(map(repr, [ONE, *others]))


def test_figures_of_no_run_and_without_samples_are_let_through() -> None:
    perplexity = Metric(dataset="wiki", metric="perplexity", value=8.0)
    assert standing([perplexity]) == (perplexity,)
