"""The tasks: prompts word for word, data from any source, errors that name file and line."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from timetrial.error import DataError, UsageError
from timetrial.protocol import Task
from timetrial.testing import TaskContract
from timetrial_plugins.tasks import gsm8k_500, math_500, nutshell
from timetrial_plugins.tasks.plugin import timetrial_tasks

DATA = Path(__file__).parents[4] / "shared" / "data"
MATH_ROWS = [
    {"problem": "What is $1+1$?", "solution": "...", "answer": "2", "subject": "Algebra", "level": 1, "unique_id": "a"},
    {
        "problem": "Half?",
        "solution": "...",
        "answer": r"\frac{1}{2}",
        "subject": "Algebra",
        "level": 5,
        "unique_id": "b",
    },
]


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def gsm8k_rows(number: int = gsm8k_500.NUM_TEST_ROWS) -> list[dict[str, object]]:
    return [{"question": f"What is {row}?", "answer": f"It is {row}.\n#### {row:,}"} for row in range(number)]


class TestNutshellContract(TaskContract):
    @pytest.fixture
    def task(self) -> Task:
        return nutshell.load(None)


class TestMath500Contract(TaskContract):
    @pytest.fixture
    def task(self, tmp_path: Path) -> Task:
        return math_500.load(write(tmp_path / "math.jsonl", MATH_ROWS))


class TestGsm8k500Contract(TaskContract):
    @pytest.fixture
    def task(self, tmp_path: Path) -> Task:
        return gsm8k_500.load(write(tmp_path / "gsm8k.jsonl", gsm8k_rows()))


def test_the_math_prompt_is_the_papers() -> None:
    assert math_500.SYSTEM_PROMPT.split("\n\n") == [
        "Solve the following math problem efficiently and clearly:",
        "- For simple problems (2 steps or fewer):\nProvide a concise solution with minimal explanation.",
        "- For complex problems (3 steps or more):\nUse this step-by-step format:",
        "## Step 1: [Concise description]\n[Brief explanation and calculations]",
        "## Step 2: [Concise description]\n[Brief explanation and calculations]",
        "...",
        "Regardless of the approach, always conclude with:",
        "Therefore, the final answer is: $\\boxed{answer}$. I hope it is correct.",
        "Where [answer] is just the final number or expression that solves the problem.",
    ]


def test_the_gsm8k_prompt_is_the_papers() -> None:
    assert gsm8k_500.SYSTEM_PROMPT.split("\n") == [
        "Given the following problem, reason and give a final answer to the problem.",
        'Your response should end with "The final answer is [answer]" where [answer] is the response to the problem.',
        "Problem:",
    ]


def test_math_problems_keep_ids_levels_and_gold_answers(tmp_path: Path) -> None:
    task = math_500.load(write(tmp_path / "math.jsonl", MATH_ROWS))
    assert [(p.id, p.gold, p.level, p.subject) for p in task.problems()] == [
        ("a", "2", 1, "Algebra"),
        ("b", r"\frac{1}{2}", 5, "Algebra"),
    ]
    prompt = task.prompt(task.problems()[0])
    assert [message.role for message in prompt.messages] == ["system", "user"]
    assert prompt.messages[1].content == "What is $1+1$?"
    assert (task.max_tokens, task.stop) == (2048, ())


def test_a_parquet_file_gives_the_same_task(tmp_path: Path) -> None:
    path = tmp_path / "math.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(MATH_ROWS), path)
    assert math_500.load(path).version == math_500.load(write(tmp_path / "math.jsonl", MATH_ROWS)).version


def test_the_version_changes_with_the_data(tmp_path: Path) -> None:
    one = math_500.load(write(tmp_path / "one.jsonl", MATH_ROWS))
    other = math_500.load(write(tmp_path / "other.jsonl", [{**MATH_ROWS[0], "answer": "3"}, MATH_ROWS[1]]))
    assert one.version != other.version


def test_the_gsm8k_subset_is_the_documented_draw() -> None:
    drawn = random.Random("timetrial gsm8k-500").sample(range(1319), 500)
    assert gsm8k_500.subset_rows() == tuple(sorted(drawn))


def test_gsm8k_golds_follow_the_mark(tmp_path: Path) -> None:
    task = gsm8k_500.load(write(tmp_path / "gsm8k.jsonl", gsm8k_rows()))
    rows = gsm8k_500.subset_rows()
    assert [problem.id for problem in task.problems()] == [f"gsm8k-test-{row:04d}" for row in rows]
    assert [problem.gold for problem in task.problems()] == [f"{row:,}" for row in rows]
    last = task.problems()[-1]
    assert task.grader.grade(last.gold, task.extract(f"The final answer is {rows[-1]}") or "").correct is True


def test_the_nutshell_asks_in_one_user_turn() -> None:
    task = nutshell.load(None)
    problem = task.problems()[0]
    assert [message.role for message in task.prompt(problem).messages] == ["user"]
    assert task.extract(f"...\n\nThe final answer is {problem.gold}") == problem.gold
    assert {p.level for p in task.problems()} == {1, 2, 3, 4, 5}
    with pytest.raises(UsageError, match="takes no data file"):
        nutshell.load(Path("some.jsonl"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": None}, "line 2: column 'answer' holds None: expected text"),
        ({"level": "Level 9"}, "line 2: column 'level' holds 'Level 9': expected 1 to 5"),
        ({"unique_id": "a"}, "line 2: the unique_id 'a' occurs twice"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = write(tmp_path / "math.jsonl", [MATH_ROWS[0], {**MATH_ROWS[1], **change}])
    with pytest.raises(DataError) as caught:
        math_500.load(path).problems()
    assert str(caught.value) == f"{path}, {message}"


def test_a_missing_column_offers_the_closest_one(tmp_path: Path) -> None:
    path = write(tmp_path / "math.jsonl", [{"problem": "?", "answr": "2", "unique_id": "a"}])
    with pytest.raises(DataError, match=r"line 1: no column 'answer'; did you mean 'answr'\?.*answr, problem, unique"):
        math_500.load(path).problems()


def test_a_line_that_is_no_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "math.jsonl"
    path.write_text(json.dumps(MATH_ROWS[0]) + "\n{oops\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 2: not a JSON object"):
        math_500.load(path).problems()


def test_files_that_hold_no_rows_are_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n", encoding="utf-8")
    with pytest.raises(DataError, match="the file is empty"):
        math_500.load(empty).problems()
    with pytest.raises(DataError, match="give an existing file"):
        math_500.load(tmp_path / "absent.jsonl").problems()


def test_gsm8k_wants_the_whole_test_set(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has 20 rows: the subset is defined on the whole test set of 1,319"):
        gsm8k_500.load(write(tmp_path / "gsm8k.jsonl", gsm8k_rows(20))).problems()
    with pytest.raises(DataError, match="line 1: column 'answer' does not end in '####'"):
        gsm8k_500.load(write(tmp_path / "gsm8k.jsonl", [{"question": "?", "answer": "7"}])).problems()


@pytest.mark.parametrize(
    ("load", "name", "rows"),
    [(math_500.load, "math500.jsonl", MATH_ROWS), (gsm8k_500.load, "gsm8k_test.jsonl", gsm8k_rows())],
)
def test_the_data_folder_is_set_once(
    load: Callable[[Path | None], Task],
    name: str,
    rows: list[dict[str, object]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TIMETRIAL_DATA", str(tmp_path))
    with pytest.raises(UsageError, match=name):
        load(None).problems()
    path = write(tmp_path / name, rows)
    assert load(None).version == load(path).version


@pytest.mark.parametrize(("load", "task"), [(math_500.load, "math-500"), (gsm8k_500.load, "gsm8k-500")])
def test_without_internet_the_error_says_what_to_give(
    load: Callable[[Path | None], Task], task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    def offline(*arguments: object, **options: object) -> None:
        raise ConnectionError("couldn't reach the Hub")

    monkeypatch.delenv("TIMETRIAL_DATA", raising=False)
    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(DataError, match=rf"couldn't reach the Hub.*--data {task}=FILE.*TIMETRIAL_DATA"):
        load(None).problems()


def test_a_hub_data_set_is_read_by_its_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked: list[tuple[object, ...]] = []

    def load_dataset(name: str, config: str | None, *, split: str) -> datasets.Dataset:
        asked.append((name, config, split))
        return datasets.Dataset.from_list(MATH_ROWS if "MATH" in name else gsm8k_rows())

    monkeypatch.delenv("TIMETRIAL_DATA", raising=False)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert [problem.id for problem in math_500.load(None).problems()] == ["a", "b"]
    assert len(gsm8k_500.load(None).problems()) == 500
    assert asked == [("HuggingFaceH4/MATH-500", None, "test"), ("openai/gsm8k", "main", "test")]


def test_discovery_imports_nothing_heavy() -> None:
    code = (
        "import sys, timetrial_plugins.tasks.plugin, timetrial_plugins.rewards.plugin\n"
        "print([m for m in ('torch', 'transformers', 'datasets', 'sympy', 'mpmath', 'numpy') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_plugin_offers_the_tasks_by_name() -> None:
    specs = {spec.name: spec for spec in timetrial_tasks()}
    assert set(specs) == {"math-500", "gsm8k-500", "nutshell"}
    assert len(specs["nutshell"].load(None).problems()) == 200


@pytest.mark.skipif(not (DATA / "math500.jsonl").is_file(), reason="no shared data")
def test_the_real_files_load() -> None:
    assert len(math_500.load(DATA / "math500.jsonl").problems()) == 500
    assert len(gsm8k_500.load(DATA / "gsm8k_test.jsonl").problems()) == 500
