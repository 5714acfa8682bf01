"""The published reward models that are known by name, and how each reads solutions. Importing it costs nothing."""

from __future__ import annotations

from typing import NamedTuple

from timetrial_plugins.rewards.declaration import DEFAULT_SPLITTERS, Declaration


class Published(NamedTuple):
    """A reward model on the Hub."""

    hub_id: str
    format: str
    splitter: str | None = None
    """None for the format's usual one."""

    @property
    def declaration(self) -> Declaration:
        """How it reads solutions."""
        return Declaration(format=self.format, splitter=self.splitter or DEFAULT_SPLITTERS[self.format])


PUBLISHED = (
    Published("RLHFlow/Llama3.1-8B-PRM-Deepseek-Data", "rlhflow"),
    Published("RLHFlow/Llama3.1-8B-PRM-Mistral-Data", "rlhflow"),
    Published("RLHFlow/Llama3.1-8B-ORM-Deepseek-Data", "outcome"),
    Published("RLHFlow/Llama3.1-8B-ORM-Mistral-Data", "outcome"),
    Published("peiyi9979/math-shepherd-mistral-7b-prm", "math-shepherd"),
    Published("Qwen/Qwen2.5-Math-PRM-7B", "qwen-prm"),
    Published("Qwen/Qwen2.5-Math-PRM-72B", "qwen-prm"),
    Published("Qwen/Qwen2.5-Math-7B-PRM800K", "qwen-prm"),
    Published("Skywork/Skywork-o1-Open-PRM-Qwen-2.5-1.5B", "skywork-prm"),
    Published("Skywork/Skywork-o1-Open-PRM-Qwen-2.5-7B", "skywork-prm"),
)

DEFAULTS = {
    "math-shepherd": "peiyi9979/math-shepherd-mistral-7b-prm",
    "qwen-prm": "Qwen/Qwen2.5-Math-PRM-7B",
    "skywork-prm": "Skywork/Skywork-o1-Open-PRM-Qwen-2.5-7B",
}
"""The checkpoint that a name without a reference means. RLHFlow's is not clear: there are two of each kind."""


def published_as(ref: str) -> Published | None:
    """Return what is known of a Hub id, whatever its revision."""
    return next((known for known in PUBLISHED if known.hub_id == ref.partition("@")[0]), None)


def ids_of(format_: str) -> list[str]:
    """Return the Hub ids of a format."""
    return [known.hub_id for known in PUBLISHED if known.format == format_]
