"""Read what binds a name in a formula: sums, products, definite integrals and limits."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from timetrial_plugins.grading.notation import Unreadable

if TYPE_CHECKING:
    from timetrial_plugins.grading.expression import Node
    from timetrial_plugins.grading.grammar import Parser

TAGS = frozenset(("sum", "product", "integral", "limit"))
_DIFFERENTIAL = re.compile(r"'?([a-zA-Z]*)d([a-zA-Z])")
_END = r"\differential"
_SIDES = (["^", "+"], ["^", "-"], ["^", "{", "+", "}"], ["^", "{", "-", "}"])


def _sum(parser: Parser) -> Node:
    return ("sum", *_series(parser))


def _product(parser: Parser) -> Node:
    return ("product", *_series(parser))


def _series(parser: Parser) -> tuple[str, Node, Node, Node]:
    """Read _{k=1}^{n} in either order, and what is added or multiplied: the factors up to the next sign."""
    name, low, high = "", None, None
    while parser.peek() in ("_", "^"):
        if parser.take() == "^":
            high = parser.argument()
        else:
            parser.expect("{")
            name = _bound_name(parser)
            parser.expect("=")
            low = parser.sum()
            parser.expect("}")
    if low is None or high is None:
        raise Unreadable("a sum or product without both bounds")
    return name, low, high, _body(parser, name)


def _integral(parser: Parser) -> Node:
    low = high = None
    while parser.peek() in ("_", "^"):
        if parser.take() == "^":
            high = parser.argument()
        else:
            low = parser.argument()
    if low is None or high is None:
        raise Unreadable("an integral without both bounds")
    name, is_behind = _differential(parser)
    parser.bound.append(name)
    body = parser.sum() if is_behind else parser.product()
    parser.bound.pop()
    if is_behind:
        parser.expect(_END)
    return ("integral", name, low, high, body)


def _differential(parser: Parser) -> tuple[str, bool]:
    """Find dx, and return the name and whether it stands behind the body; if not, it is a factor inside it."""
    depth = 0
    for place in range(parser.position, len(parser.tokens)):
        token = parser.tokens[place]
        depth += (token in ("{", "(", "[")) - (token in ("}", ")", "]"))
        match = _DIFFERENTIAL.fullmatch(token + (parser.tokens[place + 1] if token in ("d", "'d") else ""))
        if depth < 0 or token == r"\int":
            break
        if match is not None:
            before, name = match.groups()
            end = place + (2 if token in ("d", "'d") else 1)
            is_alone = parser.tokens[place - 1] == "{" and not before
            replacement = [_END] if depth == 0 else ["1"] if is_alone else []
            parser.tokens[place:end] = ([before] if before else []) + replacement
            return name, depth == 0
    raise Unreadable("an integral without dx")


def _limit(parser: Parser) -> Node:
    parser.expect("_")
    parser.expect("{")
    name = _bound_name(parser)
    parser.expect(r"\to")
    side = _side(parser)
    target = parser.sum()
    parser.expect("}")
    return ("limit", name, target, side, _body(parser, name))


def _side(parser: Parser) -> str:
    """Take away the sign behind the target of a limit, as in 0^+, and return it."""
    tokens, place = parser.tokens, parser.position
    depth = 0
    while depth >= 0:
        if not tokens[place]:
            raise Unreadable("a bracket that is not closed")
        depth += (tokens[place] == "{") - (tokens[place] == "}")
        place += 1
    close = place - 1
    for signs in _SIDES:
        if tokens[close - len(signs) : close] == signs:
            del tokens[close - len(signs) : close]
            return next(sign for sign in signs if sign in "+-")
    return ""


def _bound_name(parser: Parser) -> str:
    node = parser.primary()
    if node[0] != "name" and node not in (("constant", "e"), ("constant", "i")):
        raise Unreadable("a sum, product or limit over what is no name")
    return str(node[1])


def _body(parser: Parser, name: str) -> Node:
    parser.bound.append(name)
    body = parser.product()
    parser.bound.pop()
    return body


READERS: dict[str, Callable[[Parser], Node]] = {
    r"\sum": _sum,
    r"\prod": _product,
    r"\int": _integral,
    r"\lim": _limit,
}
