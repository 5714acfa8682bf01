"""Deadline curves: every subset tried by hand, the two ends of time, and what the envelope takes."""

import functools
import itertools
from dataclasses import replace

import numpy as np
import pytest

from timetrial.error import PluginError
from timetrial.stages.deadline import common_problems, deadline_curves
from timetrial.stages.deadline_values import DeadlineSettings
from timetrial.stages.estimates import Plan, RuleEstimate, estimate_rules
from timetrial.statistics.deadline import subset_finish_s

SETTINGS = DeadlineSettings(replicates=200, draws=100_000)
EXACT = ("coverage", "majority", "best-of-n")


def worth(rule, classes, correct, scores):
    """What one subset is worth, ties in expectation."""
    voters = [(c, s) for c, s in zip(classes, scores, strict=True) if c >= 0]
    if not voters:
        return 0.0
    if rule == "coverage":
        return float(any(correct[c] for c, _ in voters))
    if rule == "best-of-n":
        return float(correct[max(voters, key=lambda voter: voter[1])[0]])
    sums = {}
    for c, s in voters:
        sums[c] = sums.get(c, 0.0) + (1.0 if rule == "majority" else s)
    leaders = [c for c, total in sums.items() if total == max(sums.values())]
    return float(np.mean([correct[c] for c in leaders]))


def plain_value(contender, rule, mode, k, deadline_s):
    """The mean over problems and all subsets of k."""
    values = []
    for row in range(len(contender.lengths.problems)):
        classes, correct = contender.votes.table.classes[row], contender.votes.table.correct[row]
        scores = contender.votes.scored["prm"].scores[row]
        lengths, prompt = contender.lengths.lengths[row], contender.lengths.prompt_tokens[row]
        for subset in map(list, itertools.combinations(range(len(lengths)), k)):
            finished = subset_finish_s(contender.steps, mode, int(prompt), lengths[None, subset])[0] <= deadline_s
            values.append(worth(rule, np.where(finished, classes[subset], -1), correct, scores[subset]))
    return np.mean(values)


@pytest.fixture(params=["static", "compact"])
def mode(request):
    return request.param


@pytest.fixture(scope="module")
def curves_of(contender, rules):
    """Return a function that makes the curves of one contender of all rules and modes, the same ones once."""
    return functools.cache(lambda **changes: deadline_curves([contender(**changes)], rules, SETTINGS))


SCORING_S = np.array([3.0, 5.0, 11.0, 12.5])


@pytest.fixture(scope="module")
def scored_curves(contender, rules):
    """The curves of a contender whose samples take their time to be scored."""
    return deadline_curves([replace(contender(), scoring={"prm": SCORING_S})], rules, SETTINGS)


def of(made, mode, rule):
    (curve,) = [curve for curve in made.curves if (curve.mode, curve.rule) == (mode, rule)]
    return curve


@pytest.mark.parametrize("rule", ["coverage", "majority", "best-of-n", "weighted"])
def test_every_value_is_the_mean_over_all_subsets(contender, curves_of, mode, rule):
    entry = contender()
    curve = of(curves_of(), mode, rule)
    expected = [[plain_value(entry, rule, mode, k, t) for t in curve.deadlines_s] for k in curve.ks]
    is_exact = mode == "static" and rule in EXACT
    np.testing.assert_allclose(curve.values, expected, atol=1e-12 if is_exact else 0.07)
    assert (curve.monte_carlo_errors is None) is is_exact


@pytest.mark.parametrize("rule", ["coverage", "majority", "best-of-n", "weighted"])
def test_rules_that_take_scores_have_chosen_when_the_samples_are_scored_too(
    contender, curves_of, scored_curves, mode, rule
):
    entry = contender()
    curve = of(scored_curves, mode, rule)
    is_scored = rule in ("best-of-n", "weighted")
    assert curve.accounting == ("generation + verifier" if is_scored else "generation")
    waits_s = SCORING_S if is_scored else np.zeros(4)
    expected = [
        [plain_value(entry, rule, mode, k, t - wait_s) for t in curve.deadlines_s]
        for k, wait_s in zip(curve.ks, waits_s, strict=True)
    ]
    np.testing.assert_allclose(curve.values, expected, atol=1e-12 if mode == "static" and rule in EXACT else 0.07)
    unhurried = of(curves_of(), mode, rule)
    np.testing.assert_allclose(np.array(curve.values)[:, -1], np.array(unhurried.values)[:, -1])


def test_drawn_values_are_within_their_stated_errors(contender, curves_of, mode):
    entry = contender(problems=12, seed=3)
    curve = of(curves_of(problems=12, seed=3), mode, "weighted")
    expected = np.array([[plain_value(entry, "weighted", mode, k, t) for t in curve.deadlines_s] for k in curve.ks])
    places = [curve.ks.index(k) if k else 0 for k in curve.best_ks]
    at_best = expected[places, np.arange(len(places))]
    errors = np.array(curve.monte_carlo_errors)
    assert (abs(np.array(curve.best) - at_best) <= 4.5 * errors + 1e-12).all()
    assert 0 < errors.max() < 0.5 / np.sqrt(12 * 200)


def test_in_the_end_every_curve_is_the_ordinary_one_and_in_the_beginning_0(contender, rules, curves_of, mode):
    entry = contender(seed=1)
    made = curves_of(seed=1)
    ordinary = {
        item.rule: item.values.mean(axis=0)
        for item in estimate_rules(entry.votes, rules, Plan(ks=entry.ks, seed=SETTINGS.seed))
        if isinstance(item, RuleEstimate)
    }
    for rule in ("coverage", "majority", "best-of-n", "weighted"):
        curve = of(made, mode, rule)
        np.testing.assert_allclose(np.array(curve.values)[:, -1], ordinary[rule], rtol=1e-12)
        assert {row[0] for row in curve.values} == {0.0}
        assert curve.best_ks[0] is None and curve.low[0] == curve.high[0] == 0


def test_the_envelope_is_the_best_k_at_each_deadline_and_its_band_holds_it(contender, rules):
    for curve in deadline_curves([contender(problems=20)], rules, SETTINGS).curves:
        values = np.array(curve.values)
        np.testing.assert_array_equal(curve.best, values.max(axis=0))
        for k, column, best in zip(curve.best_ks, values.T, curve.best, strict=True):
            assert (k is None and best == 0) or column[curve.ks.index(k)] == best
        assert all(low <= best + 1e-12 for low, best in zip(curve.low, curve.best, strict=True))
        assert all(0 <= low <= high <= 1 for low, high in zip(curve.low, curve.high, strict=True))


def test_coverage_of_one_k_never_falls_with_time(curves_of, mode):
    curve = of(curves_of(problems=8), mode, "coverage")
    rises = np.diff(np.array(curve.values), axis=1)
    assert (rises >= (-1e-12 if mode == "static" else -0.02)).all(), "drawn values end in exact ones"
    assert (rises[curve.ks.index(1)] >= -1e-12).all(), "all subsets of 1 are tried"


def test_a_compact_batch_solves_no_less_than_a_static_one_by_coverage(curves_of):
    made = curves_of(problems=8)
    static, compact = (np.array(of(made, mode, "coverage").values) for mode in ("static", "compact"))
    assert (compact >= static - 0.05).all()


def test_models_are_compared_on_the_same_problems_and_a_model_with_itself_differs_by_nothing(contender, rules):
    same, other = contender("same", seed=0), contender("big", seed=0)
    made = deadline_curves([same, other], rules, SETTINGS)
    assert len(made.differences) == len(made.curves) / 2
    for each in made.differences:
        curve, baseline = made.curves[each.curve], made.curves[each.baseline]
        assert (curve.rule, curve.mode) == (baseline.rule, baseline.mode) and curve.model != baseline.model
        assert {*each.differences, *each.low, *each.high} == {0.0}, "paired draws of equal curves cancel"


def test_only_problems_that_all_models_have_are_used(contender, rules):
    few = contender("few", problems=2)
    many = contender("many", problems=5, seed=4)
    assert common_problems([few, many]) == ("p0", "p1")
    made = deadline_curves([few, many], rules, SETTINGS)
    assert {curve.num_problems for curve in made.curves} == {2}
    assert {curve.deadlines_s for curve in made.curves} == {made.curves[0].deadlines_s}
    assert common_problems([few, contender("none", prefix="q")]) == ()


def test_a_rule_that_fails_at_a_deadline_is_blamed(contender):
    class Fails:
        needs_scores = False
        calls = 0

        def choose(self, classes, scores):
            if (classes == -1).all(axis=1).any() and len(classes) > 700:
                raise RuntimeError("nobody voted")
            return np.where(classes.max(axis=1) >= 0, 0, -1)

    entry = contender()
    quiet = replace(entry.votes, table=replace(entry.votes.table, classes=np.maximum(entry.votes.table.classes, 0)))
    with pytest.raises(PluginError, match="aggregator 'fails' failed at a deadline: RuntimeError: nobody voted"):
        deadline_curves([replace(entry, votes=quiet)], {"fails": Fails()}, SETTINGS)


def test_fewer_subsets_are_drawn_of_each_of_many_problems():
    assert [DeadlineSettings().subsets_of(count) for count in (1, 128, 500, 10_000)] == [256, 128, 32, 32]
