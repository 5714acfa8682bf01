"""lineage.json: what an exported folder says of itself, enough to check all of it and to publish it again as it was.

It holds the version's manifest, so that every file and the version's digest can be checked; the tree of what the
version was made from; its figures; and the text of published files that exporting writes anew, such as README.md.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from timetrial_registry.contents import check_weights
from timetrial_registry.digest import file_digest
from timetrial_registry.error import CheckpointError, RegistryError
from timetrial_registry.paths import check_path
from timetrial_registry.records import FileEntry, Manifest, Metric, Version
from timetrial_registry.tensors import digest_tensors

LINEAGE_FILE = "lineage.json"
CARD_FILE = "README.md"
NOTICE_FILE = "NOTICE"
REPLACEABLE = frozenset({LINEAGE_FILE, CARD_FILE, NOTICE_FILE})
"""Files that exporting writes, whether a file of that name was published or not."""
FORMAT = 1

Json = Mapping[str, Any]  # Any: JSON


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """A version outside of a registry, and what is known of it."""

    version: Version
    description: str | None
    lineage: Json
    metrics: tuple[Metric, ...]
    replaced: Mapping[str, str] = field(default_factory=dict)
    """The text of published files in whose place exporting has put another, by path."""

    def save(self, folder: Path) -> None:
        """Write lineage.json."""
        version = self.version
        data = {
            "format": FORMAT,
            "name": version.name,
            "version": version.version,
            "digest": version.digest,
            "created_at": version.created_at,
            "created_by": version.created_by,
            "aliases": list(version.aliases),
            "description": self.description,
            "manifest": json.loads(version.manifest_json),
            "lineage": self.lineage,
            "metrics": [dataclasses.asdict(metric) for metric in self.metrics],
            "replaced": dict(self.replaced),
        }
        (folder / LINEAGE_FILE).write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def read_exported(folder: Path) -> Exported | None:
    """Read a folder's lineage.json; None if it has none.

    Raises:
        CheckpointError: it cannot be read, is of another format, or contradicts itself.
    """
    path = folder / LINEAGE_FILE
    if not path.is_file():
        return None
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise ValueError(f"it has format {data['format']!r}; this timetrial knows {FORMAT}")
        manifest = Manifest.from_json(json.dumps(data["manifest"]))
        for entry in manifest.files:
            check_path(entry.path)
        if others := sorted(data["replaced"].keys() - REPLACEABLE):
            raise ValueError(f"exporting does not replace {', '.join(others)}")
        exported = Exported(
            version=_version(data, manifest),
            description=data["description"],
            lineage=data["lineage"],
            metrics=tuple(Metric(**metric) for metric in data["metrics"]),
            replaced={str(name): str(text) for name, text in data["replaced"].items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, CheckpointError, RegistryError) as cause:
        raise CheckpointError(f"{path} cannot be read as the record of an exported version: {cause}") from cause
    if manifest.digest != data["digest"]:
        raise CheckpointError(
            f"{path} contradicts itself: its manifest has the sha256 {manifest.digest}, it says {data['digest']}. "
            "Somebody has changed it; export or download the version again."
        )
    return exported


def _version(data: Json, manifest: Manifest) -> Version:
    if not isinstance(data["name"], str) or not isinstance(data["version"], int):
        raise ValueError("name or version is missing")
    return Version(
        name=data["name"],
        version=data["version"],
        digest=manifest.digest,
        tensor_digest=manifest.tensor_digest,
        stage=manifest.provenance.stage,
        size=sum(entry.size for entry in manifest.files),
        created_at=data["created_at"],
        created_by=data["created_by"],
        state="ready",
        aliases=tuple(data["aliases"]),
        manifest_json=manifest.canonical_json(),
    )


def ancestors_in(lineage: Json) -> Iterator[Json]:
    """Yield every node below the root of a lineage in JSON."""
    for child in lineage["children"]:
        yield child
        yield from ancestors_in(child)


def faults(folder: Path, exported: Exported, *, follow_links: bool = False) -> list[str]:
    """Compare an exported folder with its manifest; say, a line each, what is wrong.

    Args:
        folder: the folder.
        exported: what its lineage.json says.
        follow_links: take a link for the file that it leads to, as in the Hub's local cache; else a link is a fault.

    Raises:
        CheckpointError: the weights cannot be read.
    """
    manifest = exported.version.manifest
    found = [line for entry in manifest.files if (line := _fault(folder, exported, entry, follow_links))]
    if not found and (digest := _tensor_digest(folder)) != manifest.tensor_digest:
        found.append(f"the tensors have the sha256 {digest}, not {manifest.tensor_digest} as {LINEAGE_FILE} says")
    return found


def _tensor_digest(folder: Path) -> str:
    with ThreadPoolExecutor(os.cpu_count() or 1) as executor:
        return digest_tensors(check_weights(folder), executor, lambda count: None)


def _fault(folder: Path, exported: Exported, entry: FileEntry, follow_links: bool) -> str | None:
    if entry.path in exported.replaced:
        kept = hashlib.sha256(original(exported, entry.path)).hexdigest()
        return None if kept == entry.sha256 else f"{entry.path}: the text that is kept of it has another sha256"
    path = folder / entry.path
    if not follow_links and any(part.is_symlink() for part in (path, *path.parents[: len(Path(entry.path).parts) - 1])):
        return f"{entry.path} is a link: expected a file"
    if not path.is_file():
        return f"{entry.path} is missing"
    if path.stat().st_size != entry.size:
        return f"{entry.path} has {path.stat().st_size:,} bytes, published were {entry.size:,}"
    return None if file_digest(path) == entry.sha256 else f"{entry.path} has another sha256 than was published"


def as_text(content: bytes) -> str:
    """Return any bytes as text that JSON can hold; `original` gives them back."""
    return content.decode("utf-8", "surrogateescape")


def original(exported: Exported, path: str) -> bytes:
    """Return the published content of a file that exporting has replaced."""
    return exported.replaced[path].encode("utf-8", "surrogateescape")
