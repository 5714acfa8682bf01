"""From what a user types after --model to a loaded model.

A reference is a checkpoint name some plugin knows, a folder in a published layout, or a Hub id (`org/name`, with
`@revision` if wanted). The family is recognised from config.json; the family's plugin does the loading.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from timetrial.blame import blaming
from timetrial.catalog import Catalog, open_catalog
from timetrial.error import CheckpointError, UnknownNameError
from timetrial.protocol import CheckpointSpec, LoadOptions, Model, ModelSpec, Origin
from timetrial_registry.checkpoint import has_tokenizer, read_config, resolve, resolve_tokenizer


@dataclass(frozen=True, kw_only=True, slots=True)
class LocatedModel:
    """A checkpoint on this machine and the family that can load it."""

    ref: str
    """As the user wrote it: the model's name in every record."""
    folder: Path
    spec: ModelSpec
    origin: Origin
    """The plugin that offers the family."""
    temperature: float | None
    """The sampling temperature recommended for it, if its plugin gives one."""
    tokenizer: str | None
    """Where tokenizer files come from if the checkpoint brings none."""

    def load(self, options: LoadOptions) -> Model:
        """Load it.

        Raises:
            CheckpointError: its files do not fit the family.
            PluginError: the family's plugin failed otherwise.
        """
        with blaming(f"loading {self.ref!r} with family {self.spec.family!r}", self.origin):
            return self.spec.load(self.folder, replace(options, tokenizer=self._tokenizer_folder()))

    def _tokenizer_folder(self) -> Path | None:
        """Return the folder of another checkpoint's tokenizer files, fetched only if this one brings none."""
        if self.tokenizer is None or has_tokenizer(self.folder):
            return None
        return resolve_tokenizer(self.tokenizer)


def locate_model(ref: str, catalog: Catalog) -> LocatedModel:
    """Find the checkpoint of a reference, downloading it from the Hub if need be.

    Raises:
        UnknownNameError: it is no known name, no folder and no Hub id.
        CheckpointError: what it names is no usable checkpoint.
    """
    checkpoint = known_checkpoint(ref, catalog)
    if checkpoint is not None and checkpoint.location is None:
        raise CheckpointError(
            f"{ref!r} is a shape whose weights are not published: `timetrial models show {ref}` describes it. "
            "Give a folder or a Hub id (org/name) of a checkpoint instead."
        )
    folder = resolve(ref if checkpoint is None or checkpoint.location is None else checkpoint.location)
    spec = catalog.family_of(read_config(folder))
    return LocatedModel(
        ref=ref,
        folder=folder,
        spec=spec,
        origin=catalog.models()[spec.family].origin,
        temperature=None if checkpoint is None else checkpoint.temperature,
        tokenizer=None if checkpoint is None else checkpoint.tokenizer,
    )


def known_checkpoint(ref: str, catalog: Catalog) -> CheckpointSpec | None:
    """Return what a plugin knows of a reference, by its short name or its location; None for other checkpoints.

    Raises:
        UnknownNameError: it is no known name, and can be no folder or Hub id.
    """
    checkpoints = catalog.checkpoints()
    if ref in checkpoints:
        return checkpoints[ref].spec
    if "/" not in ref and not Path(ref).is_dir():
        raise UnknownNameError("model", ref, checkpoints, "Or give a checkpoint folder or a Hub id (org/name).")
    return next((offer.spec for offer in checkpoints.values() if offer.spec.location == ref), None)


def load_model(ref: str, *, device: str = "auto", dtype: str = "auto") -> Model:
    """Load a model by name, folder or Hub id.

    Args:
        ref: a name `timetrial models` lists, a folder in a published layout, or a Hub id.
        device: auto, cpu, cuda, cuda:1, ...
        dtype: auto, float32, bfloat16 or float16.

    Raises:
        UnknownNameError: no such model.
        CheckpointError: the checkpoint cannot be found, fetched or fitted.
    """
    return locate_model(ref, open_catalog()).load(LoadOptions(device=device, dtype=dtype))
