"""From what a user asks for to a reward model: checkpoint, format, body and head put together."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch

from timetrial.error import UsageError
from timetrial.spec import LoadOptions
from timetrial_plugins.engine.placement import choose_device, choose_dtype
from timetrial_plugins.models.families import BUILDERS
from timetrial_plugins.models.loading import load_weights, read_tensors
from timetrial_plugins.models.plugin import timetrial_models
from timetrial_plugins.models.tokenizer import ChatTokenizer
from timetrial_plugins.rewards import declaration as declarations
from timetrial_plugins.rewards.body import Body
from timetrial_plugins.rewards.checkpoint import Located, locate
from timetrial_plugins.rewards.declaration import DEFAULT_SPLITTERS, Declaration
from timetrial_plugins.rewards.formats.choice import make_format
from timetrial_plugins.rewards.formats.encoded import Format, Labels
from timetrial_plugins.rewards.head import (
    CLASS_TENSORS,
    VALUE_TENSORS,
    ScoreHead,
    class_head,
    label_head,
    value_head,
)
from timetrial_plugins.rewards.own_body import OwnBody
from timetrial_plugins.rewards.published import DEFAULTS, ids_of, published_as
from timetrial_plugins.rewards.reader import SolutionReader
from timetrial_plugins.rewards.scorer import StepRewardModel
from timetrial_plugins.rewards.transformers_body import TransformersBody, load_decoder
from timetrial_plugins.rewards.wish import Wish, parse_wish
from timetrial_registry.checkpoint import read_config
from timetrial_registry.digest import checkpoint_digest, tokenizer_digest

_BATCH_TOKENS = {"cpu": 4096, "cuda": 32768}


class _Parts(NamedTuple):
    """A network in two."""

    body: Body
    head: ScoreHead


def load_format(name: str, text: str | None, options: LoadOptions) -> StepRewardModel:
    """Load a reward model of a format from the checkpoint that a user names, or from the format's usual one.

    Raises:
        UsageError: no checkpoint is named and none is usual, or an option or the tokenizer does not fit the format.
        CheckpointError: the checkpoint cannot be found, fetched or fitted.
    """
    wish = parse_wish(text)
    ref = wish.ref or DEFAULTS.get(name)
    if ref is None:
        ids = " or ".join(f"{name}:{hub_id}" for hub_id in ids_of(name))
        raise UsageError(f"the reward model {name!r} needs a checkpoint: write {name}:REF, for example {ids}")
    usual = Declaration(format=name, splitter=DEFAULT_SPLITTERS[name])
    return _load(ref, locate(ref), wish.declare(usual), wish, options)


def load_any(text: str | None, options: LoadOptions) -> StepRewardModel:
    """Load a reward model that says itself how it reads solutions, or that is published and known to.

    Raises:
        UsageError: no checkpoint is named, it declares nothing, or an option or the tokenizer does not fit its format.
        CheckpointError: the checkpoint cannot be found, fetched or fitted.
    """
    wish = parse_wish(text)
    if wish.ref is None:
        raise UsageError("the reward model 'prm' needs a checkpoint: write prm:REF, a name, a folder or a Hub id")
    known = published_as(wish.ref)
    located = locate(wish.ref)
    usual = _declared(located.folder, wish.ref) if known is None else known.declaration
    return _load(wish.ref, located, wish.declare(usual), wish, options)


def load_folder(folder: Path, options: LoadOptions) -> StepRewardModel:
    """Load the reward model in a folder, which reads solutions as its config.json declares.

    Raises:
        UsageError: it declares nothing, or the tokenizer does not fit its format.
        CheckpointError: its files are missing, damaged or do not fit together.
    """
    ref = str(folder)
    return _load(ref, Located(folder, {}), _declared(folder, ref), Wish(ref=ref), options)


def _declared(folder: Path, ref: str) -> Declaration:
    declared = declarations.read(folder)
    if declared is None:
        formats = ", ".join(f"{name}:{ref}" for name in DEFAULT_SPLITTERS)
        raise UsageError(
            f"{ref!r} does not say how it reads solutions (config.json has no timetrial.reward, and the id is not one "
            f"that is known): name its format, one of {formats}"
        )
    return declared


def _load(ref: str, located: Located, declaration: Declaration, wish: Wish, options: LoadOptions) -> StepRewardModel:
    """Put the parts together; the tokenizer comes first, for it is quick to refuse."""
    device, folder = choose_device(options), located.folder
    tokenizer = ChatTokenizer(options.tokenizer or folder)
    try:
        format_ = make_format(declaration, tokenizer)
    except UsageError as cause:
        raise UsageError(f"{ref!r} cannot be read in the format {declaration.format!r}: {cause}") from cause
    parts = _load_parts(folder, format_, device, choose_dtype(options, device))
    return StepRewardModel(
        ref=ref,
        format=format_,
        splitter=declaration.splitter,
        reader=SolutionReader(
            body=parts.body,
            head=parts.head,
            may_share=wish.shares_prompts,
            batch_tokens=wish.batch_tokens or _BATCH_TOKENS[device.type],
        ),
        origin={
            "checkpoint_digest": checkpoint_digest(folder),
            "tokenizer_digest": tokenizer_digest(tokenizer.folder),
            **located.facts,
        },
    )


def _load_parts(folder: Path, format_: Format, device: torch.device, dtype: torch.dtype) -> _Parts:
    """Load the network: one of the project's families if it is one and has its own head, else through transformers."""
    if format_.labels is not None:
        return _load_language_model(folder, format_.labels, device, dtype)
    is_value = format_.head == "value"
    tensors = read_tensors(folder, VALUE_TENSORS if is_value else CLASS_TENSORS)
    head = value_head(tensors) if is_value else class_head(tensors)
    return _Parts(TransformersBody(load_decoder(folder, device, dtype, with_head=False)), head.on(device))


def _load_language_model(folder: Path, labels: Labels, device: torch.device, dtype: torch.dtype) -> _Parts:
    config = read_config(folder)
    family = next((spec.family for spec in timetrial_models() if spec.recognises(config)), None)
    if family is None:
        whole = load_decoder(folder, device, dtype, with_head=True)
        output = whole.get_output_embeddings()
        head = label_head(output.weight, getattr(output, "bias", None), labels)
        return _Parts(TransformersBody(whole.get_decoder()), head)
    with torch.device("meta"):
        module = BUILDERS[family](config)
    load_weights(module, folder, device=device, dtype=dtype)
    output = module.eval().anatomy.head
    head = label_head(output.weight, getattr(output, "bias", None), labels)
    return _Parts(OwnBody(module, family, device), head)
