"""A generation task of lm-eval as a task of timetrial: the same problems, prompts, answers and verdicts."""

import json

import pytest

from timetrial.error import DataError, UsageError
from timetrial.testing import TaskContract
from timetrial_plugins.lm_eval_tasks.task import load_named

from lm_eval.tasks import TaskManager  # isort: skip  # a package of its own


def load(folder, text, data=None):
    return load_named(f"{folder}/{text}", data)


def asked_by_lm_eval(folder, name, *, chat):
    """The contexts that lm-eval itself builds, as text or as turns."""
    task = TaskManager(include_path=str(folder), include_defaults=False).load([name])["tasks"][name]
    task.set_fewshot_seed(1234)
    template = {"apply_chat_template": True, "fewshot_as_multiturn": True, "chat_template": lambda turns, **_: turns}
    task.build_all_requests(limit=None, rank=0, world_size=1, **(template if chat else {}))
    return [instance.args[0] for instance in task.instances]


@pytest.mark.parametrize("name", ["sums", "hinted", "several"])
def test_plain_prompts_are_lm_evals_word_for_word(tasks_folder, name):
    task = load(tasks_folder, name)
    prompts = [task.prompt(problem) for problem in task.problems()]
    assert [prompt.plain + prompt.start for prompt in prompts] == asked_by_lm_eval(tasks_folder, name, chat=False)


@pytest.mark.parametrize("name", ["sums", "hinted"])
def test_chat_turns_are_lm_evals_word_for_word(tasks_folder, name):
    task = load(tasks_folder, name)
    for problem, turns in zip(task.problems(), asked_by_lm_eval(tasks_folder, name, chat=True), strict=True):
        prompt = task.prompt(problem)
        begun = [{"role": "assistant", "content": prompt.start}] if prompt.start else []
        assert [{"role": role, "content": text} for role, text in prompt.messages] + begun == turns


def test_a_prompt_does_not_depend_on_which_was_asked_for_first(tasks_folder):
    forth, back = load(tasks_folder, "sums"), load(tasks_folder, "sums")
    first = [forth.prompt(problem) for problem in forth.problems()]
    assert first == [back.prompt(problem) for problem in reversed(back.problems())][::-1]


def test_worked_examples_can_be_left_out(tasks_folder):
    task = load(tasks_folder, "sums:fewshot=0")
    problem = task.problems()[0]
    assert task.prompt(problem).plain == "Add.\n\nQ: What is 20 + 1?\nA:"


def test_what_a_model_may_write_is_what_the_task_says(tasks_folder):
    task = load(tasks_folder, "sums")
    assert (task.max_tokens, task.stop) == (17, ("Q:",))


def test_answers_are_read_by_the_filter_asked_for(tasks_folder):
    text = "it is 1,234 or 21."
    assert load(tasks_folder, "sums").extract(text) == "1,234"
    assert load(tasks_folder, "sums:filter=last").extract(text) == "21"
    assert load(tasks_folder, "sums").extract("21") is None


def test_a_target_that_is_a_list_names_several_right_answers(tasks_folder):
    task = load(tasks_folder, "several")
    problem = task.problems()[0]
    assert json.loads(problem.gold) == ["21", "many"]
    assert [bool(task.grader.grade(problem.gold, answer).correct) for answer in ("21", "MANY", "2")] == [1, 1, 0]


def test_timetrials_grader_reads_formulas(tasks_folder):
    task = load(tasks_folder, "own_code:grader=math")
    problem = task.problems()[0]
    answer = task.extract(r"Therefore $\boxed{\frac{42}{2}}$")
    assert task.grader.grade(problem.gold, answer).correct


def test_the_version_names_prompts_and_filter(tasks_folder):
    versions = [load(tasks_folder, name).version for name in ("sums", "sums:filter=last", "sums:fewshot=0", "hinted")]
    assert len(set(versions)) == 4
    assert all(version.startswith("2-") for version in versions)
    assert load(tasks_folder, "sums").version == versions[0]


@pytest.mark.parametrize("form", ["file", "folder", "parquet"])
def test_rows_may_come_from_files(tasks_folder, tmp_path, form):
    rows = [{"q": "What is 3 + 4?", "a": "7", "hint": ""}]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if form == "parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "rows.parquet")
    (tmp_path / "test.jsonl").write_text(text)
    data = {"file": tmp_path / "test.jsonl", "folder": tmp_path, "parquet": tmp_path / "rows.parquet"}[form]
    task = load(tasks_folder, "sums:fewshot=0", data)
    assert [(problem.id, problem.gold) for problem in task.problems()] == [("test-00000", "7")]


def test_worked_examples_that_are_not_there_are_asked_for(tasks_folder, tmp_path):
    (tmp_path / "test.jsonl").write_text('{"q": "What is 3 + 4?", "a": "7", "hint": ""}\n')
    with pytest.raises(UsageError, match=r"2 worked examples from the split 'train'.*fewshot=0"):
        load(tasks_folder, "sums", tmp_path / "test.jsonl").problems()
    (tmp_path / "train.jsonl").write_text(
        '{"q": "1 + 1?", "a": "2", "hint": ""}\n{"q": "2 + 2?", "a": "4", "hint": ""}\n'
    )
    assert (
        "A: 4\n\n"
        in load(tasks_folder, "sums", tmp_path).prompt(load(tasks_folder, "sums", tmp_path).problems()[0]).plain
    )


def test_rows_that_do_not_fit_the_task_are_refused(tasks_folder, tmp_path):
    (tmp_path / "test.jsonl").write_text('{"question": "What is 3 + 4?"}\n')
    with pytest.raises(DataError, match="with the columns that the task reads"):
        load(tasks_folder, "sums:fewshot=0", tmp_path / "test.jsonl").problems()


def test_a_folder_without_the_evaluated_split_says_so(tasks_folder, tmp_path):
    (tmp_path / "train.jsonl").write_text('{"q": "1 + 1?", "a": "2", "hint": ""}\n')
    with pytest.raises(DataError, match="has no test.jsonl"):
        load(tasks_folder, "sums", tmp_path).problems()


def test_local_rows_are_read_without_advice_about_lm_evals_own_options(tasks_folder, caplog, capsys):
    load(tasks_folder, "sums").problems()
    assert "Custom kwargs" not in caplog.text and capsys.readouterr().err == ""


def test_reading_and_grading_need_no_data(tasks_folder, tmp_path):
    task = load(tasks_folder, "sums", tmp_path / "gone.jsonl")
    assert task.grader.grade("21", task.extract("it is 21")).correct


class TestContract(TaskContract):
    @pytest.fixture(params=["sums", "hinted", "sums:filter=last:fewshot=0", "own_code:grader=math"])
    def task(self, request, tasks_folder):
        return load(tasks_folder, request.param)
