"""Whether the packages that operations come from are installed, and whether they can be imported."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata

MODULES = {
    "torch": "torch",
    "transformers": "transformers",
    "triton": "triton",
    "mamba-ssm": "mamba_ssm.ops.triton.selective_state_update",
    "causal-conv1d": "causal_conv1d",
    "flash-attn": "flash_attn",
}
"""Distributions, and the module of each that has what is used of it and fails where its machine code does not fit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """A distribution as it is found here."""

    name: str
    version: str | None
    """None: it is not installed."""
    error: str | None = None
    """What importing it says, where it is installed and cannot be imported."""

    @property
    def problem(self) -> str | None:
        """Why it cannot be used, or None."""
        if self.version is None:
            return f"{self.name} is not installed"
        return None if self.error is None else f"{self.name} {self.version} cannot be imported ({self.error})"


def inspect_package(
    name: str,
    *,
    version: Callable[[str], str] = metadata.version,
    load: Callable[[str], object] = importlib.import_module,
) -> Package:
    """Look for a distribution of `MODULES` and import it."""
    try:
        found = version(name)
    except metadata.PackageNotFoundError:
        return Package(name=name, version=None)
    try:
        load(MODULES[name])
    except Exception as cause:  # machine code built for another torch raises anything
        return Package(name=name, version=found, error=f"{type(cause).__name__}: {' '.join(str(cause).split())}")
    return Package(name=name, version=found)
