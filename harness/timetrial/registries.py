"""The registries of checkpoints as the harness sees them: the user's own, and what plugins ship.

A plugin ships a checkpoint by offering one (`timetrial_checkpoints`) whose folder carries a lineage.json, as an
exported version does.
"""

from __future__ import annotations

from pathlib import Path

from timetrial.catalog import Catalog
from timetrial.error import UnknownNameError, UsageError
from timetrial.spec import CheckpointSpec
from timetrial_registry.exported import read_exported
from timetrial_registry.joined import JoinedRegistry
from timetrial_registry.records import Version
from timetrial_registry.reference import is_reference, parse_reference
from timetrial_registry.registry import Registry
from timetrial_registry.shipped import ShippedRegistry


def open_registries(catalog: Catalog, folder: Path | None = None) -> JoinedRegistry:
    """Open the registry in `folder`, by default the user's own, together with what the plugins ship.

    Raises:
        RegistryError: it cannot be read.
        CheckpointError: a shipped lineage.json is damaged.
    """
    locations = [offer.spec.location for offer in catalog.checkpoints().values()]
    shipped = (Path(place) for place in locations if place is not None and Path(place).is_absolute())
    return JoinedRegistry(Registry(folder), ShippedRegistry(shipped))


def shipped_version(checkpoint: CheckpointSpec | None, folder: Path) -> Version | None:
    """Return which version a checkpoint is that a plugin ships in a folder; None if it does not say, or ships nothing.

    Raises:
        CheckpointError: its lineage.json is damaged.
    """
    if checkpoint is None or checkpoint.location is None or Path(checkpoint.location) != folder:
        return None
    exported = read_exported(folder)
    return None if exported is None else exported.version


def check_not_shipped(name: str, catalog: Catalog) -> None:
    """Refuse to publish under a name that a plugin knows: `--model NAME` would never mean what is published.

    Raises:
        UsageError: a plugin knows it.
    """
    if name in catalog.checkpoints():
        origin = catalog.checkpoints()[name].origin
        raise UsageError(
            f"{name!r} is a checkpoint that plugin {origin.plugin!r} knows by that name: publish under another one"
        )


def may_be_registered(ref: str, catalog: Catalog) -> bool:
    """Whether only a registry can know a reference: it is no plugin's name, no folder here, and no Hub id."""
    is_elsewhere = ref in catalog.checkpoints() or Path(ref).is_dir()
    return not is_elsewhere and (is_reference(ref) or "/" not in ref)


def registered_version(ref: str, catalog: Catalog, registry: JoinedRegistry) -> Version:
    """Return the version that a reference names which only a registry can know.

    Raises:
        UnknownNameError: no registry holds a model of that name; offers the closest of those and of the plugins' names.
        CheckpointError: the model has no such version or alias.
        RegistryError: several versions are meant, or the registry cannot be read.
    """
    name = parse_reference(ref).name if is_reference(ref) else ref
    if name is not None and name not in registry.names():
        known = {*catalog.checkpoints(), *registry.names()}
        raise UnknownNameError("model", name, known, "Or give a checkpoint folder or a Hub id (org/name).")
    return registry.get(ref)


def as_checkpoint(version: Version, catalog: Catalog, registry: JoinedRegistry) -> CheckpointSpec:
    """Describe a version as a checkpoint known by name; one that a plugin ships, as the plugin does.

    Raises:
        CheckpointError: no model family recognises its config.
    """
    if registry.is_shipped(version):
        folder = registry.folder(version)
        specs = (offer.spec for offer in catalog.checkpoints().values())
        return next(spec for spec in specs if spec.location is not None and Path(spec.location) == folder)
    manifest = version.manifest
    return CheckpointSpec(
        name=version.ref,
        location=version.ref,
        doc=registry.description(version.name) or "",
        family=catalog.family_of(manifest.config).family,
        config=manifest.config,
        licence=manifest.provenance.licence,
    )
