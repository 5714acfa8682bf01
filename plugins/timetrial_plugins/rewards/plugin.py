"""Offers the reward models. Importing it costs nothing; torch is imported when one is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import timetrial

_DOCS = {
    "rlhflow": 'RLHFlow\'s process reward models: a chat with "+" after every step; rlhflow:REF.',
    "math-shepherd": "Math-Shepherd's process reward model: a tag after every step.",
    "qwen-prm": "Qwen2.5-Math-PRM: a special token after every step, a head of two classes.",
    "skywork-prm": "Skywork-o1-Open-PRM: a newline after every step, a head of one value.",
    "outcome": "RLHFlow's outcome reward models: one score for the whole solution; outcome:REF.",
}


@timetrial.hookimpl
def timetrial_reward_models() -> Sequence[timetrial.RewardModelSpec]:
    """Return the published formats, the one that reads a checkpoint's own declaration, and the likelihood baseline."""
    formats = [
        timetrial.RewardModelSpec(name=name, load=partial(_format, name), doc=doc) for name, doc in _DOCS.items()
    ]
    return [
        *formats,
        timetrial.RewardModelSpec(
            name="prm",
            load=_declared,
            doc="A reward model that says how it reads solutions: one trained here, or a published one by its Hub id.",
        ),
        timetrial.RewardModelSpec(
            name="likelihood",
            load=_likelihood,
            doc="Mean token probability of each step under likelihood:MODEL; a baseline, no trained verifier.",
        ),
    ]


def _format(name: str, ref: str | None, options: timetrial.LoadOptions) -> timetrial.RewardModel:
    from timetrial_plugins.rewards.loading import load_format

    return load_format(name, ref, options)


def _declared(ref: str | None, options: timetrial.LoadOptions) -> timetrial.RewardModel:
    from timetrial_plugins.rewards.loading import load_any

    return load_any(ref, options)


def _likelihood(ref: str | None, options: timetrial.LoadOptions) -> timetrial.RewardModel:
    from timetrial_plugins.rewards.likelihood import load

    return load(ref, options)
