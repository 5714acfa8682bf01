"""The tables and figures of replay: every number once, and what is missing said."""

from dataclasses import replace

import pytest

from timetrial.record import Curve
from timetrial.replay_record import Missing, Replay, StepFit, Throughput, Validation
from timetrial.report import canvas
from timetrial.report.data import ReportData
from timetrial.report.deadline_figure import draw_deadlines
from timetrial.report.deadline_tables import deadline_tables, round_deadlines
from timetrial.report.page import render_page
from timetrial.report.replay_tables import overall_ratios, replay_tables
from timetrial.report.tables import make_sections
from timetrial.stages.deadline import deadline_curves
from timetrial.stages.deadline_values import DeadlineSettings

SERIES = {"model": "big", "task": "task", "temperature": 0.8}


@pytest.fixture(scope="module")
def fit():
    return StepFit(
        model="big",
        environment="here",
        form="piecewise",
        weights=(2e-3, 1e-4, 0.0),
        grows_with_context=True,
        batches=(1, 4),
        fixed_s=(2e-3, 3e-3),
        per_token_s=(0.0, 1e-6),
        contexts=(54.5, 154.5),
        largest_residual=0.012,
        affine_residual=0.074,
    )


@pytest.fixture(scope="module")
def replay(contender, rules, fit):
    made = deadline_curves([contender("big"), contender("small", seed=5)], rules, DeadlineSettings(replicates=50))
    validation = Validation(
        **SERIES,
        problem="p0",
        num_samples=4,
        num_repeats=3,
        wall_s=0.5,
        fastest_s=0.4,
        slowest_s=0.6,
        static_s=0.55,
        compact_s=0.45,
        prefill_s=0.01,
        slowdown=2.0,
    )
    return Replay(
        replicates=50,
        draws=100,
        permutations=256,
        seed=0,
        fits=(fit,),
        seconds=(),
        throughput=(Throughput(**SERIES, num_samples=6, rows=4, mean_rows=3.9, problem_s=0.25, tokens_per_s=1234.0),),
        deadlines=made.curves,
        differences=made.differences,
        validations=(validation, replace(validation, problem="p1", wall_s=1.5, static_s=1.5, compact_s=1.2)),
        missing=(Missing(what="other", reason="one context only"),),
    )


def report(replay):
    curve = Curve(
        **SERIES,
        rule="coverage",
        reward_model=None,
        reduction=None,
        ks=(1, 2),
        values=(0.1, 0.2),
        standard_errors=None,
        low=(0.0, 0.1),
        high=(0.2, 0.3),
        monte_carlo_errors=None,
        seconds=None,
        seconds_low=None,
        seconds_high=None,
        num_problems=3,
        num_samples=6,
    )
    return ReportData(title="run", curves=(curve, replace(curve, model="small")), replay=replay)


@pytest.fixture(scope="module")
def pictures(replay):
    with canvas.style():
        return list(draw_deadlines(report(replay)))


def test_static_and_compact_deadlines_never_share_a_table_or_a_figure(replay, pictures):
    titles = [table.title for table in deadline_tables(replay)]
    assert all(("static" in title) is not ("compact" in title) for title in titles) and len(titles) == 4
    assert len(pictures) == 2 * 4 and len({picture.name for picture in pictures}) == 8
    for picture in pictures:
        assert {mode for mode in ("static", "compact") if f"{mode} batch" in picture.svg} == {
            picture.name.rsplit("-")[-1]
        }
        assert picture.kind == "deadline" and picture.png.startswith(b"\x89PNG")


def test_a_table_shows_the_best_k_at_round_deadlines_and_at_the_last(replay):
    curve = replay.deadlines[0]
    table = next(deadline_tables(replay))
    places = round_deadlines(curve.deadlines_s)
    assert len(table.columns) == 2 + len(places) and places[-1] == len(curve.deadlines_s) - 1
    assert table.rows[0][-1] == f"{100 * curve.best[-1]:.1f} (k={curve.best_ks[-1]})"
    assert "Where the verifier is counted, all samples are scored" in table.note


def test_the_ratio_of_all_problems_is_that_of_the_sums(replay):
    ratio = overall_ratios(replay.validations)
    assert ratio["static"] == pytest.approx(2.05 / 2.0) and ratio["compact"] == pytest.approx(1.65 / 2.0)
    tables = {table.title: table for table in replay_tables(replay)}
    timed, present = tables["Replay against the wall clock"].rows
    assert timed[-4:] == ("x1.02", "1.05, 1.00 to 1.10", "x0.82", "0.85, 0.80 to 0.90")
    assert present[2] == "at the present speed" and present[-2:] == ("x1.65", "1.70, 1.60 to 1.80"), "twice as slow"
    assert ratio["compact_at_present_speed"] == pytest.approx(2 * ratio["compact"])
    assert [row[-2:] for row in tables["Replay against the wall clock, by problem"].rows] == [
        ("x0.90", "x2.00"),
        ("x0.80", "x2.00"),
    ]


def test_the_fit_shows_its_form_and_both_residuals(replay):
    tables = {table.title: table for table in replay_tables(replay)}
    row = tables["Seconds of a step, as fitted"].rows[0]
    assert row == ("big", "piecewise", "2 ms", "100 us", "0", "54, 154", "2, up to 4", "1.2 %", "7.4 %")
    assert tables["Not replayed"].rows == (("other", "one context only"),)
    assert "not the time" in tables["task: throughput of a busy engine"].note


def test_the_page_holds_deadlines_and_says_what_is_missing(replay, pictures):
    data = report(replay)
    sections = make_sections(data)
    assert {"At a deadline", "By actual lengths"} <= {section.title for section in sections}
    page = render_page(data, pictures, sections)
    assert "At a deadline: task" in page and "one context only" in page


def test_a_run_without_a_replay_has_no_such_section():
    data = report(None)
    assert {section.title for section in make_sections(data)}.isdisjoint({"At a deadline", "By actual lengths"})
    assert list(draw_deadlines(data)) == []
