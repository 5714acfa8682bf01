"""Let lm-eval grade a completion, in a process of its own: some tasks hang, and some set signal handlers.

This module is imported in worker processes only (`timetrial_plugins.grading.worker`).
"""

from __future__ import annotations

import logging
from functools import cache, lru_cache
from typing import Any

from datasets import Dataset, DatasetDict
from datasets.utils import disable_progress_bars
from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks import TaskManager

from timetrial_plugins.lm_eval_tasks.answers import built
from timetrial_plugins.lm_eval_tasks.kinds import UNFILTERED

Document = dict[str, Any]  # Any: cells of a data set

logging.getLogger("lm_eval").setLevel(logging.ERROR)
disable_progress_bars()


def judge(folder: str, name: str, document: Document, text: str) -> dict[str, dict[str, Any]]:  # Any: JSON values
    """Return what a task makes of one completion: by filter, the answer it leaves and the metrics.

    Args:
        folder: where the YAML file of the task lies.
        name: of the task.
        document: a row with the columns that the task reads, before its `process_docs`.
        text: the completion.
    """
    task = _one_document_task(folder, name, tuple(document.items()))
    instance = Instance("generate_until", task.eval_docs[0], ("", {}), 0, (name, 0, 1), resps=[text])
    for pipeline in task.config.filter_list or (UNFILTERED,):
        built(pipeline).apply([instance])
    return {
        filter_name: {"answer": str(answer), "metrics": _numbers(task.process_results(instance.doc, [answer]))}
        for filter_name, answer in instance.filtered_resps.items()
    }


@cache
def _manager(folder: str) -> TaskManager:
    return TaskManager(include_path=folder, include_defaults=False)


@lru_cache(maxsize=64)  # the samples of a problem come one after the other, as a rule
def _one_document_task(folder: str, name: str, document: tuple[tuple[str, Any], ...]) -> ConfigurableTask:
    """Make the task of one document, which its own functions process."""
    rows = Dataset.from_list([dict(document)])
    manager = _manager(folder)
    config = manager.task_index[name].cfg or {}
    split = config.get("test_split") or config["validation_split"]
    examples = {"training_split": None, "fewshot_split": None, "fewshot_config": None, "num_fewshot": 0}
    one = {"task": name, "custom_dataset": lambda **_: DatasetDict({split: rows}), **examples}
    if split != config.get("validation_split"):
        one["validation_split"] = None
    task: ConfigurableTask = manager.load({"group": "timetrial", "task": [one]})["tasks"][name]
    return task


def _numbers(metrics: dict[str, Any]) -> dict[str, float]:  # Any: whatever process_results gives
    return {name: float(value) for name, value in metrics.items() if isinstance(value, int | float)}
