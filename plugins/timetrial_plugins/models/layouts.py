"""The two layouts in which hybrids are published, and the way from one to the other without touching a bit.

    fused   mamba.in_proj (z, x, B, C, dt), mha.in_proj (q, k, v), mha.out_proj: M1, and what a module here has
    split   mamba.in_proj_z, in_proj_x, B_proj, C_proj, dt_proj_down; self_attn.q_proj, k_proj, v_proj, o_proj

Mamba-2 layers are always stored fused. Facts: docs/models.md.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from timetrial_plugins.models.hybrid_config import PUBLISHED_MULTIPLICITY, HybridConfig
from timetrial_registry.error import CheckpointError

Layout = Literal["fused", "split"]

_MAMBA_PARTS = {"z": "in_proj_z", "x": "in_proj_x", "B": "B_proj", "C": "C_proj", "dt": "dt_proj_down"}


class Fusion(NamedTuple):
    """A tensor whose rows are those of several tensors in the other layout."""

    whole: str
    """Its name in the fused layout."""
    parts: Mapping[str, int]
    """The names in the split layout, in order, and how many rows each has."""


@runtime_checkable
class StoredInParts(Protocol):
    """A module whose checkpoints may hold some of its parameters in parts."""

    @property
    def fusions(self) -> Sequence[Fusion]:
        """Those parameters, and their parts."""
        ...


def fusions_of(config: HybridConfig) -> tuple[Fusion, ...]:
    """Return what differs between the layouts of a hybrid."""
    fusions: list[Fusion] = []
    for layer in range(config.llama.num_hidden_layers):
        prefix = f"model.layers.{layer}."
        if layer in config.attn_layers:
            fusions += _attention_fusions(config, prefix)
        elif config.mixer == "mamba1":
            parts = {f"{prefix}mamba.{_MAMBA_PARTS[part]}.weight": rows for part, rows in config.part_rows.items()}
            fusions.append(Fusion(f"{prefix}mamba.in_proj.weight", parts))
    return tuple(fusions)


def _attention_fusions(config: HybridConfig, prefix: str) -> Iterator[Fusion]:
    llama = config.llama
    query, keys = llama.num_attention_heads * llama.head_dim, llama.num_key_value_heads * llama.head_dim
    parts = {f"{prefix}self_attn.{name}_proj.weight": rows for name, rows in (("q", query), ("k", keys), ("v", keys))}
    yield Fusion(f"{prefix}mha.in_proj.weight", parts)
    yield Fusion(f"{prefix}mha.out_proj.weight", {f"{prefix}self_attn.o_proj.weight": llama.hidden_size})


def in_parts(fusions: Iterable[Fusion], names: Collection[str]) -> list[Fusion]:
    """Return the fusions that a checkpoint with tensors `names` holds in parts, or would if it were complete."""
    open_ones = [fusion for fusion in fusions if fusion.whole not in names]
    found = [fusion for fusion in open_ones if any(part in names for part in fusion.parts)]
    return open_ones if found else []


def convert(tensors: Mapping[str, Tensor], config: HybridConfig, *, to: Layout) -> dict[str, Tensor]:
    """Return a hybrid's tensors in the layout asked for, whatever layout they are in; what is the same is passed on.

    Splitting gives views of the rows, so the way there and back is exact.

    Raises:
        CheckpointError: a tensor that has to be converted is missing, doubled, or has other rows than the config says.
    """
    converted = dict(tensors)
    for fusion in fusions_of(config):
        if to == "fused":
            parts = _take(converted, fusion.parts, absent_if=fusion.whole)
            if parts:
                converted[fusion.whole] = torch.cat(parts) if len(parts) > 1 else parts[0]
        else:
            rows = list(fusion.parts.values())
            for whole in _take(converted, {fusion.whole: sum(rows)}, absent_if=next(iter(fusion.parts))):
                converted.update(zip(fusion.parts, torch.split(whole, rows), strict=True))
    return converted


def _take(tensors: dict[str, Tensor], wanted: Mapping[str, int], absent_if: str) -> list[Tensor]:
    """Take the wanted tensors out; none if `absent_if` says that they have been converted already."""
    missing = [name for name in wanted if name not in tensors]
    if absent_if in tensors and len(missing) == len(wanted):
        return []
    if missing or absent_if in tensors:
        what = f"both {absent_if} and what it is made of" if absent_if in tensors else f"no {', '.join(missing)}"
        raise CheckpointError(f"cannot convert the layout of these tensors: they hold {what}")
    for name, rows in wanted.items():
        if tensors[name].shape[0] != rows:
            raise CheckpointError(f"{name} has {tensors[name].shape[0]} rows; the config says {rows}")
    return [tensors.pop(name) for name in wanted]


def as_published(config: HybridConfig, tensors: Mapping[str, Tensor]) -> tuple[HybridConfig, dict[str, Tensor]]:
    """Return config and tensors that the published code computes the same function with.

    That code adds the bias of dt twice in Mamba-1 layers, so a bias that counts once is halved, which loses no bit.

    Raises:
        CheckpointError: attention uses a RoPE scaling, which that code does not know.
    """
    if config.rope_scaling is not None:
        raise CheckpointError(
            "this hybrid was trained with llama3 RoPE scaling in its attention layers, and the published code has "
            "none: it would compute something else. Train with rope 'none' to export there."
        )
    multiplicity = PUBLISHED_MULTIPLICITY[config.mixer]
    factor = config.dt_bias_multiplicity / multiplicity
    is_bias = {name: name.endswith(("mamba.dt_proj.bias", "mamba.dt_bias")) for name in tensors}
    scaled = {name: tensor * factor if is_bias[name] else tensor for name, tensor in tensors.items()}
    return replace(config, dt_bias_multiplicity=multiplicity), scaled
