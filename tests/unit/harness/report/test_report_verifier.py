"""Reports of runs whose verifier was timed, was not timed, or gave some completions no score."""

from dataclasses import replace

import pytest

from timetrial.analysis import Analysis, TimeTable, UntimedVerifier, analysis_from_json, analysis_to_json
from timetrial.curve_figures import curves_of, figures_of
from timetrial.record import Series
from timetrial.report.data import ReportData, ScoringStatistics
from timetrial.report.figures import draw_figures
from timetrial.report.leaderboard import RunCurves, rank
from timetrial.report.leaderboard_table import leaderboard_tables
from timetrial.report.page import render_page
from timetrial.report.score_tables import score_tables
from timetrial.report.tables import make_sections


def with_verifier(curve, scoring_s):
    """The curve with the verifier's seconds counted, growing by the sample."""
    seconds = tuple(s + scoring_s * k for s, k in zip(curve.seconds, curve.ks, strict=True))
    return replace(
        curve, accounting="generation + verifier", seconds=seconds, seconds_low=seconds, seconds_high=seconds
    )


@pytest.fixture
def curves(curve):
    """Two models: majority, and weighted in both accountings."""
    made = []
    for model in ("llama-3b", "mamba-in-llama-3b"):
        weighted = curve(model, rule="weighted-best-of-n")
        made += [curve(model), curve(model, rule="majority"), weighted, with_verifier(weighted, 0.04)]
    return tuple(made)


def time_table(name, tokens, seconds):
    ends = {"low": seconds, "high": seconds, "splits": ((1,), (2,), (2, 2))}
    return TimeTable(
        model=name,
        prompt_tokens=50,
        new_tokens=tokens,
        environment="here",
        batches=(1, 2),
        batch_seconds=seconds[:2],
        num_repeats=(3, 3),
        out_of_memory=(4,),
        ks=(1, 2, 4),
        seconds=seconds,
        **ends,
    )


@pytest.fixture
def analysis():
    return Analysis(
        replicates=1,
        curve_replicates=1,
        permutations=2,
        seed=0,
        pools=(),
        skipped=(),
        time_tables=(time_table("llama-3b", 512, (3.0, 4.0, 8.0)),),
        verifier_tables=(time_table("prm", 530, (1.0, 2.0, 4.0)),),
        untimed_verifiers=(UntimedVerifier(reward_model="orm", reason="it cannot be timed"),),
        comparisons=(),
    )


def test_what_is_ranked_counts_the_verifier_and_says_so(curves):
    board = rank([RunCurves(run="r", curves=curves, machines=("here",))], 20)
    assert {(row.rule, row.counts_verifier) for row in board.standings} == {
        ("majority", None),
        ("weighted-best-of-n", True),
    }
    weighted = next(row for row in board.standings if row.rule == "weighted-best-of-n" and row.model == "llama-3b")
    counted = next(c for c in curves if c.model == "llama-3b" and c.accounting == "generation + verifier")
    assert weighted.seconds == counted.seconds[counted.ks.index(weighted.k)]
    (table,) = leaderboard_tables(board)
    assert "counted" in {row[table.columns.index("verifier")] for row in table.rows}
    assert "is counted" in table.note


def test_a_verifier_that_nobody_timed_is_ranked_and_marked(curves):
    paper = tuple(curve for curve in curves if curve.accounting == "generation")
    board = rank([RunCurves(run="r", curves=paper, machines=("here",))], 20)
    (table,) = leaderboard_tables(board)
    assert "not counted" in {row[table.columns.index("verifier")] for row in table.rows}
    assert "looks quicker than it is" in table.note


def test_registered_figures_keep_both_accountings_and_the_power(curves):
    gammas = [replace(curve, gamma=2.0) for curve in curves if curve.reward_model]
    figures = [
        figure
        for curve in (*curves, *gammas)
        if curve.model == "llama-3b"
        for figure in figures_of(curve, task_version="1", run_digest="d", facts={"hardware": "here"})
    ]
    back = [curve for curve, _ in curves_of(figures, "llama-3b")]
    kinds = {(curve.rule, curve.accounting, curve.gamma) for curve in back}
    assert len(back) == len(kinds) == 2 + 2 + 2
    assert ("weighted-best-of-n", "generation + verifier", 2.0) in kinds
    board = rank([RunCurves(run="d", curves=(curve,), machines=("here",)) for curve in back], 20)
    assert [row.counts_verifier for row in board.standings if row.reward_model] == [True, True]


def test_figures_by_seconds_draw_both_accountings_and_figures_by_samples_one(curves, analysis):
    report = ReportData(title="run", curves=curves, analysis=analysis)
    pictures = {picture.name: picture for picture in draw_figures(report)}
    seconds = pictures["math-500-weighted-best-of-n-prm-last-by-seconds"]
    assert "thin: verifier not counted" in seconds.svg and "scoring included" in seconds.svg
    assert "decoding alone, as in the paper" in seconds.caption
    assert "thin: verifier" not in pictures["math-500-majority-by-seconds"].svg
    samples = pictures["math-500-weighted-best-of-n-prm-last-by-samples"]
    assert samples.svg.count("llama-3b, temp. 0.8</text>") == 2, "one legend entry a model"
    assert "scoring included" in pictures["math-500-pareto-front"].svg


def test_tables_show_each_rule_once_by_samples_and_at_its_full_cost_by_seconds(curves, analysis):
    report = ReportData(title="run", curves=curves, analysis=analysis)
    sections = {section.title: section.tables for section in make_sections(report)}
    by_samples = [table for table in sections["By samples"] if "weighted" in table.title]
    assert len(by_samples) == 1 and len(by_samples[0].rows) == 2
    (best,) = [table for table in sections["Within T seconds"] if "best configuration" in table.title]
    rules = {row[2] for row in best.rows}
    assert not any("not counted" in rule for rule in rules)
    page = render_page(report, (), make_sections(report))
    assert "verifier counted" in page and "The verifier is paid for where it was timed" in page


def test_the_tables_of_reward_models_say_what_was_scored_and_what_it_takes(analysis):
    scoring = (
        ScoringStatistics(
            series=Series("llama-3b", "math-500", 0.8),
            reward_model="prm",
            num_scored=90,
            unscored=(("too long", 10),),
            mean_steps=4.25,
        ),
    )
    report = ReportData(title="run", curves=(), analysis=analysis, scoring=scoring)
    scored, seconds, part, untimed = score_tables(report)
    assert scored.rows[0][3:] == ("90", "10 (10.0 %)", "4.2") and "too long" in scored.columns
    assert seconds.rows == (("prm", "530 tokens after 50", "1 s", "2 s", "4 s (2 x 2)"),)
    assert part.rows[0][2:] == ("25.0", "33.3", "33.3")
    assert untimed.rows == (("orm", "it cannot be timed"),)
    assert list(score_tables(ReportData(title="run", curves=()))) == []


def test_an_analysis_of_an_older_timetrial_is_read(analysis):
    data = analysis_to_json(analysis)
    del data["verifier_tables"], data["untimed_verifiers"]
    assert analysis_from_json(data) == replace(analysis, verifier_tables=(), untimed_verifiers=())
    with pytest.raises(ValueError, match="missing or unknown seed"):
        analysis_from_json({name: value for name, value in data.items() if name != "seed"})
