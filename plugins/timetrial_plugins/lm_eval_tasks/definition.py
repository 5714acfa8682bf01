"""Find a task of lm-eval and read what its YAML files say of it, without its data.

lm-eval parses all its 14,000 files before it knows one task by name, which takes many seconds. Here a file of the name
itself is tried first, and then the files are searched for the line that names the task, which takes one or two.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timetrial.error import UnknownNameError, UsageError
from timetrial_plugins.lm_eval_tasks.reference import Reference

if TYPE_CHECKING:
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.tasks import TaskManager

_NAMING = re.compile(rb"""^["']?(?:task|group)["']?:[ \t]*["']?([^\s"'#]+)""", re.MULTILINE)
"""The line of a YAML file that names a task or group; names of a group's tasks are indented."""
MISSING = (
    "tasks of lm-eval need the package lm-eval, which is not installed: `pip install 'timetrial[lm-eval]'` installs it."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Definition:
    """What the YAML files say of one task."""

    name: str
    config: Mapping[str, Any]  # Any: whatever YAML can hold
    """All keys, those of included files too; functions by their names only, as not even their modules are imported."""
    folder: Path
    """Where its YAML file lies."""
    manager: TaskManager
    """Knows the task by name, and those that lie beside it."""

    def build(self, **overrides: object) -> ConfigurableTask:
        """Make lm-eval's task object, some keys replaced; this is where its data is read.

        Raises:
            Exception: whatever lm-eval, datasets or the task's own functions raise.
        """
        group = {"group": "timetrial", "task": [{"task": self.name, **overrides}]}
        task: ConfigurableTask = self.manager.load(group)["tasks"][self.name]
        return task


def read_definition(reference: Reference) -> Definition:
    """Find and read the definition of a task.

    Raises:
        UnknownNameError: lm-eval knows no task of that name; offers the closest one.
        UsageError: lm-eval is not installed, there is no such folder, or the name is that of several tasks.
    """
    try:
        from lm_eval.tasks import TaskManager
    except ImportError as cause:
        raise UsageError(MISSING) from cause
    name, folder = reference.name, reference.folder
    if folder is not None and not folder.is_dir():
        raise UsageError(f"lm-eval:{folder}/{name}: there is no folder {folder}")
    manager = TaskManager(include_path=str(folder or _folder_of(name)), include_defaults=False)
    if name not in manager.task_index:
        raise UnknownNameError("task of lm-eval", name, manager.all_tasks, f"It is not in {folder}.")
    if name not in manager.all_subtasks:
        raise UsageError(f"{name!r} of lm-eval is the name of several tasks: {_members(manager, name)}. Ask for one")
    entry = manager.task_index[name]
    assert entry.yaml_path is not None, "a single task in the index was read from a file"
    return Definition(name=name, config=entry.cfg or {}, folder=Path(entry.yaml_path).parent, manager=manager)


def _folder_of(name: str) -> Path:
    """Return the folder among lm-eval's own where a task or group of that name is defined.

    Raises:
        UnknownNameError: there is none; offers the closest one.
    """
    import lm_eval.tasks

    own = Path(lm_eval.tasks.__file__).parent
    for path in sorted(own.glob(f"**/{glob.escape(name)}.yaml")):
        if name in _names(path):
            return path.parent
    known: dict[str, Path] = {}
    for path in sorted(own.rglob("*.yaml")):
        for found in _names(path):
            known.setdefault(found, path.parent)
    if name not in known:
        raise UnknownNameError("task of lm-eval", name, known, "`lm_eval ls tasks` lists them.")
    return known[name]


def _names(path: Path) -> Iterator[str]:
    """Yield what a file defines."""
    return (match.decode("utf-8", "replace") for match in _NAMING.findall(path.read_bytes()))


def _members(manager: TaskManager, name: str) -> str:
    """Name some of the tasks that a group or tag stands for."""
    entry = manager.task_index[name]
    if entry.cfg is None:  # a tag, which no file defines
        names = sorted(entry.tags)
    else:
        listed = entry.cfg.get("task") or []
        names = [item if isinstance(item, str) else str(item.get("task")) for item in listed]
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
