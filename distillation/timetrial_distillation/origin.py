"""Checkpoints that a stage learns from or starts from: where they lie, what they are, and whether they belong there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from timetrial.catalog import open_catalog
from timetrial.error import UsageError
from timetrial.loading import known_checkpoint, locate_model
from timetrial_distillation.objectives.stage import Model
from timetrial_distillation.stages import PREVIOUS, StageName
from timetrial_plugins.models.families import BUILDERS
from timetrial_plugins.models.loading import load_weights
from timetrial_registry.checkpoint import has_tokenizer, read_config, resolve_tokenizer
from timetrial_registry.digest import checkpoint_digest, tokenizer_digest
from timetrial_registry.records import Version

SUMMARY = "training.json"
"""What a stage writes beside its weights."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OriginModel:
    """A checkpoint on this machine, and what is known of it."""

    ref: str
    """As the user named it."""
    folder: Path
    tokenizer: Path
    """Folder of its tokenizer files."""
    family: str
    digest: str
    """Of its files."""
    tokenizer_digest: str
    stage: str | None
    """The stage that ended with it, if it says so."""
    teacher_digest: str | None
    """Of the teacher it was distilled from, if it says so."""
    version: Version | None
    """What it is in a registry."""

    def load(self, dtype: torch.dtype) -> Model:
        """Read its weights.

        Raises:
            CheckpointError: they do not fit the family.
        """
        with torch.device("meta"):
            module = BUILDERS[self.family](read_config(self.folder))
        load_weights(module, self.folder, device=torch.device("cpu"), dtype=dtype)
        return module


def find_model(ref: str) -> OriginModel:
    """Find a model by name, folder, Hub id or version of a registry, fetching it if need be.

    Raises:
        UnknownNameError: there is none.
        CheckpointError: it is no usable checkpoint.
        UsageError: nothing of its family can be trained.
    """
    catalog = open_catalog()
    located = locate_model(ref, catalog)
    if located.spec.family not in BUILDERS:
        raise UsageError(
            f"{ref!r} is of family {located.spec.family!r}; what can be trained is {', '.join(sorted(BUILDERS))}"
        )
    tokenizer = located.folder
    if not has_tokenizer(tokenizer):
        known = known_checkpoint(ref, catalog)
        tokenizer = resolve_tokenizer((known.tokenizer if known else None) or located.folder)
    summary = _summary(located.folder)
    return OriginModel(
        ref=ref,
        folder=located.folder,
        tokenizer=tokenizer,
        family=located.spec.family,
        digest=checkpoint_digest(located.folder),
        tokenizer_digest=tokenizer_digest(tokenizer),
        stage=located.version.stage if located.version is not None else summary.get("stage"),
        teacher_digest=summary.get("teacher_digest"),
        version=located.version,
    )


def check_start(stage: StageName, start: OriginModel, teacher: OriginModel | None) -> None:
    """Refuse to go on with a model that another stage, another teacher or another tokenizer has made.

    Raises:
        UsageError: says what it is and what was expected.
    """
    expected = PREVIOUS.get(stage)
    if expected is not None and start.stage != expected:
        found = f"was made by stage {start.stage}" if start.stage else "does not say which stage made it"
        raise UsageError(
            f"{stage} goes on with the result of {expected}, and {start.ref!r} {found}."
            f" Run {expected} first, and give its folder or its version with --from."
        )
    if teacher is None:
        return
    if start.tokenizer_digest != teacher.tokenizer_digest:
        raise UsageError(
            f"{start.ref!r} has another tokenizer (digest {start.tokenizer_digest[:12]}) than the teacher"
            f" {teacher.ref!r} ({teacher.tokenizer_digest[:12]}): their tokens mean other words."
        )
    if start.teacher_digest not in (None, teacher.digest):
        raise UsageError(
            f"{start.ref!r} was distilled from another teacher (digest {str(start.teacher_digest)[:12]}) than"
            f" {teacher.ref!r} ({teacher.digest[:12]}): go on with the same teacher, or begin with the first stage."
        )


def _summary(folder: Path) -> dict[str, str]:
    """Return what a stage said of its result; nothing if the folder is from elsewhere."""
    try:
        data = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    names = ("stage", "teacher_digest")
    return {name: data[name] for name in names if isinstance(data, dict) and isinstance(data.get(name), str)}
