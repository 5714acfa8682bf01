"""Where a reward model's checkpoint lies: known names, folders, Hub ids and versions of a registry, as for models.

Unlike a model it needs no family that generates.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from timetrial.catalog import open_catalog
from timetrial.error import CheckpointError
from timetrial.loading import REGISTRY_FACT, known_checkpoint
from timetrial.registries import may_be_registered, open_registries, registered_version
from timetrial_registry.checkpoint import resolve


class Located(NamedTuple):
    """A checkpoint on this machine."""

    folder: Path
    facts: Mapping[str, Any]  # Any: JSON-ready; which version of a registry it is, if it is one


def locate(ref: str) -> Located:
    """Find the checkpoint of a reference, downloading it from the Hub if need be.

    Raises:
        UnknownNameError: it is no known name, no folder, no Hub id and in no registry.
        CheckpointError: what it names is no usable checkpoint.
        RegistryError: a registry cannot be read, or the reference names several versions.
    """
    catalog = open_catalog()
    if may_be_registered(ref, catalog):
        registry = open_registries(catalog)
        version = registered_version(ref, catalog, registry)
        facts = {"name": version.name, "version": version.version, "digest": version.digest}
        return Located(registry.folder(version), {REGISTRY_FACT: facts})
    known = known_checkpoint(ref, catalog)
    if known is not None and known.location is None:
        raise CheckpointError(f"{ref!r} is a shape without weights: a reward model needs trained ones")
    return Located(resolve(ref if known is None or known.location is None else known.location), {})
