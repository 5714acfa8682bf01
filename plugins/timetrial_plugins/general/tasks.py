"""lm-eval's tasks and groups by name, ready to be evaluated: definitions found, data read, overrides applied."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timetrial.catalog import Catalog
from timetrial.error import TimetrialError, UnknownNameError, UsageError
from timetrial_plugins.general.config import GeneralConfig
from timetrial_plugins.general.local_data import local_data, where_to_put
from timetrial_plugins.lm_eval_tasks.expose import PREFIX, lm_eval_config
from timetrial_plugins.lm_eval_tasks.offered import OWN_TASKS
from timetrial_plugins.lm_eval_tasks.quiet import without_advice

if TYPE_CHECKING:
    from lm_eval.api.group import Group
    from lm_eval.api.task import Task
    from lm_eval.tasks import TaskManager

FEWSHOT_SEED = 1234
"""lm-eval's default."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedTasks:
    """What was asked for: every single task, and the groups that sum some of them up."""

    tasks: Mapping[str, Task]
    groups: Mapping[str, Group]


def load_tasks(names: Sequence[str], config: GeneralConfig, catalog: Catalog) -> LoadedTasks:
    """Find the tasks, groups and tags of these names, and read their data.

    A name is lm-eval's, or that of a definition in the config's folders, or timetrial:NAME for a task of timetrial.

    Raises:
        UnknownNameError: there is no such task; offers the closest one.
        UsageError: a task's data cannot be had, or it is of a kind that no text model can be asked.
    """
    manager = _manager([name for name in names if not name.startswith(PREFIX)], config.include_paths)
    _seed()
    tasks: dict[str, Task] = {}
    groups: dict[str, Group] = {}
    with local_data(None if config.data_dir is None else Path(config.data_dir)), without_advice():
        for name in names:
            loaded = _load(manager, name, catalog)
            tasks |= loaded["tasks"]
            groups |= loaded["groups"]
    for task in tasks.values():
        _configure(task, config)
    return LoadedTasks(tasks=tasks, groups=groups)


def _manager(names: Sequence[str], include_paths: Sequence[str]) -> TaskManager:
    """Return a manager that knows the names; lm-eval's own definitions take seconds to read, so only if needed."""
    from lm_eval.tasks import TaskManager

    for path in include_paths:
        if not Path(path).is_dir():
            raise UsageError(f"--include-path {path} is no folder: expected one with task definitions (*.yaml)")
    folders = [str(OWN_TASKS), *include_paths]
    manager = TaskManager(include_path=folders, include_defaults=False)
    if all(_is_complete(manager, name) for name in names):
        return manager
    manager = TaskManager(include_path=folders)
    for name in names:
        if name not in manager.all_tasks:
            hint = "`lm_eval ls tasks` lists lm-eval's own; --include-path adds yours."
            raise UnknownNameError("task", name, manager.all_tasks, hint)
    return manager


def _is_complete(manager: TaskManager, name: str) -> bool:
    """Whether a manager knows a task, or a group with all that is in it; a tag may have more members elsewhere."""
    if name not in manager.all_groups:
        return name in manager.all_subtasks
    members = (manager.task_index[name].cfg or {}).get("task")
    return isinstance(members, list) and all(
        isinstance(member, str) and _is_complete(manager, member) for member in members
    )


def _load(manager: TaskManager, name: str, catalog: Catalog) -> Mapping[str, Any]:  # Any: tasks and groups
    is_own = name.startswith(PREFIX)
    spec = lm_eval_config(name.removeprefix(PREFIX), catalog) if is_own else name
    try:
        loaded: Mapping[str, Any] = manager.load([spec])
    except TimetrialError:
        raise
    except Exception as cause:  # whatever lm-eval, datasets or a task's own code make of it
        entry = {} if is_own else manager.task_index[name].cfg or {}
        path, subset = entry.get("dataset_path"), entry.get("dataset_name")
        what = f"{path} ({subset})" if subset else path or "the data sets of its tasks"
        raise UsageError(
            f"task {name!r} cannot be loaded with its data, {what}: {type(cause).__name__}: {cause}. Without a network "
            f"put the data into a folder, as {where_to_put(path or '<data set>', subset)}, and give --data-dir DIR"
        ) from cause
    return loaded


def _configure(task: Task, config: GeneralConfig) -> None:
    """Override what a task's definition says, by the rules of lm_eval.simple_evaluate."""
    from lm_eval.utils import simple_parse_args_string

    if getattr(task, "MULTIMODAL", False):
        raise UsageError(f"task {task.task_name!r} shows images or plays sounds: timetrial's models read text only")
    if getattr(task, "UNSAFE_CODE", False):
        raise UsageError(
            f"task {task.task_name!r} runs code that a model wrote, which lm-eval calls unsafe: run it by "
            "`timetrial-lm-eval run --model timetrial --confirm_run_unsafe_code ...` if you trust it"
        )
    if config.generation and task.get_config("output_type") == "generate_until":
        task.set_config(key="generation_kwargs", value=simple_parse_args_string(config.generation), update=True)
    told = task.get_config("num_fewshot")
    if config.num_fewshot is not None and told != 0:  # a definition that says 0 means it
        task.set_config(key="num_fewshot", value=config.num_fewshot)
    elif told is None:
        task.set_config(key="num_fewshot", value=0)
    task.set_fewshot_seed(seed=FEWSHOT_SEED)


def _seed() -> None:
    """Seed what task definitions may draw from while they prepare their documents, as lm-eval does."""
    import numpy as np

    random.seed(0)
    np.random.seed(FEWSHOT_SEED)
