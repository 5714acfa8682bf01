"""The operations of a decode step as Triton kernels."""

from __future__ import annotations

from timetrial_plugins.ops.reference import REFERENCE
from timetrial_plugins.ops.step_ops import StepOps


def triton_ops() -> StepOps:
    """Return the kernels; the first call imports Triton, and a kernel is compiled when it is first launched.

    Embeddings and counts are PyTorch's.

    They read weights and activations in float32, bfloat16 or float16, and keep states in float32 or as they are given.

    Raises:
        ImportError: Triton is not installed or cannot be imported.
    """
    from timetrial_plugins.ops.kernels.attention import attend
    from timetrial_plugins.ops.kernels.drawing import draw
    from timetrial_plugins.ops.kernels.llamba import llamba
    from timetrial_plugins.ops.kernels.mamba1 import mamba1
    from timetrial_plugins.ops.kernels.mamba2 import mamba2
    from timetrial_plugins.ops.kernels.norm import add_norm, gated_product
    from timetrial_plugins.ops.kernels.replay import llamba_replay
    from timetrial_plugins.ops.kernels.rotation import rotate_and_store

    return StepOps(
        embed=REFERENCE.embed,
        count=REFERENCE.count,
        llamba=llamba,
        llamba_replay=llamba_replay,
        mamba1=mamba1,
        mamba2=mamba2,
        rotate_and_store=rotate_and_store,
        attend=attend,
        add_norm=add_norm,
        gated_product=gated_product,
        draw=draw,
    )
