"""The reliability diagram: how often steps of a score are right, against the score."""

from __future__ import annotations

from pathlib import Path

from timetrial.error import UsageError
from timetrial.report import canvas
from timetrial_distillation.rewards.evaluation import RewardEvaluation

_NAMES = {"truth": "truth", "hard": "any rollout right", "soft": "share of rollouts right"}
ENDINGS = (".svg", ".png")


def check_ending(path: Path) -> None:
    """Refuse a file that is neither SVG nor PNG, before anything is computed.

    Raises:
        UsageError: says what is expected.
    """
    if path.suffix not in ENDINGS:
        raise UsageError(f"the figure {path} has the ending {path.suffix!r}; expected {' or '.join(ENDINGS)}")


def write_reliability(found: RewardEvaluation, path: Path) -> None:
    """Write the diagram as SVG or PNG, by the file's ending."""
    with canvas.style():
        first = next(iter(found.qualities.values()))
        subtitle = f"{first.num_steps:,} steps of {first.num_solutions:,} solutions; the area of a mark is their number"
        figure, axes = canvas.new_axes(f"Reliability of {found.reward_model}", subtitle)
        axes.plot([0, 1], [0, 1], color=canvas.MUTED, linewidth=1, label="calibrated")
        for number, (kind, quality) in enumerate(found.qualities.items()):
            colour = canvas.series_colour(number)
            x, y = ([getattr(each, name) for each in quality.bins] for name in ("mean_score", "mean_label"))
            sizes = [8 + 160 * each.num_steps / quality.num_steps for each in quality.bins]
            axes.plot(x, y, color=colour, label=f"{_NAMES[kind]}, ECE {quality.ece:.3f}")
            axes.scatter(x, y, s=sizes, color=colour)
        axes.set_xlabel("score")
        axes.set_ylabel("share of steps that are right")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        canvas.legend_below(figure, axes)
        svg, png = canvas.render(figure)
    path.write_bytes(svg.encode() if path.suffix == ".svg" else png)
