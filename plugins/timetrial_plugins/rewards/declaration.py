"""How a reward model's checkpoint wants solutions read, as its config.json declares it:

    "timetrial": {"reward": {"format": "rlhflow", "splitter": "blank-line", "system_header": true}}

A reward model trained here carries it, so that it is scored with as it was trained.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from timetrial.error import CheckpointError, UnknownNameError, UsageError
from timetrial_plugins.rewards.steps import SPLITTERS, WHOLE
from timetrial_registry.checkpoint import CONFIG_FILE, read_config

DEFAULT_SPLITTERS = {
    "rlhflow": "blank-line",
    "math-shepherd": "blank-line",
    "qwen-prm": "blank-line",
    "skywork-prm": "newline",
    "outcome": WHOLE,
}
"""How the published models of each format, which the keys name, expect solutions to be split."""
_WITH_HEADER = ("rlhflow", "outcome")
_SECTION, _KEY = "timetrial", "reward"


@dataclass(frozen=True, kw_only=True, slots=True)
class Declaration:
    """What decides which tokens a solution becomes, and so its scores."""

    format: str
    splitter: str
    system_header: bool = True
    """Whether a chat begins with what the checkpoint's own template puts before the first turn."""

    def __post_init__(self) -> None:
        """Refuse what there is not.

        Raises:
            UnknownNameError: there is no such format or splitter.
            UsageError: the format does not go with the rest.
        """
        if self.format not in DEFAULT_SPLITTERS:
            raise UnknownNameError("reward format", self.format, DEFAULT_SPLITTERS)
        if self.splitter not in SPLITTERS:
            raise UnknownNameError("step splitter", self.splitter, SPLITTERS)
        if (self.splitter == WHOLE) != (self.format == "outcome"):
            raise UsageError(
                f"format {self.format!r} does not go with the splitter {self.splitter!r}: 'outcome' takes the "
                f"{WHOLE} solution, the others its steps"
            )
        if not self.system_header and self.format not in _WITH_HEADER:
            raise UsageError(
                f"format {self.format!r} has no system header to leave out; {' and '.join(_WITH_HEADER)} may have one"
            )


def read(folder: Path) -> Declaration | None:
    """Return what the checkpoint in a folder declares; None if it declares nothing.

    Raises:
        CheckpointError: there is no config.json, or what it declares is not understood.
    """
    section = read_config(folder).get(_SECTION)
    declared = section.get(_KEY) if isinstance(section, dict) else None
    if declared is None:
        return None
    try:
        return _parse(declared)
    except (UsageError, ValueError) as cause:
        raise CheckpointError(f"{folder / CONFIG_FILE}: {_SECTION}.{_KEY} is not understood: {cause}") from cause


def write(folder: Path, declaration: Declaration) -> None:
    """Add a declaration to the config.json in a folder, in place of any that is there.

    Raises:
        CheckpointError: there is no config.json, or it is no JSON object.
    """
    path = folder / CONFIG_FILE
    read_config(folder)  # refuses what is missing or damaged
    config = json.loads(path.read_text(encoding="utf-8"))
    section = config.get(_SECTION)
    kept = section if isinstance(section, dict) else {}
    config[_SECTION] = {**kept, _KEY: asdict(declaration)}
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _parse(declared: Any) -> Declaration:  # Any: JSON
    """Read the object; every key must be known, since one that is ignored might change scores."""
    known = {field.name: bool if field.name == "system_header" else str for field in fields(Declaration)}
    if not isinstance(declared, dict) or not {"format", "splitter"} <= declared.keys():
        names = ", ".join(DEFAULT_SPLITTERS)
        raise ValueError(f"expected an object with a splitter and a format (one of {names}), not {declared!r}")
    for key, value in declared.items():
        if key not in known:
            raise UnknownNameError("key", key, known)
        if not isinstance(value, known[key]):
            raise ValueError(f"{key} is {value!r}: expected a {known[key].__name__}")
    return Declaration(**declared)
