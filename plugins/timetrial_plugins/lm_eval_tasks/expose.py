"""A task of timetrial as a task of lm-eval: asked by lm-eval, read and graded by timetrial.

lm-eval asks once, greedily. Its metrics are exact_match, the share of right answers; unknown, the share that the grader
cannot judge, which count as wrong; and no_answer, the share of completions that give none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timetrial.catalog import Catalog
from timetrial.error import UsageError
from timetrial.protocol import Task
from timetrial.record import Problem
from timetrial.stages.judge import Graders

if TYPE_CHECKING:
    import datasets

PREFIX = "timetrial:"
"""How the name of a task of timetrial begins where lm-eval's names can stand."""
METRICS = {"exact_match": True, "unknown": False, "no_answer": False}
"""Each with whether higher is better."""
TURN_BREAK = "\n\n"
"""Between the system prompt and the problem where no chat template stands between them, as lm-eval's own tasks end
theirs; templates trim it."""


def lm_eval_config(name: str, catalog: Catalog, data: Path | None = None) -> dict[str, Any]:  # Any: an inline config
    """Return the inline config of a task of timetrial, which `TaskManager.load` and `simple_evaluate` take.

    Raises:
        UnknownNameError: there is no such task.
        UsageError: its prompts are more than a system prompt and one question.
        DataError: its data cannot be read.
    """
    task = catalog.task(name).load(data)

    def make_dataset(**_: object) -> datasets.DatasetDict:
        import datasets  # slow to import

        return datasets.DatasetDict({"test": datasets.Dataset.from_list(rows(task))})

    def grade(document: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
        return process_results(task, document, results)

    return {**declaration(name, task), "custom_dataset": make_dataset, "process_results": grade}


def declaration(name: str, task: Task) -> dict[str, Any]:  # Any: YAML values
    """Return what can be said of a task in YAML: all but where its rows are, and how it is graded."""
    return {
        "task": exposed_name(name),
        "output_type": "generate_until",
        "test_split": "test",
        "num_fewshot": 0,
        "repeats": 1,
        "description": _description(name, task),
        "doc_to_text": "question",
        "doc_to_target": "gold",
        "generation_kwargs": {
            "until": list(task.stop),
            "max_gen_toks": task.max_tokens,
            "do_sample": False,
            "temperature": 0.0,
        },
        "metric_list": [
            {"metric": metric, "aggregation": "mean", "higher_is_better": better} for metric, better in METRICS.items()
        ],
        "metadata": {"version": task.version},
    }


def exposed_name(name: str) -> str:
    """Return what lm-eval calls a task of timetrial: timetrial_math_500."""
    return "timetrial_" + re.sub(r"\W+", "_", name, flags=re.ASCII)


def rows(task: Task) -> list[dict[str, str]]:
    """Return the problems as rows of a data set; the question is the user's turn of the prompt."""
    return [
        {"id": problem.id, "question": task.prompt(problem).messages[-1].content, "gold": problem.gold}
        for problem in task.problems()
    ]


def process_results(task: Task, document: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """Grade the one completion of a document as `timetrial run` does; a doubt is counted apart, and as wrong."""
    answer = task.extract(results[0])
    if answer is None:
        return {"exact_match": 0.0, "unknown": 0.0, "no_answer": 1.0}
    verdict = Graders(grader=task.grader).judge(document["gold"], answer).verdict
    return {"exact_match": float(verdict.correct is True), "unknown": float(verdict.correct is None), "no_answer": 0.0}


def _description(name: str, task: Task) -> str:
    """Return the system prompt that all problems share, safe from lm-eval's template language."""
    prompts = [_system_prompt(name, task, problem) for problem in task.problems()]
    if len(set(prompts)) > 1:
        raise UsageError(f"the task {name!r} cannot be given to lm-eval: its problems have different system prompts")
    return f"{{% raw %}}{prompts[0]}{{% endraw %}}{TURN_BREAK}" if prompts[0] else ""


def _system_prompt(name: str, task: Task, problem: Problem) -> str:
    prompt = task.prompt(problem)
    roles = [message.role for message in prompt.messages]
    if roles not in (["user"], ["system", "user"]) or prompt.start:
        raise UsageError(
            f"the task {name!r} cannot be given to lm-eval: its prompts have the turns {', '.join(roles)}"
            f"{', and the beginning of the answer' if prompt.start else ''}; expected one question, after a system "
            "prompt or not"
        )
    return prompt.messages[0].content if len(roles) == 2 else ""
