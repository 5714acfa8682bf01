"""A task of timetrial as a task of lm-eval: asked by lm-eval, graded by timetrial, inline or as an exported folder."""

import json

import pytest
from lm_eval.api.model import LM
from lm_eval.evaluator import simple_evaluate
from lm_eval.tasks import TaskManager

from timetrial.catalog import Catalog, Offer, open_catalog
from timetrial.error import UsageError
from timetrial.record import Message, Prompt, Verdict
from timetrial.spec import Origin, TaskSpec
from timetrial.testing import FakeGrader, FakeTask
from timetrial_plugins.lm_eval_tasks.export import export_task
from timetrial_plugins.lm_eval_tasks.expose import exposed_name, lm_eval_config
from timetrial_plugins.nutshell.generator import test_problems as nutshell_problems

SYSTEM = "Repeat {{it}} in \\boxed{answer}, {% now %}."


class Doubting(FakeGrader):
    """Cannot tell 11, and breaks down at 48."""

    def grade(self, gold, answer):
        if answer == "48":
            raise RuntimeError("no")
        return Verdict(correct=None, reason="undecided: it is 11") if answer == "11" else super().grade(gold, answer)


class PosedTask(FakeTask):
    """Repeats numbers, after the turns given."""

    stop = ("\n\n",)

    def __init__(self, *turns, start=""):
        super().__init__()
        self.turns, self.start = turns, start
        self.grader = Doubting()

    def prompt(self, problem):
        messages = (*(Message(*turn) for turn in self.turns), Message("user", problem.text))
        return Prompt(problem=problem.id, messages=messages, start=self.start)


class Repeater(LM):
    """Answers what comes after "Repeat:", but nothing to 85 and wrongly to 122; remembers what it was asked."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def generate_until(self, requests, disable_tqdm=False):
        self.asked += [request.args for request in requests]
        numbers = [context.rpartition("Repeat: ")[2].strip() for context, _ in self.asked]
        return [{"85": "I cannot", "122": "It is 7"}.get(number, f"It is {number}") for number in numbers]

    def loglikelihood(self, requests):
        raise NotImplementedError

    def loglikelihood_rolling(self, requests):
        raise NotImplementedError


def catalog(task):
    spec = TaskSpec(name="repeat", load=lambda path: task, doc="")
    return Catalog([Offer(spec=spec, origin=Origin(plugin="fakes", distribution="fakes", version="1"))])


def evaluated(config):
    model = Repeater()
    known = TaskManager(include_defaults=False)
    return model, simple_evaluate(model, tasks=[config], task_manager=known, log_samples=False, bootstrap_iters=0)


def test_lm_eval_asks_the_problems_and_timetrial_grades_them():
    """Eight problems: 11 is in doubt, 48 breaks the grader, 85 gets no answer, 122 a wrong one, four are right."""
    model, outcome = evaluated(lm_eval_config("repeat", catalog(PosedTask(("system", SYSTEM)))))
    figures = outcome["results"]["timetrial_repeat"]
    assert (figures["exact_match,none"], figures["unknown,none"], figures["no_answer,none"]) == (4 / 8, 2 / 8, 1 / 8)
    context, arguments = model.asked[0]
    assert context == f"{SYSTEM}\n\nRepeat: 11"
    assert arguments["until"] == ["\n\n"] and arguments["max_gen_toks"] == 64 and not arguments["do_sample"]


def test_the_system_prompt_is_a_turn_of_its_own_with_a_chat_template():
    task = TaskManager(include_defaults=False).load([lm_eval_config("repeat", catalog(PosedTask(("system", SYSTEM))))])
    task = task["tasks"]["timetrial_repeat"]
    turns = task.fewshot_context(
        task.eval_docs[0], num_fewshot=0, apply_chat_template=True, chat_template=lambda turns, **_: turns
    )
    assert [(turn["role"], turn["content"].strip()) for turn in turns] == [("system", SYSTEM), ("user", "Repeat: 11")]


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        (PosedTask(("user", "1"), ("assistant", "2")), "the turns user, assistant, user"),
        (PosedTask(start="It is"), "the beginning of the answer"),
    ],
)
def test_a_task_that_poses_more_than_a_question_is_refused(task, reason):
    with pytest.raises(UsageError, match=reason):
        lm_eval_config("repeat", catalog(task))


def test_system_prompts_that_differ_are_refused():
    task = PosedTask()
    task.prompt = lambda problem: Prompt(
        problem=problem.id, messages=(Message("system", problem.id), Message("user", problem.text))
    )
    with pytest.raises(UsageError, match="different system prompts"):
        lm_eval_config("repeat", catalog(task))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    export_task("nutshell", folder, open_catalog())
    return folder


def test_an_exported_folder_is_run_by_plain_lm_eval(exported):
    """Its own YAML, rows and module are all that lm-eval sees, and the grades are timetrial's."""
    task = TaskManager(include_path=str(exported), include_defaults=False).load(["timetrial_nutshell"])
    task = task["tasks"]["timetrial_nutshell"]
    problems = nutshell_problems()
    assert [doc["question"] for doc in task.eval_docs] == [problem.text for problem in problems]
    right = task.process_results(task.eval_docs[0], [problems[0].solution])
    assert right == {"exact_match": 1.0, "unknown": 0.0, "no_answer": 0.0}
    wrong = task.process_results(task.eval_docs[0], ["The final answer is 999"])
    assert wrong["exact_match"] == 0.0
    assert task.process_results(task.eval_docs[0], ["hm"])["no_answer"] == 1.0


def test_an_export_holds_rows_that_anybody_can_read(exported):
    lines = (exported / "timetrial_nutshell.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[0]) == {"id": "nutshell-test-000", "question": nutshell_problems()[0].text, "gold": "12"}


def test_an_export_overwrites_nothing(exported):
    with pytest.raises(UsageError, match="is there already"):
        export_task("nutshell", exported, open_catalog())


def test_names_become_what_lm_eval_can_write():
    assert exposed_name("lm-eval:gsm8k:fewshot=0") == "timetrial_lm_eval_gsm8k_fewshot_0"
