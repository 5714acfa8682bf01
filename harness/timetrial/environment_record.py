"""environment.json of a run: what timed what, under the key of the machine, and what the machine was measured to do."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from timetrial.blame import blaming
from timetrial.clock import Clock
from timetrial.engines import OWN_ENGINE, TimedModel
from timetrial.loading import ConfiguredModel, LocatedModel
from timetrial.protocol import Model
from timetrial.rates import MachineRates
from timetrial.spec import LoadOptions
from timetrial.store import RunFolder

ENVIRONMENT_FILE = "environment.json"

Facts = Mapping[str, Any]  # Any: JSON-ready


class EnvironmentRecord:
    """The entry of one machine."""

    def __init__(self, folder: RunFolder, key: str) -> None:
        self._folder, self._key = folder, key

    def add_model(self, entry: Facts, ref: str, model: Model) -> None:
        """Note the machine, as it is now, and how a model runs on it."""
        old = self._entry()
        models = {**old.get("models", {}), ref: dict(model.description)}
        self._write({**old, **entry, "models": models})

    def add_reward_model(self, entry: Facts, name: str, facts: Facts) -> None:
        """Note the machine and how a reward model runs on it: its description, or {"why_not": why it was not timed}."""
        old = self._entry()
        reward_models = {**old.get("reward_models", {}), name: dict(facts)}
        self._write({**entry, **old, "reward_models": reward_models})

    def why_untimed(self, name: str) -> str | None:
        """Return why a reward model was not timed on this machine; None if it was, or nobody tried."""
        reason: str | None = self._entry().get("reward_models", {}).get(name, {}).get("why_not")
        return reason

    def add_engines(self, ref: str, able: Mapping[str, TimedModel], unable: Mapping[str, str]) -> None:
        """Note how other engines run a model: their descriptions, or {"why_not": the reason} of those that cannot."""
        facts = {name: dict(model.description) for name, model in able.items() if name != OWN_ENGINE}
        facts |= {name: {"why_not": reason} for name, reason in unable.items()}
        engines: dict[str, Facts] = self._entry().get("engines", {})
        engines = {**engines, **{name: {**engines.get(name, {}), ref: fact} for name, fact in facts.items()}}
        if engines:
            self._write({**self._entry(), "engines": engines})

    def rates(self, source: LocatedModel | ConfiguredModel, options: LoadOptions, clock: Clock) -> MachineRates | None:
        """Return what the machine can do, measured the first time a run needs it; None if the family cannot tell.

        One measurement serves all families of a plugin and all later commands, so that the floors of a run agree.
        """
        measure = source.spec.measure_rates
        if measure is None:
            return None
        name = f"{source.origin.plugin}, {options.device}, {options.dtype}"
        known = self._entry().get("rates", {})
        if name not in known:
            with blaming(f"measuring the machine with family {source.spec.family!r}", source.origin):
                known = {**known, name: dataclasses.asdict(measure(options, clock))}
            self._write({**self._entry(), "rates": known})
        return _rates_from_json(known[name])

    def _entry(self) -> dict[str, Any]:  # Any: JSON-ready
        entry: dict[str, Any] = (self._folder.read_json(ENVIRONMENT_FILE) or {}).get(self._key, {})
        return entry

    def _write(self, entry: Facts) -> None:
        entries = self._folder.read_json(ENVIRONMENT_FILE) or {}
        self._folder.write_json(ENVIRONMENT_FILE, {**entries, self._key: entry})


def _rates_from_json(data: Facts) -> MachineRates:
    return MachineRates(**{**data, "bandwidths": tuple((size, rate) for size, rate in data["bandwidths"])})
