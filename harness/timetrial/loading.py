"""From what a user types after --model to a loaded model.

A reference is a checkpoint name some plugin knows, a folder in a published layout, or a Hub id (`org/name`, with
`@revision` if wanted). The family is recognised from config.json; the family's plugin does the loading.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from timetrial.blame import blaming
from timetrial.catalog import Catalog, open_catalog
from timetrial.error import UnknownNameError
from timetrial.protocol import LoadOptions, Model, ModelSpec, Origin
from timetrial_registry.checkpoint import read_config, resolve


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

    def load(self, options: LoadOptions) -> Model:
        """Load it.

        Raises:
            CheckpointError: its files do not fit the family.
            PluginError: the family's plugin failed otherwise.
        """
        with blaming(f"loading {self.ref!r} with family {self.spec.family!r}", self.origin):
            return self.spec.load(self.folder, options)


def locate_model(ref: str, catalog: Catalog) -> LocatedModel:
    """Find the checkpoint of a reference, downloading it from the Hub if need be.

    Raises:
        UnknownNameError: it is no known name, no folder and no Hub id.
        CheckpointError: what it names is no usable checkpoint.
    """
    checkpoints = catalog.checkpoints()
    location, temperature = ref, None
    if ref in checkpoints:
        checkpoint = checkpoints[ref].spec
        location, temperature = checkpoint.location, checkpoint.temperature
    elif "/" not in ref and not Path(ref).is_dir():
        raise UnknownNameError("model", ref, checkpoints, "Or give a checkpoint folder or a Hub id (org/name).")
    folder = resolve(location)
    spec = catalog.family_of(read_config(folder))
    return LocatedModel(
        ref=ref,
        folder=folder,
        spec=spec,
        origin=catalog.models()[spec.family].origin,
        temperature=temperature,
    )


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
