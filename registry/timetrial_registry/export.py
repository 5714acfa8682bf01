"""Export a version as a folder that can be put on the Hub as it is: the checkpoint, its card, its lineage, its terms.

    the version's files       as published, each compared with its sha256 while it is copied
    README.md                 the model card (`card`)
    .eval_results/*.yaml      figures of data sets that the Hub has a leaderboard for (`evaluation`)
    lineage.json              what `importing` checks the folder by (`exported`)
    LICENSE, NOTICE           what the licences of Llama models ask for (`licences`)

Files are copied, never linked: whoever changes an export does no harm to the registry.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from timetrial_registry.card import CardContent, ancestors, model_card
from timetrial_registry.error import RegistryError
from timetrial_registry.evaluation import Benchmarks, evaluation_files
from timetrial_registry.exported import CARD_FILE, LINEAGE_FILE, NOTICE_FILE, Exported, as_text, read_exported
from timetrial_registry.figures import standing
from timetrial_registry.licences import (
    LICENCE_FILE,
    LICENCE_PATTERNS,
    TERMS_TAG,
    LlamaLicence,
    find_agreement,
    llama_licences,
)
from timetrial_registry.lineage import to_json
from timetrial_registry.progress import Advance, ProgressFactory, silent
from timetrial_registry.readable import ReadableRegistry
from timetrial_registry.records import FileEntry, LineageNode, Ref, Version

_CHUNK_BYTES = 1 << 20
_HUB = "https://huggingface.co"


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportOptions:
    """What may be said about an export beside its version."""

    repository: str | None = None
    """The repository on the Hub that it is for: it gives the card its title."""
    agreement: Path | None = None
    """A file with the text of the Llama licence that applies, where no checkpoint here carries it."""
    benchmarks: Benchmarks = field(default_factory=dict)
    overwrite: bool = False
    """Whether the folder may hold an earlier export, whose place is taken."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Export:
    """An exported folder."""

    folder: Path
    version: Version
    files: tuple[str, ...]
    llama: tuple[LlamaLicence, ...]
    """The Llama licences that apply."""
    missing_agreements: tuple[LlamaLicence, ...]
    """Those whose text is not in the folder, and must be before anybody else gets it."""
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:  # Any: JSON
        """Return it as JSON-ready facts."""
        return {
            "folder": str(self.folder),
            "version": self.version.ref,
            "digest": self.version.digest,
            "tensor_digest": self.version.tensor_digest,
            "files": list(self.files),
            "llama_licences": [licence.hub_id for licence in self.llama],
            "missing_agreements": [licence.hub_id for licence in self.missing_agreements],
            "warnings": list(self.warnings),
        }


def export_version(
    registry: ReadableRegistry,
    ref: Ref,
    folder: Path,
    options: ExportOptions = ExportOptions(),  # noqa: B008  # frozen
    progress: ProgressFactory = silent,
) -> Export:
    """Write a version and all that is known of it into a new or empty folder; it is there whole or not at all.

    Raises:
        RegistryError: the folder is not empty, the agreement given is another text, or a file cannot be written.
        CheckpointError: no such version, or its files are damaged.
    """
    version = registry.get(ref)
    lineage = registry.lineage(version)
    llama = _llama_licences(version, lineage, registry.tags(version).get(TERMS_TAG))
    with _new_folder(folder, overwrite=options.overwrite) as stage:
        with registry.lease(version) as source, progress(f"exporting {version.ref}", version.size) as advance:
            for entry in version.manifest.files:
                _copy(source / entry.path, stage / entry.path, entry, advance)
        missing = _add_agreements(stage, llama, options.agreement, _folders_with_terms(registry, lineage))
        metrics = tuple(metric for _, metric in registry.metrics(version))
        content = CardContent(
            title=(options.repository or version.name).rpartition("/")[2],
            version=version,
            description=registry.description(version.name),
            lineage=lineage,
            figures=standing(metrics),
            llama=llama,
            benchmarks=options.benchmarks,
            publishers_card=_read_if_any(stage / CARD_FILE),
        )
        texts = {CARD_FILE: model_card(content), **_evaluation_files(content, options)}
        if llama:
            texts[NOTICE_FILE] = _notice(_read_if_any(stage / NOTICE_FILE), llama, missing)
        exported = Exported(version=version, description=content.description, lineage=to_json(lineage), metrics=metrics)
        _write(stage, texts, exported)
    return Export(
        folder=folder,
        version=version,
        files=tuple(sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())),
        llama=llama,
        missing_agreements=missing,
        warnings=tuple(_warnings(version, missing, has_licence=bool(llama))),
    )


def _evaluation_files(content: CardContent, options: ExportOptions) -> dict[str, str]:
    page = f"{_HUB}/{options.repository}" if options.repository else None
    return evaluation_files(content.figures, options.benchmarks, page)


def _write(stage: Path, texts: Mapping[str, str], exported: Exported) -> None:
    """Write what exporting adds; of published files that it replaces the text is kept in lineage.json."""
    names = [name for name in (*texts, LINEAGE_FILE) if (stage / name).is_file()]
    replaced = {name: as_text((stage / name).read_bytes()) for name in names}
    for name, text in texts.items():
        (stage / name).parent.mkdir(exist_ok=True)
        (stage / name).write_text(text, encoding="utf-8")
    replace(exported, replaced=replaced).save(stage)


def _llama_licences(version: Version, lineage: LineageNode, terms: str | None) -> tuple[LlamaLicence, ...]:
    """Return what applies to a version by its own licence, and the licences and names of what it was made from."""
    above = [node for node in ancestors(lineage) if node.role != "config"]
    versions = [version, *(node.version for node in above if node.version)]
    said = [each.manifest.provenance.licence for each in versions]
    return llama_licences([*said, *(terms or "").split()], [node.ref for node in above])


def _folders_with_terms(registry: ReadableRegistry, lineage: LineageNode) -> Iterator[Path]:
    """Yield the folders of ancestors that may carry a licence: of versions, and of references that are folders here."""
    for node in ancestors(lineage):
        if node.version is not None:
            if node.version.state == "ready" and any(
                _is_about_terms(file.path) for file in node.version.manifest.files
            ):
                yield registry.folder(node.version)
        elif Path(node.ref).is_dir():
            yield Path(node.ref)


def _is_about_terms(path: str) -> bool:
    return any(fnmatch(path, pattern) for pattern in LICENCE_PATTERNS)


def _add_agreements(
    stage: Path, llama: tuple[LlamaLicence, ...], given: Path | None, folders: Iterable[Path]
) -> tuple[LlamaLicence, ...]:
    """Copy the text of each licence into the folder, and return those whose text was not found.

    Raises:
        RegistryError: the file given is no text of any of them.
    """
    if given is not None and not any(licence.is_text(_read(given)) for licence in llama):
        expected = " or ".join(f"the {licence.title} Agreement" for licence in llama) or "none: no such licence applies"
        raise RegistryError(f"{given} is not the licence that this version stands under: expected {expected}")
    missing: list[LlamaLicence] = []
    ancestors_folders = tuple(folders) if llama else ()
    for licence in llama:
        if find_agreement(licence, [stage]) is not None:
            continue
        given_here = given is not None and licence.is_text(_read(given))
        found = given if given_here else find_agreement(licence, ancestors_folders)
        if found is None:
            missing.append(licence)
            continue
        name = LICENCE_FILE if not (stage / LICENCE_FILE).exists() else f"{LICENCE_FILE}.{licence.hub_id}"
        shutil.copyfile(found, stage / name)
    return tuple(missing)


def _read_if_any(path: Path) -> str | None:
    return _read(path) if path.is_file() else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as cause:
        raise RegistryError(f"{path} cannot be read: {cause.strerror or cause}") from cause


def _notice(published: str | None, llama: tuple[LlamaLicence, ...], missing: tuple[LlamaLicence, ...]) -> str:
    """Return the notice file: what was published as such, and the attributions that are not in it."""
    said = " ".join((published or "").split())
    lines = [licence.notice for licence in llama if licence.notice not in said]
    lines += [
        f"The text of the {licence.title} Agreement is not in this folder. Add it before you give the model to "
        f"anybody: {licence.link}"
        for licence in missing
    ]
    return "\n".join([*([published.rstrip()] if published else []), *lines]) + "\n"


def _warnings(version: Version, missing: tuple[LlamaLicence, ...], *, has_licence: bool) -> Iterator[str]:
    for licence in missing:
        yield (
            f"no checkpoint here carries the text of the {licence.title} Agreement, which must go with this model: "
            f"get it from {licence.link} and give it with --licence-file"
        )
    if not has_licence and version.manifest.provenance.licence is None:
        yield f"{version.ref} was published without a licence: the card names none, so nobody may use the model"


def _copy(source: Path, target: Path, entry: FileEntry, advance: Advance) -> None:
    """Copy a file, and compare what was read with its sha256.

    Raises:
        RegistryError: it is not what was published.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with source.open("rb") as reader, target.open("wb") as writer:
        while chunk := reader.read(_CHUNK_BYTES):
            digest.update(chunk)
            writer.write(chunk)
            advance(len(chunk))
    if digest.hexdigest() != entry.sha256:
        raise RegistryError(f"{source} is not what was published: run `timetrial registry verify`")


@contextmanager
def _new_folder(folder: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give a folder to fill, which takes the place of `folder` in the end if all went well.

    Raises:
        RegistryError: `folder` holds something that must not be overwritten, or cannot be made.
    """
    _check_free(folder, overwrite=overwrite)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as cause:
        raise RegistryError(f"{folder} cannot be made: {cause.strerror or cause}") from cause
    try:
        yield stage
        os.chmod(stage, 0o755)  # mkdtemp's are the owner's alone
        if folder.exists():
            shutil.rmtree(folder)
        stage.rename(folder)
    except OSError as cause:
        raise RegistryError(f"{folder} cannot be written: {cause.strerror or cause}") from cause
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _check_free(folder: Path, *, overwrite: bool) -> None:
    """Refuse to write where something is, unless it may be overwritten and an export wrote it."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    is_export = folder.is_dir() and read_exported(folder) is not None
    if overwrite and is_export:
        return
    cure = ", or give --overwrite" if is_export else ""
    raise RegistryError(f"{folder} is not empty: export into a new folder{cure}")
