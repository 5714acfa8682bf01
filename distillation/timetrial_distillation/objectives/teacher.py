"""A frozen teacher, run layer by layer, and the parts of a model that stand before and behind its layers.

Shapes: B rows, T tokens, D width, V vocabulary, N places, H query heads, K key heads, P channels per head.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from timetrial_distillation.data.rows import Rows
from timetrial_distillation.objectives.stage import Model
from timetrial_plugins.models.interface import Layer


class Passage(NamedTuple):
    """What goes into a teacher's layer and what comes out of it."""

    entering: Tensor  # (B, T, D)
    leaving: Tensor  # (B, T, D): of the last layer too it is what stands before the final norm
    memory: Any  # Any: each family has its own; of attention its keys (B, K, T, P), rotated, and values
    tapped: Tensor | None  # what a module inside the layer returned, if one was asked for


def freeze(teacher: Model) -> None:
    """Make a teacher of a model, whatever its number format: it is neither trained nor does it keep graphs."""
    teacher.eval().requires_grad_(False)


def passages(teacher: Model, rows: Rows, tap: Callable[[Layer], nn.Module] | None = None) -> Iterator[Passage]:
    """Yield what each layer makes of the rows; no more than one layer's tensors are kept.

    `tap` says whose output inside the layer is wanted too: a hook takes it, so that no part of the layer runs twice or
    apart from it.
    """
    parts = teacher.anatomy
    with torch.no_grad():
        view = teacher.view(rows.tokens, rows.doc_ids)
        hidden = parts.embedding(rows.tokens)
    for layer in parts.layers:
        with torch.no_grad(), _recorded(None if tap is None else tap(layer)) as outputs:
            leaving, memory = layer(hidden, view)
        yield Passage(hidden, leaving, memory, outputs[0] if outputs else None)
        hidden = leaving


@contextmanager
def _recorded(module: nn.Module | None) -> Iterator[list[Tensor]]:
    """Collect what a module returns inside the block, one entry a call."""
    outputs: list[Tensor] = []
    if module is None:
        yield outputs
        return
    handle = module.register_forward_hook(lambda _, __, output: outputs.append(output))
    try:
        yield outputs
    finally:
        handle.remove()


def encode(model: Model, rows: Rows, *, checkpointing: bool = False) -> Tensor:
    """Return what the head multiplies, (B, T, D), with gradients where they are on.

    With `checkpointing` a layer's inside is computed again in the backward pass instead of being kept.
    """
    parts, view = model.anatomy, model.view(rows.tokens, rows.doc_ids)
    hidden: Tensor = parts.embedding(rows.tokens)
    for layer in parts.layers:
        if checkpointing and torch.is_grad_enabled():
            hidden, _ = checkpoint(layer, hidden, view, use_reentrant=False, preserve_rng_state=False)
        else:
            hidden, _ = layer(hidden, view)
    encoded: Tensor = parts.norm(hidden)
    return encoded
