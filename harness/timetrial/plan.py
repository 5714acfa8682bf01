"""What a run works with, settled before anything expensive happens: tasks, problems, models, series.

The plan's identity goes into config.json; a later command continues the run only if its own identity agrees.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timetrial
from timetrial.blame import blaming
from timetrial.catalog import Catalog, Offer
from timetrial.config import RunConfig, config_difference, config_from_json, config_to_json
from timetrial.engine_choice import EngineChoice, choose_engines
from timetrial.error import ConfigMismatchError, DataError, UsageError
from timetrial.graded_by import check_graders
from timetrial.graders import NamedGraders, load_graders
from timetrial.loading import REGISTRY_FACT, ConfiguredModel, LocatedModel, find_configuration, locate_model
from timetrial.protocol import Sampling
from timetrial.record import Completion, Count, Grade, Problem, Series, Timing
from timetrial.spec import AggregatorSpec, Origin, TaskSpec
from timetrial.stages.grade import GradedTask
from timetrial.stages.sample import choose_problems
from timetrial.store import RunFolder

CONFIG_FILE = "config.json"

Facts = Mapping[str, Any]  # Any: JSON-ready


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Everything a run needs that can be known before a model is loaded."""

    config: RunConfig
    tasks: Mapping[str, GradedTask]
    models: Mapping[str, LocatedModel | ConfiguredModel]
    aggregators: Mapping[str, AggregatorSpec]
    engines: Mapping[str, EngineChoice]
    """What times each model."""
    model_facts: Mapping[str, Facts]
    """What tells each model apart, such as the sha256 of its checkpoint."""
    plugins: Mapping[str, str]
    """Plugins that offered what is in use, each with its distribution and version."""

    def series(self) -> list[Series]:
        """Return every (model, task, temperature), model by model."""
        return [
            Series(model.ref, task, temperature)
            for model in self.models.values()
            for task in self.tasks
            for temperature in self._temperatures(model)
        ]

    def sampling(self, series: Series) -> Sampling:
        """Return how the completions of a series are drawn."""
        task = self.tasks[series.task].task
        return Sampling(
            temperature=series.temperature,
            top_p=self.config.top_p,
            top_k=self.config.top_k,
            max_tokens=self.config.max_tokens or task.max_tokens,
            stop=task.stop,
            seed=self.config.seed,
        )

    def to_json(self) -> dict[str, Any]:  # Any: JSON-ready
        """Return what config.json holds."""
        return {
            "timetrial": timetrial.__version__,
            "config": config_to_json(self.config),
            "models": {ref: dict(facts) for ref, facts in self.model_facts.items()},
            "tasks": {name: _task_facts(graded) for name, graded in self.tasks.items()},
            "series": [list(series) for series in self.series()],
            "plugins": dict(self.plugins),
        }

    def _temperatures(self, model: LocatedModel | ConfiguredModel) -> tuple[float, ...]:
        if self.config.temperatures:
            return self.config.temperatures
        if model.temperature is None:
            raise UsageError(f"no temperature is recommended for model {model.ref!r}: give one with --temperature")
        return (model.temperature,)


def make_plan(config: RunConfig, catalog: Catalog) -> Plan:
    """Look up every name of the config and load the tasks' problems.

    Raises:
        UnknownNameError: a name is not known.
        DataError: a task's data cannot be read.
        UsageError: the values do not go together, or a grader lacks a package.
    """
    files = dict(config.data)
    for name in files:
        if name not in config.tasks:
            raise UsageError(f"--data is given for task {name!r}, which is not part of the run")
    for name in config.tasks:
        catalog.task(name)
    aggregators = {name: catalog.aggregator(name) for name in config.aggregators}
    if config.reward_model is not None:
        catalog.reward_model(config.reward_model.partition(":")[0])
    graders = load_graders(config.grader, config.second_opinion, catalog)
    find = find_configuration if config.random_weights else locate_model
    models = {ref: find(ref, catalog) for ref in config.models}
    engines = choose_engines(config.engines, models, catalog)
    tasks = {
        name: _load_task(catalog.task_offer(name), Path(files[name]) if name in files else None, config, graders)
        for name in config.tasks
    }
    plan = Plan(
        config=config,
        tasks=tasks,
        models=models,
        aggregators=aggregators,
        engines=engines,
        model_facts={ref: model.facts() for ref, model in models.items()},
        plugins=recorded_plugins(
            [*_origins(catalog, config, models.values()), *_origins_of_engines(engines), *graders.origins]
        ),
    )
    plan.series()  # refuses a missing temperature now, not after the first model
    return plan


def check_continues(folder: RunFolder, plan: Plan) -> None:
    """Refuse to continue a run that was made with something else, or graded by somebody else.

    One that holds nothing yet, for example because its first model did not fit, may become any other.

    Raises:
        ConfigMismatchError: lists every difference, and says what to do.
    """
    old = folder.read_json(CONFIG_FILE)
    if old is None or not any(folder.has(kind) for kind in (Completion, Count, Timing)):
        return
    try:
        config = config_from_json(old["config"])
    except (KeyError, TypeError, ValueError) as cause:
        raise DataError(f"not a run's configuration ({cause!r})", folder.path / CONFIG_FILE) from cause
    differences = config_difference(config, plan.config)
    new = plan.to_json()
    for kind in ("models", "tasks"):
        for name in set(old[kind]) & set(new[kind]):
            no_identity = ("grader", "grading", REGISTRY_FACT)
            facts = {fact: value for fact, value in old[kind][name].items() if fact not in no_identity}
            differences += _fact_differences(f"{kind[:-1]} {name}", facts, new[kind][name])
    if differences:
        listed = "\n  ".join(differences)
        raise ConfigMismatchError(
            f"{folder.path} was made with another configuration:\n  {listed}\n"
            "Give the same values to continue it, or another --out to start anew"
        )
    if folder.has(Grade):
        graders = {name: task.graders for name, task in plan.tasks.items()}
        check_graders(folder.path, old["tasks"], config, plan.config, graders)


def recorded_plugins(origins: Iterable[Origin]) -> dict[str, str]:
    """Return what config.json records of the plugins in use."""
    return {origin.plugin: f"{origin.distribution} {origin.version}" for origin in origins}


def _origins(catalog: Catalog, config: RunConfig, models: Iterable[LocatedModel | ConfiguredModel]) -> list[Origin]:
    origins = [catalog.models()[model.spec.family].origin for model in models]
    origins += [catalog.task_offer(name).origin for name in config.tasks]
    origins += [catalog.aggregators()[name].origin for name in config.aggregators]
    if config.reward_model is not None:
        origins.append(catalog.reward_models()[config.reward_model.partition(":")[0]].origin)
    return origins


def _origins_of_engines(engines: Mapping[str, EngineChoice]) -> list[Origin]:
    return [offer.origin for choice in engines.values() for offer in choice.able.values() if offer is not None]


def _fact_differences(what: str, old: Facts, new: Facts) -> list[str]:
    return [
        f"{what}, {name}: the run has {_short(old[name])}, now {_short(new.get(name))}"
        for name in old
        if old[name] != new.get(name)
    ]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _load_task(offer: Offer[TaskSpec], path: Path | None, config: RunConfig, named: NamedGraders) -> GradedTask:
    with blaming(f"task {offer.name!r}", offer.origin):
        task = offer.spec.load(path)
        everything = task.problems()
        graders = named.of(task)
    problems = choose_problems(offer.name, everything, config.limit)
    return GradedTask(task=task, problems={problem.id: problem for problem in problems}, graders=graders)


def _task_facts(graded: GradedTask) -> dict[str, Any]:  # Any: JSON-ready
    problems: list[Problem] = list(graded.problems.values())
    return {
        "version": graded.task.version,
        "grading": graded.graders.facts(),
        "problems": [problem.id for problem in problems],
    }
