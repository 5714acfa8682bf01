"""RLHFlow's format: a chat in which the user tells the solution step by step, and the assistant replies "+" or "-".

The score of a step is the probability of "+" against "-" as the reply to it. Earlier replies are "+", so the
conversation about the first steps is the beginning of the whole one, and one forward gives all scores.
Source: Xiong et al., "An implementation of generative PRM" (2024), the evaluation code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from timetrial_plugins.rewards.formats.chat import Chat, chat_layout
from timetrial_plugins.rewards.formats.encoded import Encoded, HeadKind, num_common, read_labels


class RlhflowFormat:
    """Chat turns: question and first step, "+", second step, "+", ..."""

    name = "rlhflow"
    head: HeadKind = "labels"

    def __init__(self, tokenizer: Chat, *, system_header: bool = True) -> None:
        """Find out the chat's layout and the labels' tokens.

        Raises:
            CheckpointError: the tokenizer has no chat template that can be used.
            UsageError: "+" or "-" is no single token.
        """
        self._tokenizer = tokenizer
        self.labels = read_labels(tokenizer)
        self._system_header = system_header
        self._layout = chat_layout(tokenizer, system_header=system_header)

    @property
    def facts(self) -> Mapping[str, object]:
        """The labels' tokens, and what the template contributes."""
        labels = self.labels._asdict()
        return {"labels": labels, "system_header": self._system_header, "template_digest": self._layout.digest}

    def encode(self, question: str, steps: Sequence[str]) -> Encoded:
        """Return the conversation's tokens; scores are read where the replies are predicted."""
        layout, encode = self._layout, self._tokenizer.encode
        tokens = encode(f"{layout.opening}{question.strip()} {steps[0]}{layout.before_reply}")
        prompt = num_common(tokens, encode(layout.opening + question.strip()))
        positions = [len(tokens) - 1]
        for step in steps[1:]:
            tokens += [self.labels.plus, *encode(f"{layout.after_reply}{step}{layout.before_reply}")]
            positions.append(len(tokens) - 1)
        return Encoded(tuple(tokens), tuple(positions), prompt)
