"""Figures: every curve is there, output is the same bytes every time, and nothing outside changes."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import matplotlib
import pytest

from timetrial.report.figures import draw_figures
from timetrial.report.inline_svg import inline

MODELS = ("llama-3b", "mamba-in-llama-3b")
RULES = ("coverage", "majority")


@pytest.fixture(scope="module")
def drawn():
    """Figures by the models and rules they show, drawn once."""
    return {}


@pytest.fixture
def pictures(report, drawn):
    if not drawn:
        drawn.update({picture.name: picture for picture in draw_figures(report(MODELS, RULES))})
    return drawn


def texts(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_a_timed_run_has_every_kind_of_figure(pictures):
    assert set(pictures) == {
        "math-500-pareto-front",
        "math-500-coverage-pass-k-by-samples",
        "math-500-coverage-pass-k-by-seconds",
        "math-500-majority-by-samples",
        "math-500-majority-by-seconds",
        "math-500-llama-3b-t-0-8-rules",
        "math-500-mamba-in-llama-3b-t-0-8-rules",
        "timing-h200-p512-n512",
    }


def test_both_formats_are_what_they_say(pictures):
    for picture in pictures.values():
        assert picture.png.startswith(b"\x89PNG")
        assert ElementTree.fromstring(picture.svg).tag == "{http://www.w3.org/2000/svg}svg"


def test_drawing_changes_no_setting_of_the_process(report):
    before = dict(matplotlib.rcParams)
    draw_figures(report(curves=(), timings=report(("llamba-1b",)).timings))
    assert dict(matplotlib.rcParams) == before


def test_every_curve_is_named_in_the_legend(pictures):
    for name in ("math-500-majority-by-samples", "math-500-majority-by-seconds"):
        assert {"llama-3b, temp. 0.8", "mamba-in-llama-3b, temp. 0.8"} <= set(texts(pictures[name].svg))


def test_temperatures_are_curves_of_their_own(report, curve):
    curves = tuple(curve("llama-1b", temperature=temperature, is_timed=False) for temperature in (0.6, 0.8))
    (by_samples,) = draw_figures(report(curves=curves, timings=()))
    assert {"llama-1b, temp. 0.6", "llama-1b, temp. 0.8"} <= set(texts(by_samples.svg))
    assert "stroke-dasharray" in by_samples.svg


def test_without_times_there_are_no_figures_of_seconds(report, curve):
    pictures = draw_figures(report(curves=(curve("a", is_timed=False),), timings=()))
    assert [picture.kind for picture in pictures] == ["samples"]


def test_out_of_memory_is_marked(pictures):
    assert "out of memory" in texts(pictures["timing-h200-p512-n512"].svg)


def test_speed_up_is_the_ratio_of_medians_at_each_batch(pictures):
    written = [
        float(text[1:]) for text in texts(pictures["timing-h200-p512-n512"].svg) if re.fullmatch(r"x[\d.]+", text)
    ]
    expected = [(9.4 + 0.08 * batch) / (5.6 + 0.016 * batch) for batch in (1, 2, 4, 8, 16, 32, 64, 128)]
    expected.append(2 * (9.4 + 0.08 * 128) / (5.6 + 0.016 * 256))  # 256 do not fit llama-3b
    assert written == pytest.approx(expected, rel=0.04)


def test_one_model_alone_has_neither_speed_up_nor_memory_mark(report, timings):
    (timing,) = draw_figures(report(curves=(), timings=tuple(timings("llamba-1b"))))
    written = texts(timing.svg)
    assert "out of memory" not in written
    assert not [text for text in written if re.fullmatch(r"x[\d.]+", text)]


@pytest.mark.parametrize("name", ["<script>x</script>", "$a_{b$", "_hidden", "100 % & more", "n" * 200])
def test_any_model_name_is_drawn_as_it_is(report, curve, name):
    (by_samples,) = draw_figures(report(curves=(curve(name, is_timed=False),), timings=()))
    label = next(text for text in texts(by_samples.svg) if "temp." in text)
    assert label.strip() == f"{name}, temp. 0.8" if len(name) < 50 else label.startswith("nnn")


def test_names_that_reduce_to_the_same_file_name_do_not_overwrite_one_another(report, curve):
    curves = tuple(curve("a", task=task, is_timed=False) for task in ("math 500", "math-500", "math.500"))
    names = [picture.name for picture in draw_figures(report(curves=curves, timings=()))]
    assert len(set(names)) == 3


def test_a_curve_of_one_point_and_nothing_right_is_drawn(report, curve):
    single = curve(
        "greedy",
        temperature=0.0,
        ks=(1,),
        values=(0.0,),
        standard_errors=None,
        low=(0.0,),
        high=(0.0,),
        seconds=(2.0,),
        seconds_low=None,
        seconds_high=None,
        num_samples=1,
    )
    assert len(draw_figures(report(curves=(single,), timings=()))) == 3


def test_the_line_is_pale_only_where_k_exceeds_half_the_samples(report, curve):
    whole = curve("a", is_timed=False, num_samples=512)
    assert "stroke-opacity" not in draw_figures(report(curves=(whole,), timings=()))[0].svg
    assert "stroke-opacity" in draw_figures(report(curves=(replace(whole, num_samples=256),), timings=()))[0].svg


def test_inlined_figures_share_no_ids_and_keep_their_references(pictures):
    ids = []
    for picture in pictures.values():
        element = inline(picture)
        own = re.findall(r'\bid="([^"]*)"', element)
        references = re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', element)
        assert {a or b for a, b in references} <= set(own)
        ids += set(own)
    assert len(ids) == len(set(ids))


def test_inlined_figures_take_their_colours_from_the_page(pictures):
    for picture in pictures.values():
        assert not re.findall(r"(?:fill|stroke): #", inline(picture))


def test_matplotlib_is_not_imported_before_a_figure_is_drawn():
    code = "import sys, timetrial.report.write; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
