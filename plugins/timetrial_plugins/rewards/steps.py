"""What a step of a solution is: the borders that published reward models are trained with, by name.

Which border is used changes the scores, so a reward model records its splitter's name.
"""

from __future__ import annotations

from collections.abc import Mapping

MARKER = "\u043a\u0438"
"""Cyrillic "ki": the step marker in Math-Shepherd's data and in solutions of models trained on it."""

WHOLE = "whole"
SPLITTERS: Mapping[str, str | None] = {
    "blank-line": "\n\n",
    "marker": f"{MARKER}\n",
    "newline": "\n",
    WHOLE: None,
}
"""What separates steps, by the splitter's name; None takes the whole solution as one step."""


def split_steps(text: str, splitter: str) -> list[str]:
    """Return the steps of a solution, without the space around them; nothing, or a lone marker, is no step."""
    border = SPLITTERS[splitter]
    parts = [text] if border is None else text.split(border)
    return [step for part in parts if (step := part.strip()) not in ("", MARKER)]
