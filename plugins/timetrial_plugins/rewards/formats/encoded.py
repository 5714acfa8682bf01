"""A solution as a reward model reads it, and what a format is.

Formats put token ids one after another. They never join strings and tokenise the whole where a border between steps
would then melt into the text beside it: that changes tokens, and costs accuracy (ProcessBench, pull request 12).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os.path import commonprefix
from typing import Literal, NamedTuple, Protocol

from timetrial.error import UsageError

HeadKind = Literal["labels", "classes", "value"]
"""How scores are read: the odds of "+" against "-" as the next token; a head of two classes; a head of one value."""


class TextTokenizer(Protocol):
    """What a format needs of a tokenizer."""

    @property
    def bos_token(self) -> str:
        """The beginning-of-sequence token as text; empty if there is none."""
        ...

    def encode(self, text: str) -> list[int]:
        """Return the token ids of `text`; special tokens are recognised where written out, and never added."""
        ...


class Encoded(NamedTuple):
    """A solution in tokens, up to where the last score is read."""

    tokens: tuple[int, ...]
    positions: tuple[int, ...]
    """Of the tokens at which the scores are read, one a step, in order."""
    num_prompt_tokens: int
    """How many tokens come before the first that depends on the solution."""


class Labels(NamedTuple):
    """The tokens of the two verdicts on a step."""

    plus: int
    minus: int


class Format(Protocol):
    """Turns a question and the steps of a solution into tokens."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def head(self) -> HeadKind:
        """How scores are read."""
        ...

    @property
    def labels(self) -> Labels | None:
        """The tokens whose odds are the scores; None if a head of its own gives them."""
        ...

    @property
    def facts(self) -> Mapping[str, object]:
        """What is recorded of it beside its name, JSON-ready."""
        ...

    def encode(self, question: str, steps: Sequence[str]) -> Encoded:
        """Return the tokens of a solution; there are one or more steps, none empty."""
        ...


def read_labels(tokenizer: TextTokenizer) -> Labels:
    """Return the tokens of "+" and "-".

    Raises:
        UsageError: one of them is no single token.
    """
    return Labels(single_token(tokenizer, "+"), single_token(tokenizer, "-"))


def single_token(tokenizer: TextTokenizer, text: str) -> int:
    """Return the one token that `text` is by itself.

    Raises:
        UsageError: it is none, or several.
    """
    ids = tokenizer.encode(text)
    if len(ids) != 1:
        raise UsageError(
            f"its tokenizer writes the tag {text!r} as {len(ids)} tokens ({ids}), and scores are read at or beside "
            "tags that are single tokens. The checkpoint is of another format, or brings another model's tokenizer"
        )
    return ids[0]


def num_common(first: Sequence[int], second: Sequence[int]) -> int:
    """Return how many leading tokens two sequences share."""
    return len(commonprefix([tuple(first), tuple(second)]))
