"""Write a task of timetrial as a folder that plain `lm_eval --include_path FOLDER` runs, on any of its models.

The folder holds the problems as JSON lines, the task as YAML, and a short module that reads the problems and grades by
timetrial's public Python functions. Only grading needs timetrial, and the folder can be moved and shared.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from timetrial.catalog import Catalog
from timetrial.error import UsageError
from timetrial_plugins.lm_eval_tasks.expose import declaration, exposed_name, rows

_MODULE = '''"""Reads the problems of {name} that lie beside this file; grades by timetrial, which must be installed."""

from functools import cache
from pathlib import Path

import datasets
import jsonlines

from timetrial.catalog import open_catalog
from timetrial_plugins.lm_eval_tasks.expose import process_results as process

PROBLEMS = Path(__file__).with_name({file!r})


def dataset(**_):
    with jsonlines.open(PROBLEMS) as lines:
        return datasets.DatasetDict({{"test": datasets.Dataset.from_list(list(lines))}})


@cache
def task():
    return open_catalog().task({name!r}).load(None)


def process_results(document, results):
    return process(task(), document, results)
'''


def export_task(name: str, folder: Path, catalog: Catalog, data: Path | None = None) -> Path:
    """Write the folder of a task, and return the path of its YAML file.

    Raises:
        UnknownNameError: there is no such task.
        UsageError: one of its files is there already, or lm-eval cannot ask it.
        DataError: its data cannot be read.
    """
    task = catalog.task(name).load(data)
    stem = exposed_name(name)
    lines = (json.dumps(row, ensure_ascii=False) for row in rows(task))
    contents = {
        f"{stem}.jsonl": "".join(f"{line}\n" for line in lines),
        f"{stem}_code.py": _MODULE.format(name=name, file=f"{stem}.jsonl"),
        f"{stem}.yaml": _yaml(declaration(name, task), f"{stem}_code"),
    }
    for file in contents:
        if (folder / file).exists():
            raise UsageError(f"{folder / file} is there already: remove it, or give another folder")
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in contents.items():
        (folder / file).write_text(text, encoding="utf-8", errors="backslashreplace")
    return folder / f"{stem}.yaml"


def _yaml(declared: Mapping[str, Any], module: str) -> str:  # Any: YAML values
    """Write keys as YAML; JSON is YAML, and functions have a tag that only lm-eval knows."""
    keys = {key: json.dumps(value, ensure_ascii=False) for key, value in declared.items()}
    keys |= {
        "custom_dataset": f"!function {module}.dataset",
        "process_results": f"!function {module}.process_results",
    }
    return "".join(f"{key}: {value}\n" for key, value in keys.items())
