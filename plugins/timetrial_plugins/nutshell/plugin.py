"""The nutshell's models as a plugin: the checkpoints and the reward model that are shipped with the package."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from timetrial.error import UsageError
from timetrial.hookspec import hookimpl
from timetrial.protocol import RewardModel
from timetrial.spec import CheckpointSpec, LoadOptions, RewardModelSpec

_PRM = "nutshell-prm"


@hookimpl
def timetrial_checkpoints() -> Sequence[CheckpointSpec]:
    """Offer the shipped models by name."""
    return [
        _shipped("llama", "llama", "A Llama of 1.7 million parameters, trained on the nutshell task by this package."),
        _shipped("llamba", "llamba", "A Llamba of 2 million parameters, distilled from nutshell-llama."),
        _shipped(
            "mamba-in-llama",
            "mamba_in_llama",
            "A MambaInLlama of 1.8 million parameters, distilled from nutshell-llama.",
        ),
        CheckpointSpec(
            name=_PRM,
            location=str(Path(__file__).parent / "prm"),
            doc=f"The nutshell's process reward model: no solver, but what --reward-model {_PRM} scores with.",
            family="llama",
            licence="Apache-2.0",
        ),
    ]


@hookimpl
def timetrial_reward_models() -> Sequence[RewardModelSpec]:
    """Offer the shipped verifier by name."""
    doc = "The nutshell's process reward model, trained on rollouts of nutshell-llama by this package."
    return [RewardModelSpec(name=_PRM, load=_load_prm, doc=doc)]


def _load_prm(ref: str | None, options: LoadOptions) -> RewardModel:
    from timetrial_plugins.rewards.loading import load_any

    if ref is not None:
        raise UsageError(f"the reward model {_PRM!r} is shipped: nothing follows its name (here {ref!r})")
    return load_any(_PRM, options)  # by its name: what a run records names no folder of this machine


def _shipped(name: str, family: str, doc: str) -> CheckpointSpec:
    return CheckpointSpec(
        name=f"nutshell-{name}",
        location=str(Path(__file__).parent / family),
        doc=doc,
        family=family,
        temperature=0.8,
        licence="Apache-2.0",
    )
