"""Which engines time a model: its own, and of the others those that can run it here; for the rest, why not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from timetrial.blame import blaming
from timetrial.catalog import Catalog, Offer
from timetrial.engines import OWN_ENGINE, EngineInput, EngineSpec, TimedModel
from timetrial.error import UsageError
from timetrial.loading import ConfiguredModel, LocatedModel
from timetrial.protocol import Model
from timetrial.spec import LoadOptions
from timetrial_registry.checkpoint import read_config


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineChoice:
    """The engines that were asked for, for one model."""

    source: LocatedModel | ConfiguredModel
    able: Mapping[str, Offer[EngineSpec] | None]
    """Those that can run it, by name; None stands for its own."""
    unable: Mapping[str, str]
    """Why each of the others cannot."""

    def load(self, name: str, own: Model, options: LoadOptions) -> TimedModel:
        """Return the model as an engine runs it, given how its own one does.

        Raises:
            CheckpointError: the engine cannot build it.
            PluginError: the engine's plugin failed otherwise.
        """
        offer = self.able[name]
        if offer is None:
            return own
        source = self.source
        folder = source.folder if isinstance(source, LocatedModel) else None
        config = read_config(source.folder) if isinstance(source, LocatedModel) else source.config
        with blaming(f"loading {source.ref!r} with engine {name!r}", offer.origin):
            return offer.spec.load(
                EngineInput(
                    family=source.spec.family,
                    config=config,
                    folder=folder,
                    own=own,
                    options=options,
                )
            )


def choose_engines(
    names: Iterable[str], models: Mapping[str, LocatedModel | ConfiguredModel], catalog: Catalog
) -> dict[str, EngineChoice]:
    """Return the choice for each model.

    Raises:
        UnknownNameError: there is no engine of that name.
        UsageError: no model can be timed.
        PluginError: an engine failed to say what it can run.
    """
    offers = {name: None if name == OWN_ENGINE else _offer(name, catalog) for name in names}
    choices = {ref: _choose(source, offers) for ref, source in models.items()}
    if not any(choice.able for choice in choices.values()):
        reasons = "; ".join(f"{ref}: {reason}" for ref, each in choices.items() for reason in each.unable.values())
        raise UsageError(f"no engine that was asked for can run any of the models ({reasons}). Add {OWN_ENGINE!r}")
    return choices


def _offer(name: str, catalog: Catalog) -> Offer[EngineSpec]:
    catalog.engine(name)  # refuses an unknown one
    return catalog.engines()[name]


def _choose(source: LocatedModel | ConfiguredModel, offers: Mapping[str, Offer[EngineSpec] | None]) -> EngineChoice:
    reasons: dict[str, str] = {}
    for name, offer in offers.items():
        if offer is not None:
            with blaming(f"engine {name!r}", offer.origin):
                reason = offer.spec.why_not(source.spec.family)
            if reason is not None:
                reasons[name] = reason
    able = {name: offer for name, offer in offers.items() if name not in reasons}
    return EngineChoice(source=source, able=able, unable=reasons)
