"""Stop strings: found across tokens, cut off exactly, and charged up to the token that completed them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from timetrial.record import Prompt
from timetrial_plugins.engine.stop import StopStrings


class PieceTokenizer:
    """Tokens are indices into a list of pieces of UTF-8; broken characters decode to the replacement character."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.pieces = pieces

    def encode(self, text: str) -> list[int]:
        return [self.pieces.index(bytes([byte])) for byte in text.encode()]

    def decode(self, tokens: Sequence[int]) -> str:
        return b"".join(self.pieces[token] for token in tokens).decode(errors="replace")

    def render(self, prompt: Prompt) -> str:
        return prompt.messages[-1].content


PIECES = [b"so", b" 4", b".\n", b"\nPro", b"blem", b": x", "\u221a".encode()[:1], "\u221a".encode()[1:], b""]


@pytest.mark.parametrize(("strings", "tokens", "text", "num_tokens"), [
    (["\n\nProblem"], [0, 1, 2, 3, 4, 5], "so 4.", 5),  # over three tokens
    (["o 4"], [0, 1, 2], "s", 2),  # begins within a token
    (["."], [0, 1, 2, 3, 4], "so 4", 3),  # ends within a token
    (["blem", "Pro"], [0, 3, 4], "so\n", 2),  # the one that is complete first
    ([" x", "so"], [0, 5], "", 1),
    (["\u221a"], [0, 6, 8, 7, 1], "so", 4),  # over a broken character and an empty token
])  # fmt: skip
def test_the_text_is_cut_before_the_stop_string(
    strings: list[str], tokens: list[int], text: str, num_tokens: int
) -> None:
    stop = StopStrings(strings, PieceTokenizer(PIECES))
    assert stop.find(tokens) == (text, num_tokens)
    more = [*tokens, 0, 1]
    assert stop.find(more) == (text, num_tokens), "later tokens must not matter"


def test_a_string_that_does_not_occur_stops_nothing() -> None:
    stop = StopStrings(["Problem:"], PieceTokenizer(PIECES))
    assert stop.find([0, 1, 2]) is None and not stop.may_end_in([0, 1, 2], 3)
    assert stop.find([]) is None


def test_without_stop_strings_there_is_nothing_to_look_for() -> None:
    stop = StopStrings([], PieceTokenizer(PIECES))
    assert not stop and stop.find([0, 1]) is None


def test_the_cheap_look_sees_a_string_that_began_long_before_the_new_tokens() -> None:
    pieces = [bytes([byte]) for byte in range(256)]
    tokenizer = PieceTokenizer(pieces)
    stop = StopStrings(["the end of this story"], tokenizer)
    tokens = tokenizer.encode("a long text before it, and the end of this story")
    assert stop.may_end_in(tokens, 1)
    assert not stop.may_end_in(tokens[:-1], 4)
