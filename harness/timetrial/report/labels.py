"""How names and numbers are written in every figure, table and page, so that they read the same everywhere."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from timetrial.accounting import counts_verifier
from timetrial.record import Curve, Series

COVERAGE = "coverage"
"""The rule that counts a problem as solved if any sample is right: what a perfect verifier would reach."""

CHOSEN_HERE = "Chosen and scored on the same problems, so the best looks a little better than it is."
ONLY_COVERAGE = "Only coverage is known: it counts a problem as solved if any sample is right, and chooses nothing."


def is_choosing(curve: Curve) -> bool:
    """Whether the curve's rule picks an answer by itself; coverage needs somebody who knows the right one."""
    return curve.rule != COVERAGE


def series_label(series: Series) -> str:
    """Name a model with its sampling temperature."""
    return f"{series.model}, temp. {series.temperature:g}"


def rule_label(curve: Curve) -> str:
    """Name a curve's rule, with the reward model and what becomes of its scores if it takes any."""
    return rule_name(curve.rule, curve.reward_model, curve.reduction, curve.gamma)


def rule_name(rule: str, reward_model: str | None, reduction: str | None, gamma: float = 1.0) -> str:
    """Name a rule, with the reward model, the reduction of its step scores and their power if it takes any."""
    if rule == COVERAGE:
        return "coverage (pass@k)"
    power = "" if gamma == 1 else f"gamma {gamma:g}"
    scores = ", ".join(part for part in (reward_model, reduction, power) if part)
    return f"{rule} ({scores})" if scores else rule


def timed_rule_label(curve: Curve) -> str:
    """Name a curve's rule where seconds are meant: say whether they hold the reward model's, if it takes scores."""
    return f"{rule_label(curve)}{VERIFIER[counts_verifier(curve)]}"


VERIFIER = {None: "", True: ", verifier counted", False: ", verifier not counted"}
"""What to add to the name of a rule, by whether its seconds hold the reward model's."""


def curve_label(curve: Curve) -> str:
    """Name a curve within its task, its seconds in mind."""
    return f"{series_label(curve.series)}, {timed_rule_label(curve)}"


def shortened(text: str, length: int) -> str:
    """Cut the middle out of a text that is longer than `length` characters."""
    kept = length - 3
    return text if len(text) <= length else f"{text[: kept - kept // 2]}...{text[len(text) - kept // 2 :]}"


def visible(text: str) -> str:
    """Make any text fit to be shown on one line: white space closed up, and what cannot be seen or encoded escaped."""
    return "".join(mark if mark.isprintable() else ascii(mark)[1:-1] for mark in " ".join(text.split()))


def shown(text: str, length: int) -> str:
    """Make any text fit to be shown on one line, and cut the middle out if it is longer than `length` characters."""
    return shortened(visible(text), length)


def samples_label(k: int) -> str:
    """Write a number of samples: "1 sample", "32 samples"."""
    return f"{k} sample{'' if k == 1 else 's'}"


def seconds_label(seconds: float) -> str:
    """Write seconds with three digits and the unit that suits them: "0.82 s", "12.4 s", "3.4 min"."""
    for scale, unit, end in ((1e-6, "us", 0.001), (1e-3, "ms", 0.1), (1, "s", 100), (60, "min", 6000)):
        if seconds < 0.9995 * end:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 3600:.3g} h"


def split_label(seconds: float, batches: Sequence[int]) -> str:
    """Write the seconds of some batches, and the batches if they are several: "58.8 s (2 x 256)"."""
    if len(batches) < 2:
        return seconds_label(seconds)
    parts = (f"{count} x {batch}" if count > 1 else str(batch) for batch, count in Counter(batches).items())
    return f"{seconds_label(seconds)} ({' + '.join(parts)})"


def round_seconds(low: float, high: float) -> list[float]:
    """Return round numbers between two times: of four sets, finest first, the first with at most eight in range."""
    for steps in ((1, 1.5, 2, 3, 4, 5, 6, 8), (1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1,)):
        ticks = [float(f"{step}e{power}") for power in range(-7, 7) for step in steps]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) <= 8:
            break
    return ticks


def percent(value: float) -> str:
    """Write a share between 0 and 1 in percent, one digit behind the point."""
    return f"{100 * value:.1f}"


def points(difference: float) -> str:
    """Write a difference of shares in percentage points, with its sign."""
    return f"{100 * difference:+.1f}"


def bytes_label(num_bytes: int) -> str:
    """Write a size in binary units."""
    size = float(num_bytes)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.3g} GiB"


def slug(*parts: str) -> str:
    """Make a file name of lower-case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", " ".join(parts).lower()).strip("-")
