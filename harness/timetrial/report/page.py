"""The page: one self-contained index.html that answers the question first and then shows what the answer rests on."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
from string import Template

from timetrial.analysis import analysis_to_json
from timetrial.record import to_json
from timetrial.report.answer import make_panel, panel_html
from timetrial.report.canvas import Picture
from timetrial.report.curve_tables import answering_curves, best_by_samples_table, coverage_note
from timetrial.report.data import Example, ReportData
from timetrial.report.embedded_json import script_json
from timetrial.report.inline_svg import inline
from timetrial.report.labels import is_choosing, series_label
from timetrial.report.table import to_html, without_repeated_notes
from timetrial.report.tables import PROVENANCE, Section

FIGURE_GROUPS = {
    "seconds": "Against seconds",
    "samples": "Against samples",
    "rules": "All rules of one model",
    "deadline": "At a deadline",
    "timing": "Decode time of a batch",
}


def render_page(report: ReportData, pictures: Sequence[Picture], sections: Sequence[Section]) -> str:
    """Return the page. Whatever came from a model, a task or a file is escaped."""
    curves = [to_json(curve) for curve in report.curves]
    analysis = analysis_to_json(report.analysis) if report.analysis else None
    return Template(_asset("page.html")).substitute(
        title=html.escape(report.title),
        summary=html.escape(_summary(report)),
        style=_asset("page.css"),
        script=_asset("page.js"),
        warnings=_warnings(report.warnings),
        answers="".join(_answer(report, task) for task in report.tasks) or f'<p class="lead">{UNGRADED}</p>',
        figures="".join(_figure_groups(pictures)),
        tables="".join(_section(section) for section in sections if section.title != PROVENANCE),
        examples="".join(map(_example, report.examples)) or '<p class="note">This run holds no texts.</p>',
        provenance="".join(to_html(table) for each in sections if each.title == PROVENANCE for table in each.tables),
        data=script_json({"title": report.title, "curves": curves, "analysis": analysis}),
    )


def _asset(name: str) -> str:
    return resources.files("timetrial.report").joinpath("assets", name).read_text(encoding="utf-8")


def _summary(report: ReportData) -> str:
    models = f"{len(report.models)} model{'s' * (len(report.models) != 1)}"
    timed = f". Timed on {', '.join(report.machines.values())}" if report.timings else ""
    if not report.curves:
        return models + timed
    problems = max(curve.num_problems for curve in report.curves)
    samples = max(curve.num_samples for curve in report.curves)
    return f"{models} on {', '.join(report.tasks)}: {problems} problems, up to {samples} samples each{timed}"


def _warnings(warnings: Iterable[str]) -> str:
    items = "".join(f"<li>{html.escape(warning)}</li>" for warning in warnings)
    return f'<aside class="warnings"><b>Read this with care</b><ul>{items}</ul></aside>' if items else ""


def _answer(report: ReportData, task: str) -> str:
    """Answer for one task: by seconds if any were measured, else by samples; coverage in a fold of its own."""
    curves = answering_curves(report.curves, task)
    ceiling = [curve for curve in report.curves if curve.task == task and not is_choosing(curve)]
    panel = make_panel(curves, report.models, report.budget_s)
    parts = [f"<h3>{html.escape(task)}</h3>\n"] if len(report.tasks) > 1 else []
    if panel is None:
        parts.append(f'<p class="lead">{html.escape(UNTIMED)}</p>{to_html(best_by_samples_table(curves, task))}')
    else:
        note = coverage_note(curves)
        parts.append(panel_html(panel) + (f'<p class="lead">{html.escape(note)}</p>' if note else ""))
        above = make_panel(ceiling, report.models, report.budget_s)
        if above and ceiling != curves:
            parts.append(f"<details><summary>{html.escape(CEILING)}</summary>{panel_html(above)}</details>")
    return "".join(parts)


UNGRADED = "This run has no graded samples, so there is nothing to rank; what was timed is below."
UNTIMED = (
    "No decode times were measured for these models, so this page cannot say what fits into T seconds. "
    "The best by number of samples:"
)
CEILING = "With a perfect verifier (coverage): the ceiling that no rule can pass"


def _figure_groups(pictures: Sequence[Picture]) -> Iterator[str]:
    for section, kind in dict.fromkeys((picture.section, picture.kind) for picture in pictures):
        group = [picture for picture in pictures if (picture.section, picture.kind) == (section, kind)]
        title = FIGURE_GROUPS[kind] if kind == "timing" else f"{FIGURE_GROUPS[kind]}: {section}"
        figures = "".join(_figure(picture) for picture in group)
        yield f'<h3>{html.escape(title)}</h3>\n<div class="figures">{figures}</div>\n'


def _figure(picture: Picture) -> str:
    return f"<figure>{inline(picture)}<figcaption>{html.escape(picture.caption)}</figcaption></figure>\n"


def _section(section: Section) -> str:
    tables = "".join(map(to_html, without_repeated_notes(section.tables)))
    return f"<details><summary>{html.escape(section.title)}</summary>{tables}</details>\n"


def _example(example: Example) -> str:
    completion, grade = example.completion, example.grade
    outcome = {True: "right", False: "wrong", None: "unknown"}[grade.correct]
    if completion.finish == "error":
        outcome = "failed"
    answer = "no answer" if grade.answer is None else f"answers {grade.answer}"
    length = "" if completion.num_tokens is None else f"{completion.num_tokens} tokens, "
    ending = {"stop": "ended by itself", "length": "cut at the limit", "error": "failed"}[completion.finish]
    reason = f" ({grade.reason})" if grade.reason else ""
    heading = f"{answer}; right is {example.problem.gold}{reason}"
    where = f"{series_label(completion.series)}, {completion.task} {completion.problem}, sample {completion.sample}: "
    return f"""<details class="example"><summary><b class="{outcome.split()[0]}">{outcome}</b>
<span>{html.escape(heading)}</span></summary>
<p class="note">{html.escape(where + length + ending)}</p>
<pre class="problem">{html.escape(example.problem.text)}</pre>
<pre>{html.escape(completion.text)}</pre></details>
"""
