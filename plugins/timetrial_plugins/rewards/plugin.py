"""Offers the reward models. Importing it costs nothing; torch is imported when one is loaded."""

from __future__ import annotations

from collections.abc import Sequence

import timetrial


@timetrial.hookimpl
def timetrial_reward_models() -> Sequence[timetrial.RewardModelSpec]:
    """Return the likelihood baseline."""
    return [
        timetrial.RewardModelSpec(
            name="likelihood",
            load=_likelihood,
            doc="Mean token probability of each step under likelihood:MODEL; a baseline, no trained verifier.",
        )
    ]


def _likelihood(ref: str | None, options: timetrial.LoadOptions) -> timetrial.RewardModel:
    from timetrial_plugins.rewards.likelihood import load

    return load(ref, options)
