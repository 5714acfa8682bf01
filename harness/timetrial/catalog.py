"""What the installed plugins offer, by name: the only file that calls hooks.

A catalog is opened per command and passed on; there is no global one. Every spec keeps its origin, so that a number
can be traced back to a distribution and its version.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

import pluggy

from timetrial.clock import Clock, MonotonicClock
from timetrial.config import NO_GRADER, OWN_GRADER
from timetrial.engines import OWN_ENGINE, EngineSpec
from timetrial.error import CheckpointError, PluginError, UnknownNameError, UsageError
from timetrial.manager import PluginPoint, PluginSet, PluginSettings, Refusal, describe, installed_plugins, load_plugins
from timetrial.spec import (
    AggregatorSpec,
    CheckpointSpec,
    CommandSpec,
    GraderSpec,
    ModelSpec,
    Origin,
    RewardModelSpec,
    TaskSpec,
)

AnySpec = (
    ModelSpec | TaskSpec | AggregatorSpec | RewardModelSpec | GraderSpec | EngineSpec | CheckpointSpec | CommandSpec
)
Spec = TypeVar("Spec", bound=AnySpec)

# Names stand in comma-separated lists, before a colon or an @, and in file names.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# Curves name their rule by an aggregator's name or by coverage; the others stand for a task's own grader,
# for no grader, and for a family's own engine.
_RESERVED = {("aggregator", "coverage"), ("grader", OWN_GRADER), ("grader", NO_GRADER), ("engine", OWN_ENGINE)}


class Kind(NamedTuple):
    """One kind of thing a plugin can offer."""

    name: str
    hook: str
    spec: type[AnySpec]


KINDS = (
    Kind("model", "timetrial_models", ModelSpec),
    Kind("task", "timetrial_tasks", TaskSpec),
    Kind("aggregator", "timetrial_aggregators", AggregatorSpec),
    Kind("reward model", "timetrial_reward_models", RewardModelSpec),
    Kind("grader", "timetrial_graders", GraderSpec),
    Kind("engine", "timetrial_engines", EngineSpec),
    Kind("checkpoint", "timetrial_checkpoints", CheckpointSpec),
    Kind("command", "timetrial_commands", CommandSpec),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer(Generic[Spec]):
    """A spec and where it came from."""

    spec: Spec
    origin: Origin

    @property
    def name(self) -> str:
        """What the user asks for it by; of a model, its family."""
        return self.spec.family if isinstance(self.spec, ModelSpec) else self.spec.name


@dataclass(frozen=True, kw_only=True, slots=True)
class PluginInfo:
    """What `timetrial plugins` shows of one plugin."""

    origin: Origin
    offers: tuple[str, ...] = field(default=())
    """What it adds, as "kind name", for example "task math-500"."""
    load_s: float = 0.0
    error: str | None = None
    is_disabled: bool = False


class Catalog:
    """Typed access by name to everything the plugins offer."""

    def __init__(self, offers: Iterable[Offer[Any]]) -> None:  # Any: offers of all kinds
        self._offers = tuple(offers)

    def models(self) -> Mapping[str, Offer[ModelSpec]]:
        """Return the model families by name."""
        return self._of(ModelSpec)

    def tasks(self) -> Mapping[str, Offer[TaskSpec]]:
        """Return the tasks by name."""
        return self._of(TaskSpec)

    def aggregators(self) -> Mapping[str, Offer[AggregatorSpec]]:
        """Return the aggregators by name."""
        return self._of(AggregatorSpec)

    def reward_models(self) -> Mapping[str, Offer[RewardModelSpec]]:
        """Return the reward models by name."""
        return self._of(RewardModelSpec)

    def graders(self) -> Mapping[str, Offer[GraderSpec]]:
        """Return the graders that can be asked for by name."""
        return self._of(GraderSpec)

    def engines(self) -> Mapping[str, Offer[EngineSpec]]:
        """Return the engines that can be timed beside the families' own, by name."""
        return self._of(EngineSpec)

    def checkpoints(self) -> Mapping[str, Offer[CheckpointSpec]]:
        """Return the checkpoints known by a short name."""
        return self._of(CheckpointSpec)

    def commands(self) -> Mapping[str, Offer[CommandSpec]]:
        """Return the sub-commands by name."""
        return self._of(CommandSpec)

    def model(self, family: str) -> ModelSpec:
        """Return a model family. Raises UnknownNameError."""
        return _find("model family", family, self.models(), "`timetrial models` lists them.")

    def task(self, name: str) -> TaskSpec:
        """Return a task, of NAME or NAME:REF. Raises UnknownNameError, and UsageError as `task_offer`."""
        return self.task_offer(name).spec

    def task_offer(self, name: str) -> Offer[TaskSpec]:
        """Return a task and where it came from; NAME:REF asks one that stands for many for the one called REF.

        Raises:
            UnknownNameError: there is no task of that name.
            UsageError: it stands for itself alone, so that nothing can follow a colon.
        """
        family, colon, reference = name.partition(":")
        spec = _find("task", family, self.tasks(), "`timetrial tasks` lists them.")
        offer = self.tasks()[family]
        if not colon:
            return offer
        if spec.load_named is None:
            raise UsageError(f"unknown task {name!r}: {family!r} is a single task, so nothing follows its name")
        return replace(offer, spec=replace(spec, name=name, load=partial(spec.load_named, reference), load_named=None))

    def aggregator(self, name: str) -> AggregatorSpec:
        """Return an aggregator. Raises UnknownNameError."""
        return _find("aggregator", name, self.aggregators(), "`timetrial aggregators` lists them.")

    def reward_model(self, name: str) -> RewardModelSpec:
        """Return a reward model; `name` without what may follow a colon. Raises UnknownNameError."""
        return _find("reward model", name, self.reward_models(), "`timetrial aggregators` lists them.")

    def grader(self, name: str) -> GraderSpec:
        """Return a grader. Raises UnknownNameError."""
        return _find("grader", name, self.graders(), "`timetrial graders` lists them.")

    def engine(self, name: str) -> EngineSpec:
        """Return an engine. Raises UnknownNameError."""
        hint = f"`timetrial engines` lists them; {OWN_ENGINE!r} is each family's own."
        return _find("engine", name, self.engines(), hint)

    def checkpoint(self, name: str) -> CheckpointSpec:
        """Return a checkpoint. Raises UnknownNameError."""
        return _find("checkpoint", name, self.checkpoints(), "`timetrial models` lists them.")

    def command(self, name: str) -> CommandSpec:
        """Return a sub-command. Raises UnknownNameError."""
        return _find("command", name, self.commands(), "`timetrial --help` lists them.")

    def family_of(self, config: Mapping[str, Any]) -> ModelSpec:  # Any: parsed JSON
        """Return the model family that recognises a checkpoint's parsed config.json.

        Raises:
            CheckpointError: no family recognises it.
            PluginError: several do, or one raises.
        """
        matches = [offer for offer in self.models().values() if _recognises(offer, config)]
        if len(matches) == 1:
            return matches[0].spec
        said = ", ".join(f"{key} {config[key]!r}" for key in ("model_type", "architectures") if key in config)
        what = f"a config.json with {said or 'neither model_type nor architectures'}"
        if not matches:
            raise CheckpointError(
                f"no model family recognises {what}; installed: {', '.join(self.models()) or 'none'}. "
                "Install a plugin that loads it; docs/write-a-plugin.md shows how to write one."
            )
        claims = " and ".join(f"{offer.name!r} of plugin {describe(offer.origin)}" for offer in matches)
        raise PluginError(f"{what} is claimed by {claims}. Disable all but one of the plugins.")

    def _of(self, kind: type[Spec]) -> dict[str, Offer[Spec]]:
        return {offer.name: offer for offer in self._offers if isinstance(offer.spec, kind)}


def open_catalog(
    points: Iterable[PluginPoint] | None = None,
    *,
    settings: PluginSettings | None = None,
    clock: Clock | None = None,
) -> Catalog:
    """Load the plugins and ask each for its specs; by default the installed ones, as the environment says.

    Raises:
        PluginError: a plugin cannot be loaded or broke its contract; several faults are counted.
        UnknownNameError: a disabled name is no plugin's.
    """
    infos, offers, faults = _survey(points, settings, clock)
    if faults:
        more = f" {len(faults) - 1} more: `timetrial plugins` shows all." if len(faults) > 1 else ""
        raise PluginError(f"{faults[0]}{more}") from faults[0].__cause__
    return Catalog(offers)


def inspect_plugins(
    points: Iterable[PluginPoint] | None = None,
    *,
    settings: PluginSettings | None = None,
    clock: Clock | None = None,
) -> tuple[PluginInfo, ...]:
    """Describe every plugin, the faulty ones with their error. For `timetrial plugins`; all else opens a catalog.

    Raises:
        UnknownNameError: a disabled name is no plugin's.
    """
    return _survey(points, settings, clock).infos


class _Survey(NamedTuple):
    """All that loading and asking the plugins gave."""

    infos: tuple[PluginInfo, ...]
    offers: tuple[Offer[Any], ...]  # Any: offers of all kinds
    faults: tuple[PluginError, ...]


def _survey(points: Iterable[PluginPoint] | None, settings: PluginSettings | None, clock: Clock | None) -> _Survey:
    """Load the plugins and call their hooks, collecting faults."""
    settings = settings or PluginSettings.from_environment()
    points = installed_plugins() if points is None else points
    plugins = load_plugins(points, settings, clock or MonotonicClock())
    offers, faults = _ask(plugins, settings)
    infos = []
    for plugin in plugins.plugins:
        fault = plugin.fault or faults.get(plugin.origin)
        offered = (f"{_kind_of(offer.spec)} {offer.name}" for offer in offers if offer.origin == plugin.origin)
        infos.append(
            PluginInfo(
                origin=plugin.origin,
                offers=() if fault else tuple(offered),
                load_s=plugin.load_s,
                error=str(fault) if fault else None,
                is_disabled=plugin.is_disabled,
            )
        )
    loading = [plugin.fault for plugin in plugins.plugins if plugin.fault]
    return _Survey(tuple(infos), tuple(offers), (*loading, *faults.values()))


def _ask(plugins: PluginSet, settings: PluginSettings) -> tuple[list[Offer[Any]], dict[Origin, PluginError]]:
    """Call every hook of every plugin once; of a plugin, only the first fault is kept."""
    origins = {plugin.origin.plugin: plugin.origin for plugin in plugins.plugins}
    offers: list[Offer[Any]] = []  # Any: offers of all kinds
    faults: dict[Origin, PluginError] = {}
    for kind in KINDS:
        for implementation in getattr(plugins.manager.hook, kind.hook).get_hookimpls():
            origin = origins[implementation.plugin_name]
            try:
                found = _call(kind, implementation, origin)
            except Refusal as refusal:
                faults.setdefault(origin, settings.fault(origin, refusal))
                found = []
            settings.trace(f"{kind.hook}() of plugin {describe(origin)}: {[offer.name for offer in found]}")
            offers += found
    for origin, double in _doubles(offers).items():
        faults.setdefault(origin, settings.fault(origin, double))
    return offers, faults


def _call(kind: Kind, implementation: pluggy.HookImpl, origin: Origin) -> list[Offer[Any]]:
    """Call one hook of one plugin and check what it returns.

    Raises:
        Refusal: it raises, or returns anything but a list of specs with usable names.
    """
    expected = f"it must return a list of {kind.spec.__name__}"
    try:
        specs = implementation.function()
    except Exception as error:  # whatever a third party's hook does
        raise Refusal(f"{kind.hook} raised {type(error).__name__}: {error}") from error
    if not isinstance(specs, list | tuple):
        raise Refusal(f"{kind.hook} returned {type(specs).__name__}; {expected}")
    offers = []
    for spec in specs:
        if not isinstance(spec, kind.spec):
            raise Refusal(f"{kind.hook} returned a list that holds {type(spec).__name__}; {expected}")
        offer: Offer[AnySpec] = Offer(spec=spec, origin=origin)
        if not isinstance(offer.name, str) or not _NAME.fullmatch(offer.name):
            raise Refusal(
                f"{kind.hook} offers {offer.name!r}; a name is made of letters, digits and . _ - "
                "and begins with a letter or digit"
            )
        if (kind.name, offer.name) in _RESERVED:
            raise Refusal(f"{kind.hook} offers {offer.name!r}, a name that timetrial uses itself")
        offers.append(offer)
    return offers


def _doubles(offers: Iterable[Offer[Any]]) -> dict[Origin, Refusal]:
    """Return why each plugin that offers a name already taken is refused; both sides are."""
    by_name: dict[tuple[str, str], list[Origin]] = {}
    for offer in offers:
        by_name.setdefault((_kind_of(offer.spec), offer.name), []).append(offer.origin)
    refusals = {}
    for (kind, name), origins in by_name.items():
        for origin in origins if len(origins) > 1 else ():
            also = " and ".join(describe(other) for other in dict.fromkeys(origins) if other != origin)
            how = f"also offered by plugin {also}" if also else "offered twice"
            refusals[origin] = Refusal(f"its {kind} {name!r} is {how}")
    return refusals


def _kind_of(spec: AnySpec) -> str:
    return next(kind.name for kind in KINDS if isinstance(spec, kind.spec))


def _recognises(offer: Offer[ModelSpec], config: Mapping[str, Any]) -> bool:
    """Ask one family about a config.

    Raises:
        PluginError: its predicate raises.
    """
    try:
        return bool(offer.spec.recognises(config))
    except Exception as error:  # a third party's predicate
        raise PluginError(
            f"plugin {describe(offer.origin)}: family {offer.name!r} failed to look at a config.json: "
            f"{type(error).__name__}: {error}"
        ) from error


def _find(kind: str, name: str, offers: Mapping[str, Offer[Spec]], hint: str) -> Spec:
    if name not in offers:
        raise UnknownNameError(kind, name, offers, hint)
    return offers[name].spec
