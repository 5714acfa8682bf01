"""Keep off the screen what lm-eval and datasets say of what timetrial does on purpose."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

_ADVICE = "Custom kwargs can be passed"
"""How lm-eval begins to advise an option of its own command whenever rows are given and not fetched."""


@contextmanager
def without_advice() -> Iterator[None]:
    """Leave that advice out while the block runs; warnings come through."""
    logger = logging.getLogger("lm_eval.api.task")
    logger.addFilter(_is_no_advice)
    try:
        yield
    finally:
        logger.removeFilter(_is_no_advice)


@contextmanager
def quiet() -> Iterator[None]:
    """Show neither the bars of `datasets` nor that advice while the block runs."""
    import datasets  # slow to import

    had_bars = not datasets.utils.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        with without_advice():
            yield
    finally:
        if had_bars:
            datasets.enable_progress_bars()


def _is_no_advice(record: logging.LogRecord) -> bool:
    return _ADVICE not in record.getMessage()
