"""How stages, scores and coefficients are written in the report of general benchmarks."""

from __future__ import annotations

from timetrial.general_figures import Score
from timetrial.general_stages import Checkpoint
from timetrial.report.labels import percent, shortened
from timetrial.statistics.correlation import Estimate


def stage_label(checkpoint: Checkpoint) -> str:
    """Name a checkpoint's stage; one that is no stage's result has its own name."""
    return checkpoint.stage or shortened(model_name(checkpoint.ref), 16)


def model_name(ref: str) -> str:
    """Return the name of a model without its version."""
    return ref.partition("@")[0]


def score_label(score: Score | None) -> str:
    """Write a score in percent with its standard error."""
    if score is None:
        return "-"
    return percent(score.value) + ("" if score.standard_error is None else f" +- {percent(score.standard_error)}")


def interval_label(estimate: Estimate) -> str:
    """Write a coefficient with its interval: "0.31 [-0.20, 0.74]"."""
    if estimate.value is None:
        return "-"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.2f}"
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"
