"""What checkpoints exist and what they are: where they lie, their files, their digests, their history.

The registry itself is loaded on first use, so that importing this stays instant.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from timetrial_registry.checkpoint import read_config, resolve, resolve_config, resolve_tokenizer, weight_files
from timetrial_registry.digest import checkpoint_digest, file_digest, tokenizer_digest
from timetrial_registry.error import (
    AliasConflictError,
    CheckpointError,
    RegistryError,
    TimetrialError,
    UnknownVersionError,
)

if TYPE_CHECKING:
    from timetrial_registry.export import ExportOptions, export_version
    from timetrial_registry.importing import import_checkpoint
    from timetrial_registry.location import default_folder
    from timetrial_registry.records import Metric, Parent, Provenance, Version
    from timetrial_registry.registry import Registry

_ON_FIRST_USE = {
    "ExportOptions": "timetrial_registry.export",
    "Metric": "timetrial_registry.records",
    "Parent": "timetrial_registry.records",
    "Provenance": "timetrial_registry.records",
    "Registry": "timetrial_registry.registry",
    "Version": "timetrial_registry.records",
    "default_folder": "timetrial_registry.location",
    "export_version": "timetrial_registry.export",
    "import_checkpoint": "timetrial_registry.importing",
}

__all__ = [
    "AliasConflictError",
    "CheckpointError",
    "ExportOptions",
    "Metric",
    "Parent",
    "Provenance",
    "Registry",
    "RegistryError",
    "TimetrialError",
    "UnknownVersionError",
    "Version",
    "checkpoint_digest",
    "default_folder",
    "export_version",
    "file_digest",
    "import_checkpoint",
    "read_config",
    "resolve",
    "resolve_config",
    "resolve_tokenizer",
    "tokenizer_digest",
    "weight_files",
]


def __getattr__(name: str) -> Any:  # Any: whatever the module defines under that name
    if name not in _ON_FIRST_USE:
        raise AttributeError(f"module 'timetrial_registry' has no attribute {name!r}")
    return getattr(import_module(_ON_FIRST_USE[name]), name)
