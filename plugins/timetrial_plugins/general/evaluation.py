"""One task on one model by lm-eval's own evaluation, and its outcome as records."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from timetrial.blame import blaming
from timetrial.general_record import GeneralResult, TaskKind
from timetrial.spec import Origin
from timetrial_plugins.general.config import GeneralConfig
from timetrial_plugins.general.model import TimetrialLM

if TYPE_CHECKING:
    from lm_eval.api.group import Group
    from lm_eval.api.task import Task

Facts = Mapping[str, Any]  # Any: as lm-eval gives them


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """What all results of a model in one command share."""

    model: str
    checkpoint: str
    environment: str
    lm_eval_version: str
    config: GeneralConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluated:
    """A finished task."""

    results: tuple[GeneralResult, ...]
    samples: tuple[Facts, ...]
    """Each a document under one filter, with lm-eval's keys."""


def evaluate(lm: TimetrialLM, task: Task, setting: Setting) -> Evaluated:
    """Ask a model all requests of a task and compute its metrics.

    Raises:
        TimetrialError: the task asks for what the model cannot do.
        PluginError: the task's own code failed, or lm-eval's.
    """
    from lm_eval.evaluator import evaluate as run

    config, name = setting.config, task.task_name
    before = lm.request_s
    with blaming(f"task {name!r}", Origin(plugin="lm-eval", distribution="lm-eval", version=setting.lm_eval_version)):
        outcome = run(
            lm,
            {"tasks": {name: task}, "groups": {}},
            limit=config.limit,
            log_samples=True,
            system_instruction=config.system_instruction,
            apply_chat_template=config.apply_chat_template,
            fewshot_as_multiturn=config.apply_chat_template and config.fewshot_as_multiturn,
        )
    samples = tuple(outcome["samples"][name])
    facts = {
        "task_version": str(outcome["versions"][name]),
        "num_fewshot": outcome["n-shot"][name],
        "task_hash": _hash(sample[part] for sample in samples for part in ("doc_hash", "prompt_hash", "target_hash")),
        "wall_s": lm.request_s - before,
    }
    results = _results(setting, name, outcome["results"][name], facts, outcome["higher_is_better"][name])
    return Evaluated(results=tuple(results), samples=samples)


def aggregate(group: Group, results: Iterable[GeneralResult], setting: Setting) -> Iterator[GeneralResult]:
    """Yield the metrics of a group from those of its tasks, by lm-eval's own rule for the group."""
    by_task: dict[str, dict[str, Any]] = {}  # Any: numbers, and lm-eval's "N/A"
    leaves = [task.task_name for task in group.get_all_tasks()]
    known = [result for result in results if result.model == setting.model and result.task in leaves]
    for result in known:
        metrics = by_task.setdefault(result.task, {"sample_len": result.num_docs})
        metrics[f"{result.metric},{result.filter}"] = result.value
        error = result.standard_error
        metrics[f"{result.metric}_stderr,{result.filter}"] = "N/A" if error is None else error
    shots = {result.num_fewshot for result in known}
    of_task = {result.task: result for result in known}
    facts = {
        "kind": "group",
        "task_version": group.version,
        "num_fewshot": shots.pop() if len(shots) == 1 else None,
        "task_hash": _hash(of_task[name].task_hash for name in sorted(of_task)),
        "wall_s": sum(result.wall_s for result in of_task.values()),
    }
    better = {result.metric: result.higher_is_better for result in known}
    yield from _results(setting, group.name, group.aggregate(by_task), facts, better)


def _results(
    setting: Setting, task: str, metrics: Facts, facts: Facts, higher_is_better: Facts
) -> Iterator[GeneralResult]:
    """Yield a record for each of lm-eval's metrics, whose keys are "<metric>,<filter>"."""
    kind: TaskKind = facts.get("kind", "task")
    for key, value in metrics.items():
        metric, comma, filter_name = key.partition(",")
        if not comma or metric.endswith("_stderr"):
            continue
        yield GeneralResult(
            model=setting.model,
            task=task,
            metric=metric,
            filter=filter_name,
            value=_number(value),
            standard_error=_number(metrics.get(f"{metric}_stderr,{filter_name}")),
            higher_is_better=higher_is_better.get(metric),
            limit=setting.config.limit,
            num_docs=int(metrics["sample_len"]),
            lm_eval_version=setting.lm_eval_version,
            chat_template=setting.config.apply_chat_template,
            environment=setting.environment,
            checkpoint=setting.checkpoint,
            **{**facts, "kind": kind},
        )


def _number(value: Any) -> float | None:  # Any: lm-eval's numbers are numpy's, and "N/A" where there is none
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _hash(parts: Iterable[str]) -> str:
    return hashlib.sha256("".join(parts).encode("utf-8")).hexdigest()


def sample_line(sample: Facts) -> str:
    """Return a sample as a line of JSON; what JSON has no word for is written as text."""
    return json.dumps(sample, ensure_ascii=False, default=str) + "\n"
