"""What some accelerators are made for, as their makers publish it: enough for floors without the machine.

Numbers are of dense products: what a data sheet claims with sparsity is halved. A machine that is at hand is better
measured (docs/timing.md): nothing reaches its data sheet.
"""

from __future__ import annotations

from dataclasses import dataclass

from timetrial.error import UnknownNameError, UsageError
from timetrial.rates import MachineRates

_HALF_FORMATS = ("bfloat16", "float16")


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedMachine:
    """An accelerator by its data sheet."""

    name: str
    device: str
    bytes_per_s: float
    half_flops_per_s: float
    """Of matrix products in bfloat16 or float16."""
    memory_bytes: float
    source: str

    def rates(self, dtype: str) -> MachineRates:
        """Return what it is made for, with weights in a number format.

        Raises:
            UsageError: nothing is known here of the format.
        """
        if dtype not in _HALF_FORMATS:
            raise UsageError(
                f"the matrix rate of {self.name} is known for {' and '.join(_HALF_FORMATS)}, not for {dtype}: give "
                "--bandwidth and --matrix-rate instead of --machine, or another --dtype"
            )
        return MachineRates(
            bandwidths=((1, self.bytes_per_s),), flops_per_s=self.half_flops_per_s, device=self.device, dtype=dtype
        )


PUBLISHED_MACHINES = (
    PublishedMachine(
        name="a100-40gb",
        device="NVIDIA A100 40GB",
        bytes_per_s=1.555e12,
        half_flops_per_s=312e12,
        memory_bytes=40e9,
        source="NVIDIA A100 data sheet",
    ),
    PublishedMachine(
        name="a100-80gb",
        device="NVIDIA A100 80GB SXM",
        bytes_per_s=2.039e12,
        half_flops_per_s=312e12,
        memory_bytes=80e9,
        source="NVIDIA A100 data sheet",
    ),
    PublishedMachine(
        name="h100",
        device="NVIDIA H100 SXM",
        bytes_per_s=3.35e12,
        half_flops_per_s=989e12,
        memory_bytes=80e9,
        source="NVIDIA H100 data sheet: 1,979 with sparsity",
    ),
    PublishedMachine(
        name="h100-pcie",
        device="NVIDIA H100 PCIe",
        bytes_per_s=2.0e12,
        half_flops_per_s=756e12,
        memory_bytes=80e9,
        source="NVIDIA H100 data sheet: 1,513 with sparsity",
    ),
    PublishedMachine(
        name="h200",
        device="NVIDIA H200 SXM",
        bytes_per_s=4.8e12,
        half_flops_per_s=989e12,
        memory_bytes=141e9,
        source="NVIDIA H200 data sheet: 1,979 with sparsity",
    ),
    PublishedMachine(
        name="l40s",
        device="NVIDIA L40S",
        bytes_per_s=0.864e12,
        half_flops_per_s=362e12,
        memory_bytes=48e9,
        source="NVIDIA L40S data sheet: 733 with sparsity",
    ),
    PublishedMachine(
        name="mi300x",
        device="AMD Instinct MI300X",
        bytes_per_s=5.3e12,
        half_flops_per_s=1307e12,
        memory_bytes=192e9,
        source="AMD Instinct MI300X data sheet",
    ),
    PublishedMachine(
        name="rtx-4090",
        device="NVIDIA GeForce RTX 4090",
        bytes_per_s=1.008e12,
        half_flops_per_s=165.2e12,
        memory_bytes=24e9,
        source="NVIDIA Ada GPU architecture paper, products summed in float32",
    ),
)


def published_machine(name: str) -> PublishedMachine:
    """Return a machine by name.

    Raises:
        UnknownNameError: it is not in the list.
    """
    machines = {machine.name: machine for machine in PUBLISHED_MACHINES}
    if name not in machines:
        raise UnknownNameError("machine", name, machines, "Give --bandwidth and --matrix-rate of any other.")
    return machines[name]
