"""Where the tasks lie that timetrial adds to lm-eval's own, as YAML files."""

from __future__ import annotations

from pathlib import Path

OWN_TASKS = Path(__file__).parent / "yaml"
"""A folder for lm-eval's `--include_path`."""
