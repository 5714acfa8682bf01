"""General benchmarks from names to a run folder: model by model, task by task, finished ones not again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from timetrial.catalog import Catalog
from timetrial.environment import describe_environment, environment_entry, environment_key
from timetrial.environment_record import EnvironmentRecord
from timetrial.error import ConfigMismatchError
from timetrial.general_record import GENERAL_ENTRY, GeneralResult, samples_file
from timetrial.loading import LocatedModel, locate_model
from timetrial.plan import CONFIG_FILE
from timetrial.progress import ProgressFactory
from timetrial.spec import LoadOptions
from timetrial.store import RunFolder
from timetrial_plugins.general.config import GeneralConfig, differences, to_json
from timetrial_plugins.general.evaluation import Evaluated, Setting, aggregate, evaluate, sample_line
from timetrial_plugins.general.model import TimetrialLM
from timetrial_plugins.general.opening import open_located
from timetrial_plugins.general.tasks import LoadedTasks, load_tasks

Facts = dict[str, Any]  # Any: JSON-ready


@dataclass(frozen=True, kw_only=True, slots=True)
class GeneralRun:
    """What to evaluate, where to store it, and whom to tell."""

    models: Sequence[str]
    tasks: Sequence[str]
    """Names of tasks, groups and tags, as lm-eval has them."""
    config: GeneralConfig
    folder: RunFolder
    catalog: Catalog
    lm_eval_version: str
    progress: ProgressFactory
    warn: Callable[[str], None]

    def run(self) -> list[GeneralResult]:
        """Evaluate what is missing; return the results of these models on these tasks and groups.

        Raises:
            TimetrialError: something the user can mend; all finished tasks are kept.
        """
        models = {ref: locate_model(ref, self.catalog) for ref in dict.fromkeys(self.models)}
        with self.folder.locked():
            self._check_continues(models)
            with self.progress("reading tasks and their data", 0):
                loaded = load_tasks(self.tasks, self.config, self.catalog)
            self._check_versions(loaded)
            self._warn_of_shots(loaded)
            self._write_config(models)
            for ref, located in models.items():
                self._evaluate(ref, located, loaded)
            wanted = loaded.tasks.keys() | loaded.groups.keys()
            return [result for result in self._stored() if result.model in models and result.task in wanted]

    def _evaluate(self, ref: str, located: LocatedModel, loaded: LoadedTasks) -> None:
        """Do what is missing for one model; it is loaded only if there is something."""
        done = {result.key for result in self._stored()}
        missing = [task for name, task in loaded.tasks.items() if (ref, name) not in done]
        groups = [group for name, group in loaded.groups.items() if group.has_aggregation and (ref, name) not in done]
        if not missing and not groups:
            return
        environment = describe_environment()
        setting = Setting(
            model=ref,
            checkpoint=str(located.facts()["checkpoint_sha256"]),
            environment=environment_key(environment),
            lm_eval_version=self.lm_eval_version,
            config=self.config,
        )
        if missing:
            lm = self._load(located)
            EnvironmentRecord(self.folder, setting.environment).add_model(environment_entry(environment), ref, lm.model)
            for number, task in enumerate(missing, start=1):
                lm.progress = _labelled(self.progress, f"{task.task_name} ({number}/{len(missing)})")
                cut = lm.num_cut
                self._store(ref, task.task_name, evaluate(lm, task, setting))
                if lm.num_cut > cut:
                    self.warn(
                        f"{ref} on {task.task_name}: {lm.num_cut - cut} texts are longer than the model's max_length "
                        f"of {lm.max_length:,} tokens and lost their beginning"
                    )
        for group in groups:
            self._append(aggregate(group, self._stored(), setting))

    def _warn_of_shots(self, loaded: LoadedTasks) -> None:
        """Say which tasks are asked with other worked examples than the user wants: lm-eval lets a stated 0 stand."""
        wanted = self.config.num_fewshot
        for name, task in loaded.tasks.items():
            if wanted is not None and (shots := task.get_config("num_fewshot")) != wanted:
                self.warn(f"task {name} is defined with {shots} worked examples, which stands against --num-fewshot")

    def _load(self, located: LocatedModel) -> TimetrialLM:
        config = self.config
        options = LoadOptions(device=config.device, dtype=config.dtype, state_dtype=config.state_dtype)
        opened = open_located(located, options)
        return TimetrialLM(opened, batch_size=config.batch_size, max_length=config.max_length, seed=config.seed)

    def _stored(self) -> Iterator[GeneralResult]:
        return self.folder.read(GeneralResult)

    def _store(self, ref: str, task: str, evaluated: Evaluated) -> None:
        """Write a finished task: its samples whole, and only then what says that it is finished."""
        path = samples_file(self.folder.path, ref, task)
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".jsonl.new")
        with beside.open("w", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(map(sample_line, evaluated.samples))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        self._append(evaluated.results)

    def _append(self, results: Sequence[GeneralResult] | Iterator[GeneralResult]) -> None:
        with self.folder.appending(GeneralResult) as appender:
            appender.append(results)

    def _check_continues(self, models: Mapping[str, LocatedModel]) -> None:
        """Refuse a folder whose results were made otherwise.

        Raises:
            ConfigMismatchError: lists every difference.
        """
        checkpoints = {result.model: result.checkpoint for result in self._stored()}
        entry = (self.folder.read_json(CONFIG_FILE) or {}).get(GENERAL_ENTRY)
        if entry is None or not checkpoints:
            return
        found = differences(entry["config"], to_json(self.config))
        if entry["lm_eval"] != self.lm_eval_version:
            found.append(f"lm-eval: the run has {entry['lm_eval']!r}, installed is {self.lm_eval_version!r}")
        for ref in sorted(checkpoints.keys() & models.keys()):
            if (now := models[ref].facts()["checkpoint_sha256"]) != checkpoints[ref]:
                found.append(f"model {ref}, checkpoint: the run has {checkpoints[ref]!r}, now {now!r}")
        self._refuse(found)

    def _check_versions(self, loaded: LoadedTasks) -> None:
        """Refuse to mix versions of a task.

        Raises:
            ConfigMismatchError: lists every difference.
        """
        stored = {result.task: result.task_version for result in self._stored() if result.kind == "task"}
        now = {name: str(loaded.tasks[name].VERSION) for name in stored.keys() & loaded.tasks.keys()}
        self._refuse(
            f"task {name}, version: the run has {stored[name]!r}, now {now[name]!r}"
            for name in sorted(now)
            if now[name] != stored[name]
        )

    def _refuse(self, found: Iterable[str]) -> None:
        if listed := "\n  ".join(found):
            raise ConfigMismatchError(
                f"{self.folder.path} holds general benchmarks made with another configuration:\n  {listed}\n"
                "Give the same values to continue it, or another --out to start anew"
            )

    def _write_config(self, models: Mapping[str, LocatedModel]) -> None:
        """Note how results are made, beside what a run on tasks may have noted."""
        whole = self.folder.read_json(CONFIG_FILE) or {}
        before = whole.get(GENERAL_ENTRY, {})
        entry: Facts = {
            "lm_eval": self.lm_eval_version,
            "config": to_json(self.config),
            "models": {**before.get("models", {}), **{ref: located.facts() for ref, located in models.items()}},
            "tasks": list(dict.fromkeys([*before.get("tasks", ()), *self.tasks])),
        }
        self.folder.write_json(CONFIG_FILE, {**whole, GENERAL_ENTRY: entry})


def _labelled(progress: ProgressFactory, task: str) -> ProgressFactory:
    return lambda label, total: progress(f"{task}: {label}", total)


@contextmanager
def no_bars_of_lm_eval() -> Iterator[None]:
    """Keep lm-eval from drawing bars of its own while it writes the prompts of a task; it has no option for it."""
    import lm_eval.api.task as module

    bars = module.tqdm
    module.tqdm = partial(bars, disable=True)
    try:
        yield
    finally:
        module.tqdm = bars
