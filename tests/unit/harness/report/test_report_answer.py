"""The answer: for every budget, the page ranks as the definition does, whatever the step it stands on."""

import json
import re

import pytest

from timetrial.report.answer import NUM_SHOWN, make_panel, panel_html, ranking_steps, step_at
from timetrial.report.points import best_within, timed_points


@pytest.fixture
def curves(report):
    return [curve for curve in report().curves if curve.rule != "coverage"]


def data_of(page):
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', page, re.DOTALL).group(1))


def test_steps_give_the_ranking_at_every_budget(curves):
    points = timed_points(curves)
    steps = ranking_steps(points)
    low, high = min(point.seconds for point in points), max(point.seconds for point in points)
    for number in range(200):
        budget_s = low * (1.1 * high / low) ** (number / 199)
        assert step_at(steps, budget_s).ranking == best_within(points, budget_s)[:NUM_SHOWN]


def test_steps_change_the_ranking_and_rise(curves):
    steps = ranking_steps(timed_points(curves))
    assert all(a.from_s < b.from_s and a.ranking != b.ranking for a, b in zip(steps, steps[1:], strict=False))


def test_page_data_names_the_same_configurations_as_the_steps(curves, report):
    panel = make_panel(curves, report().models)
    data = data_of(panel_html(panel))
    assert [step["from"] for step in data["steps"]] == [step.from_s for step in panel.steps]
    for step, written in zip(panel.steps, data["steps"], strict=True):
        values = [data["points"][number]["value"] for number in written["ranking"]]
        assert values == [f"{100 * point.value:.1f}" for point in step.ranking]
        assert written["overlaps"][0] is True


def test_the_page_opens_at_the_budget_asked_for(curves, report):
    panel = make_panel(curves, report().models, 4.0)
    best = best_within(panel.points, 4.0)[0]
    page = panel_html(panel)
    assert "<output data-budget>4 s</output>" in page
    assert f'data-field="model">{best.curve.model}, temp. {best.curve.temperature:g}</b>' in page


def test_a_budget_that_nothing_fits_is_replaced_by_one_in_the_middle(curves, report):
    panel = make_panel(curves, report().models, 0.001)
    assert panel.low_s <= panel.budget_s <= panel.high_s


def test_one_configuration_is_enough(curve):
    only = curve("a", ks=(1,), values=(0.0,), low=(0.0,), high=(0.0,), seconds=(3.0,))
    page = panel_html(make_panel([only], ["a"]))
    assert 'data-field="value">0.0<' in page


def test_no_times_no_panel(curve):
    assert make_panel([curve("a", is_timed=False)], ["a"]) is None


def test_names_cannot_leave_the_elements_they_stand_in(curve):
    name = '</script><script>alert(1)</script>"><img src=x onerror=alert(1)>'
    page = panel_html(make_panel([curve(name)], [name]))
    assert page.count("<script") == 1 and page.count("</script>") == 1 and "<img" not in page
    assert data_of(page)["points"][0]["model"].startswith(name)
