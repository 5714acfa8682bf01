"""What a user asks for after the name of a reward model: a checkpoint, and options if they want other than the usual.

    rlhflow:RLHFlow/Llama3.1-8B-PRM-Mistral-Data?splitter=marker&share-prompts=no

An option is part of the name under which scores are recorded, so that other scores have another name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from timetrial.error import UnknownNameError, UsageError
from timetrial_plugins.rewards.declaration import Declaration

OPTIONS = ("splitter", "system-header", "share-prompts", "batch-tokens")
_YES_NO = {"yes": True, "no": False}


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """A reference and the options after it."""

    ref: str | None
    options: Mapping[str, str] = field(default_factory=dict)

    def declare(self, usual: Declaration) -> Declaration:
        """Return how solutions are to be read: as usual, but for the options.

        Raises:
            UsageError: an option has a value that there is not.
        """
        return replace(
            usual,
            splitter=self.options.get("splitter", usual.splitter),
            system_header=self._flag("system-header", usual.system_header),
        )

    @property
    def shares_prompts(self) -> bool:
        """Whether to read once what the solutions of a problem begin with. Raises UsageError."""
        return self._flag("share-prompts", True)

    @property
    def batch_tokens(self) -> int | None:
        """The most tokens to read together; None for what suits the device. Raises UsageError."""
        text = self.options.get("batch-tokens")
        if text is None:
            return None
        if not text.isdecimal() or int(text) == 0:
            raise UsageError(f"batch-tokens is {text!r}: expected a number of tokens, 1 or more")
        return int(text)

    def _flag(self, name: str, usual: bool) -> bool:
        text = self.options.get(name)
        if text is None:
            return usual
        if text not in _YES_NO:
            raise UsageError(f"{name} is {text!r}: expected yes or no")
        return _YES_NO[text]


def parse_wish(text: str | None) -> Wish:
    """Read REF?OPTION=VALUE&OPTION=VALUE; either part may be missing.

    Raises:
        UsageError: an option is not there, comes twice, or has no value.
    """
    ref, _, query = (text or "").partition("?")
    options: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        name, equals, value = part.partition("=")
        if name not in OPTIONS:
            raise UnknownNameError("option of a reward model", name, OPTIONS)
        if not equals or name in options:
            raise UsageError(f"option {part!r} of a reward model: expected {name}=VALUE, once")
        options[name] = value
    return Wish(ref=ref or None, options=options)
