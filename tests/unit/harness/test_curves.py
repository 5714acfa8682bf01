"""The curves stage: from pools and timings to what curves.json holds."""

import json
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from timetrial.analysis import analysis_from_json, analysis_to_json
from timetrial.error import PluginError, RunError, UsageError
from timetrial.record import Curve, Series, Timing, from_json, to_json
from timetrial.stages.compare import ComparisonSettings
from timetrial.stages.curves import CurveSettings, compute_curves
from timetrial.stages.pools import CountPool, VotePool
from timetrial.stages.times import TimingRows
from timetrial.statistics.bootstrap import problem_standard_error
from timetrial.statistics.budget import budget_ladder
from timetrial.statistics.choice import majority_choice, weighted_choice
from timetrial.statistics.coverage import pass_at_k
from timetrial.statistics.majority import majority_at_k
from timetrial.statistics.table import VoteTable
from timetrial.statistics.weighted import weighted_at_k

KS = [1, 2, 4, 8]
SETTINGS = CurveSettings(replicates=500, permutations=64, comparison=ComparisonSettings(replicates=200))


class Majority:
    needs_scores = False

    def choose(self, classes, scores):
        return majority_choice(classes)

    def expected_accuracy(self, table, ks):
        return majority_at_k(table, ks)


class Weighted:
    needs_scores = True

    def choose(self, classes, scores):
        return weighted_choice(classes, scores)


RULES = {"majority": Majority(), "weighted": Weighted()}


def pool(model="big", skill=0.6, *, problems=30, temperature=0.8, task="t", scored=True):
    rng = np.random.default_rng([ord(letter) for letter in model])
    right = rng.random((problems, 8)) < rng.beta(4 * skill, 4 * (1 - skill), size=(problems, 1))
    table = VoteTable(
        problems=tuple(f"p{number:02}" for number in range(problems)),
        classes=np.where(right, 0, rng.integers(-1, 4, (problems, 8))),
        correct=np.tile([True, False, False, False], (problems, 1)),
    )
    with_scores = replace(table, scores=rng.random((problems, 8)) + 0.3 * right)
    return VotePool(
        series=Series(model, task, temperature),
        table=table,
        scored={"prm": with_scores} if scored else {},
        num_left_out=1,
        num_unknown=2,
        num_split_classes=3,
    )


def timings(model="big", base=1.0, *, batches=(1, 2, 4), oom=(8,), repeats=3, environment="here", new_tokens=64):
    rows = [(batch, repeat) for batch in (*batches, *oom) for repeat in range(-1, repeats)]
    return [
        Timing(
            model=model,
            batch=batch,
            prompt_tokens=32,
            new_tokens=new_tokens,
            repeat=repeat,
            is_warmup=repeat < 0,
            status="out_of_memory" if batch in oom else "ok",
            prefill_s=None if batch in oom else 5.0,
            # A warm-up that would show in any mean.
            decode_s=None if batch in oom else base * (1 + 0.1 * batch) * (100 if repeat < 0 else 1 + 0.01 * repeat),
            peak_bytes=None,
            environment=environment,
        )
        for batch, repeat in rows
    ]


def generation(rows):
    return TimingRows(generation=rows)


@pytest.fixture(scope="module")
def made():
    pools = [pool("big", 0.6), pool("small", 0.45)]
    return compute_curves(pools, RULES, KS, generation([*timings("big"), *timings("small", 0.3, oom=())]), SETTINGS)


def find(made, **fields):
    (found,) = [c for c in made.curves if all(getattr(c, name) == value for name, value in fields.items())]
    return found


def comparison(made, rule):
    (found,) = [c for c in made.analysis.comparisons if c.rule == rule]
    return found


def test_each_pool_gets_coverage_and_every_rule(made):
    assert [(c.model, c.rule, c.reward_model, c.reduction) for c in made.curves] == [
        (model, rule, reward_model, reduction)
        for model in ("big", "small")
        for rule, reward_model, reduction in (
            ("coverage", None, None),
            ("majority", None, None),
            ("weighted", "prm", "last"),
        )
    ]


def test_curves_hold_the_estimators_means_and_errors(made):
    big = pool("big", 0.6)
    coverage = find(made, model="big", rule="coverage")
    assert coverage.values == pytest.approx(pass_at_k(big.table, KS).mean(axis=0))
    assert coverage.standard_errors == pytest.approx(problem_standard_error(pass_at_k(big.table, KS)))
    bands = (coverage.low, coverage.values, coverage.high)
    assert all(low <= value <= high for low, value, high in zip(*bands, strict=True))
    assert coverage.monte_carlo_errors is None
    majority = find(made, model="big", rule="majority")
    assert majority.values == pytest.approx(majority_at_k(big.table, KS).mean(axis=0))
    weighted = find(made, model="big", rule="weighted")
    estimate = weighted_at_k(big.scored["prm"], KS, permutations=64)
    assert weighted.values == pytest.approx(estimate.values.mean(axis=0), abs=1e-3)
    assert weighted.monte_carlo_errors[1] == pytest.approx(estimate.monte_carlo_errors[1])
    assert (coverage.num_problems, coverage.num_samples) == (30, 8)


def test_seconds_are_median_decode_times_of_the_best_split(made):
    coverage = find(made, model="big", rule="coverage")
    # The median repeat is 1 % above the first; 8 samples do not fit and run as 4 + 4.
    assert coverage.seconds == pytest.approx([1.1 * 1.01, 1.2 * 1.01, 1.4 * 1.01, 2 * 1.4 * 1.01])
    assert coverage.seconds_low == pytest.approx([1.1, 1.2, 1.4, 2.8])
    assert coverage.seconds_high == pytest.approx([1.1 * 1.02, 1.2 * 1.02, 1.4 * 1.02, 2.8 * 1.02])
    table = made.analysis.time_tables[0]
    assert (table.model, table.batches, table.out_of_memory) == ("big", (1, 2, 4), (8,))
    assert table.splits == ((1,), (2,), (4,), (4, 4))


def test_everything_survives_json(made):
    text = json.dumps(
        {"curves": [to_json(curve) for curve in made.curves], "analysis": analysis_to_json(made.analysis)},
        allow_nan=False,
    )
    data = json.loads(text)
    assert tuple(from_json(Curve, curve) for curve in data["curves"]) == made.curves
    assert analysis_from_json(data["analysis"]) == made.analysis
    del data["analysis"]["seed"]
    with pytest.raises(ValueError, match="seed"):
        analysis_from_json(data["analysis"])


def test_comparisons_ask_each_rule_and_then_all_that_choose(made):
    assert [(c.rule, c.reward_model, c.curves) for c in made.analysis.comparisons] == [
        ("coverage", None, (0, 3)),
        ("majority", None, (1, 4)),
        ("weighted", "prm", (2, 5)),
        (None, None, (1, 2, 4, 5)),
    ]


def test_paired_differences_are_differences_of_the_curves(made):
    (difference,) = comparison(made, "majority").differences
    big, small = made.curves[difference.curve], made.curves[difference.baseline]
    assert difference.ks == tuple(KS)
    assert difference.differences == pytest.approx(np.subtract(big.values, small.values))
    bands = (difference.low, difference.differences, difference.high)
    assert all(low <= mean <= high for low, mean, high in zip(*bands, strict=True))


def test_a_series_compared_with_its_copy_differs_by_exactly_nothing():
    twin = pool("big", 0.6)
    twin = replace(twin, series=twin.series._replace(temperature=0.6))
    made = compute_curves([pool("big", 0.6), twin], RULES, KS, generation(timings("big")), SETTINGS)
    for question in made.analysis.comparisons[:3]:
        (difference,) = question.differences
        assert set(difference.differences + difference.low + difference.high) == {0.0}
        assert {(s.ratio, s.low, s.high) for s in question.speed_ups if s.censored_share == 0} == {(1.0, 1.0, 1.0)}


def test_speed_up_is_the_ratio_of_times_to_reach(made):
    question = comparison(made, "coverage")
    reached = {(t.curve, t.level): t for t in question.times_to_reach}
    assert any(s.ratio is not None for s in question.speed_ups)
    for speed_up in question.speed_ups:
        ours, theirs = (reached[place, speed_up.level].seconds for place in (speed_up.curve, speed_up.baseline))
        if ours is None or theirs is None:
            assert speed_up.ratio is None
        else:
            assert speed_up.ratio == pytest.approx(theirs / ours)
            assert speed_up.low is None or speed_up.low <= speed_up.ratio + 1e-12


def test_levels_that_no_sample_count_reaches_are_censored(made):
    for question in made.analysis.comparisons:
        for time in question.times_to_reach:
            curve = made.curves[time.curve]
            assert (time.seconds is None) == (max(curve.values) < time.level)
            if time.seconds is not None:
                assert time.seconds in curve.seconds


def test_budget_values_pick_an_affordable_k(made):
    question = comparison(made, "weighted")
    assert question.budget_values
    for chosen in question.budget_values:
        curve = made.curves[chosen.curve]
        affordable = [v for v, s in zip(curve.values, curve.seconds, strict=True) if s <= chosen.budget_s]
        assert chosen.value == pytest.approx(max(affordable, default=0))
        assert (chosen.k is None) == (not affordable)


def test_the_front_holds_every_configuration_and_its_shares_add_up(made):
    question = comparison(made, None)
    assert len(question.front) == 4 * len(KS)
    assert not question.areas and not question.differences
    low, high = question.time_range_s
    assert {min(p.seconds for p in question.front), max(p.seconds for p in question.front)} == {low, high}
    # The range starts with the first configuration, so somebody always holds the front.
    assert sum(share.share for share in question.front_shares) == pytest.approx(1)
    for point in question.front:
        assert 0 <= point.front_probability <= 1
        better = [p for p in question.front if p.seconds <= point.seconds and p.value >= point.value - 1e-9]
        assert point.is_dominated == any(p.seconds < point.seconds or p.value > point.value + 1e-9 for p in better)


def test_areas_lie_between_the_worst_and_best_value(made):
    question = comparison(made, "coverage")
    for area in question.areas:
        assert 0 <= area.low <= area.area <= area.high <= max(made.curves[area.curve].values) + 0.2


def test_pool_facts_say_what_was_left_out_and_unknown(made):
    facts = made.analysis.pools[0]
    assert (facts.num_problems, facts.num_left_out, facts.num_unknown, facts.num_split_classes) == (30, 1, 2, 3)
    assert facts.num_abstaining == (pool("big", 0.6).table.classes < 0).sum()
    assert facts.num_scored == (("prm", 30),)


def test_runs_without_timings_have_curves_and_differences_only():
    made = compute_curves([pool("big"), pool("small")], RULES, KS, TimingRows(), SETTINGS)
    assert all(curve.seconds is None for curve in made.curves)
    assert made.analysis.time_tables == ()
    for question in made.analysis.comparisons:
        assert question.time_range_s is None and question.front == () and question.times_to_reach == ()


def test_a_model_that_was_not_timed_is_compared_at_equal_k_only():
    made = compute_curves([pool("big"), pool("small")], {}, KS, generation(timings("big")), SETTINGS)
    (question,) = made.analysis.comparisons
    assert {point.curve for point in question.front} == {0}
    assert len(question.differences) == 1


def test_a_model_for_which_no_batch_fits_has_no_seconds():
    made = compute_curves([pool("big")], {}, KS, generation(timings("big", batches=(), oom=(1, 2))), SETTINGS)
    assert made.curves[0].seconds is None


def test_comparisons_use_the_problems_all_series_have():
    made = compute_curves([pool("big", problems=30), pool("small", problems=20)], {}, KS, TimingRows(), SETTINGS)
    assert [curve.num_problems for curve in made.curves] == [30, 20]
    assert made.analysis.comparisons[0].num_problems == 20


def test_tasks_are_never_compared():
    made = compute_curves([pool("big", task="a"), pool("big", task="b")], {}, KS, generation(timings("big")), SETTINGS)
    assert [question.curves for question in made.analysis.comparisons] == [(0,), (1,)]


def test_counts_give_coverage_and_say_why_nothing_else():
    counts = CountPool(
        series=Series("m", "t", 0.8),
        problems=("a", "b"),
        totals=np.array([8, 4]),
        num_correct=np.array([2, 1]),
        num_left_out=0,
    )
    made = compute_curves([counts], {"majority": Majority()}, KS, TimingRows(), SETTINGS)
    (curve,) = made.curves
    assert (curve.rule, curve.ks, curve.num_samples) == ("coverage", (1, 2, 4), 4)
    (skipped,) = made.analysis.skipped
    assert skipped.rule == "majority" and "only counts" in skipped.reason


def test_a_rule_without_the_scores_it_needs_is_skipped_and_reported():
    made = compute_curves([pool(scored=False)], RULES, KS, TimingRows(), SETTINGS)
    assert [curve.rule for curve in made.curves] == ["coverage", "majority"]
    assert [(skipped.rule, skipped.reason) for skipped in made.analysis.skipped] == [
        ("weighted", "it needs step scores, and no reward model has scored the samples")
    ]


def test_ks_beyond_the_pool_are_not_estimated():
    made = compute_curves([pool()], {}, [16, 8, 1, 8], TimingRows(), SETTINGS)
    assert made.curves[0].ks == (1, 8)


def test_a_single_problem_has_no_standard_error():
    made = compute_curves([pool(problems=1)], {}, KS, TimingRows(), SETTINGS)
    assert made.curves[0].standard_errors is None
    json.dumps(to_json(made.curves[0]), allow_nan=False)


@pytest.mark.parametrize(
    ("pools", "ks", "complaint"),
    [
        ([], KS, "no sample was graded"),
        ([pool(problems=0)], KS, "big on t: none of its 1 problems"),
        ([pool()], [16], "8 samples per problem allow no k"),
        ([pool()], [0], "k is 0"),
        ([pool()], [], "k is not given"),
    ],
)
def test_nothing_to_make_a_curve_of_is_an_error_that_says_why(pools, ks, complaint):
    with pytest.raises(UsageError, match=complaint):
        compute_curves(pools, {}, ks, TimingRows(), SETTINGS)


class Raises(Majority):
    def expected_accuracy(self, table, ks):
        raise KeyError("x")


class Negative(Majority):
    def expected_accuracy(self, table, ks):
        return -np.ones((len(table.problems), len(ks)))


class WrongShape(Majority):
    def expected_accuracy(self, table, ks):
        return np.ones(len(ks))


class NoClass:
    needs_scores = False

    def choose(self, classes, scores):
        return classes


@pytest.mark.parametrize(
    ("aggregator", "complaint"),
    [(Raises(), "KeyError"), (Negative(), "between 0 and 1"), (WrongShape(), "must return shape"), (NoClass(), "row")],
)
def test_an_aggregator_that_breaks_its_contract_is_named(aggregator, complaint):
    with pytest.raises(PluginError, match=f"aggregator 'odd' failed: .*{complaint}"):
        compute_curves([pool()], {"odd": aggregator}, KS, TimingRows(), SETTINGS)


def test_seconds_of_two_machines_are_not_mixed():
    rows = [*timings("big"), *timings("small", environment="there")]
    with pytest.raises(RunError, match="2 machines or set-ups .here, there."):
        compute_curves([pool("big")], {}, KS, generation(rows), SETTINGS)


def test_seconds_of_two_workloads_are_not_mixed():
    rows = [*timings("big"), *timings("big", new_tokens=128)]
    with pytest.raises(RunError, match="32 prompt and 64 new tokens; 32 prompt and 128 new tokens"):
        compute_curves([pool("big")], {}, KS, generation(rows), SETTINGS)


def test_given_budgets_replace_the_round_ones():
    settings = replace(SETTINGS, comparison=ComparisonSettings(replicates=50, budgets_s=(1.15,)))
    made = compute_curves([pool("big")], {}, KS, generation(timings("big")), settings)
    assert [(v.budget_s, v.k) for v in made.analysis.comparisons[0].budget_values] == [(1.15, 1)]


def test_round_budgets_cover_the_measured_range():
    assert budget_ladder(0.3, 12) == (0.5, 1.0, 2.0, 5.0, 10.0)
    assert budget_ladder(1.0, 1.0) == (1.0,)
    assert budget_ladder(0.001, 0.004) == (0.001, 0.002)


def test_progress_counts_the_pools():
    seen = []

    @contextmanager
    def progress(label, total):
        seen.append((label, total))
        yield seen.append

    compute_curves([pool("big"), pool("small")], {}, KS, TimingRows(), SETTINGS, progress)
    assert seen == [("curves", 2), 1, 1]
