"""Ask math-verify about two answers. For workers only: it may take for ever.

Both answers are asked as formulas between dollars, without math-verify's own extraction and time limits, and in both
directions: its word counts where it is symmetric and nothing speaks against it (`vetoes.py`).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any

import sympy
from math_verify import LatexExtractionConfig, parse, verify  # type: ignore[import-untyped]  # it has no annotations

from timetrial_plugins.grading.math_verify import OPTIONS, SMALL_NUMBERS
from timetrial_plugins.grading.notation import MAX_CHARACTERS
from timetrial_plugins.grading.vetoes import misread, overlooked

Parsed = Any  # a sympy object: sympy has no type annotations

SIDES = ("gold answer", "answer")
MIN_SIZE = 1e-3
"""Of numbers that rounding to six decimals leaves enough digits of."""
_DOLLAR = re.compile(r"(?<!\\)\$")
_DOLLARS = re.compile(r"\$+([^$]+?)(?<!\\)\$+", re.DOTALL)
_BOX = re.compile(r"\\boxed\s*\{(.*)\}", re.DOTALL)


def judge(gold: str, answer: str) -> dict[str, Any]:
    """Return {"correct": ..., "reason": ...} for two answers as they are written."""
    logging.disable(logging.CRITICAL)  # it warns of the time limits that it is not given
    texts = [_inner(text) for text in (gold, answer)]
    for side, text in zip(SIDES, texts, strict=True):
        if len(text) > MAX_CHARACTERS:
            return _unknown(f"not understood: the {side} is longer than {MAX_CHARACTERS} characters")
    parsed = [_parsed(text) for text in texts]
    for side, text, found in zip(SIDES, texts, parsed, strict=True):
        if found is None:
            return _unknown(f"not understood: math-verify finds no formula in the {side}")
        if (what := misread(text)) is not None:
            return _unknown(f"not understood: math-verify misreads {what} in the {side}")
    one, other = parsed
    is_equal = _verify(one, other)
    if is_equal != _verify(other, one):
        return _unknown("undecided: math-verify is not symmetric here")
    if not is_equal:
        return {"correct": False, "reason": None}
    what = overlooked(*texts) or _rounded_away(one, other)
    if what is not None:
        return _unknown(f"undecided: math-verify says equal, but may overlook {what}")
    return {"correct": True, "reason": None}


def _unknown(reason: str) -> dict[str, Any]:
    return {"correct": None, "reason": reason}


def _inner(text: str) -> str:
    """Return what stands between dollars or in a box, if that is all there is."""
    inner = text.strip()
    while (enclosed := _DOLLARS.fullmatch(inner) or _BOX.fullmatch(inner)) is not None:
        inner = enclosed[1].strip()
    return inner


def _parsed(text: str) -> Parsed:
    """Return the formula that a text is, or None."""
    if not text or _DOLLAR.search(text) or r"\boxed" in text:
        return None
    found = parse(
        f"${' '.join(text.split())}$",
        extraction_config=[LatexExtractionConfig()],
        fallback_mode="no_fallback",
        parsing_timeout=None,
    )
    if not found or getattr(found[0], "has", lambda *_: False)(sympy.nan, sympy.zoo):
        return None
    return found[0]


def _verify(gold: Parsed, answer: Parsed) -> bool:
    return bool(verify(gold, answer, timeout_seconds=None, raise_on_error=True, **OPTIONS))


def _rounded_away(one: Parsed, other: Parsed) -> str | None:
    """Return what rounding may have overlooked; None if nothing."""
    is_small = any(0 < size < MIN_SIZE for parsed in (one, other) for size in _sizes(parsed))
    return SMALL_NUMBERS if is_small and one != other else None


def _sizes(parsed: Parsed) -> Iterator[float]:
    """Yield the sizes of the numbers in a formula, and its own if it is one."""
    for part in (parsed, *getattr(parsed, "args", ()), *parsed.atoms(sympy.Number)):
        try:
            yield abs(complex(part.evalf()))
        except (TypeError, ValueError, AttributeError, ArithmeticError):
            continue  # no number
