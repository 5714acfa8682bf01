"""Whether lm-eval is installed, and in a version that was tested."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata

from timetrial.error import UsageError

TESTED = ("0.4.13",)


def lm_eval_version(version: Callable[[str], str] = metadata.version) -> str:
    """Return the installed version.

    Raises:
        UsageError: lm-eval is not installed.
    """
    try:
        return version("lm-eval")
    except metadata.PackageNotFoundError:
        raise UsageError(
            "general benchmarks need the package lm-eval, which is not installed: `pip install 'timetrial[lm-eval]'` "
            "installs it"
        ) from None


def untested(version: str) -> str | None:
    """Return a warning if a version is outside the tested range, or None."""
    if version in TESTED:
        return None
    return (
        f"lm-eval {version} is outside the tested range ({' to '.join(dict.fromkeys((TESTED[0], TESTED[-1])))}): its "
        "results are stored, but whether they equal those of its own models was not checked"
    )
