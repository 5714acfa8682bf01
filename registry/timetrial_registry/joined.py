"""The user's registry and what packages ship, asked as one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from timetrial_registry.error import RegistryError, UnknownVersionError
from timetrial_registry.progress import ProgressFactory, silent
from timetrial_registry.readable import ReadableRegistry
from timetrial_registry.records import AliasMove, Finding, LineageNode, Metric, Note, Ref, Version
from timetrial_registry.reference import did_you_mean, parse_reference
from timetrial_registry.registry import Registry
from timetrial_registry.shipped import ShippedRegistry


class JoinedRegistry:
    """Answers from `own` or from `shipped`, whichever holds the name; one name in both is refused, never guessed."""

    def __init__(self, own: Registry, shipped: ShippedRegistry) -> None:
        self.own = own
        self.shipped = shipped

    def is_shipped(self, version: Version) -> bool:
        """Whether a version is shipped, so that nothing can be attached to it."""
        return version in self.shipped.versions()

    def get(self, ref: Ref) -> Version:
        """Return the version that a reference names."""
        return self._holder(ref).get(ref)

    def folder(self, ref: Ref, *, progress: ProgressFactory = silent) -> Path:
        """Return a version's files as a checkpoint folder."""
        return self._holder(ref).folder(ref, progress=progress)

    def lease(self, ref: Ref) -> AbstractContextManager[Path]:
        """Keep a version's folder from being collected meanwhile."""
        return self._holder(ref).lease(ref)

    def names(self) -> tuple[str, ...]:
        """Return all names."""
        return tuple(sorted({*self.own.names(), *self.shipped.names()}))

    def description(self, name: str) -> str | None:
        """Return what a model was described as."""
        return self._holder_of_name(name).description(name)

    def versions(self, name: str | None = None) -> tuple[Version, ...]:
        """Return the versions of one model, or of all, the user's own first."""
        if name is not None:
            return self._holder_of_name(name).versions(name)
        return (*self.own.versions(), *self.shipped.versions())

    def lineage(self, ref: Ref) -> LineageNode:
        """Return what a version was made from."""
        return self._holder(ref).lineage(ref)

    def descendants(self, ref: Ref) -> LineageNode:
        """Return what was made from a version."""
        return self._holder(ref).descendants(ref)

    def alias_log(self, name: str, alias: str | None = None) -> tuple[AliasMove, ...]:
        """Return the moves of a model's aliases."""
        return self._holder_of_name(name).alias_log(name, alias)

    def metrics(self, ref: Ref | None = None) -> tuple[tuple[Version, Metric], ...]:
        """Return the figures of one version, or of all."""
        return self._holder(ref).metrics(ref) if ref is not None else (*self.own.metrics(), *self.shipped.metrics())

    def tags(self, ref: Ref) -> Mapping[str, str]:
        """Return a version's tags."""
        return self._holder(ref).tags(ref)

    def notes(self, ref: Ref) -> tuple[Note, ...]:
        """Return the remarks on a version."""
        return self._holder(ref).notes(ref)

    def verify(self, *, progress: ProgressFactory = silent) -> tuple[Finding, ...]:
        """Check all files against what was published."""
        return (*self.own.verify(progress=progress), *self.shipped.verify(progress=progress))

    def _holder(self, ref: Ref) -> ReadableRegistry:
        if isinstance(ref, Version):
            return self.shipped if self.is_shipped(ref) else self.own
        reference = parse_reference(ref)
        if reference.name is not None:
            return self._holder_of_name(reference.name)
        try:
            self.shipped.get(ref)
        except UnknownVersionError:
            return self.own
        return self.shipped

    def _holder_of_name(self, name: str) -> ReadableRegistry:
        is_own, is_shipped = name in self.own.names(), name in self.shipped.names()
        if is_own and is_shipped:
            raise RegistryError(
                f"{name!r} is both a model of your registry and one that is shipped: name the version by its digest "
                "(sha256:...), and publish yours under another name"
            )
        if not (is_own or is_shipped):
            raise UnknownVersionError(f"no registry holds a model {name!r}: {did_you_mean(name, self.names())}")
        return self.shipped if is_shipped else self.own
