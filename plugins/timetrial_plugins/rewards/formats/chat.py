"""The text that a chat template puts around turns, found out by letting it write a conversation of known turns."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

from timetrial.error import CheckpointError
from timetrial.record import Message
from timetrial_plugins.rewards.formats.encoded import TextTokenizer

_ROLES: tuple[Literal["user", "assistant"], ...] = ("user", "assistant", "user", "assistant")
_TURNS = ("@@ask-1@@", "@@reply-1@@", "@@ask-2@@", "@@reply-2@@")


class Chat(TextTokenizer, Protocol):
    """A tokenizer with a chat template."""

    def render_conversation(self, messages: Sequence[Message]) -> str:
        """Return a whole conversation as the template writes it. Raises CheckpointError."""
        ...


class ChatLayout(NamedTuple):
    """A conversation is opening, what is asked, `before_reply`, the reply, `after_reply`, what is asked next, ..."""

    opening: str
    before_reply: str
    after_reply: str

    @property
    def digest(self) -> str:
        """The sha256 of the layout, hexadecimal: what the template contributes to the tokens."""
        return hashlib.sha256(repr(tuple(self)).encode()).hexdigest()


def chat_layout(tokenizer: Chat, *, system: str | None = None, system_header: bool = True) -> ChatLayout:
    """Return how the template lays out turns, after a system prompt if one is given.

    Without `system_header` a conversation begins with its first turn, whatever the template puts before it: a date,
    for example.

    Raises:
        CheckpointError: there is no template, or it does not write turns one after another as they are.
    """
    turns = [Message(role, text) for role, text in zip(_ROLES, _TURNS, strict=True)]
    header = [] if system is None else [Message("system", system)]
    text = tokenizer.render_conversation([*header, *turns])
    opening, before_reply, after_reply, again, end = _cut(text, _TURNS)
    if again != before_reply:
        raise CheckpointError(
            f"the chat template writes {before_reply!r} before the first reply and {again!r} before the second: "
            "expected one that lays out every turn alike"
        )
    if not system_header:
        if not after_reply.startswith(end):
            raise CheckpointError(
                f"the chat template ends the last turn with {end!r} and others with {after_reply!r}: what begins a "
                "turn cannot be told from that, so its header must stay (system-header=yes)"
            )
        opening = tokenizer.bos_token + after_reply.removeprefix(end)
    return ChatLayout(opening, before_reply, after_reply)


def _cut(text: str, marks: Sequence[str]) -> list[str]:
    """Return what stands before, between and after marks that occur once each, in this order."""
    parts = []
    for mark in marks:
        before, found, text = text.partition(mark)
        if not found or mark in text:
            raise CheckpointError(f"the chat template does not write every turn once, in order: {mark!r} is amiss")
        parts.append(before)
    return [*parts, text]
