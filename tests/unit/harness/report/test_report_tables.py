"""Tables of results: numbers, censored entries and provenance as they should read."""

import pytest

from timetrial.record import Series
from timetrial.report.analysis_tables import faster_first, telling_levels
from timetrial.report.grid import timing_cells
from timetrial.report.tables import make_sections, render_markdown
from timetrial.report.timing_tables import timing_tables


@pytest.fixture
def tables(report):
    made = make_sections(report(("llama-1b", "mamba-in-llama-1b")))
    return {table.title: table for section in made for table in section.tables}


def test_values_by_samples_carry_their_standard_error(tables):
    table = tables["math-500: majority by samples"]
    assert table.columns[:3] == ("model", "k = 1", "k = 2")
    assert table.rows[0][:2] == ("llama-1b, temp. 0.6", "25.9 +- 3.1")


def test_a_single_problem_has_no_standard_error(report, curve):
    lone = report(curves=(curve("a", standard_errors=None, num_problems=1),), analysis=None, timings=())
    rows = [table.rows for section in make_sections(lone) for table in section.tables if "by samples" in table.title]
    assert "+-" not in rows[0][0][1]


def test_monte_carlo_error_is_stated_where_there_is_one(tables):
    assert "at most 0.1 points" in tables["math-500: weighted-best-of-n (prm, last) by samples"].note
    assert "Monte Carlo" not in tables["math-500: majority by samples"].note


def test_nothing_within_a_budget_is_a_dash(tables):
    rows = tables["math-500: coverage (pass@k) within T seconds"].rows
    assert [row[1] for row in rows] == ["-", "50.0 (40.0 to 60.0), k = 16"]


def test_a_level_beyond_what_was_measured_is_not_reached(tables):
    rows = tables["math-500: coverage (pass@k): time to reach a level"].rows
    assert rows[0][1:] == ("4 s (3 s to open)", "not reached")
    assert rows[1][1:] == ("2 s (1.5 s to 2.5 s)", "8 s (6 s to open)")


def test_speed_ups_put_the_faster_first_and_invert_their_interval(tables):
    table = tables["math-500: coverage (pass@k): speed-up at equal quality"]
    assert table.columns[:2] == ("faster", "slower")
    assert table.rows[0][2:] == ("x2 (open to 2.5)*", "not reached")


def test_turning_a_pair_round_twice_changes_nothing(comparison):
    entries = faster_first(comparison("coverage", (0, 1)).speed_ups)
    assert faster_first(entries) == entries
    assert entries[0].ratio == 2 and (entries[0].low, entries[0].high) == (None, 2.5)


def test_levels_that_all_reach_with_one_sample_are_left_out_but_the_highest(comparison, curve):
    made = comparison("coverage", (0, 1))
    easy = [curve("a", values=(0.95,) * 9), curve("b", values=(0.92,) * 9)]
    mixed = [curve("a", values=(0.95,) * 9), curve("b", values=(0.10,) * 9)]
    assert telling_levels(made, easy) == {0.9}
    assert telling_levels(made, mixed) == {0.6, 0.9}


def test_the_front_lists_what_is_not_dominated(tables):
    table = tables["math-500: the Pareto front"]
    assert [row[2:] for row in table.rows] == [("8", "60.0", "3 s", "80 %")]
    assert "1 of 2 measured configurations" in table.note


def test_paired_differences_show_their_sign_and_interval(tables):
    table = tables["math-500: coverage (pass@k): paired differences at equal k"]
    assert table.rows[0][2:] == ("+10.0 (+5.0 to +15.0)", "-2.0 (-6.0 to +1.0)")
    assert "190 problems in common" in table.note


def test_curves_of_one_series_are_told_apart_by_their_rule(report, comparison, analysis, curve):
    curves = tuple(curve("a", rule="best-of-n", reduction=reduction) for reduction in ("last", "min"))
    data = report(curves=curves, analysis=analysis(comparison("best-of-n", (0, 1))), timings=())
    tables = {table.title: table for section in make_sections(data) for table in section.tables}
    first, second = tables["math-500: best-of-n (prm, last): paired differences at equal k"].rows[0][:2]
    assert first != second and "min" in second


def test_a_split_batch_is_shown(tables):
    assert tables["Decode seconds of k samples of one problem"].rows == (("llama-3b", "9.4 s", "58.8 s (2 x 256)"),)


def test_timing_rows_keep_warm_ups_and_prefill_apart(timings):
    table = next(iter(timing_tables(timing_cells(timings("llama-3b")), {"h200": "NVIDIA H200 (h200)"})))
    first, last = (
        dict(zip(table.columns, table.rows[0], strict=True)),
        dict(zip(table.columns, table.rows[-1], strict=True)),
    )
    assert table.title.endswith("on NVIDIA H200 (h200)")
    assert first["repeats"] == "3" and first["prefill median"] == "50 ms" and first["peak memory"] == "768 MiB"
    median = float(first["decode median"].removesuffix(" s"))
    assert float(first["warm-up"].removesuffix(" s")) > 1.4 * median
    assert float(first["tokens/s"]) == pytest.approx(512 / median, rel=0.02)
    assert last["decode median"] == "out of memory" and last["repeats"] == "0, 4 out of memory"


def test_completions_are_counted_with_their_shares(tables):
    row = tables["What became of the completions"].rows[0]
    assert row[3:6] == ("51,200", "912 (1.8 %)", "0")


def test_accuracy_stands_between_unknown_counted_as_wrong_and_as_right(tables):
    table = tables["How the answers were graded"]
    row = dict(zip(table.columns, table.rows[0], strict=True))
    assert row["completions"] == "51,200"
    assert (row["accuracy, %"], row["at most, %"]) == ("50.0", "75.0")
    assert row["unknown"] == "12,800 (25.0 %)"
    assert (row["no answer"], row["cut"], row["failed"]) == ("1,204 (2.4 %)", "796 (1.6 %)", "0")
    assert row["second opinions"] == "7 (0.0 %)"


def test_unknown_answers_are_counted_by_the_kind_of_their_reason(tables, report, grading):
    table = tables["Why answers are unknown"]
    assert table.columns == ("model", "task", "not understood", "timed out")
    assert table.rows[0][2:] == ("12,000", "800")
    series = Series("llama-1b", "math-500", 0.6)
    sure = report(grading=(grading(series, unknown=()),), unknown_answers=())
    titles = {table.title for section in make_sections(sure) for table in section.tables}
    assert "How the answers were graded" in titles
    assert not titles & {"Why answers are unknown", "Some answers that the grader could not judge"}


def test_an_unknown_answer_stands_beside_the_gold_answer_cut_and_made_visible(report, unknown):
    long = unknown(answer="1 +\n\u202e" + "9" * 5000, gold=None)
    data = report(unknown_answers=(unknown(), long, unknown(answer=None)))
    tables = {table.title: table for section in make_sections(data) for table in section.tables}
    first, second, third = tables["Some answers that the grader could not judge"].rows
    assert first == ("math-500 p-17", "20", "twenty-ish", "12", "not understood: twenty-ish")
    assert second[1] == "-" and second[2].startswith("1 + \\u202e999") and "..." in second[2] and len(second[2]) == 80
    assert third[2] == "-"


def test_who_graded_is_said_with_the_policy(tables):
    assert tables["Who graded"].rows == (
        ("math-500", "grader", "math/2", "percent: true; units: forgiven"),
        ("math-500", "second opinion", "other/1", "-"),
    )


def test_skipped_rules_and_left_out_problems_are_reported(tables):
    assert tables["Rules not computed"].rows[0][2:] == ("best-of-n", "no scores")
    assert tables["What the curves are about"].rows[0][3] == "3"


def test_provenance_flattens_nested_facts(report):
    data = report(config={"models": {"a": {"digest": "abc"}}, "seed": 0, "stop": []})
    markdown = render_markdown(data, make_sections(data))
    for line in ("| models.a.digest | abc |", "| seed | 0 |", "| h200.torch | 2.13 |"):
        assert line in markdown


def test_markdown_has_one_heading_per_table_and_warns_first(report):
    data = report(("llama-1b",))
    sections = make_sections(data)
    markdown = render_markdown(data, sections)
    assert markdown.count("\n### ") == sum(len(section.tables) for section in sections)
    assert markdown.index("> Warning") < markdown.index("## ")
