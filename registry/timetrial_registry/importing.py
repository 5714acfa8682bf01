"""Import into a registry: an exported folder, every file of it checked, or a repository of the Hub, its commit pinned.

A folder that `export` wrote becomes the version that was exported, with the same digest. Anything else is published as
it is; that of the Hub with the repository and the commit as what it was made from.
"""

from __future__ import annotations

import glob
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from timetrial_registry.checkpoint import DESCRIBING_FILES, SAFETENSORS_FILES
from timetrial_registry.error import CheckpointError, RegistryError, UnknownVersionError
from timetrial_registry.exported import (
    CARD_FILE,
    LINEAGE_FILE,
    Exported,
    ancestors_in,
    faults,
    original,
    read_exported,
)
from timetrial_registry.hub import HUB_TAG, download, pin
from timetrial_registry.licences import LICENCE_PATTERNS, TERMS_TAG, llama_licences
from timetrial_registry.progress import ProgressFactory, silent
from timetrial_registry.records import Parent, Provenance, Version
from timetrial_registry.reference import DIGEST_PREFIX, is_reference
from timetrial_registry.registry import Registry
from timetrial_registry.store import Store

_HUB_ID = re.compile(r"(?P<repository>[A-Za-z0-9][\w.-]*/[\w.-]+)(@(?P<revision>[\w./-]+))?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A repository of the Hub at a commit."""

    repository: str
    commit: str

    def __str__(self) -> str:
        return f"{self.repository}@{self.commit}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A folder to import, looked at but not yet checked."""

    folder: Path
    source: Source | None
    """Where on the Hub it is from."""
    exported: Exported | None
    """What its lineage.json says; None if it has none."""

    @property
    def name(self) -> str | None:
        """What the model was called where it was exported."""
        return None if self.exported is None else self.exported.version.name

    @property
    def place(self) -> str:
        """Where it is from."""
        return str(self.source or self.folder)


@dataclass(frozen=True, kw_only=True, slots=True)
class Imported:
    """What an import made."""

    version: Version
    exported_as: str | None
    """What the version was called where it was exported; None if it is no exported version."""
    source: Source | None
    """Where on the Hub it is from."""


def look_at(location: str | Path) -> Candidate:
    """Find a folder, or fetch a repository of the Hub (org/name, org/name@revision) at the commit that it is now.

    An existing folder wins over a repository of the same spelling.

    Raises:
        CheckpointError: neither of them, not to be had, or with a damaged lineage.json.
    """
    folder = Path(location).expanduser()
    if folder.is_dir():
        return Candidate(folder=folder, source=None, exported=read_exported(folder))
    match = _HUB_ID.fullmatch(str(location))
    if folder.exists() or match is None:
        raise CheckpointError(
            f"nothing to import at {str(location)!r}: expected a folder, or a Hub id like 'org/name' or "
            "'org/name@revision'"
        )
    source = Source(repository=match["repository"], commit=pin(match["repository"], match["revision"]))
    exported = read_exported(download(source.repository, source.commit, (LINEAGE_FILE,)))
    if exported is None:
        patterns: tuple[str, ...] = (*DESCRIBING_FILES, *SAFETENSORS_FILES, *LICENCE_PATTERNS, CARD_FILE)
    else:
        patterns = (LINEAGE_FILE, *(glob.escape(entry.path) for entry in exported.version.manifest.files))
    return Candidate(folder=download(source.repository, source.commit, patterns), source=source, exported=exported)


def import_checkpoint(
    registry: Registry,
    location: str | Path | Candidate,
    name: str | None = None,
    *,
    by: str | None = None,
    with_figures: bool = False,
    progress: ProgressFactory = silent,
) -> Imported:
    """Publish a folder, or a repository of the Hub, into a registry.

    Args:
        registry: where to.
        location: what `look_at` takes, or what it gave.
        name: of the model; None: as it was called where it was exported.
        by: who publishes it; None: the user of this process.
        with_figures: attach the figures that were exported with it, which nobody here has measured.
        progress: shown while files are copied.

    Raises:
        CheckpointError: it is not to be had, or not what its lineage.json says.
        RegistryError: no name is given and the folder has none of its own, or it cannot be published.
    """
    candidate = location if isinstance(location, Candidate) else look_at(location)
    if (name := name or candidate.name) is None:
        raise RegistryError(f"{candidate.place} has no {LINEAGE_FILE} that names it: give a name with --name")
    publish = partial(registry.publish, name, by=by, progress=progress)
    if candidate.exported is None:
        version = publish(candidate.folder, _provenance(candidate))
    else:
        version = _publish_exported(registry, candidate, candidate.exported, publish)
        if terms := _terms(candidate.exported):
            registry.tag(version, TERMS_TAG, terms)
        if with_figures:
            registry.attach(version, candidate.exported.metrics)
    registry.record_event(version, "imported", f"from {candidate.place}", by=by)
    if candidate.source is not None:
        registry.tag(version, HUB_TAG, str(candidate.source))
    exported_as = None if candidate.exported is None else candidate.exported.version.ref
    return Imported(version=version, exported_as=exported_as, source=candidate.source)


def _provenance(candidate: Candidate) -> Provenance:
    """Return what is known of a checkpoint that was not exported: its repository, and the licence its card names."""
    source = candidate.source
    parents = () if source is None else (Parent(role="init", ref=source.repository, revision=source.commit),)
    return Provenance(parents=parents, licence=_licence(candidate.folder))


def _publish_exported(
    registry: Registry, candidate: Candidate, exported: Exported, publish: Callable[..., Version]
) -> Version:
    """Publish exactly the files that were published before they were exported, once all are found to be the same."""
    wrong = faults(candidate.folder, exported, follow_links=candidate.source is not None)
    if wrong:
        listed = "\n  ".join(wrong)
        raise CheckpointError(
            f"{candidate.place} is not {exported.version.ref} as it was exported:\n  {listed}\nNothing is imported. "
            f"Export or download it again; or remove {LINEAGE_FILE} and import it as something new."
        )
    provenance = exported.version.manifest.provenance
    parents = tuple(_untangled(registry, parent) for parent in provenance.parents)
    with _published_files(registry, candidate.folder, exported) as stage:
        return publish(stage, replace(provenance, parents=parents), description=exported.description)


def _untangled(registry: Registry, parent: Parent) -> Parent:
    """Return a parent by its digest where its name means another version here than where it was exported."""
    if parent.digest is None or not is_reference(parent.ref):
        return parent
    try:
        is_other = registry.get(parent.ref).digest != parent.digest
    except UnknownVersionError:
        return parent
    return replace(parent, ref=f"{DIGEST_PREFIX}{parent.digest}") if is_other else parent


def _terms(exported: Exported) -> str:
    """Name the Llama licences that the exported version's ancestors bring, as `TERMS_TAG` holds them."""
    above = [node["ref"] for node in ancestors_in(exported.lineage) if node["role"] != "config"]
    return " ".join(licence.hub_id for licence in llama_licences([], above))


@contextmanager
def _published_files(registry: Registry, folder: Path, exported: Exported) -> Iterator[Path]:
    """Give a folder of just the published files, without what exporting has added or replaced."""
    with Store(Registry.create(registry.path).path).staged() as stage:
        for entry in exported.version.manifest.files:
            target = stage / entry.path
            target.parent.mkdir(parents=True, exist_ok=True)
            if entry.path in exported.replaced:
                target.write_bytes(original(exported, entry.path))
            else:
                _link_or_copy((folder / entry.path).resolve(), target)
        yield stage


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)


def _licence(folder: Path) -> str | None:
    """Return the licence that a checkpoint's card names."""
    from huggingface_hub.repocard import metadata_load

    card = folder / CARD_FILE
    if not card.is_file():
        return None
    try:
        metadata = metadata_load(card) or {}
    except Exception:  # PyYAML's errors, which this package does not depend on, and ValueError
        return None
    licence = metadata.get("license_name") or metadata.get("license")
    return licence if isinstance(licence, str) else None
