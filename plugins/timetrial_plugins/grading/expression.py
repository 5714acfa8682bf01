"""Parse the tokens of one formula into a tree of nested tuples. The tree says what is written; nothing is evaluated.

Nodes, by their first entry (a, b, ... are nodes, name is a string):

    ("number", int | Fraction)   ("name", "x_1")   ("constant", "pi" | "e" | "i")   ("infinity",)
    ("+", a, b)   ("*", a, b)   ("/", a, b)   ("^", a, b)   ("-", a)   ("+-", a)   ("-+", a): -+ is the opposite of +-
    ("call", function, a, ...)
    ("sum", name, low, high, body)   ("product", name, low, high, body): name runs through the integers low ... high
    ("integral", name, low, high, body): definite; low and high may be infinite
    ("limit", name, target, side, body): side is "+" (from above), "-" (from below) or ""

In `body` the name is bound: it shadows a name or constant (i, e) of the same spelling outside.

Functions of a call:

    sin cos tan cot sec csc sinh cosh tanh coth sech csch, the same with "a" in front (asin: the inverse)
    ln exp abs floor ceil sign Re Im arg conj factorial factorial2 (the double factorial)
    sqrt (radicand, index): the real root where there is one, else the principal one     log (number[, base]): base 10
    binom (n, k)   mod (number, modulus)   gcd lcm max min (of any number of arguments)
    "applied f" (a, ...): an unknown function f, also "applied f'" (its derivative) and "applied f^-1" (its inverse);
    "applied F_" (a): the sequence F at the index a, in formulas with sums or products (F_k); F_3 alone is a name
"""

from __future__ import annotations

from typing import Any

from timetrial_plugins.grading.binders import TAGS
from timetrial_plugins.grading.grammar import FUNCTIONS, MAX_TOKENS, Parser, is_number
from timetrial_plugins.grading.notation import Unreadable

__all__ = ["FUNCTIONS", "Node", "free_names", "is_number", "parse"]

Node = tuple[Any, ...]  # Any: a tag, then nodes, strings or one number


def parse(tokens: list[str]) -> Node:
    """Return the tree of a formula.

    Raises:
        Unreadable: the tokens are no formula that is understood.
    """
    if len(tokens) > MAX_TOKENS:
        raise Unreadable(f"a formula of more than {MAX_TOKENS} symbols")
    if tokens.count(r"\pm") > 1 and r"\mp" not in tokens:
        raise Unreadable("several plus-minus signs, which need not agree")
    return Parser(tokens).whole()


def free_names(node: Node) -> frozenset[str]:
    """Return the names and unknown functions that the value of a formula depends on."""
    tag = node[0]
    if tag == "name":
        return frozenset((node[1],))
    if tag in TAGS:
        *ends, body = (free_names(part) for part in node[2:] if isinstance(part, tuple))
        return (body - {node[1]}).union(*ends)
    found = frozenset().union(*[free_names(part) for part in node[1:] if isinstance(part, tuple)])
    return found | {node[1]} if tag == "call" and node[1].startswith("applied ") else found
