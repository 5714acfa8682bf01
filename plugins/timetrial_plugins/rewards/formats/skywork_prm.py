"""Skywork-o1-Open-PRM's format: problem, newline, and the steps, each followed by a newline token that is scored.

A head of one value is read at each newline after a step.
Source: the published inference code (SkyworkAI/skywork-o1-prm-inference).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from timetrial_plugins.rewards.formats.encoded import Encoded, HeadKind, TextTokenizer, single_token


class SkyworkPrmFormat:
    """Plain text, a line a step."""

    name = "skywork-prm"
    head: HeadKind = "value"
    labels = None

    def __init__(self, tokenizer: TextTokenizer) -> None:
        """Find out the newline's token.

        Raises:
            UsageError: a newline is no single token.
        """
        self._tokenizer = tokenizer
        self._newline = single_token(tokenizer, "\n")

    @property
    def facts(self) -> Mapping[str, object]:
        """The newline's token."""
        return {"tag": self._newline}

    def encode(self, question: str, steps: Sequence[str]) -> Encoded:
        """Return the text's tokens; scores are read at the newlines after the steps.

        With another splitter than newlines a step may have lines of its own; they are joined into one, for a newline
        is a border here.
        """
        tokens = self._tokenizer.encode(f"{self._tokenizer.bos_token}{question}\n")
        prompt = len(tokens)
        positions = []
        for step in steps:
            tokens += [*self._tokenizer.encode(" ".join(step.split("\n"))), self._newline]
            positions.append(len(tokens) - 1)
        return Encoded(tuple(tokens), tuple(positions), prompt)
