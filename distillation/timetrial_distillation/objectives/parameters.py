"""From what a stage trains to the optimizer: which parameters get gradients, and which of their rows decay.

A tensor of which only some rows are trained needs care with weight decay alone: rows without an influence on the loss
have gradients of exactly 0, from which AdamW makes steps of exactly 0, but it would shrink them all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from timetrial_distillation.objectives.stage import WHOLE, TrainedRows


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainedTensor:
    """A line of the table that is shown before a stage starts."""

    name: str
    shape: tuple[int, ...]
    num_rows: int
    """Rows that are trained, of shape[0]."""
    num_trained: int
    """Numbers that are trained."""
    decays: bool


def decays(name: str, parameter: Tensor) -> bool:
    """Return whether weight decay is for this parameter: for matrices and convolutions, not for norms, biases or rates.

    Decay rates, skips and step sizes (A_log, D, dt_bias, z_bias) pull to 0 towards something that means a lot.
    """
    return parameter.ndim > 1 and not name.endswith("A_log")


def freeze_others(student: nn.Module, trained: TrainedRows) -> None:
    """Let exactly the trained parameters require gradients."""
    parameters = dict(student.named_parameters())
    unknown = trained.keys() - parameters.keys()
    assert not unknown, f"no such parameters: {sorted(unknown)}"
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in trained)


def tabulate(student: nn.Module, trained: TrainedRows) -> list[TrainedTensor]:
    """Return what is trained, in the order of the student's parameters."""
    lines = []
    for name, parameter in student.named_parameters():
        if name in trained:
            num_rows = sum(len(range(*rows.indices(parameter.shape[0]))) for rows in trained[name])
            lines.append(
                TrainedTensor(
                    name=name,
                    shape=tuple(parameter.shape),
                    num_rows=num_rows,
                    num_trained=num_rows * (parameter.numel() // parameter.shape[0]),
                    decays=decays(name, parameter),
                )
            )
    return lines


def parameter_groups(
    student: nn.Module, trained: TrainedRows, weight_decay: float, *, decay_all: bool = False
) -> list[dict[str, Any]]:
    """Return AdamW's groups: what decays whole, and what does not or only in some rows (see `RowDecay`).

    With `decay_all` norms, biases and rates decay too, as in the published code of MOHAWK. Any: torch's groups.
    """
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for name, parameter in student.named_parameters():
        if name in trained:
            is_decayed = decay_all or decays(name, parameter)
            groups[is_decayed and trained[name] == WHOLE].append(parameter)
    rates = {True: weight_decay, False: 0.0}
    return [{"params": members, "weight_decay": rates[key]} for key, members in groups.items() if members]


class RowDecay:
    """AdamW's decoupled weight decay for the trained rows of tensors of which the others must not move.

    As an optimizer's step pre-hook it does what AdamW itself does first: p = p - rate * weight_decay * p.
    """

    def __init__(
        self, student: nn.Module, trained: TrainedRows, weight_decay: float, *, decay_all: bool = False
    ) -> None:
        self._weight_decay = weight_decay
        self._masks: Mapping[nn.Parameter, Tensor] = {
            parameter: _mask_like(parameter, trained[name])
            for name, parameter in student.named_parameters()
            if trained.get(name, WHOLE) != WHOLE and (decay_all or decays(name, parameter))
        }

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Decay before every step of the optimizer, at the rate its groups then have."""
        optimizer.register_step_pre_hook(self)

    def __call__(self, optimizer: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[Any, Any]) -> None:
        """Decay once. Any: what the step was called with, which is not looked at."""
        with torch.no_grad():
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    mask = self._masks.get(parameter)
                    if mask is not None and parameter.grad is not None:  # AdamW passes by what has no gradient
                        parameter.mul_(1 - group["lr"] * self._weight_decay * mask)


def _mask_like(parameter: Tensor, rows: Sequence[slice]) -> Tensor:
    """Return 1 for these rows and 0 for others, (rows, 1, ...), sharded as the parameter is."""
    mask = torch.zeros(parameter.shape[0], *[1] * (parameter.ndim - 1), dtype=parameter.dtype, device=parameter.device)
    for span in rows:
        mask[span] = 1
    if not hasattr(parameter, "full_tensor"):
        return mask
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(parameter, DTensor)
    return distribute_tensor(mask, parameter.device_mesh, parameter.placements)
