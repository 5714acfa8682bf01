"""Text to tokens and back, and prompts as a model reads them, through the checkpoint's own tokenizer files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from timetrial.error import CheckpointError
from timetrial.record import Message, Prompt

TEMPLATE_DATE = date(2024, 7, 26)
"""What chat templates that print today's date are told, so that prompts do not change with the calendar."""


class ChatTokenizer:
    """A tokenizer with its chat template, read through transformers; code in a checkpoint is never run."""

    def __init__(self, folder: Path) -> None:
        """Read the tokenizer files of a checkpoint folder.

        Raises:
            CheckpointError: there are none, or they cannot be read.
        """
        from tokenizers.decoders import ByteLevel
        from transformers import AutoTokenizer, PreTrainedTokenizerFast

        self.folder = folder
        try:
            # Any: transformers ships no types
            self._tokenizer: Any = AutoTokenizer.from_pretrained(
                folder, config=_foreign_config(folder), trust_remote_code=False, local_files_only=True
            )
        except Exception as cause:  # whatever transformers makes of a missing or damaged file
            raise CheckpointError(
                f"{folder} has no usable tokenizer ({type(cause).__name__}: {cause}). "
                "Expected tokenizer.json and tokenizer_config.json beside the weights."
            ) from cause

        kind = type(self._tokenizer)
        is_plain = issubclass(kind, PreTrainedTokenizerFast) and kind._decode is PreTrainedTokenizerFast._decode
        # Any: neither does tokenizers. Without the wrapper around it decoding takes a tenth of the time.
        self._backend: Any = self._tokenizer.backend_tokenizer if is_plain else None
        is_by_bytes = self._backend is not None and isinstance(self._backend.decoder, ByteLevel)
        self._texts = _TokenTexts(self._decode) if is_by_bytes else None

    @property
    def eos_ids(self) -> tuple[int, ...]:
        """The id of the end-of-sequence token, if the tokenizer names one."""
        end = self._tokenizer.eos_token_id
        return () if end is None else (int(end),)

    @property
    def bos_token(self) -> str:
        """The beginning-of-sequence token as text; empty if the tokenizer names none."""
        return str(self._tokenizer.bos_token or "")

    @property
    def has_chat_template(self) -> bool:
        """Whether the checkpoint brings its own chat template."""
        return self._tokenizer.chat_template is not None

    def encode(self, text: str) -> list[int]:
        """Return the token ids of `text`; special tokens are recognised where written out, and never added."""
        tokens: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        return tokens

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the exact text of `tokens`, special tokens left out."""
        if self._texts is not None:
            try:
                return "".join([self._texts[token] for token in tokens])
            except KeyError:
                pass  # a character is spread over several tokens
        return self._decode(tokens)

    def _decode(self, tokens: Sequence[int]) -> str:
        text: str
        if self._backend is not None:
            text = self._backend.decode(list(tokens), skip_special_tokens=True)
        else:
            text = self._tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def render(self, prompt: Prompt) -> str:
        """Return the prompt as the model reads it, ready for the model's turn.

        Without a chat template (base models) it is the prompt's plain text, or else the contents of the turns, each
        followed by a blank line; after the beginning-of-sequence token if the tokenizer would add it. What the model's
        turn starts with comes last, as it is: a template would trim it, and end the turn.

        Raises:
            CheckpointError: the chat template refuses the turns, for example a system prompt.
        """
        if not self.has_chat_template:
            turns = "".join(f"{message.content}\n\n" for message in prompt.messages)
            return self._begin() + (turns if prompt.plain is None else prompt.plain) + prompt.start
        try:
            return self._apply_template(prompt.messages, asks=True) + prompt.start
        except Exception as cause:  # templates are programs of the checkpoint's author
            raise CheckpointError(f"the chat template refuses the prompt of {prompt.problem!r}: {cause}") from cause

    def render_conversation(self, messages: Sequence[Message]) -> str:
        """Return a whole conversation as the chat template writes it, with nothing after its last turn.

        Raises:
            CheckpointError: there is no chat template, or it refuses the turns.
        """
        if not self.has_chat_template:
            raise CheckpointError(f"{self.folder} has no chat template: expected one in tokenizer_config.json")
        try:
            return self._apply_template(messages, asks=False)
        except Exception as cause:  # templates are programs of the checkpoint's author
            raise CheckpointError(f"the chat template in {self.folder} refuses a conversation: {cause}") from cause

    def _apply_template(self, messages: Sequence[Message], *, asks: bool) -> str:
        text: str = self._tokenizer.apply_chat_template(
            [message._asdict() for message in messages],
            chat_template=pin_date(self._tokenizer.get_chat_template()),
            tokenize=False,
            add_generation_prompt=asks,
            date_string=TEMPLATE_DATE.strftime("%d %b %Y"),
        )
        return text

    def _begin(self) -> str:
        first = self._tokenizer.encode("", add_special_tokens=True)[:1]
        is_added = self._tokenizer.bos_token_id is not None and first == [self._tokenizer.bos_token_id]
        return str(self._tokenizer.bos_token) if is_added else ""


class _TokenTexts(dict[int, str]):
    """The text of each token that is whole characters, looked up when it first occurs.

    Tokens of a byte-level tokenizer are bytes, so the texts of such tokens in a row are their text, and joining
    them is the faster way to it.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        super().__init__()
        self._decode = decode

    def __missing__(self, token: int) -> str:
        text = self._decode([token])
        if "\ufffd" in text:  # a part of a character
            raise KeyError(token)
        self[token] = text
        return text


def pin_date(template: str) -> str:
    """Return a template whose calls of strftime_now give the pinned date: a macro hides the function of that name."""
    formats = set(re.findall(r"strftime_now\(\s*['\"]([^'\"]*)['\"]", template))
    if not formats:
        return template
    answers = {format_: TEMPLATE_DATE.strftime(format_) for format_ in sorted(formats)}
    return f"{{%- macro strftime_now(format) -%}}{{{{ {answers!r}[format] }}}}{{%- endmacro -%}}" + template


def _foreign_config(folder: Path) -> Any:  # Any: transformers ships no types
    """Return the config of a family that transformers does not know, None if it does.

    It would fall back to the same, after a warning that the model may not work: it is not transformers that runs it.
    """
    from transformers import CONFIG_MAPPING, PretrainedConfig

    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return PretrainedConfig.from_dict(config) if config.get("model_type") not in {None, *CONFIG_MAPPING} else None
