"""The leaderboard: who is best within a budget, across runs, and what keeps a curve off it."""

import dataclasses
import json

import pytest

from timetrial.error import UsageError
from timetrial.report.leaderboard import RunCurves, rank
from timetrial.report.leaderboard_table import leaderboard_tables


@pytest.fixture
def runs(curve):
    return [
        RunCurves(
            run=f"run-{model}",
            curves=(curve(model), curve(model, rule="majority"), curve(model, rule="weighted-best-of-n")),
            machines=("h200",),
        )
        for model in ("llama-1b", "llama-3b", "mamba-in-llama-1b")
    ]


def test_every_curve_has_one_row_with_its_best_k_within_the_budget(runs):
    board = rank(runs, 8.0)
    assert {(row.run, row.rule) for row in board.standings} == {
        (run, rule) for run in ("run-llama-1b", "run-mamba-in-llama-1b") for rule in ("majority", "weighted-best-of-n")
    }
    assert all(row.seconds <= 8.0 for row in board.standings)
    llama = next(row for row in board.standings if row.run == "run-llama-1b")
    assert llama.k == 32  # 64 samples would take 9 s


def test_rows_are_ranked_by_value_from_one(runs):
    rows = rank(runs, 100.0).standings
    assert [row.rank for row in rows] == list(range(1, 7))
    assert [row.value for row in rows] == sorted((row.value for row in rows), reverse=True)


def test_a_larger_budget_never_lowers_a_curve(runs):
    small, large = (
        {(row.run, row.rule): row.value for row in rank(runs, budget_s).standings} for budget_s in (6.0, 20.0)
    )
    assert all(large[key] >= value for key, value in small.items())


def test_curves_without_a_place_say_why(runs, curve):
    untimed = RunCurves(run="imported", curves=(curve("a", rule="majority", is_timed=False),), machines=())
    reasons = {(item.run, item.reason) for item in rank([*runs, untimed], 8.0).unranked}
    assert ("run-llama-3b", "needs at least 9.48 s") in reasons
    assert any(run == "imported" and "not timed" in reason for run, reason in reasons)


def test_coverage_is_ranked_only_when_asked_for(runs):
    assert "coverage" not in {row.rule for row in rank(runs, 100.0).standings}
    assert rank(runs, 100.0, with_coverage=True).standings[0].rule == "coverage"


@pytest.mark.parametrize(("rules", "hint"), [(("coverage",), "--coverage"), ((), "no curves")])
def test_nothing_to_rank_is_refused(curve, rules, hint):
    run = RunCurves(run="r", curves=tuple(curve("a", rule=rule) for rule in rules), machines=("h200",))
    with pytest.raises(UsageError, match=hint):
        rank([run], 8.0)


def test_tasks_are_ranked_apart(curve):
    curves = tuple(curve("llama-1b", rule="majority", task=task) for task in ("math-500", "gsm8k-500"))
    rows = rank([RunCurves(run="r", curves=curves, machines=("h200",))], 100.0).standings
    assert [(row.task, row.rank) for row in rows] == [("math-500", 1), ("gsm8k-500", 1)]


def test_different_machines_are_refused_unless_asked_for(runs):
    runs[0] = dataclasses.replace(runs[0], machines=("laptop",))
    with pytest.raises(UsageError, match=r"run-llama-1b on laptop; run-llama-3b on h200.*--mix-machines"):
        rank(runs, 8.0)
    assert rank(runs, 100.0, mix_machines=True).standings


@pytest.mark.parametrize("budget_s", [0.0, -1.0, float("nan")])
def test_a_budget_must_be_positive(runs, budget_s):
    with pytest.raises(UsageError, match="positive number of seconds"):
        rank(runs, budget_s)


def test_the_same_run_twice_keeps_both_rows(runs):
    assert len(rank([runs[0], runs[0]], 100.0).standings) == 4


def test_overlapping_intervals_are_marked(runs):
    board = rank(runs, 100.0)
    best = board.standings[0]
    for row in board.standings:
        assert row.overlaps_best == (row.low <= best.high and best.low <= row.high)
    assert any(not row.overlaps_best for row in board.standings)
    table = next(iter(leaderboard_tables(board)))
    assert table.rows[0][0] == "1" and table.rows[1][0] == "2="


def test_the_board_turns_into_json(runs):
    assert json.loads(json.dumps(dataclasses.asdict(rank(runs, 8.0))))["budget_s"] == 8.0
