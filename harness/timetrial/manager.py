"""Find the installed plugins, load each one, and refuse what plain pluggy lets through.

A plugin is an entry point of the group `timetrial`. Built-in plugins come in by the same door as third parties'.
A manager is made per call, so nothing is remembered between two. A fault is kept beside its plugin instead of
raised, so that `timetrial plugins` can show all of them; `catalog.py`, the only caller, raises for everyone else.
This module does not call hooks.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Protocol

import pluggy

from timetrial import hookspec
from timetrial.clock import Clock
from timetrial.error import PluginError, UnknownNameError, UsageError, closest_match
from timetrial.spec import Origin

DISABLED_VARIABLE = "TIMETRIAL_DISABLED_PLUGINS"
TRACE_VARIABLE = "TIMETRIAL_TRACE_PLUGINS"


class Distribution(Protocol):
    """The part of `importlib.metadata.Distribution` that is used."""

    @property
    def name(self) -> str:
        """The name it is installed under."""
        ...

    @property
    def version(self) -> str:
        """Its version."""
        ...


class PluginPoint(Protocol):
    """The part of `importlib.metadata.EntryPoint` that is used; `timetrial.testing.FakePlugin` is another."""

    @property
    def name(self) -> str:
        """The plugin's name."""
        ...

    @property
    def value(self) -> str:
        """What it refers to, as package.module."""
        ...

    @property
    def dist(self) -> Distribution | None:
        """The distribution it belongs to."""
        ...

    def load(self) -> Any:  # Any: a module, as a rule
        """Import the plugin."""
        ...


class Refusal(Exception):
    """Why a plugin is refused, as a clause; becomes a PluginError when put together with its origin."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PluginSettings:
    """What the environment says about plugins."""

    disabled: tuple[str, ...] = ()
    """Names of plugins not to load, from TIMETRIAL_DISABLED_PLUGINS, separated by commas."""
    is_traced: bool = False
    """Whether each load and each hook call is told on standard error; TIMETRIAL_TRACE_PLUGINS=1."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> PluginSettings:
        """Read the two variables.

        Raises:
            UsageError: TIMETRIAL_TRACE_PLUGINS is neither 0 nor 1.
        """
        traced = environment.get(TRACE_VARIABLE, "") or "0"
        if traced not in ("0", "1"):
            raise UsageError(f"{TRACE_VARIABLE} is {traced!r}; set it to 1 to trace plugins, else to 0 or not at all.")
        names = (name.strip() for name in environment.get(DISABLED_VARIABLE, "").split(","))
        return cls(disabled=tuple(dict.fromkeys(filter(None, names))), is_traced=traced == "1")

    def trace(self, line: str) -> None:
        """Write a line to standard error if plugins are traced."""
        if self.is_traced:
            print(f"timetrial: {line}", file=sys.stderr)

    def fault(self, origin: Origin, refusal: Refusal) -> PluginError:
        """Return the error that says what is wrong with a plugin and how to go on without it."""
        without = ",".join((*self.disabled, origin.plugin))
        cause = " ".join(str(refusal).split())  # what others raise may go over several lines
        error = PluginError(
            f"plugin {describe(origin)}: {cause}. Update, mend or uninstall it; "
            f"{DISABLED_VARIABLE}={without} goes on without it."
        )
        error.__cause__ = refusal.__cause__
        return error


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedPlugin:
    """One entry point and what became of it."""

    origin: Origin
    load_s: float = 0.0
    """Seconds to import and register it."""
    is_disabled: bool = False
    fault: PluginError | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PluginSet:
    """A pluggy manager that holds every plugin without a fault, and the story of all of them."""

    manager: pluggy.PluginManager
    plugins: tuple[LoadedPlugin, ...]


def installed_plugins() -> Sequence[PluginPoint]:
    """Return the entry points of all installed plugins; of a distribution found twice, the first on the path."""
    return tuple(entry_points(group=hookspec.PROJECT))


def describe(origin: Origin) -> str:
    """Name a plugin, its distribution and its version, for messages."""
    return f"{origin.plugin!r} (distribution {origin.distribution} {origin.version})"


def load_plugins(points: Iterable[PluginPoint], settings: PluginSettings, clock: Clock) -> PluginSet:
    """Load plugins one by one, each load timed; a plugin with a fault is left out of the manager.

    Raises:
        UnknownNameError: a disabled name is no plugin's; the closest one is offered.
    """
    by_name: dict[str, list[PluginPoint]] = {}
    for point in points:
        by_name.setdefault(point.name, []).append(point)
    for name in settings.disabled:
        if name not in by_name:
            raise UnknownNameError("plugin", name, by_name, hint=f"It is named in {DISABLED_VARIABLE}.")
    manager = pluggy.PluginManager(hookspec.PROJECT)
    manager.add_hookspecs(hookspec)
    plugins: list[LoadedPlugin] = []
    for name, same in by_name.items():
        if name in settings.disabled:
            plugins += [LoadedPlugin(origin=_origin(point), is_disabled=True) for point in same]
        elif len(same) > 1:
            plugins += [_refuse_double(point, same, settings) for point in same]
        else:
            plugins.append(_load(manager, same[0], settings, clock))
    return PluginSet(manager=manager, plugins=tuple(plugins))


def _origin(point: PluginPoint) -> Origin:
    """Say which distribution an entry point belongs to."""
    if point.dist is None:
        return Origin(plugin=point.name, distribution="(none)", version="(none)")
    return Origin(plugin=point.name, distribution=point.dist.name, version=point.dist.version)


def _refuse_double(point: PluginPoint, same: Sequence[PluginPoint], settings: PluginSettings) -> LoadedPlugin:
    """Refuse all plugins of one name: pluggy would drop all but one, which one depending on the path."""
    owners = " and ".join(f"{origin.distribution} {origin.version}" for origin in map(_origin, same))
    refusal = Refusal(f"the plugin name is taken more than once, by {owners}; entry points need different names")
    origin = _origin(point)
    return LoadedPlugin(origin=origin, fault=settings.fault(origin, refusal))


def _load(manager: pluggy.PluginManager, point: PluginPoint, settings: PluginSettings, clock: Clock) -> LoadedPlugin:
    """Load one plugin and time it."""
    origin = _origin(point)
    fault: PluginError | None = None
    start_s = clock.now()
    try:
        _import_and_register(manager, point)
    except Refusal as refusal:
        fault = settings.fault(origin, refusal)
    load_s = clock.now() - start_s
    settings.trace(f"plugin {describe(origin)}: {'refused' if fault else 'loaded'} in {load_s:.3f} s")
    return LoadedPlugin(origin=origin, load_s=load_s, fault=fault)


def _import_and_register(manager: pluggy.PluginManager, point: PluginPoint) -> None:
    """Import a plugin and register it, or leave the manager as it was.

    Raises:
        Refusal: the plugin cannot be imported, or its hooks are wrong.
    """
    try:
        plugin = point.load()
    except (Exception, SystemExit) as error:  # whatever a third party's module does when imported
        raise Refusal(f"cannot import {point.value}: {type(error).__name__}: {error}") from error
    try:
        if manager.is_registered(plugin):
            raise Refusal(f"{point.value} is already plugin {manager.get_name(plugin)!r}; keep one of the entry points")
        manager.register(plugin, name=point.name)
        _check_hooks(manager, plugin)
    except pluggy.PluginValidationError as error:
        manager.unregister(name=point.name)
        raise Refusal(str(error)) from error
    except Refusal:
        manager.unregister(name=point.name)
        raise


def _check_hooks(manager: pluggy.PluginManager, plugin: object) -> None:
    """Refuse misspelt, unmarked, wrapping and missing hooks, all of which pluggy accepts.

    Raises:
        Refusal: with the hook and the fault.
    """
    known = [name for name in vars(hookspec) if name.startswith(f"{hookspec.PROJECT}_")]
    for name in known:
        if callable(getattr(plugin, name, None)) and manager.parse_hookimpl_opts(plugin, name) is None:
            raise Refusal(f"{name} is not marked as a hook; put @timetrial.hookimpl above it")
    num_hooks = 0
    for caller in manager.get_hookcallers(plugin) or ():
        for implementation in caller.get_hookimpls():
            if implementation.plugin is not plugin:
                continue
            if implementation.wrapper or implementation.hookwrapper:
                raise Refusal(f"{caller.name} is a wrapper; hooks return specs and do nothing else")
            if not caller.has_spec() and not implementation.optionalhook:
                match = closest_match(caller.name, known)
                expected = f"did you mean {match}?" if match else f"the hooks are {', '.join(known)}"
                raise Refusal(f"unknown hook {caller.name}; {expected}")
            num_hooks += caller.has_spec()
    if not num_hooks:
        raise Refusal("it implements no hook; is @timetrial.hookimpl missing?")
