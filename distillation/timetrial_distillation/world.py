"""The processes that train together: one by default, several under torchrun. It does not know what is trained.

Several share weights, gradients and optimizer state by FSDP2 (`fully_shard`), a layer at a time, over gloo on CPUs and
nccl on CUDA devices. Precision is autocast's business, so what is gathered stays float32: rates and norms of Mamba
layers must not be rounded.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from timetrial.error import UsageError
from timetrial.spec import LoadOptions
from timetrial_distillation.interruption import InterruptedTraining
from timetrial_distillation.objectives.stage import Model
from timetrial_plugins.engine.placement import choose_device

_PATIENCE = timedelta(hours=4)  # the others wait while the first process evaluates and publishes


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """This process among those that train together."""

    rank: int = 0
    size: int = 1
    device: torch.device = torch.device("cpu")

    @property
    def is_first(self) -> bool:
        """Whether it is the one that writes files and talks."""
        return self.rank == 0

    def total(self, values: Sequence[float]) -> list[float]:
        """Return each value summed over the processes."""
        if self.size == 1:
            return list(values)
        summed = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(summed)
        totals: list[float] = summed.tolist()
        return totals

    def wait(self) -> None:
        """Return when all processes are here."""
        if self.size > 1:
            dist.barrier()

    def share(self, batch_rows: int) -> int:
        """Return how many of a step's rows are a process's own.

        Raises:
            UsageError: they cannot be divided evenly.
        """
        if batch_rows % self.size:
            raise UsageError(
                f"{batch_rows} rows a step cannot be divided evenly among {self.size} processes: choose a number of"
                f" processes that divides it, or a batch of a multiple of {self.size} rows"
            )
        return batch_rows // self.size

    def place(self, model: Model, forward_methods: Sequence[str] = ()) -> None:
        """Move a model to the device, and shard it if there are several processes.

        What is frozen must be so before. `forward_methods` of the layers are called instead of the layers themselves.
        """
        model.to(self.device)
        if self.size == 1:
            return
        from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

        parts = model.anatomy
        for module in (parts.embedding, *parts.layers, parts.norm):
            fully_shard(cast(nn.Module, module))
        fully_shard(model)
        for layer in parts.layers:
            for method in forward_methods:
                register_fsdp_forward_method(cast(nn.Module, layer), method)


def gathered(model: Model) -> dict[str, Tensor]:
    """Return all weights on the CPU, whole, in the first process; in others nothing. All have to ask."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    return cast("dict[str, Tensor]", get_model_state_dict(model, options=options))


@contextmanager
def opened_world(device: str = "auto") -> Iterator[World]:
    """Join the processes that torchrun has started, if it has; leave them at the end.

    Args:
        device: auto, cpu, cuda, ...; under torchrun each process of a machine takes a CUDA device of its own.

    Raises:
        UsageError: there is no such device.
    """
    chosen = choose_device(LoadOptions(device=device))
    if not dist.is_torchelastic_launched():
        yield World(device=chosen)
        return
    if chosen.type == "cuda":
        chosen = torch.device("cuda", dist.get_node_local_rank())
        torch.cuda.set_device(chosen)
    is_cuda = chosen.type == "cuda"
    dist.init_process_group("nccl" if is_cuda else "gloo", timeout=_PATIENCE, device_id=chosen if is_cuda else None)
    try:
        with warnings.catch_warnings():
            # Layers also return what a decode step needs, views among it, which training does not touch.
            warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor", UserWarning)
            yield World(rank=dist.get_rank(), size=dist.get_world_size(), device=chosen)
        dist.barrier()  # a process that left early would abort those still working
    except InterruptedTraining:
        dist.barrier()  # all have agreed to stop
        raise
    finally:
        dist.destroy_process_group()
