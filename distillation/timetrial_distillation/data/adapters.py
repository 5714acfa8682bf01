"""From records with the columns of well-known data sets to documents: plain texts and chats."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from timetrial.error import UnknownNameError, UsageError, closest_match
from timetrial.record import Message
from timetrial_distillation.data.records import Json

AUTO = "auto"
ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
}
"""What data sets call the roles of a chat template."""


class Text(NamedTuple):
    """A document without turns, learned whole."""

    text: str


class Chat(NamedTuple):
    """Turns of a conversation, of which the assistant's are learned."""

    messages: tuple[Message, ...]


Document = Text | Chat


class UnfitError(ValueError):
    """A record that makes no document, and why."""

    @property
    def kind(self) -> str:
        """The reason up to the first colon, by which such records are counted."""
        return str(self).partition(":")[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class Adapter:
    """How records with certain columns are read."""

    name: str
    columns: tuple[str, ...]
    read: Callable[[Json], Document]
    """Raises UnfitError for a record that makes no document."""
    doc: str
    """Which data sets look so."""


def find_adapter(name: str, columns: Sequence[str]) -> Adapter:
    """Return the adapter of that name, or for "auto" the one whose columns are all there.

    Raises:
        UnknownNameError: there is none of that name; offers the closest.
        UsageError: the source lacks its columns, or none or several fit; lists the columns found.
    """
    found = f"The source has the columns {', '.join(columns)}."
    if name == AUTO:
        fitting = [adapter for adapter in ADAPTERS if set(adapter.columns) <= set(columns)]
        if len(fitting) == 1:
            return fitting[0]
        known = "; ".join(f"{adapter.name}: {', '.join(adapter.columns)}" for adapter in fitting or ADAPTERS)
        problem = "several adapters fit" if fitting else "no adapter fits"
        remedy = "Choose one by --adapter." if fitting else "Name columns anew by --rename FOUND=EXPECTED."
        raise UsageError(f"{problem} ({known}). {found} {remedy}")
    adapter = {adapter.name: adapter for adapter in ADAPTERS}.get(name)
    if adapter is None:
        raise UnknownNameError("adapter", name, [AUTO, *(adapter.name for adapter in ADAPTERS)])
    for column in adapter.columns:
        if column not in columns:
            closest = closest_match(column, columns)
            hint = f"; did you mean {closest!r} (--rename {closest}={column})?" if closest else "."
            raise UsageError(f"adapter {name!r} needs the column {column!r}{hint} {found}")
    return adapter


def _turns(question: str, answer: str) -> Callable[[Json], Chat]:
    def read(record: Json) -> Chat:
        return Chat((Message("user", _text(record, question)), Message("assistant", _text(record, answer))))

    return read


def _conversation(column: str, role_key: str, content_key: str) -> Callable[[Json], Chat]:
    def read(record: Json) -> Chat:
        turns = record.get(column)
        if not turns:
            raise UnfitError("empty: the record has no turns")
        if not isinstance(turns, Sequence) or not all(isinstance(turn, Mapping) for turn in turns):
            raise UnfitError(f"malformed: column {column!r} holds {turns!r:.60}, expected a list of turns")
        messages = tuple(Message(_role(turn.get(role_key)), _text(turn, content_key)) for turn in turns)
        if not any(message.role == "assistant" for message in messages):
            raise UnfitError("no answer: the assistant has no turn")
        return Chat(messages)

    return read


def _plain(record: Json) -> Text:
    return Text(_text(record, "text"))


def _text(record: Json, name: str) -> str:
    value = record.get(name)
    if value is None or (isinstance(value, str) and not value.strip()):
        raise UnfitError(f"empty: {name!r} holds no text")
    if not isinstance(value, str):
        raise UnfitError(f"malformed: {name!r} holds {value!r:.60}, expected text")
    return value


def _role(name: Any) -> Any:  # Any: JSON; one of the roles
    role = ROLES.get(name) if isinstance(name, str) else None
    if role is None:
        raise UnfitError(f"malformed: a turn is by {name!r:.60}, expected {', '.join(ROLES)}")
    return role


ADAPTERS = (
    Adapter(
        name="problem-solution",
        columns=("problem", "generated_solution"),
        read=_turns("problem", "generated_solution"),
        doc="nvidia/OpenMathInstruct-2",
    ),
    Adapter(
        name="conversations",
        columns=("conversations",),
        read=_conversation("conversations", "from", "value"),
        doc="teknium/OpenHermes-2.5 and other sets of turns with from and value",
    ),
    Adapter(
        name="messages",
        columns=("messages",),
        read=_conversation("messages", "role", "content"),
        doc="sets of turns with role and content",
    ),
    Adapter(
        name="prompt-response",
        columns=("prompt", "response"),
        read=_turns("prompt", "response"),
        doc="one question and one answer",
    ),
    Adapter(name="text", columns=("text",), read=_plain, doc="HuggingFaceTB/finemath and other plain texts"),
)
