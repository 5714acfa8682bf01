"""The paper's way of running models, as engines. Importing it imports neither torch nor transformers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from timetrial.engines import EngineInput, EngineSpec, TimedModel
from timetrial.hookspec import hookimpl

_NO_CLASS = (
    "transformers has no class for family {family!r}; the paper ran its own code with the kernels of mamba-ssm, which "
    "is not offered here"
)


@hookimpl
def timetrial_engines() -> Sequence[EngineSpec]:
    """Offer transformers' generate."""
    return [
        EngineSpec(
            name="paper-style",
            load=_load,
            doc="transformers' generate, as the paper's Transformer baseline: FlashAttention-2 if installed, else "
            "SDPA; compiled, with a static cache, on CUDA.",
            why_not=_why_not,
        ),
        EngineSpec(
            name="paper-style-compiled",
            load=partial(_load, is_compiled=True),
            doc="The same with a static cache and compiled on any device, each shape by itself, which takes a while; "
            "on a CPU it needs a C++ compiler.",
            why_not=_why_not,
        ),
    ]


def _why_not(family: str) -> str | None:
    return None if family == "llama" else _NO_CLASS.format(family=family)


def _load(given: EngineInput, *, is_compiled: bool | None = None) -> TimedModel:
    from timetrial_plugins.baselines.transformers_generate import load_llama

    return load_llama(given, is_compiled=is_compiled)
