"""Named sampling settings. A flag given beside a preset wins over it."""

from __future__ import annotations

from typing import Any

from timetrial.error import UnknownNameError

# Thinking Slow, Fast (arXiv 2502.20339), section 4: T = 0.6 at 1B scale and 0.8 at 3B scale were best for the distilled
# models; all tokens are considered; completions have up to 2,048 tokens. Its acc@1 (figure 11) is greedy.
_PAPER: dict[str, Any] = {"top_p": 1.0, "top_k": -1, "max_tokens": 2048}  # Any: the fields differ in type
PRESETS: dict[str, dict[str, Any]] = {
    "paper-1b": {**_PAPER, "temperatures": (0.6,)},
    "paper-3b": {**_PAPER, "temperatures": (0.8,)},
    "greedy": {**_PAPER, "temperatures": (0.0,), "samples": 1},
}


def preset(name: str) -> dict[str, Any]:  # Any: the fields differ in type
    """Return the RunConfig fields a preset sets.

    Raises:
        UnknownNameError: there is no such preset.
    """
    if name not in PRESETS:
        raise UnknownNameError("preset", name, PRESETS)
    return PRESETS[name]
