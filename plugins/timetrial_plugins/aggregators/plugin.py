"""Offers the aggregators. Importing it costs nothing; numpy is imported when an aggregator is made."""

from __future__ import annotations

from collections.abc import Sequence

import timetrial


@timetrial.hookimpl
def timetrial_aggregators() -> Sequence[timetrial.AggregatorSpec]:
    """Return majority voting, Best-of-N and weighted Best-of-N."""
    return [
        timetrial.AggregatorSpec(
            name="majority", make=_majority, doc="The answer with the most votes; ties at random, exact at every k."
        ),
        timetrial.AggregatorSpec(
            name="best-of-n", make=_best_of_n, doc="The answer of the sample that the reward model scores highest."
        ),
        timetrial.AggregatorSpec(
            name="weighted", make=_weighted, doc="The answer with the largest sum of reward-model scores."
        ),
    ]


def _majority() -> timetrial.Aggregator:
    from timetrial_plugins.aggregators.majority import Majority

    return Majority()


def _best_of_n() -> timetrial.Aggregator:
    from timetrial_plugins.aggregators.best_of_n import BestOfN

    return BestOfN()


def _weighted() -> timetrial.Aggregator:
    from timetrial_plugins.aggregators.weighted_best_of_n import WeightedBestOfN

    return WeightedBestOfN()
