"""What can be asked of any registry, the user's own or one that is shipped with a package."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from timetrial_registry.progress import ProgressFactory, silent
from timetrial_registry.records import AliasMove, Finding, LineageNode, Metric, Note, Ref, Version


class ReadableRegistry(Protocol):
    """The part of `Registry` that changes nothing; see there for what each does and raises."""

    def get(self, ref: Ref) -> Version:
        """Return the version that a reference names."""
        ...

    def folder(self, ref: Ref, *, progress: ProgressFactory = silent) -> Path:
        """Return a version's files as a checkpoint folder, not to be written to."""
        ...

    def lease(self, ref: Ref) -> AbstractContextManager[Path]:
        """Keep a version's folder from being collected meanwhile."""
        ...

    def names(self) -> tuple[str, ...]:
        """Return the names of all models."""
        ...

    def description(self, name: str) -> str | None:
        """Return what a model was described as."""
        ...

    def versions(self, name: str | None = None) -> tuple[Version, ...]:
        """Return the versions of one model, or of all."""
        ...

    def lineage(self, ref: Ref) -> LineageNode:
        """Return what a version was made from."""
        ...

    def descendants(self, ref: Ref) -> LineageNode:
        """Return what was made from a version."""
        ...

    def alias_log(self, name: str, alias: str | None = None) -> tuple[AliasMove, ...]:
        """Return the moves of a model's aliases."""
        ...

    def metrics(self, ref: Ref | None = None) -> tuple[tuple[Version, Metric], ...]:
        """Return the figures of one version, or of all."""
        ...

    def tags(self, ref: Ref) -> Mapping[str, str]:
        """Return a version's tags."""
        ...

    def notes(self, ref: Ref) -> tuple[Note, ...]:
        """Return the remarks on a version."""
        ...

    def verify(self, *, progress: ProgressFactory = silent) -> tuple[Finding, ...]:
        """Check all files against what was published."""
        ...
