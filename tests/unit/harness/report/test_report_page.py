"""The page: self-contained, well formed, safe with hostile texts, honest without times, readable without its script."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from timetrial.record import Series
from timetrial.report.data import GraderFacts
from timetrial.report.page import render_page
from timetrial.report.tables import make_sections

HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(1)> & $title ${data}'
VOID = {"meta", "input", "br", "img", "link"}


class Page(HTMLParser):
    """The elements and texts of a page, with every start tag matched to its end."""

    def __init__(self, page):
        super().__init__()
        self.open, self.elements, self.visible, self.scripts = [], [], [], []
        self.feed(page)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        elif self.open and self.open[-1] != "style":
            self.visible.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.visible).split())


def render(report):
    return render_page(report, (), make_sections(report))


@pytest.fixture
def small(report):
    return report(("llama-1b", "mamba-in-llama-1b"))


def test_page_is_well_formed_and_holds_its_data(small):
    page = Page(render(small))
    data = json.loads(next(script for script in page.scripts if '"curves"' in script))
    assert len(data["curves"]) == len(small.curves)
    assert data["analysis"]["replicates"] == 2_000


def test_page_loads_nothing_from_outside(small):
    page = Page(render(small))
    addresses = [
        value for _, attributes in page.elements for name, value in attributes.items() if name in ("src", "href")
    ]
    assert all(address.startswith("#") for address in addresses)
    assert "url(" not in render(small) and "@import" not in render(small)
    policy = next(attributes["content"] for tag, attributes in page.elements if "http-equiv" in attributes)
    assert policy.startswith("default-src 'none'")


def test_the_answer_comes_first_and_needs_no_script(small):
    text = Page(render(small)).text
    assert re.search(r"In [\d.]+ s per problem, the best configuration is \S+, temp. 0.6 \d+ samples?, weighted", text)
    assert text.index("the best configuration is") < text.index("Figures Bands")
    assert "the best configuration within T seconds" in text


def test_hostile_texts_everywhere_stay_text(small, curve, example, unknown, grading):
    series = Series(HOSTILE, HOSTILE, 0.8)
    shown = example(series, text=HOSTILE)
    shown = replace(
        shown,
        problem=replace(shown.problem, text=HOSTILE, gold=HOSTILE),
        grade=replace(shown.grade, answer=HOSTILE, reason=HOSTILE),
    )
    hostile = replace(
        small,
        title=HOSTILE,
        curves=tuple(curve(HOSTILE, task=HOSTILE, rule=rule) for rule in ("coverage", HOSTILE)),
        analysis=None,
        examples=(shown,),
        warnings=(HOSTILE,),
        config={HOSTILE: HOSTILE},
        environment={HOSTILE: {HOSTILE: [HOSTILE]}},
        timings=tuple(replace(timing, model=HOSTILE, environment=HOSTILE) for timing in small.timings[:4]),
        statistics=(replace(small.statistics[0], series=series),),
        grading=(grading(series, unknown=((HOSTILE, 1),), graders=(HOSTILE,)),),
        graders=(GraderFacts(task=HOSTILE, role=HOSTILE, name=HOSTILE, policy={HOSTILE: [HOSTILE]}),),
        unknown_answers=(unknown(task=HOSTILE, problem=HOSTILE, gold=HOSTILE, answer=HOSTILE, reason=HOSTILE),),
    )
    page, clean = Page(render(hostile)), Page(render(small))
    tags = {tag for tag, _ in page.elements}
    assert tags == {tag for tag, _ in clean.elements}
    assert "img" not in tags
    assert len(page.scripts) == len(clean.scripts)
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert page.text.count("$title ${data}") > 10


def test_without_times_the_page_says_so_and_answers_by_samples(report, curve):
    curves = (curve("a", is_timed=False), curve("b", is_timed=False, gain=1.2))
    text = Page(render(report(curves=curves, timings=(), analysis=None, statistics=(), examples=()))).text
    assert "No decode times were measured" in text
    assert "the best configuration of k samples" in text
    assert "chooses nothing" in text
    assert "per problem, the best configuration is" not in text


def test_coverage_is_never_the_answer_while_a_rule_chooses(small):
    before_fold = render(small).split("<details>")[0]
    assert "coverage (pass@k)" not in before_fold
    assert "With a perfect verifier" in render(small)


def test_every_task_has_its_own_answer(report, curve):
    curves = tuple(curve("llama-1b", task=task, rule="majority") for task in ("math-500", "gsm8k-500"))
    page = render(report(curves=curves, analysis=None))
    assert page.count('<div class="answer"') == 2
    assert page.index("<h3>math-500</h3>") < page.index("<h3>gsm8k-500</h3>")


def test_the_accounting_is_stated(small):
    text = Page(render(small)).text
    for phrase in (
        "Decode seconds of one problem.",
        "prefill",
        "not a deadline",
        "The verifier is paid for where it was timed",
    ):
        assert phrase in text


@pytest.mark.parametrize(("correct", "word"), [(True, "right"), (False, "wrong"), (None, "unknown")])
def test_examples_say_how_they_were_graded(small, example, correct, word):
    shown = example(Series("llama-1b", "math-500", 0.6), correct=correct)
    text = Page(render(replace(small, examples=(shown,)))).text
    assert f"{word} answers" in text


def test_a_failed_generation_is_no_unknown_verdict(small, example):
    shown = example(Series("llama-1b", "math-500", 0.6), correct=None)
    shown = replace(shown, completion=replace(shown.completion, finish="error", error="no room"))
    assert "failed answers" in Page(render(replace(small, examples=(shown,)))).text


def test_a_run_of_timings_alone_has_a_page_that_says_so(report):
    timed = report(curves=(), analysis=None, statistics=(), examples=())
    text = Page(render(timed)).text
    assert "6 models. Timed on NVIDIA H200 (h200)" in text
    assert "no graded samples" in text and "This run holds no texts." in text
    assert "Batches of 512 prompt tokens and 512 new tokens on NVIDIA H200" in text
