"""Chats to text by the tokenizer's template, its date pinned: whole, and up to each answer's beginning and end."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from timetrial.error import CheckpointError
from timetrial.record import Message
from timetrial_distillation.data.adapters import Chat, UnfitError
from timetrial_plugins.models.tokenizer import TEMPLATE_DATE, pin_date

Turns = tuple[Message, ...]
_DATE = TEMPLATE_DATE.strftime("%d %b %Y")


class RenderedChat(NamedTuple):
    """A chat as text."""

    whole: str
    answers: tuple[tuple[str, str], ...]
    """For each answer two texts that the whole begins with: the prompt up to the answer, and up to the answer's end."""

    @property
    def texts(self) -> tuple[str, ...]:
        """All the texts."""
        return (self.whole, *(text for answer in self.answers for text in answer))


class _Rendering(NamedTuple):
    """Turns to be rendered, as a prompt (ready for the assistant's turn) or as they are."""

    turns: Turns
    is_prompt: bool


class ChatRenderer:
    """Renders chats by the template of a tokenizer."""

    def __init__(self, tokenizer: Any, folder: Path) -> None:  # Any: transformers ships no types
        """Pin the template's date. The folder is named in errors."""
        self._tokenizer = tokenizer
        self._folder = folder
        self._template = None if tokenizer.chat_template is None else pin_date(tokenizer.get_chat_template())

    @property
    def digest(self) -> str | None:
        """Digest of the template; None if the tokenizer has none."""
        return None if self._template is None else hashlib.sha256(self._template.encode()).hexdigest()

    def render(self, chats: Sequence[Chat]) -> list[RenderedChat | UnfitError]:
        """Render chats; what the template refuses is returned as unfit.

        Raises:
            CheckpointError: there are chats, and the tokenizer has no template.
        """
        if chats and self._template is None:
            raise CheckpointError(
                f"the tokenizer in {self._folder} has no chat template, and the data is made of turns. Use the"
                " tokenizer of the instruction-tuned version."
            )
        texts = self._render_all(dict.fromkeys(part for chat in chats for part in _parts(chat.messages)))
        return [_joined([texts[part] for part in _parts(chat.messages)]) for chat in chats]

    def _render_all(self, parts: Iterable[_Rendering]) -> dict[_Rendering, str | UnfitError]:
        texts: dict[_Rendering, str | UnfitError] = {}
        for is_prompt in (False, True):
            batch = [part for part in parts if part.is_prompt == is_prompt]
            try:
                texts.update(zip(batch, self._apply(batch, is_prompt=is_prompt), strict=True))
            except Exception:  # templates are programs of the checkpoint's author; one by one shows whom it refuses
                texts.update((part, self._apply_alone(part)) for part in batch)
        return texts

    def _apply_alone(self, part: _Rendering) -> str | UnfitError:
        try:
            return self._apply([part], is_prompt=part.is_prompt)[0]
        except Exception as cause:  # as above
            return UnfitError(f"refused by the chat template: {cause}")

    def _apply(self, parts: Sequence[_Rendering], *, is_prompt: bool) -> list[str]:
        if not parts:
            return []
        texts: list[str] = self._tokenizer.apply_chat_template(
            [[message._asdict() for message in part.turns] for part in parts],
            chat_template=self._template,
            tokenize=False,
            add_generation_prompt=is_prompt,
            date_string=_DATE,
        )
        return texts


def _parts(messages: Turns) -> Iterator[_Rendering]:
    """Yield what must be rendered of a chat: the whole, then two beginnings for each answer."""
    yield _Rendering(messages, False)
    for place, message in enumerate(messages):
        if message.role == "assistant":
            yield _Rendering(messages[:place], True)
            yield _Rendering(messages[: place + 1], False)


def _joined(texts: Sequence[str | UnfitError]) -> RenderedChat | UnfitError:
    rendered = []
    for text in texts:
        if isinstance(text, UnfitError):
            return text
        rendered.append(text)
    return RenderedChat(rendered[0], tuple(zip(rendered[1::2], rendered[2::2], strict=True)))
