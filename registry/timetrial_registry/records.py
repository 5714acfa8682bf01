"""The registry's records: what a publisher says, what a version is, and what was found, measured or moved.

All are frozen and JSON-ready (`dataclasses.asdict`). It does not know where they are stored.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Literal, get_args

from timetrial_registry.error import CheckpointError, RegistryError
from timetrial_registry.paths import check_path

Role = Literal["teacher", "init", "stage_parent", "data", "config"]
"""What a parent was to its child; `stage_parent` is the version that the stage before this one ended with."""
ROLES: Final = get_args(Role)
State = Literal["ready", "deleted"]
Severity = Literal["error", "warning", "note"]
"""Only an error means that something published is lost or wrong."""
MANIFEST_FORMAT: Final = 1


class Unset(Enum):
    """The type of `UNSET`, which says "not given" where None means something."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET


@dataclass(frozen=True, kw_only=True, slots=True)
class FileEntry:
    """One file of a version."""

    path: str
    """Relative to the version's folder, with forward slashes."""
    size: int
    """In bytes."""
    sha256: str
    media_type: str

    def __post_init__(self) -> None:
        """Refuse a path that leads out of the folder, whoever wrote it."""
        check_path(self.path)


@dataclass(frozen=True, kw_only=True, slots=True)
class Parent:
    """What a version was made from: another version here, or something outside."""

    role: Role
    ref: str
    """`name@3` for a version here; else what the publisher calls it, such as a Hub id or a data set."""
    digest: str | None = None
    """The version digest of a version; of anything else what its publisher says."""
    revision: str | None = None
    """The commit of a Hub repository or data set."""

    def __post_init__(self) -> None:
        """Refuse a role that lineage does not know, and a parent without a name.

        Raises:
            RegistryError: says what is expected.
        """
        if self.role not in ROLES or not isinstance(self.ref, str) or not self.ref.strip():
            raise RegistryError(
                f"the parent {self.ref!r} in the role {self.role!r} cannot be recorded: expected a reference, such as "
                f"name@3 or a Hub id, in one of the roles {', '.join(ROLES)}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """What a publisher says of a version; all of it is part of the version's identity."""

    kind: str = "checkpoint"
    stage: str | None = None
    """The stage of a recipe that made it: mohawk-1, mohawk-2, mohawk-3, hybrid-kd, sft, ..."""
    parents: tuple[Parent, ...] = ()
    tokens: int | None = None
    """It was trained on so many in this stage."""
    seed: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of the libraries that made it."""
    licence: str | None = None
    recipe: Mapping[str, Any] | None = None  # Any: JSON
    """The configuration of the recipe that made it."""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Provenance:  # Any: JSON
        """Build it from parsed JSON.

        Raises:
            RegistryError: a field or role is unknown, or a value has the wrong type.
        """
        _check_fields("provenance", data, cls)
        for name, kinds in _PROVENANCE_TYPES.items():
            value = data.get(name)
            if value is not None and (not isinstance(value, kinds) or isinstance(value, bool)):
                expected = " or ".join(kind.__name__ for kind in kinds)
                raise RegistryError(f"the provenance has {name} = {value!r}: expected {expected}")
        parents = data.get("parents") or ()
        for parent in parents:
            _check_fields("parent", parent, Parent)
        return cls(**{**data, "parents": tuple(Parent(**{"role": None, "ref": None, **parent}) for parent in parents)})


_PROVENANCE_TYPES: Mapping[str, tuple[type, ...]] = {
    "kind": (str,),
    "stage": (str,),
    "parents": (list, tuple),
    "tokens": (int,),
    "seed": (int,),
    "versions": (dict,),
    "licence": (str,),
    "recipe": (dict,),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """All that makes a version what it is; the sha256 of its canonical JSON is the version's digest."""

    files: tuple[FileEntry, ...]
    """Sorted by path."""
    tensor_digest: str
    """The same for the same tensors, however they are saved or sharded (see `timetrial_registry.tensors`)."""
    config: Mapping[str, Any]  # Any: JSON
    """Of the architecture: the checkpoint's config.json."""
    provenance: Provenance

    def canonical_json(self) -> str:
        """Return its one spelling as JSON: sorted keys, no spaces, plain ASCII.

        Raises:
            CheckpointError: it holds something JSON cannot say, such as NaN.
        """
        data = {"format": MANIFEST_FORMAT, **dataclasses.asdict(self)}
        try:
            return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
        except (TypeError, ValueError) as cause:
            raise CheckpointError(f"the config or provenance cannot be written as JSON: {cause}") from cause

    @property
    def digest(self) -> str:
        """The sha256 of the canonical JSON, hexadecimal."""
        return hashlib.sha256(self.canonical_json().encode()).hexdigest()

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Parse what `canonical_json` wrote.

        Raises:
            RegistryError: it is of another format, or no manifest.
        """
        try:
            data = json.loads(text)
            format_number = data.pop("format")
            if format_number != MANIFEST_FORMAT:
                raise RegistryError(
                    f"the manifest has format {format_number}: this timetrial knows {MANIFEST_FORMAT}. Update it."
                )
            files = tuple(FileEntry(**entry) for entry in data.pop("files"))
            return cls(files=files, provenance=Provenance.from_json(data.pop("provenance")), **data)
        except (AttributeError, KeyError, TypeError, ValueError) as cause:
            raise RegistryError(f"this is no manifest of a version ({cause}): {text[:60]!r}") from cause


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """One published, immutable version of a model."""

    name: str
    version: int
    digest: str
    """The sha256 of its manifest."""
    tensor_digest: str
    stage: str | None
    size: int
    """Of its files, in bytes."""
    created_at: str
    """UTC, ISO 8601."""
    created_by: str
    state: State
    aliases: tuple[str, ...]
    manifest_json: str = field(repr=False)

    @property
    def ref(self) -> str:
        """What names exactly this version: `name@3`."""
        return f"{self.name}@{self.version}"

    @property
    def manifest(self) -> Manifest:
        """Its manifest, parsed anew each time: a listing of thousands needs none of them."""
        return Manifest.from_json(self.manifest_json)


Ref = str | Version
"""A version, or what names one: see `timetrial_registry.reference`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """One figure measured of a version."""

    dataset: str
    metric: str
    value: float
    revision: str | None = None
    """Of the data set."""
    split: str | None = None
    stderr: float | None = None
    n: int | None = None
    """Number of problems."""
    params: Mapping[str, Any] = field(default_factory=dict)  # Any: JSON
    """Whatever else the figure depends on: task, aggregator, k, seconds, hardware, temperature, ..."""
    run_digest: str | None = None
    """Of the run it came from; the same figure of the same run is kept once."""
    at: str | None = None
    """When it was attached, UTC; filled in by the registry."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AliasMove:
    """One move of an alias from one version to another; None is nowhere."""

    name: str
    alias: str
    old: int | None
    new: int | None
    at: str
    by: str
    reason: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """A remark on a version."""

    text: str
    at: str
    by: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Something that happened to a version, an alias or the registry."""

    kind: str
    """published, revived, deleted, repaired, collected, ..."""
    subject: str
    detail: str
    at: str
    by: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Something `verify` found."""

    kind: str
    """missing, truncated, corrupt, orphan, dangling_alias, cycle, ..."""
    subject: str
    detail: str
    severity: Severity


@dataclass(frozen=True, kw_only=True, slots=True)
class LineageNode:
    """A version or something outside, and what it was made from (or, of descendants, what was made from it)."""

    ref: str
    """`name@3`, or the reference of something outside."""
    role: Role | None
    """What it was to the node above; None at the root."""
    digest: str | None
    revision: str | None
    version: Version | None
    """None for something outside, or no longer here."""
    children: tuple[LineageNode, ...]
    is_repeated: bool = False
    """It stands with its children elsewhere in the tree already."""


def _check_fields(what: str, data: Mapping[str, Any], record: type) -> None:  # Any: JSON
    known = {item.name for item in dataclasses.fields(record)}
    if not isinstance(data, Mapping) or (unknown := sorted(data.keys() - known)):
        shown = f"unknown fields {', '.join(unknown)}" if isinstance(data, Mapping) else repr(data)
        raise RegistryError(f"the {what} has {shown}: expected an object with {', '.join(sorted(known))}")
