import json

import pytest

from timetrial.catalog import open_catalog
from timetrial.error import ConfigMismatchError, DataError, UsageError
from timetrial.spec import LoadOptions
from timetrial_distillation.rewards import labelling
from timetrial_distillation.rewards.data import open_labels
from timetrial_distillation.rewards.folder import LabelFolder
from timetrial_distillation.rewards.labelling import LabelRequest, label_steps
from timetrial_distillation.rewards.problems import ProblemChoice, open_problems
from timetrial_distillation.rewards.rollouts import RolloutConfig
from timetrial_plugins.nutshell.generator import test_problems, training_problem

OPTIONS = LoadOptions(device="cpu")


@pytest.fixture
def request_of():
    def make(count=3, rollouts=2, **choice):
        return LabelRequest(
            model="nutshell-llama",
            problems=ProblemChoice(**({"task": "nutshell", "start": 3, "count": count} | choice)),
            rollouts=RolloutConfig(samples=1, rollouts=rollouts),
        )

    return make


@pytest.fixture
def label(monkeypatch):
    monkeypatch.setattr(labelling, "BLOCK", 1)

    def run(request, out):
        return label_steps(request, out, open_catalog(), OPTIONS, batch_size=8)

    return run


def test_a_run_that_was_killed_ends_with_the_labels_of_one_that_was_not(label, request_of, tmp_path, monkeypatch):
    whole = label(request_of(), tmp_path / "whole")
    write, written = LabelFolder.write_part, []

    def dies(self, number, solutions, counts):
        if len(written) == 1 and number == 1:
            written.append("killed")
            raise KeyboardInterrupt
        written.append(number)
        write(self, number, solutions, counts)

    monkeypatch.setattr(LabelFolder, "write_part", dies)
    with pytest.raises(KeyboardInterrupt):
        label(request_of(), tmp_path / "killed")
    with pytest.raises(DataError, match="expected a finished folder"):
        open_labels([str(tmp_path / "killed")])
    assert label(request_of(), tmp_path / "killed") == whole
    assert written == [0, "killed", 1, 2]
    files = [(tmp_path / name / "labels.jsonl").read_bytes() for name in ("whole", "killed")]
    assert files[0] == files[1]
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == [
        ".lock",
        "index.json",
        "labels.jsonl",
        "request.json",
    ]


def test_labels_say_where_they_are_from_and_how_many_there_are(label, request_of, tmp_path):
    index = label(request_of(), tmp_path / "labels")
    data = open_labels([str(tmp_path / "labels")])
    assert len(data.solutions) == index["counts"]["solutions"] == 3
    assert sum(len(item.steps) for item in data.solutions) == index["counts"]["steps"]
    assert [item.problem for item in data.solutions] == [training_problem(0, 3 + n).text for n in range(3)]
    assert all(item.rollouts == (*(2,) * (len(item.steps) - 1), 1) for item in data.solutions)
    assert all(item.truth is not None for item in data.solutions)
    assert data.requests[0]["model"]["ref"] == "nutshell-llama"
    (labeller,) = data.labellers()
    assert (labeller.role, labeller.ref) == ("teacher", "nutshell-llama@1") and labeller.digest


def test_finished_labels_are_left_as_they_are_and_other_requests_refused(label, request_of, tmp_path):
    index = label(request_of(), tmp_path / "labels")
    assert label(request_of(), tmp_path / "labels") == index
    with pytest.raises(ConfigMismatchError, match="rollouts.rollouts: 2 before, 3 now"):
        label(request_of(rollouts=3), tmp_path / "labels")
    path = tmp_path / "labels" / "labels.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace("[2", "[1"), encoding="utf-8")
    with pytest.raises(DataError, match="is not what was written"):
        open_labels([str(tmp_path / "labels")])


def test_problems_come_from_the_stream_the_task_or_a_file(tmp_path):
    catalog = open_catalog()
    own = open_problems(ProblemChoice(task="nutshell", source="test", start=2, count=3), catalog)
    assert [problem.id for problem in own.problems] == [problem.id for problem in test_problems()[2:5]]
    path = tmp_path / "math.jsonl"
    lines = [{"question": f"What is 1 + {n}?", "answer": str(1 + n)} for n in range(4)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    read = open_problems(ProblemChoice(task="nutshell", source=str(path), start=1, count=2), catalog)
    assert [(problem.text, problem.gold) for problem in read.problems] == [
        ("What is 1 + 1?", "2"),
        ("What is 1 + 2?", "3"),
    ]
    assert read.truth is None and own.truth is not None
    assert len({problem.id for problem in read.problems}) == 2


def test_tasks_without_training_problems_and_files_without_answers_are_refused(tmp_path):
    catalog = open_catalog()
    with pytest.raises(UsageError, match="'math-500' has no training problems of its own"):
        open_problems(ProblemChoice(task="math-500"), catalog)
    path = tmp_path / "texts.jsonl"
    path.write_text('{"text": "a"}\n', encoding="utf-8")
    with pytest.raises(UsageError, match="has the columns text; expected one of problem, question"):
        open_problems(ProblemChoice(task="nutshell", source=str(path)), catalog)
    path.write_text('{"problem": "a", "answer": ""}\n', encoding="utf-8")
    with pytest.raises(DataError, match="texts.jsonl, line 1: expected texts"):
        open_problems(ProblemChoice(task="nutshell", source=str(path)), catalog)
    with pytest.raises(UsageError, match="has no problems from number 500 on"):
        open_problems(ProblemChoice(task="nutshell", source="test", start=500), catalog)
