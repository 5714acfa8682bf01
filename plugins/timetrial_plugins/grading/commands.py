"""Read the commands that have a notation of their own: fractions, roots, binomial coefficients, constants."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from timetrial_plugins.grading.notation import Unreadable

if TYPE_CHECKING:
    from timetrial_plugins.grading.expression import Node
    from timetrial_plugins.grading.grammar import Parser


def _fraction(parser: Parser) -> Node:
    if parser.tokens[parser.position + 1].startswith("d") and _is_derivative(parser.tokens, parser.position):
        raise Unreadable("a derivative")
    return ("/", parser.argument(), parser.argument())


def _is_derivative(tokens: list[str], place: int) -> bool:
    """Whether the denominator behind the numerator at a place begins with a differential, as dx."""
    depth = 0
    while tokens[place]:
        depth += (tokens[place] == "{") - (tokens[place] == "}")
        place += 1
        if depth == 0:
            break
    start = "".join(tokens[place : place + 3])
    return start[:2] == "{d" and start[2:3].isalpha()


def _root(parser: Parser) -> Node:
    index: Node = ("number", 2)
    if parser.peek() == "[":
        parser.take()
        index = parser.sum()
        parser.expect("]")
    return ("call", "sqrt", parser.primary(), index)


def _binomial(parser: Parser) -> Node:
    return ("call", "binom", parser.argument(), parser.argument())


def _cis(parser: Parser) -> Node:
    return ("call", "exp", ("*", ("constant", "i"), parser.function_argument()))


READERS: dict[str, Callable[[Parser], Node]] = {
    r"\frac": _fraction,
    r"\sqrt": _root,
    r"\binom": _binomial,
    r"\pi": lambda parser: ("constant", "pi"),
    r"\infty": lambda parser: ("infinity",),
    "cis": _cis,
    "'cis": _cis,
}
