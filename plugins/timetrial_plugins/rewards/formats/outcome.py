"""RLHFlow's outcome reward model: one user turn with the problem and the whole solution, one reply "+" or "-".

Source: RLHFlow/RLHF-Reward-Modeling, `math-rm`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from timetrial_plugins.rewards.formats.chat import Chat
from timetrial_plugins.rewards.formats.encoded import Encoded, HeadKind
from timetrial_plugins.rewards.formats.rlhflow import RlhflowFormat


class OutcomeFormat:
    """RLHFlow's conversation about a solution of a single step: all of it."""

    name = "outcome"
    head: HeadKind = "labels"

    def __init__(self, tokenizer: Chat, *, system_header: bool = True) -> None:
        """Find out the chat's layout and the labels' tokens.

        Raises:
            CheckpointError: the tokenizer has no chat template that can be used.
            UsageError: "+" or "-" is no single token.
        """
        self._turns = RlhflowFormat(tokenizer, system_header=system_header)
        self.labels = self._turns.labels

    @property
    def facts(self) -> Mapping[str, object]:
        """The labels' tokens, and what the template contributes."""
        return self._turns.facts

    def encode(self, question: str, steps: Sequence[str]) -> Encoded:
        """Return the conversation's tokens; the steps are joined again by blank lines."""
        return self._turns.encode(question, ["\n\n".join(steps)])
