"""A read-only registry of folders that carry their lineage.json: checkpoints shipped with a package, one version each.

Nothing is copied: a version's files are where they were installed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from timetrial_registry.error import CheckpointError, RegistryError, UnknownVersionError
from timetrial_registry.exported import Exported, faults, read_exported
from timetrial_registry.progress import ProgressFactory, silent
from timetrial_registry.records import AliasMove, Finding, LineageNode, Metric, Note, Parent, Ref, Role, Version
from timetrial_registry.reference import did_you_mean, parse_reference


class ShippedRegistry:
    """Folders with a lineage.json as a registry that cannot be written; those without one are left out."""

    def __init__(self, folders: Iterable[Path]) -> None:
        """Read the lineage.json of each folder.

        Raises:
            CheckpointError: one is damaged, or two folders hold versions of one name.
        """
        self._folders: dict[str, Path] = {}
        self._exported: dict[str, Exported] = {}
        for folder in folders:
            exported = read_exported(folder)
            if exported is None:
                continue
            name = exported.version.name
            if name in self._folders:
                raise CheckpointError(f"{folder} and {self._folders[name]} both ship a model {name!r}")
            self._folders[name], self._exported[name] = folder, exported

    def get(self, ref: Ref) -> Version:
        """Return the version that a reference names.

        Raises:
            RegistryError: the reference has no form of one.
            UnknownVersionError: there is none; offers the closest.
        """
        if isinstance(ref, Version):
            ref = ref.ref
        reference = parse_reference(ref)
        if reference.digest_prefix is not None:
            return self._of_digest(reference.digest_prefix)
        assert reference.name is not None, "see parse_reference"
        version = self._of_name(reference.name).version
        is_asked = reference.number in (None, version.version) and reference.alias in (None, *version.aliases)
        if not is_asked:
            aliases = f" and no alias but {', '.join(version.aliases)}" if version.aliases else ""
            raise UnknownVersionError(f"{ref!r}: of {version.name!r}, version {version.version} is shipped{aliases}")
        return version

    def folder(self, ref: Ref, *, progress: ProgressFactory = silent) -> Path:
        """Return where a version is installed."""
        return self._folders[self.get(ref).name]

    @contextmanager
    def lease(self, ref: Ref) -> Iterator[Path]:
        """Return where a version is installed: nobody collects it."""
        yield self.folder(ref)

    def names(self) -> tuple[str, ...]:
        """Return the names of the shipped models."""
        return tuple(sorted(self._folders))

    def description(self, name: str) -> str | None:
        """Return what a model was described as."""
        return self._of_name(name).description

    def versions(self, name: str | None = None) -> tuple[Version, ...]:
        """Return the version of a model, or of all."""
        names = self.names() if name is None else (name,)
        return tuple(self._of_name(each).version for each in names)

    def lineage(self, ref: Ref) -> LineageNode:
        """Return what a version was made from, as far as that is shipped too."""
        version = self.get(ref)
        return self._node(version.ref, None, version.digest, None)

    def descendants(self, ref: Ref) -> LineageNode:
        """Return the shipped versions that were made from a version."""
        return self._below(self.get(ref), None)

    def alias_log(self, name: str, alias: str | None = None) -> tuple[AliasMove, ...]:
        """Return nothing: shipped aliases never move."""
        self._of_name(name)
        return ()

    def metrics(self, ref: Ref | None = None) -> tuple[tuple[Version, Metric], ...]:
        """Return the figures that were exported with one version, or with all."""
        versions = self.versions() if ref is None else (self.get(ref),)
        return tuple((version, metric) for version in versions for metric in self._exported[version.name].metrics)

    def tags(self, ref: Ref) -> Mapping[str, str]:
        """Return nothing: nobody can tag what is shipped."""
        self.get(ref)
        return {}

    def notes(self, ref: Ref) -> tuple[Note, ...]:
        """Return nothing: nobody can write on what is shipped."""
        self.get(ref)
        return ()

    def verify(self, *, progress: ProgressFactory = silent) -> tuple[Finding, ...]:
        """Compare the installed files with what was published."""
        found: list[Finding] = []
        for name, exported in self._exported.items():
            with progress(f"verifying {name}", exported.version.size) as advance:
                found += self._faults(name, exported)
                advance(exported.version.size)
        return tuple(found)

    def _faults(self, name: str, exported: Exported) -> Iterator[Finding]:
        try:
            lines = faults(self._folders[name], exported)
        except CheckpointError as cause:
            lines = [str(cause)]
        cure = "Install the package again."
        for line in lines:
            yield Finding(kind="corrupt", subject=exported.version.ref, detail=f"{line}. {cure}", severity="error")

    def _of_name(self, name: str) -> Exported:
        if name not in self._exported:
            raise UnknownVersionError(f"no model {name!r} is shipped: {did_you_mean(name, self.names())}")
        return self._exported[name]

    def _of_digest(self, prefix: str) -> Version:
        found = [version for version in self.versions() if version.digest.startswith(prefix)]
        if len(found) > 1:
            raise RegistryError(
                f"sha256:{prefix} begins the digests of {len(found)} shipped versions: give more digits"
            )
        if not found:
            raise UnknownVersionError(f"no shipped version has a digest that begins with {prefix!r}")
        return found[0]

    def _node(self, ref: str, role: Role | None, digest: str | None, revision: str | None) -> LineageNode:
        version = next((each for each in self.versions() if each.digest == digest), None)
        parents: tuple[Parent, ...] = () if version is None else version.manifest.provenance.parents
        return LineageNode(
            ref=ref,
            role=role,
            digest=digest,
            revision=revision,
            version=version,
            children=tuple(self._node(each.ref, each.role, each.digest, each.revision) for each in parents),
        )

    def _below(self, version: Version, role: Role | None) -> LineageNode:
        children = [
            self._below(other, parent.role)
            for other in self.versions()
            for parent in other.manifest.provenance.parents
            if parent.digest == version.digest
        ]
        return LineageNode(
            ref=version.ref,
            role=role,
            digest=version.digest,
            revision=None,
            version=version,
            children=tuple(children),
        )
