"""From what a user types after --model or --random-weights to a loaded model.

A reference is a checkpoint name some plugin knows, a folder in a published layout, a Hub id (`org/name`, with
`@revision` if wanted), or a version of a registry (`name@alias`, `name@3`, `sha256:...`, `models:/name@alias`). The
family is recognised from config.json; the family's plugin does the loading, or builds the model from the config alone
with random weights.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from timetrial.blame import blaming
from timetrial.catalog import Catalog, open_catalog
from timetrial.error import CheckpointError, UsageError
from timetrial.protocol import Model
from timetrial.record import Weights
from timetrial.registries import (
    as_checkpoint,
    may_be_registered,
    open_registries,
    registered_version,
    shipped_version,
)
from timetrial.spec import CheckpointSpec, LoadOptions, ModelSpec, Origin
from timetrial_registry.checkpoint import has_tokenizer, read_config, resolve, resolve_config, resolve_tokenizer
from timetrial_registry.digest import checkpoint_digest
from timetrial_registry.records import Version

REGISTRY_FACT = "registry"
"""Of a model's facts, the version it is in a registry: recorded beside its identity, which is that of its files."""


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
    version: Version | None = None
    """The version of a registry that it is; None if it lies elsewhere."""

    @property
    def weights(self) -> Weights:
        """Where its weights come from."""
        return "checkpoint"

    def facts(self) -> dict[str, Any]:  # Any: JSON-ready
        """Return what tells it apart from other models: what a run records."""
        facts = {"checkpoint_sha256": checkpoint_digest(self.folder), "family": self.spec.family}
        return facts if self.version is None else {**facts, REGISTRY_FACT: _identity(self.version)}

    def load(self, options: LoadOptions) -> Model:
        """Load it.

        Raises:
            CheckpointError: its files do not fit the family.
            PluginError: the family's plugin failed otherwise.
        """
        with blaming(f"loading {self.ref!r} with family {self.spec.family!r}", self.origin):
            model = self.spec.load(self.folder, replace(options, tokenizer=self._tokenizer_folder()))
            return _writing_states_as_asked(model, options, self.spec.family)

    def _tokenizer_folder(self) -> Path | None:
        """Return the folder of another checkpoint's tokenizer files, fetched only if this one brings none."""
        if self.tokenizer is None or has_tokenizer(self.folder):
            return None
        return resolve_tokenizer(self.tokenizer)


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfiguredModel:
    """A configuration without weights, and the family that can build it with random ones, to be timed."""

    ref: str
    """As the user wrote it: the model's name in every record."""
    config: Mapping[str, Any]  # Any: JSON
    spec: ModelSpec
    origin: Origin
    """The plugin that offers the family."""
    temperature: None = None
    """There is nothing to sample."""

    @property
    def weights(self) -> Weights:
        """Where its weights come from."""
        return "random"

    def facts(self) -> dict[str, Any]:  # Any: JSON-ready
        """Return what tells it apart from other models: what a run records."""
        text = json.dumps(self.config, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()
        return {"config_sha256": digest, "family": self.spec.family, "weights": self.weights}

    def load(self, options: LoadOptions) -> Model:
        """Build it with random weights.

        Raises:
            CheckpointError: the family cannot build the configuration.
            UsageError: it does not fit the memory of the device.
            PluginError: the family's plugin failed otherwise.
        """
        assert self.spec.build_random is not None, "see find_configuration"
        with blaming(f"building {self.ref!r} with family {self.spec.family!r}", self.origin):
            return _writing_states_as_asked(self.spec.build_random(self.config, options), options, self.spec.family)


def locate_model(ref: str, catalog: Catalog) -> LocatedModel:
    """Find the checkpoint of a reference, downloading it from the Hub if need be.

    Raises:
        UnknownNameError: it is no known name, no folder, no Hub id and in no registry.
        CheckpointError: what it names is no usable checkpoint.
        RegistryError: a registry cannot be read, or the reference names several versions.
    """
    if may_be_registered(ref, catalog):
        return _locate_version(ref, catalog)
    checkpoint = known_checkpoint(ref, catalog)
    if checkpoint is not None and checkpoint.location is None:
        raise CheckpointError(
            f"{ref!r} is a shape whose weights are not published: `timetrial models show {ref}` describes it, and "
            f"`timetrial time --random-weights {ref}` times it. Give a folder or a Hub id (org/name) of a checkpoint "
            "instead."
        )
    folder = resolve(ref if checkpoint is None or checkpoint.location is None else checkpoint.location)
    return _located(ref, folder, catalog, checkpoint, shipped_version(checkpoint, folder))


def _locate_version(ref: str, catalog: Catalog) -> LocatedModel:
    registry = open_registries(catalog)
    version = registered_version(ref, catalog, registry)
    checkpoint = as_checkpoint(version, catalog, registry)
    return _located(ref, registry.folder(version), catalog, checkpoint, version)


def _located(
    ref: str, folder: Path, catalog: Catalog, checkpoint: CheckpointSpec | None, version: Version | None
) -> LocatedModel:
    spec = catalog.family_of(read_config(folder))
    return LocatedModel(
        ref=ref,
        folder=folder,
        spec=spec,
        origin=catalog.models()[spec.family].origin,
        temperature=None if checkpoint is None else checkpoint.temperature,
        tokenizer=None if checkpoint is None else checkpoint.tokenizer,
        version=version,
    )


def find_configuration(ref: str, catalog: Catalog) -> ConfiguredModel:
    """Find the configuration of a reference: what its plugin gives, else its own, of which only configs are fetched.

    Raises:
        UnknownNameError: it is no known name, no folder and no Hub id.
        CheckpointError: there is no usable config, or its family takes no random weights.
    """
    config = model_config(ref, known_checkpoint(ref, catalog))
    spec = catalog.family_of(config)
    if spec.build_random is None:
        raise CheckpointError(f"family {spec.family!r} builds no {ref!r} of random weights: its plugin offers none")
    return ConfiguredModel(ref=ref, config=config, spec=spec, origin=catalog.models()[spec.family].origin)


def model_config(ref: str, known: CheckpointSpec | None) -> Mapping[str, Any]:  # Any: JSON
    """Return the parsed config of a model: the one its plugin gives, else the checkpoint's own.

    Raises:
        CheckpointError: there is none.
    """
    if known is None or known.config is None:
        return resolve_config(ref if known is None or known.location is None else known.location)
    return known.config


def known_checkpoint(ref: str, catalog: Catalog) -> CheckpointSpec | None:
    """Return what is known of a reference: by a plugin, by its short name or location, or by a registry.

    None for other folders and Hub ids.

    Raises:
        UnknownNameError: it is no known name and in no registry, and can be no folder or Hub id.
        CheckpointError: a registry holds the model, but no such version.
        RegistryError: a registry cannot be read, or the reference names several versions.
    """
    checkpoints = catalog.checkpoints()
    if ref in checkpoints:
        return checkpoints[ref].spec
    if may_be_registered(ref, catalog):
        registry = open_registries(catalog)
        return as_checkpoint(registered_version(ref, catalog, registry), catalog, registry)
    return next((offer.spec for offer in checkpoints.values() if offer.spec.location == ref), None)


def _writing_states_as_asked(model: Model, options: LoadOptions, family: str) -> Model:
    """Return the model, whose family must not have passed over the state interval: seconds would be those of another.

    Raises:
        UsageError: it has.
    """
    if options.state_interval != 1 and model.description.get("state_interval") != options.state_interval:
        raise UsageError(
            f"state interval is {options.state_interval}, and models of family {family!r} do not say that they write "
            "their states so. Leave --state-interval out"
        )
    return model


def _identity(version: Version) -> dict[str, Any]:  # Any: JSON-ready
    return {"name": version.name, "version": version.version, "digest": version.digest}


def load_model(  # noqa: PLR0913  # one parameter an option
    ref: str,
    *,
    device: str = "auto",
    dtype: str = "auto",
    state_dtype: str = "auto",
    state_interval: int = 1,
    compile: bool = False,
    kernels: str = "auto",
) -> Model:
    """Load a model by name, folder, Hub id or version of a registry.

    Args:
        ref: a name `timetrial models` lists, a folder in a published layout, a Hub id, or what names a version of a
            registry: name@alias, name@3, sha256:... or models:/name@alias.
        device: auto, cpu, cuda, cuda:1, ...
        dtype: auto, float32, bfloat16 or float16.
        state_dtype: of recurrent states: auto (float32) or bfloat16.
        state_interval: steps between writes of a Llamba's states, 1 for every step; more takes a GPU.
        compile: whether to compile the parts of a decode step that gain by it, on their first use.
        kernels: of decode steps: auto, native (on a CPU), triton, pytorch or eager.

    Raises:
        UnknownNameError: no such model.
        CheckpointError: the checkpoint cannot be found, fetched or fitted.
    """
    options = LoadOptions(
        device=device,
        dtype=dtype,
        state_dtype=state_dtype,
        state_interval=state_interval,
        compile=compile,
        kernels=kernels,
    )
    return locate_model(ref, open_catalog()).load(options)


def random_model(  # noqa: PLR0913  # one parameter an option
    ref: str,
    *,
    device: str = "auto",
    dtype: str = "auto",
    state_dtype: str = "auto",
    state_interval: int = 1,
    compile: bool = False,
    kernels: str = "auto",
) -> Model:
    """Build the configuration of a name, folder or Hub id with random weights, to time it; it generates nothing.

    Args:
        ref: as for `load_model`; of a Hub id, only its configs are fetched.
        device: auto, cpu, cuda, cuda:1, ...
        dtype: auto, float32, bfloat16 or float16.
        state_dtype: of recurrent states: auto (float32) or bfloat16.
        state_interval: steps between writes of a Llamba's states, 1 for every step; more takes a GPU.
        compile: whether to compile the parts of a decode step that gain by it, on their first use.
        kernels: of decode steps: auto, native (on a CPU), triton, pytorch or eager.

    Raises:
        UnknownNameError: no such model.
        CheckpointError: the config cannot be found, fetched or built.
        UsageError: it does not fit the memory of the device.
    """
    options = LoadOptions(
        device=device,
        dtype=dtype,
        state_dtype=state_dtype,
        state_interval=state_interval,
        compile=compile,
        kernels=kernels,
    )
    return find_configuration(ref, open_catalog()).load(options)
