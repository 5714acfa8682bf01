"""The first thing on the page: within T seconds, which configuration is best, for every T that was measured.

The ranking changes only where another point begins to fit, so it is worked out here for every such T; the page's
script moves the cursor and copies the cells of the step it stands on. Without the script one budget is shown.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from timetrial.record import Curve, Series
from timetrial.report.canvas import SERIES_COLOURS
from timetrial.report.curve_tables import budgets
from timetrial.report.embedded_json import script_json
from timetrial.report.labels import (
    CHOSEN_HERE,
    percent,
    round_seconds,
    samples_label,
    seconds_label,
    series_label,
    timed_rule_label,
)
from timetrial.report.leaderboard import overlaps
from timetrial.report.points import Point, best_within, pareto_front, timed_points
from timetrial.report.strokes import series_looks

NUM_SHOWN = 6
"""Rows of the ranking: the best and its runners-up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """The ranking from one budget up to the next at which it changes."""

    from_s: float
    ranking: tuple[Point, ...]
    """The best point of each curve, best first, at most `NUM_SHOWN`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """Everything one answer shows."""

    points: tuple[Point, ...]
    steps: tuple[Step, ...]
    budget_s: float
    """The budget shown first."""
    top: float
    """Upper end of the scale of shares."""
    colours: Mapping[str, int]
    """Number of the colour of each model."""

    @property
    def low_s(self) -> float:
        """The quickest measured configuration: the left end of the time axis."""
        return self.steps[0].from_s

    @property
    def high_s(self) -> float:
        """The right end of the time axis, a little beyond the slowest configuration."""
        return max(point.seconds for point in self.points) * 1.1

    def place(self, seconds: float) -> float:
        """Return where a time stands on the logarithmic axis, in percent of its length, its ends at most."""
        share = math.log(seconds / self.low_s) / math.log(self.high_s / self.low_s)
        return 100 * min(1.0, max(0.0, share))


def make_panel(curves: Sequence[Curve], models: Sequence[str], budget_s: float | None = None) -> Panel | None:
    """Rank the curves at every budget; None if nothing was timed. `budget_s` is what the page shows first."""
    points = timed_points(curves)
    if not points:
        return None
    return Panel(
        points=points,
        steps=ranking_steps(points),
        budget_s=_first_budget(points, budget_s),
        top=min(1.0, math.ceil(10 * max(point.high for point in points) + 1e-9) / 10),
        colours={model: number for number, model in enumerate(models)},
    )


def ranking_steps(points: Sequence[Point]) -> tuple[Step, ...]:
    """Return the ranking at every budget at which it changes, by rising budget."""
    steps: list[Step] = []
    for from_s in sorted({point.seconds for point in points}):
        ranking = best_within(points, from_s)[:NUM_SHOWN]
        if not steps or ranking != steps[-1].ranking:
            steps.append(Step(from_s=from_s, ranking=ranking))
    return tuple(steps)


def step_at(steps: Sequence[Step], budget_s: float) -> Step:
    """Return the step in force at a budget that is not below the first."""
    return [step for step in steps if step.from_s <= budget_s][-1]


def panel_html(panel: Panel) -> str:
    """Render the panel: sentence, time axis with slider, ranking, and the data the script copies from."""
    ranking = step_at(panel.steps, panel.budget_s).ranking
    num_rows = max(len(step.ranking) for step in panel.steps)
    rows = "".join(_row(panel, ranking, number) for number in range(num_rows))
    return f"""<div class="answer" data-low="{panel.low_s!r}" data-high="{panel.high_s!r}">
{_sentence(panel, ranking[0])}
{_timeline(panel)}
<table class="ranking">
<thead><tr><th></th><th>configuration</th><th class="share">solved, 0 to {100 * panel.top:.0f} %</th>
<th class="figure">%</th><th class="figure">takes</th></tr></thead>
<tbody>
{rows}</tbody>
</table>
<p class="note">Within the budget each model and rule takes its best number of samples. The interval of a faded
row does not reach that of the best; that of any other does, so the order may be noise. {html.escape(CHOSEN_HERE)}</p>
<script type="application/json">{script_json(_data(panel))}</script>
</div>
"""


def _first_budget(points: Sequence[Point], wanted: float | None) -> float:
    """Return the budget asked for if anything fits it, else the round one nearest the middle of the log-time range."""
    seconds = [point.seconds for point in points]
    if wanted is not None and wanted >= min(seconds):
        return wanted
    middle = math.sqrt(min(seconds) * max(seconds))
    return min(budgets(points), key=lambda budget: abs(math.log(budget / middle)))


def _fields(point: Point) -> dict[str, str]:
    """Return the texts of a configuration, by the names the page's cells carry."""
    return {
        "model": series_label(point.curve.series),
        "how": f"{samples_label(point.k)}, {timed_rule_label(point.curve)}",
        "value": percent(point.value),
        "band": f"{percent(point.low)} to {percent(point.high)}",
        "seconds": seconds_label(point.seconds),
    }


def _style(panel: Panel, point: Point) -> str:
    """Return the colour of a configuration and the ends of its interval on the scale, as CSS variables."""
    low, value, high = (100 * share / panel.top for share in (point.low, point.value, point.high))
    colour = _colour(panel, point.curve.series)
    return f"--colour:{colour};--low:{low:.2f}%;--value:{value:.2f}%;--width:{high - low:.2f}%"


def _colour(panel: Panel, series: Series) -> str:
    return f"var(--series-{panel.colours[series.model] % len(SERIES_COLOURS)})"


def _data(panel: Panel) -> dict[str, Any]:  # Any: JSON values
    shown = {id(point): point for step in panel.steps for point in step.ranking}
    number = {key: position for position, key in enumerate(shown)}
    return {
        "points": [{**_fields(point), "style": _style(panel, point)} for point in shown.values()],
        "steps": [
            {
                "from": step.from_s,
                "ranking": [number[id(point)] for point in step.ranking],
                "overlaps": [overlaps(point, step.ranking[0]) for point in step.ranking],
            }
            for step in panel.steps
        ],
    }


def _sentence(panel: Panel, best: Point) -> str:
    fields = {name: html.escape(text) for name, text in _fields(best).items()}
    return f"""<div class="winner" style="{_style(panel, best)}">
<p>In <output data-budget>{seconds_label(panel.budget_s)}</output> per problem, the best configuration is</p>
<p class="name"><i class="swatch"></i><b data-field="model">{fields["model"]}</b>
<span data-field="how">{fields["how"]}</span></p>
<p><b><span data-field="value">{fields["value"]}</span> %</b> of the problems solved
(95 % interval <span data-field="band">{fields["band"]}</span>),
taking <span data-field="seconds">{fields["seconds"]}</span>.</p>
</div>"""


def _row(panel: Panel, ranking: Sequence[Point], number: int) -> str:
    point = ranking[min(number, len(ranking) - 1)]
    fields = {name: html.escape(text) for name, text in _fields(point).items()}
    hidden = " hidden" if number >= len(ranking) else ""
    faded = "" if overlaps(point, ranking[0]) else ' class="apart"'
    return f"""<tr{faded}{hidden} style="{_style(panel, point)}"><td class="figure">{number + 1}</td>
<td><i class="swatch"></i><span data-field="model">{fields["model"]}</span>
<small data-field="how">{fields["how"]}</small></td>
<td class="share"><div class="interval"><i></i><b></b></div></td>
<td class="figure" data-field="value">{fields["value"]}</td>
<td class="figure" data-field="seconds">{fields["seconds"]}</td></tr>
"""


def _timeline(panel: Panel) -> str:
    here = f"{panel.place(panel.budget_s):.2f}%"
    ticks = "".join(
        f'<span style="left:{panel.place(budget):.2f}%">{seconds_label(budget)}</span>'
        for budget in round_seconds(panel.low_s, panel.high_s)
    )
    return f"""<div class="timeline" style="--here:{here}">
<svg viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">
{_lines(panel)}</svg>
<span class="top">{100 * panel.top:.0f} %</span>
<div class="cursor"></div>
<input type="range" min="0" max="1000" step="1" value="{10 * panel.place(panel.budget_s):.0f}"
 aria-label="seconds per problem, logarithmic">
<div class="owners" aria-label="the best model by budget">{_owners(panel)}</div>
<div class="ticks">{ticks}</div>
</div>"""


def _lines(panel: Panel) -> str:
    """Draw the best so far of each series as steps, over the broad steps of the best of all."""
    lines = [f'<path class="front" d="{_steps_path(panel, panel.points)}"/>\n']
    looks = series_looks([point.curve for point in panel.points], list(panel.colours))
    for series in dict.fromkeys(point.curve.series for point in panel.points):
        own = [point for point in panel.points if point.curve.series == series]
        dash = "" if looks[series].dash == "-" else ' class="dashed"'
        lines.append(f'<path{dash} style="stroke:{_colour(panel, series)}" d="{_steps_path(panel, own)}"/>\n')
    return "".join(lines)


def _steps_path(panel: Panel, points: Sequence[Point]) -> str:
    front = pareto_front(points)
    heights = [100 * (1 - point.value / panel.top) for point in front]
    path = f"M{panel.place(front[0].seconds):.2f} {heights[0]:.2f}"
    for point, height in zip(front[1:], heights[1:], strict=True):
        path += f"H{panel.place(point.seconds):.2f}V{height:.2f}"
    return f"{path}H100"


def _owners(panel: Panel) -> str:
    """Draw which series is the best of all at each budget, as one coloured bar."""
    front = pareto_front(panel.points)
    starts = [point for number, point in enumerate(front) if number == 0 or _owner(point) != _owner(front[number - 1])]
    ends = [panel.place(point.seconds) for point in starts[1:]] + [100.0]
    return "".join(
        f'<span title="{html.escape(series_label(_owner(start)))}" style="--colour:{_colour(panel, _owner(start))};'
        f'left:{panel.place(start.seconds):.2f}%;width:{end - panel.place(start.seconds):.2f}%">'
        f"{html.escape(series_label(_owner(start)))}</span>"
        for start, end in zip(starts, ends, strict=True)
    )


def _owner(point: Point) -> Series:
    return point.curve.series
