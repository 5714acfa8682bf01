"""Qwen2.5-Math-PRM's format: a chat whose reply is the solution, with a special token after every step.

A head of two classes is read at each of these tokens (151651 in the published vocabulary).
Source: Zhang et al., arXiv 2501.07301, and the published checkpoint's card.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from timetrial_plugins.rewards.formats.chat import Chat, chat_layout
from timetrial_plugins.rewards.formats.encoded import Encoded, HeadKind, single_token

SYSTEM = r"Please reason step by step, and put your final answer within \boxed{}."
STEP_END = "<extra_0>"


class QwenPrmFormat:
    """System prompt, question, and the steps, each followed by the special token."""

    name = "qwen-prm"
    head: HeadKind = "classes"
    labels = None

    def __init__(self, tokenizer: Chat) -> None:
        """Find out the chat's layout and the special token.

        Raises:
            CheckpointError: the tokenizer has no chat template that can be used.
            UsageError: the special token is none to this tokenizer.
        """
        self._tokenizer = tokenizer
        self._step_end = single_token(tokenizer, STEP_END)
        self._layout = chat_layout(tokenizer, system=SYSTEM)

    @property
    def facts(self) -> Mapping[str, object]:
        """The special token, and what the template contributes."""
        return {"tag": self._step_end, "template_digest": self._layout.digest}

    def encode(self, question: str, steps: Sequence[str]) -> Encoded:
        """Return the conversation's tokens; scores are read at the special tokens."""
        tokens = self._tokenizer.encode(self._layout.opening + question + self._layout.before_reply)
        prompt = len(tokens)
        positions = []
        for step in steps:
            tokens += [*self._tokenizer.encode(step), self._step_end]
            positions.append(len(tokens) - 1)
        return Encoded(tuple(tokens), tuple(positions), prompt)
