"""Several engines and several sizes of models in one report: labels, speed-ups over each, figures 2a and 2b."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from timetrial.report.data import ReportData
from timetrial.report.engine_tables import engine_tables, missing_engines
from timetrial.report.figures import draw_figures
from timetrial.report.grid import timing_cells
from timetrial.report.scales import group_by_size, model_scales, report_speed_ups
from timetrial.report.timing_tables import cost_tables, measured_tables, speed_up_tables, timing_tables

MACHINES = {"h200": "NVIDIA H200 (h200)"}
SIZES = {"llama-1b": 1.24e9, "mamba-in-llama-1b": 1.29e9, "llama-3b": 3.2e9, "llamba-4b": 3.8e9}
SLOWER = 3.0


@pytest.fixture
def make(timings):
    """Return a function that makes a report of models, Llamas also timed by another engine, three times as slow."""

    def report(*models, config=None, others=("llama-1b", "llama-3b")):
        rows = [row for model in models for row in timings(model)]
        rows += [
            replace(
                row, engine="paper-style", kernels="generate, eager", decode_s=row.decode_s and SLOWER * row.decode_s
            )
            for row in rows
            if row.model in others
        ]
        entry = {"models": {model: {"parameters": int(SIZES[model])} for model in models if model in SIZES}}
        return ReportData(
            title="x", curves=(), timings=tuple(rows), config=config or {}, environment={"h200": entry | {"cores": 2}}
        )

    return report


def rows_of(table):
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def texts(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_engines_have_rows_of_their_own_under_a_label_each_model_by_model(make):
    cells = timing_cells(make("llama-1b", "mamba-in-llama-1b").timings)
    (table,) = timing_tables(cells, MACHINES)
    labels = list(dict.fromkeys(row["model"] for row in rows_of(table)))
    assert labels == ["llama-1b", "llama-1b (paper-style)", "mamba-in-llama-1b"]
    by_engine = {(cell.engine, cell.batch): cell.median_s for cell in cells if cell.model == "llama-1b"}
    assert by_engine["paper-style", 8] == pytest.approx(SLOWER * by_engine["own", 8])
    assert {cell.to_json()["engine"] for cell in cells} == {"own", "paper-style"}


def test_the_own_engine_stands_first_whichever_was_timed_first(make):
    data = make("llama-1b")
    turned = timing_cells(reversed(data.timings))
    assert [cell.engine for cell in turned][:1] == ["own"]


def test_a_speed_up_is_over_each_engine_of_the_baseline_and_the_baseline_is_compared_with_itself(make):
    speed_ups = report_speed_ups(make("llama-1b", "mamba-in-llama-1b"))
    at_8 = {(each.model, each.engine, each.baseline_engine): each.ratio for each in speed_ups if each.batch == 8}
    assert at_8.keys() == {
        ("llama-1b", "own", "paper-style"),
        ("mamba-in-llama-1b", "own", "own"),
        ("mamba-in-llama-1b", "own", "paper-style"),
    }
    assert at_8["llama-1b", "own", "paper-style"] == pytest.approx(SLOWER)
    tuned, paper = (at_8["mamba-in-llama-1b", "own", engine] for engine in ("own", "paper-style"))
    assert paper == pytest.approx(SLOWER * tuned)


def test_both_speed_ups_stand_side_by_side_before_their_bound(make):
    (table,) = speed_up_tables(report_speed_ups(make("llama-1b", "mamba-in-llama-1b")), MACHINES)
    assert table.columns == (
        "model", "batch", "baseline", "baseline, paper-style", "model's", "speed-up", "over paper-style",
        "bound by floors",
    )  # fmt: skip
    rows = {(row["model"], row["batch"]): row for row in rows_of(table)}
    own, hybrid = rows["llama-1b", "8"], rows["mamba-in-llama-1b", "8"]
    assert (own["speed-up"], own["over paper-style"]) == ("-", "x3.00")
    assert float(hybrid["over paper-style"][1:]) == pytest.approx(SLOWER * float(hybrid["speed-up"][1:]), rel=0.01)


def test_a_baseline_of_another_engine_alone_is_not_passed_off_as_its_own(make):
    data = make("llama-1b", "mamba-in-llama-1b", config={"config": {"baseline": "llama-1b"}})
    kept = tuple(row for row in data.timings if (row.model, row.engine) != ("llama-1b", "own"))
    (table,) = speed_up_tables(report_speed_ups(replace(data, timings=kept)), MACHINES)
    assert "speed-up" not in table.columns and "over paper-style" in table.columns


def test_models_are_compared_with_the_first_of_their_size_unless_one_baseline_is_named(make):
    models = ("llama-1b", "mamba-in-llama-1b", "llama-3b", "llamba-4b")
    data = make(*models, others=())
    assert [(scale.name, scale.models, scale.baseline) for scale in model_scales(data)] == [
        ("1B scale", ("llama-1b", "mamba-in-llama-1b"), "llama-1b"),
        ("3B scale", ("llama-3b", "llamba-4b"), "llama-3b"),
    ]
    pairs = {(each.model, each.baseline) for each in report_speed_ups(data)}
    assert pairs == {("mamba-in-llama-1b", "llama-1b"), ("llamba-4b", "llama-3b")}
    named = make(*models, others=(), config={"config": {"baseline": "llamba-4b"}})
    assert {(each.model, each.baseline) for each in report_speed_ups(named)} == {
        (model, "llamba-4b") for model in models[:3]
    }
    assert [scale.baseline for scale in model_scales(named)] == ["llama-1b", "llamba-4b"]


def test_sizes_are_the_papers_and_one_size_alone_has_no_name():
    sizes = {"a": 5_000_000, "b": 1_405_159_936, "c": 3_832_753_824, "d": 8_030_000_000, "e": 70e9, "f": None}
    names = {model: scale.name for scale in group_by_size(sizes, None) for model in scale.models}
    assert list(names.values()) == ["below 1B", "1B scale", "3B scale", "8B scale", "above 12B", "size unknown"]
    (alone,) = group_by_size({"a": 5_000_000, "b": 6_000_000}, "b")
    assert (alone.name, alone.baseline) == ("", "b")


def test_each_size_has_a_figure_with_both_engines_the_speed_ups_and_the_split(make):
    pictures = {
        picture.name: picture
        for picture in draw_figures(make("llama-1b", "mamba-in-llama-1b", "llama-3b", "llamba-4b"))
    }
    assert pictures.keys() == {"timing-h200-1b-scale-p512-n512", "timing-h200-3b-scale-p512-n512"}
    small, large = (texts(picture.svg) for picture in pictures.values())
    assert {"llama-1b", "llama-1b (paper-style)", "mamba-in-llama-1b"} <= set(small)
    assert "llamba-4b" not in small and "out of memory" not in small
    assert "out of memory" in large and any(text.endswith("(2 x 128)") for text in large)
    assert "stroke-dasharray" in pictures["timing-h200-1b-scale-p512-n512"].svg
    written = [float(text[1:]) for text in small if re.fullmatch(r"x[\d.]+", text)]
    tuned, paper = written[:9], written[9:]
    assert len(paper) == 9 and paper == pytest.approx([SLOWER * ratio for ratio in tuned], abs=0.2)
    caption = pictures["timing-h200-1b-scale-p512-n512"].caption
    assert "llama-1b takes that many times as long as mamba-in-llama-1b" in caption
    assert "in the next row, llama-1b (paper-style) does" in caption


def test_floors_are_drawn_where_they_are_known(make):
    data = make("llama-1b")
    (without,) = draw_figures(data)
    floors = tuple(replace(row, floor_s=0.5) for row in data.timings)
    (with_floors,) = draw_figures(replace(data, timings=floors))
    assert "its floor" in texts(with_floors.svg) and "its floor" not in texts(without.svg)
    assert "Thin lines" in with_floors.caption and "Thin lines" not in without.caption


def test_a_model_that_never_fitted_is_marked_and_has_no_seconds(make):
    data = make("llama-1b", "mamba-in-llama-1b", others=())
    rows = tuple(
        replace(row, status="out_of_memory", decode_s=None, prefill_s=None) if row.model == "llama-1b" else row
        for row in data.timings
    )
    (picture,) = draw_figures(replace(data, timings=rows))
    assert "out of memory" in texts(picture.svg)
    assert not [text for text in texts(picture.svg) if re.fullmatch(r"x[\d.]+", text)]


@pytest.mark.parametrize(("kernels", "said"), [
    ("pytorch-eager, weights packed by onednn", "eager"),
    ("native, weights packed by onednn", "native"),
    ("transformers 5.23.0 generate, sdpa, static cache, compiled", "compiled"),
    ("triton, captured in a CUDA graph", "graph"),
    ("something else", "something else"),
    (None, "-"),
])  # fmt: skip
def test_a_row_says_in_a_word_how_it_was_run(make, kernels, said):
    rows = [replace(row, kernels=kernels, step_bytes=1.0, step_flops=1.0) for row in make("llamba-4b").timings]
    (table,) = cost_tables(timing_cells(rows), MACHINES)
    assert {row["run"] for row in rows_of(table)} == {said}


def test_what_ran_each_model_is_said_in_full_and_what_could_not_with_its_reason(make):
    data = make("llama-1b", "mamba-in-llama-1b")
    entry = {**data.environment["h200"], "engines": {"paper-style": {
        "llama-1b": {"kernels": "generate, eager"}, "mamba-in-llama-1b": {"why_not": "there is none"},
    }}}  # fmt: skip
    data = replace(data, environment={"h200": entry})
    (missing,) = missing_engines(data)
    assert missing.to_json() == {
        "environment": "h200", "model": "mamba-in-llama-1b", "engine": "paper-style", "why_not": "there is none",
    }  # fmt: skip
    (table,) = engine_tables(data)
    assert table.rows == (
        ("llama-1b", "paper-style", "generate, eager"),
        ("mamba-in-llama-1b", "paper-style", "not timed: there is none"),
    )
    assert table in list(measured_tables(data))
