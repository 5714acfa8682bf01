"""Grading a run anew: what changes is counted, who graded is recorded, and nothing is lost whatever goes wrong."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import timetrial
from timetrial import regrading, runner
from timetrial.catalog import open_catalog
from timetrial.changes import VerdictChange
from timetrial.error import DataError, RunError, RunLockedError, UnknownNameError
from timetrial.importer import ImportOptions
from timetrial.importing import import_run
from timetrial.progress import silent
from timetrial.record import Grade, Verdict
from timetrial.regrading import regrade_run
from timetrial.runner import Run, refresh_report
from timetrial.stages.report import gather_report
from timetrial.testing import FakeGrader, FakePlugin, FakeTask

OPTIONS = ImportOptions(model="m", task="repeat", temperature=0.8)
ANSWERS = {"11": ["11", "011", "12"], "48": ["48", "no", "12"]}
"""By gold answer: what the completions of a problem say."""


class Unsure(FakeGrader):
    """Cannot tell about 12."""

    name = "unsure/1"

    def grade(self, gold, answer):
        if answer == "12":
            return Verdict(correct=None, reason=f"undecided: {answer} against {gold}")
        return super().grade(gold, answer)


class Lenient(FakeGrader):
    """Knows that 12 is always right; counts its verdicts."""

    name = "lenient/1"
    num_asked = 0

    def grade(self, gold, answer):
        type(self).num_asked += 1
        return Verdict(correct=answer == "12" or answer == gold)


class Literal(FakeGrader):
    """Tells 011 from 11."""

    name = "literal/1"

    def answer_class(self, answer):
        return answer

    def grade(self, gold, answer):
        return Verdict(correct=gold == answer)


def catalog(task=FakeTask, **instead):
    """The installed plugins: the task repeat, with its own grader or with the one given, and two graders by name."""

    def load(path):
        made = task()
        vars(made).update(instead)
        return made

    @timetrial.hookimpl
    def timetrial_tasks():
        return [timetrial.TaskSpec(name="repeat", load=load, doc="")]

    @timetrial.hookimpl
    def timetrial_graders():
        return [
            timetrial.GraderSpec(name="lenient", load=Lenient, doc=""),
            timetrial.GraderSpec(name="literal", load=Literal, doc=""),
        ]

    import timetrial_plugins.aggregators.plugin as aggregators

    hooks = SimpleNamespace(timetrial_tasks=timetrial_tasks, timetrial_graders=timetrial_graders, __name__="fakes")
    return open_catalog([FakePlugin("fakes", hooks), FakePlugin("aggregators", aggregators)])


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    for module in (runner, regrading):
        monkeypatch.setattr(module, "write_run_report", lambda folder: ())


def make_run(folder: Path, answers=ANSWERS, options=OPTIONS, **instead) -> Run:
    """Import a dump and grade it."""
    path = folder / "dump.jsonl"
    rows = [
        {"problem": gold, "answer": gold, "unique_id": gold, "completions": texts} for gold, texts in answers.items()
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return import_run([path], options, folder / "run", catalog(**instead))


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path)


def contents(run: Run) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()}


def asked(run: Run, **graders) -> Run:
    return replace(run, config=replace(run.config, **graders))


def verdicts(run: Run) -> list:
    return [(grade.answer, grade.correct, grade.grader) for grade in run.folder.read(Grade)]


def test_the_same_grader_changes_nothing(run):
    before = contents(run)
    (changes,) = regrade_run(run, catalog())
    assert (changes.model, changes.task, changes.num_completions) == ("m", "repeat", 6)
    assert all(each.before == each.after for each in changes.verdicts)
    assert (changes.num_answers_changed, changes.num_classes_split, changes.num_classes_merged) == (0, 0, 0)
    assert changes.accuracy_before == changes.accuracy == 0.5
    assert changes.examples == ()
    assert contents(run) == before


def test_another_grader_is_counted_shown_recorded_and_drawn(run):
    (changes,) = regrade_run(run, catalog(grader=Lenient()))
    assert set(changes.verdicts) == {
        VerdictChange(before="right", after="right", count=3),
        VerdictChange(before="wrong", after="right", count=2),
        VerdictChange(before="no answer", after="no answer", count=1),
    }
    assert (changes.accuracy_before, changes.accuracy) == (3 / 6, 5 / 6)
    shown = [(each.problem, each.gold, each.answer_before, each.answer) for each in changes.examples]
    assert shown == [("11", "11", "12", "12"), ("48", "48", "12", "12")]
    assert {(each.before, each.after) for each in changes.examples} == {("wrong", "right")}
    assert {grader for _, _, grader in verdicts(run)} == {"lenient/1"}
    facts = run.folder.read_json("config.json")
    assert facts["tasks"]["repeat"]["grading"]["grader"] == "lenient/1"
    assert facts["tasks"]["repeat"]["problems"] == ["11", "48"]
    curves = run.folder.read_json("curves.json")["curves"]
    assert next(curve["values"][0] for curve in curves if curve["rule"] == "coverage") == pytest.approx(5 / 6)


def test_a_class_is_judged_once_not_every_sample(tmp_path):
    run = make_run(tmp_path, {"11": ["11"] * 20 + ["011"] * 20, "48": ["48"] * 40})
    Lenient.num_asked = 0
    regrade_run(asked(run, grader="lenient"), catalog())
    assert Lenient.num_asked == 2


def test_a_dry_run_says_the_same_and_writes_nothing_at_all(run):
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    texts = contents(run)
    told = regrade_run(run, catalog(grader=Lenient()), is_dry=True)
    assert contents(run) == texts
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before
    assert told == regrade_run(run, catalog(grader=Lenient()))


def test_classes_that_split_or_merge_are_counted_though_no_verdict_changes(tmp_path):
    run = make_run(tmp_path, {"48": ["11", "011", "0011", "12"]})
    (split,) = regrade_run(asked(run, grader="literal"), catalog())
    assert (split.num_classes_split, split.num_classes_merged) == (1, 0)
    (merged,) = regrade_run(asked(run, grader=None), catalog())
    assert (merged.num_classes_split, merged.num_classes_merged) == (0, 1)
    assert split.examples == merged.examples == ()


def test_another_extraction_is_counted_as_another_answer_not_as_another_class(run):
    (changes,) = regrade_run(run, catalog(extract=lambda text: "5"))
    assert changes.num_answers_changed == 6
    assert (changes.num_classes_split, changes.num_classes_merged) == (0, 0)
    found = next(each for each in changes.examples if each.before == "no answer")
    assert (found.answer_before, found.answer, found.after) == (None, "5", "wrong")


def test_second_opinions_are_asked_in_doubt_only_and_give_their_name(tmp_path):
    run = make_run(tmp_path, grader=Unsure())
    assert [grade.correct for grade in run.folder.read(Grade)] == [True, True, None, True, False, None]
    Lenient.num_asked = 0
    (changes,) = regrade_run(asked(run, second_opinion="lenient"), catalog(grader=Unsure()))
    assert Lenient.num_asked == 2, "one class of each problem is in doubt"
    assert verdicts(run) == [
        ("11", True, "unsure/1"),
        ("011", True, "unsure/1"),
        ("12", True, "lenient/1"),
        ("48", True, "unsure/1"),
        (None, False, "unsure/1"),
        ("12", True, "lenient/1"),
    ]
    facts = run.folder.read_json("config.json")
    assert facts["config"]["second_opinion"] == "lenient"
    assert facts["tasks"]["repeat"]["grading"]["second_opinion"]["grader"] == "lenient/1"
    assert facts["plugins"]["fakes"] == "fake 0"
    assert VerdictChange(before="unknown", after="right", count=2) in changes.verdicts
    assert Run.open(run.path).config.second_opinion == "lenient", "the next command keeps it"


def test_an_import_takes_a_second_opinion_from_the_start(tmp_path):
    run = make_run(tmp_path, options=replace(OPTIONS, second_opinion="lenient"), grader=Unsure())
    assert {grader for _, _, grader in verdicts(run)} == {"unsure/1", "lenient/1"}
    assert run.config.second_opinion == "lenient"
    (report,) = gather_report(run.folder).grading
    assert report.num_second_opinions == 2
    with pytest.raises(UnknownNameError, match="did you mean 'lenient'"):
        make_run(tmp_path, options=replace(OPTIONS, second_opinion="lenint"))


def test_old_grades_are_refused_with_the_cure_and_cured_by_it(run):
    path = run.path / "grades.jsonl"
    old = [json.loads(line) for line in path.read_text().splitlines()]
    for line in old:
        del line["grader"]
        line["reason"] = line["reason"] and "no answer found"
    path.write_text("".join(json.dumps(line) + "\n" for line in old))
    facts = run.folder.read_json("config.json")
    facts["tasks"]["repeat"] = {"grader": "fake-integer/0", "problems": ["11", "48"]}
    del facts["config"]["grader"], facts["config"]["second_opinion"]
    run.folder.write_json("config.json", facts)
    with pytest.raises(DataError, match=rf"line 1: .*missing grader.*`timetrial grade {run.path}`.*nothing is lost"):
        refresh_report(Run.open(run.path), catalog())
    (changes,) = regrade_run(Run.open(run.path), catalog())
    assert changes.accuracy_before == changes.accuracy == 0.5, "old lines are compared with all the same"
    refresh_report(Run.open(run.path), catalog())
    assert set(run.folder.read_json("config.json")["tasks"]["repeat"]) == {"problems", "grading"}


def test_grades_in_another_order_missing_or_unreadable_do_no_harm(run):
    path = run.path / "grades.jsonl"
    good = path.read_text()
    lines = good.splitlines()
    damaged = ["not JSON", "[1]", '{"model": []}', lines[4], lines[0], lines[3], lines[1]]
    path.write_text("\n".join(damaged) + "\n")
    (changes,) = regrade_run(run, catalog())
    assert path.read_text() == good
    assert changes.num_completions == 6
    assert sum(each.count for each in changes.verdicts if each.before == "not graded") == 2
    assert changes.accuracy_before == 3 / 4


def test_without_any_grades_there_is_no_accuracy_before(run):
    good = contents(run)["grades.jsonl"]
    (run.path / "grades.jsonl").unlink()
    (changes,) = regrade_run(run, catalog())
    assert changes.accuracy_before is None and changes.accuracy == 0.5
    assert contents(run)["grades.jsonl"] == good


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interruption_leaves_the_old_grades_and_a_later_call_works(run, monkeypatch, error):
    before = contents(run)
    monkeypatch.setattr("timetrial.stages.grade.FLUSH_EVERY", 2)

    def interrupted(folder, kind):
        yield from list(read(folder, kind))[:5]
        raise error

    read = type(run.folder).read
    with monkeypatch.context() as patch, pytest.raises(error):
        patch.setattr(type(run.folder), "read", interrupted)
        regrade_run(run, catalog(grader=Lenient()))
    assert contents(run) == before
    regrade_run(run, catalog(grader=Lenient()))
    assert {grader for _, _, grader in verdicts(run)} == {"lenient/1"}


def test_a_kill_in_the_middle_leaves_the_old_grades_and_a_later_call_works(run):
    before = contents(run)
    code = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_regrading as here
from timetrial.runner import Run
from timetrial.stages import grade
grade.FLUSH_EVERY = 2
calls = iter(range(100))
def extract(text):
    if next(calls) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return text
here.regrade_run(Run.open({str(run.path)!r}), here.catalog(extract=extract))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    after = contents(run)
    assert after.pop("grades.jsonl.new").count(b"\n") == 4, "the kill must fall into the middle"
    assert after == before
    regrade_run(run, catalog(grader=Lenient()))
    assert "grades.jsonl.new" not in contents(run)
    assert {grader for _, _, grader in verdicts(run)} == {"lenient/1"}


def test_a_run_that_is_being_written_is_not_graded(run):
    before = contents(run)
    with run.folder.locked(), pytest.raises(RunLockedError, match="another timetrial process"):
        regrade_run(run, catalog(grader=Lenient()))
    assert contents(run) == before


def test_what_cannot_be_graded_says_why(run, tmp_path):
    with pytest.raises(RunError, match="no run folder"):
        Run.open(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    with pytest.raises(UnknownNameError, match="unknown task 'repeat'.*install the plugin that offers it"):
        import timetrial_plugins.aggregators.plugin as aggregators

        regrade_run(run, open_catalog([FakePlugin("aggregators", aggregators)]))
    with pytest.raises(UnknownNameError, match="did you mean 'lenient'"):
        regrade_run(asked(run, second_opinion="leniet"), catalog())
    counts = tmp_path / "counts.csv"
    counts.write_text("problem,n,correct\na,4,1\n")
    counted = import_run([counts], OPTIONS, tmp_path / "counted", catalog())
    with pytest.raises(RunError, match="holds no completions.*rather than of counts"):
        regrade_run(counted, catalog())


def test_lost_problems_are_an_error_not_wrong_answers(run):
    before = contents(run)
    path = run.path / "problems-repeat.jsonl"
    path.write_text(path.read_text().splitlines()[0] + "\n")
    with pytest.raises(RunError, match="problem '48' of a sample on repeat"):
        regrade_run(run, catalog())
    path.unlink()
    with pytest.raises(RunError, match="no problems-repeat.jsonl"):
        regrade_run(run, catalog())
    assert contents(run)["grades.jsonl"] == before["grades.jsonl"]


def test_verdicts_of_a_grader_that_is_not_on_record_are_warned_of(run):
    facts = run.folder.read_json("config.json")
    regrade_run(run, catalog(grader=Lenient()))
    run.folder.write_json("config.json", facts)  # as if killed between the two files
    (warning,) = gather_report(run.folder).warnings
    assert "lenient/1" in warning and "records fake-integer/1" in warning and "timetrial grade" in warning


def test_a_bar_counts_all_completions(run):
    seen = []

    def watch(label, total):
        seen.append((label, total))
        return silent(label, total)

    regrade_run(run, catalog(), watch)
    assert seen[0] == ("grade", 6)
