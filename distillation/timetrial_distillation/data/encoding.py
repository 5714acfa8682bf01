"""Documents to tokens, and which of them are learned.

What the assistant says, and the end of its turn, is found by rendering a chat up to each answer: those tokens must be
the exact beginning of the whole's, or the document is refused. So a model that is asked the prompt alone reads the very
tokens that stand before the answer in training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from timetrial_distillation.data.adapters import Chat, Document, Text, UnfitError
from timetrial_distillation.data.documents import EncodedDocument, Mask
from timetrial_distillation.data.rendering import ChatRenderer, RenderedChat
from timetrial_plugins.models.tokenizer import ChatTokenizer
from timetrial_registry.digest import tokenizer_digest


class DocumentEncoder(ChatTokenizer):
    """Encodes documents in batches; a function of the tokenizer's files alone."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._renderer = ChatRenderer(self._tokenizer, folder)
        self._first = self.encode(self._begin())
        self.digest = tokenizer_digest(folder)
        """Digest of the tokenizer's files."""

    @property
    def template_digest(self) -> str | None:
        """Digest of the chat template with its date pinned; None without a template."""
        return self._renderer.digest

    @property
    def vocab_size(self) -> int:
        """Tokens the tokenizer knows: all ids are lower."""
        return len(self._tokenizer)

    def encode_documents(self, documents: Sequence[Document]) -> list[EncodedDocument | UnfitError]:
        """Return each document's tokens, or why it makes none.

        Raises:
            CheckpointError: there are chats, and the tokenizer has no chat template.
        """
        texts = {place: document.text for place, document in enumerate(documents) if isinstance(document, Text)}
        chats = {place: document for place, document in enumerate(documents) if isinstance(document, Chat)}
        outcomes = self._encode_texts(texts) | self._encode_chats(chats)
        return [outcomes[place] for place in range(len(documents))]

    def _encode_texts(self, texts: Mapping[int, str]) -> dict[int, EncodedDocument | UnfitError]:
        # The name of a special token in a text is text: it must not end the document in its middle.
        batch = self._batch(list(texts.values()), has_special=False)
        ids = ([*self._first, *tokens, *self.eos_ids] for tokens in batch)
        return {place: _encoded(tokens, None) for place, tokens in zip(texts, ids, strict=True)}

    def _encode_chats(self, chats: Mapping[int, Chat]) -> dict[int, EncodedDocument | UnfitError]:
        rendered = self._renderer.render(list(chats.values()))
        texts = dict.fromkeys(text for item in rendered if isinstance(item, RenderedChat) for text in item.texts)
        ids = dict(zip(texts, self._batch(list(texts), has_special=True), strict=True))
        return {
            place: _mark_answers(item, ids) if isinstance(item, RenderedChat) else item
            for place, item in zip(chats, rendered, strict=True)
        }

    def _batch(self, texts: list[str], *, has_special: bool) -> list[list[int]]:
        """Return the token ids of each text; nothing is added, special tokens are recognised only where they may be."""
        if not texts:
            return []
        batch: Any = self._tokenizer(  # Any: transformers ships no types
            texts,
            add_special_tokens=False,
            split_special_tokens=not has_special,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        ids: list[list[int]] = batch["input_ids"]
        return ids


def _mark_answers(chat: RenderedChat, ids: Mapping[str, list[int]]) -> EncodedDocument | UnfitError:
    whole = ids[chat.whole]
    is_answer = np.zeros(len(whole), dtype=np.bool_)
    for before, after in chat.answers:
        start, stop = len(ids[before]), len(ids[after])
        if whole[:start] != ids[before]:
            return UnfitError(
                "prompt not a prefix: the tokens of the prompt alone are not those that prompt and answer begin with"
            )
        if whole[:stop] != ids[after]:
            return UnfitError("turns not a prefix: the chat template renders a turn otherwise when others follow it")
        is_answer[start:stop] = True
    return _encoded(whole, is_answer)


def _encoded(ids: Sequence[int], is_answer: Mask | None) -> EncodedDocument | UnfitError:
    """Return the document, if there is something in it to learn; None: everything."""
    mask = np.ones(len(ids), dtype=np.bool_) if is_answer is None else is_answer
    mask[:1] = False  # nothing stands before the first token that it could be predicted from
    if not mask.any():
        return UnfitError("empty: no token is left to learn")
    return EncodedDocument(np.array(ids, dtype=np.uint32), mask)
