"""What is said of the timing grid: costs beside floors, prompt lengths, and speed-ups with their bounds."""

from dataclasses import replace

import pytest

from timetrial.report.data import ReportData
from timetrial.report.figures import draw_figures
from timetrial.report.grid import timing_cells
from timetrial.report.labels import percent
from timetrial.report.speed_ups import batch_speed_ups
from timetrial.report.tables import make_sections
from timetrial.report.timing_tables import cost_tables, prompt_tables

FLOORS = {"llama-3b": 3.0, "mamba-in-llama-3b": 1.5, "llamba-4b": 2.0}
MACHINES = {"h200": "NVIDIA H200 (h200)"}


@pytest.fixture
def costed(timings):
    """Return a function that times models with costs and floors, `change`d after some prompts."""

    def make(*models, prompts=(512,), **change):
        return tuple(
            replace(
                timing,
                prompt_tokens=prompt_tokens,
                step_bytes=2.5 * 2**30,
                step_flops=3e12,
                floor_s=FLOORS[model],
                kernels="graph",
                is_prompt_shared=True,
                **change,
            )
            for prompt_tokens in prompts
            for model in models
            for timing in timings(model)
        )

    return make


def rows_of(table):
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def test_a_step_stands_beside_its_floor(costed):
    cells = timing_cells(costed("mamba-in-llama-3b", weights="random"))
    (table,) = cost_tables(cells, MACHINES)
    first = rows_of(table)[0]
    assert table.title.endswith("NVIDIA H200 (h200), random weights")
    assert first["% of floor"] == percent(1.5 / cells[0].median_s)
    assert (first["floor"], first["bytes/step"], first["GFLOP/step"]) == ("2.93 ms", "2.5 GiB", "3e+03")
    assert (first["prompt"], first["run"]) == ("shared", "graph")


@pytest.mark.parametrize(
    ("kernels", "label"),
    [
        ("triton, cuda graphs", "graph"),
        ("pytorch, cuda graphs (triton is not installed)", "graph"),
        ("triton, eager (recording a CUDA graph failed (no))", "eager"),
        ("pytorch-eager (compiled steps are not recorded)", "eager"),
        ("pytorch-compiled (ssd_step_in_place), weights packed by onednn", "compiled"),
        ("something else", "something else"),
        (None, "-"),
    ],
)
def test_how_steps_ran_is_a_word_and_reasons_do_not_count(costed, kernels, label):
    timings = tuple(replace(timing, kernels=kernels) for timing in costed("llama-3b"))
    (table,) = cost_tables(timing_cells(timings), MACHINES)
    assert rows_of(table)[0]["run"] == label


def test_what_ran_out_of_memory_has_a_cost_and_no_share(costed):
    (table,) = cost_tables(timing_cells(costed("llama-3b")), MACHINES)
    last = rows_of(table)[-1]
    assert (last["step"], last["floor"], last["% of floor"]) == ("out of memory", "5.86 ms", "-")


def test_rows_without_costs_make_no_table_of_them(timings):
    assert not list(cost_tables(timing_cells(timings("llama-3b")), MACHINES))


def test_a_speed_up_is_over_the_baseline_with_its_split_and_bounded_by_the_floors(costed):
    cells = timing_cells(costed("llama-3b", "mamba-in-llama-3b", "llamba-4b"))
    speed_ups = batch_speed_ups(cells, "llama-3b")
    assert {each.model for each in speed_ups} == {"mamba-in-llama-3b", "llamba-4b"}
    assert {each.bound for each in speed_ups if each.model == "llamba-4b"} == {1.5}
    at = {each.batch: each for each in speed_ups if each.model == "mamba-in-llama-3b"}
    assert at[1].ratio == pytest.approx(9.48 / 5.616, rel=0.04)
    assert at[256].baseline_time.batches == (128, 128) and at[256].time.batches == (256,)
    assert at[256].ratio == pytest.approx(2 * (9.4 + 0.08 * 128) / (5.6 + 0.016 * 256), rel=0.04)
    assert at[256].to_json()["baseline_time"]["batches"] == (128, 128)


def test_the_baseline_is_the_first_model_unless_another_is_named(costed):
    report = ReportData(title="x", curves=(), timings=costed("llama-3b", "llamba-4b"))
    for asked, other in ((None, "llamba-4b"), ("llamba-4b", "llama-3b")):
        data = replace(report, config={"config": {"baseline": asked}})
        (section,) = (section for section in make_sections(data) if section.title == "Timing")
        (table,) = (table for table in section.tables if table.title.startswith(f"Speed-up over {data.baseline}, 512"))
        assert {row[0] for row in table.rows} == {other}


def test_several_prompts_make_a_table_and_a_figure_and_one_makes_none(costed):
    timings = costed("llama-3b", "llamba-4b", prompts=(2048, 128))
    (table,) = prompt_tables(timing_cells(timings), MACHINES)
    assert table.columns == ("model", "batch", "128", "2,048")
    assert table.rows[0][2] == table.rows[0][3] != "-"
    names = [picture.name for picture in draw_figures(ReportData(title="x", curves=(), timings=timings))]
    assert names[-1] == "timing-h200-by-prompt-n512"
    assert not list(prompt_tables(timing_cells(costed("llamba-4b")), MACHINES))


def test_the_figure_of_prompts_is_at_the_largest_batch_all_completed(costed):
    timings = costed("llama-3b", "llamba-4b", prompts=(128, 2048))
    picture = draw_figures(ReportData(title="x", curves=(), timings=timings))[-1]
    assert picture.title == "Seconds of a step of 128 sequences", "256 do not fit llama-3b"
    assert "random" not in picture.caption


def test_every_figure_of_random_weights_says_so(costed):
    timings = costed("llama-3b", "llamba-4b", prompts=(128, 2048), weights="random")
    pictures = draw_figures(ReportData(title="x", curves=(), timings=timings))
    assert len(pictures) == 3 and all("random weights" in picture.caption for picture in pictures)
