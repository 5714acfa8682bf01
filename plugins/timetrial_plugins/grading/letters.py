"""Read names in a formula: runs of letters, names with subscripts, primes and decorations, unknown functions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from timetrial_plugins.grading.notation import Unreadable

if TYPE_CHECKING:
    from timetrial_plugins.grading.expression import Node
    from timetrial_plugins.grading.grammar import Parser

MAX_RUN = 3
"""Longer runs of letters are words."""
MAX_NAMES = 300
_APPLIED = frozenset("fghFGH")
"""Letters that are functions when a parenthesis follows; other letters are factors."""
_PRIMES = frozenset(("'", r"\prime"))
_AT_ZERO = ["(", "0", ")"]
"""Whatever stands before it is a function: nobody writes a factor of zero."""
_INVERSE = ["^", "{", "-", "1", "}", "("]


def read_run(parser: Parser, run: str) -> Node:
    """Read a run of letters as a product of names; the last one carries a subscript, exponent or argument."""
    if len(run) > MAX_RUN or len(parser.tokens) > MAX_NAMES:
        raise Unreadable(f"the word {run!r} inside a formula")
    if len(run) > 1:
        parser.tokens[parser.position : parser.position] = list(run[1:])
        # Only the first letter is this factor; the others follow as factors of their own.
    letter, after = run[0], parser.peek()
    if letter in ("e", "i") and after != "_" and letter not in parser.bound:
        return ("constant", letter)
    if letter == "C" and _num_arguments(parser) == 2:
        return ("call", "binom", *parser.arguments())
    return read_name(parser, letter)


def _num_arguments(parser: Parser) -> int:
    """Return how many arguments stand in parentheses here."""
    if parser.peek() != "(":
        return 0
    depth, count = 0, 1
    for token in parser.tokens[parser.position :]:
        depth += (token in ("(", "{", "[")) - (token in (")", "}", "]"))
        if depth == 0:
            return count
        count += token == "," and depth == 1
    return 0


def read_name(parser: Parser, letter: str) -> Node:
    """Read what follows the letter of a name: a subscript, primes, and if it is a function its arguments."""
    name = letter
    if parser.peek() == "_":
        parser.take()
        if parser.is_indexed and (index := _index(parser)) is not None:
            return ("call", f"applied {name}_", index)
        name += "_" + _text(parser)
    primes = _primes(parser)
    name += primes
    place = parser.position
    is_applied = letter in _APPLIED or primes != "" or parser.tokens[place : place + 3] == _AT_ZERO
    if not is_applied:
        return ("name", name)
    if parser.tokens[place : place + 6] == _INVERSE:
        parser.position = place + 5
        name += "^-1"
    if parser.peek() == "(":
        return ("call", "applied " + name, *parser.arguments())
    return ("name", name)


def _index(parser: Parser) -> Node | None:
    """Read a subscript as a formula, if it has letters: the index of a sequence."""
    place = parser.position
    index = parser.argument()
    if index[0] != "number":
        return index
    parser.position = place
    return None


def _text(parser: Parser) -> str:
    """Read a subscript, or what stands under a decoration, as it is written."""
    if parser.peek() != "{":
        return parser.take().lstrip("'")
    depth = 0
    parts: list[str] = []
    while True:
        token = parser.take()
        depth += {"{": 1, "}": -1}.get(token, 0)
        if depth == 0:
            return "".join(parts[1:])
        parts.append(token)


def _primes(parser: Parser) -> str:
    primes = ""
    while True:
        ahead = parser.tokens[parser.position : parser.position + 4]
        if ahead[0] in _PRIMES:
            parser.position += 1
        elif ahead[0] == "^" and ahead[1] in _PRIMES:
            parser.position += 2
        elif ahead[:2] == ["^", "{"] and ahead[2] in _PRIMES and ahead[3] == "}":
            parser.position += 4
        else:
            return primes
        primes += "'"


def _decorated(decoration: str, parser: Parser) -> Node:
    """Read a name under an arrow, bar or hat."""
    content = _text(parser)
    if not content[:1].isalpha():
        raise Unreadable(f"{decoration} over what is no name")
    return read_name(parser, f"{decoration} {content}")


READERS: dict[str, Callable[[Parser], Node]] = {
    rf"\{name}": partial(_decorated, rf"\{name}")
    for name in "vec hat bar tilde dot ddot overline overrightarrow widehat mathcal underline".split()
}
