"""Parse the tokens of one formula into a tree of nested tuples. The tree says what is written; nothing is evaluated.

Nodes, by their first entry:

    ("number", Fraction)   ("name", "x_1")   ("constant", "pi" | "e" | "i")   ("infinity",)   ("opaque", text)
    ("+", a, b)   ("*", a, b)   ("/", a, b)   ("^", a, b)   ("-", a)   ("+-", a)   ("-+", a): -+ is the opposite of +-
    ("call", name, a, ...)   with sqrt (index), log (base), binom (two arguments) and the functions of one argument
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

from timetrial_plugins.grading.notation import Unreadable

Node = tuple[Any, ...]  # Any: a tag, then nodes, strings or one Fraction

MAX_DEPTH = 50
MAX_TOKENS = 300
"""Bounds the height of a tree, and so the recursion of everything that walks it."""
MAX_EXPONENT = 400
"""Of a number such as 1e5."""

FUNCTIONS = frozenset(
    rf"\{name}"
    for name in "sin cos tan cot sec csc asin acos atan sinh cosh tanh ln log exp abs floor ceil Re Im arg".split()
)
_GREEK = frozenset(
    rf"\{name}"
    for name in (
        "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma tau "
        "upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Sigma Phi Psi Omega ell hbar"
    ).split()
)
_CLOSING = {"(": ")", "[": "]", "{": "}", r"\lfloor": r"\rfloor", r"\lceil": r"\rceil"}
_APPLIED = frozenset("fghFGH")
"""Letters that are functions when a parenthesis follows; other letters are factors."""
_INTEGER = re.compile(r"\d+")


def parse(tokens: list[str]) -> Node:
    """Return the tree of a formula.

    Raises:
        Unreadable: the tokens are no formula that is understood.
    """
    if len(tokens) > MAX_TOKENS:
        raise Unreadable(f"a formula of more than {MAX_TOKENS} symbols")
    return _Parser(tokens).whole()


class _Parser:
    """Recursive descent with one token of look-ahead; `depth` bounds the recursion."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = list(tokens)
        self.position = 0
        self.depth = 0

    def whole(self) -> Node:
        node = self.sum()
        if self.position < len(self.tokens):
            raise Unreadable(f"unexpected {self.tokens[self.position]!r}")
        return node

    def peek(self, offset: int = 0) -> str:
        index = self.position + offset
        return self.tokens[index] if index < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        if not token:
            raise Unreadable("unexpected end")
        self.position += 1
        return token

    def expect(self, token: str) -> None:
        if self.peek() != token:
            raise Unreadable(f"{token!r} is missing")
        self.position += 1

    def sum(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable(f"nested more than {MAX_DEPTH} deep")
        node = self.signed_product()
        while self.peek() in ("+", "-", r"\pm", r"\mp"):
            node = ("+", node, self.signed_product())
        self.depth -= 1
        return node

    def signed_product(self) -> Node:
        signs = []
        while self.peek() in ("+", "-", r"\pm", r"\mp"):
            signs.append(self.take())
        node = self.product()
        for sign in reversed(signs):
            if sign != "+":
                node = ({"-": "-", r"\pm": "+-", r"\mp": "-+"}[sign], node)
        return node

    def product(self) -> Node:
        node = self.mixed_number() or self.power()
        while True:
            if self.peek() in ("*", "/"):
                operator = self.take()
                node = (operator, node, self.signed_factor())
            elif self.starts_factor():
                node = ("*", node, self.power())
            else:
                return node

    def signed_factor(self) -> Node:
        if self.peek() in ("-", "+"):
            sign = self.take()
            factor = self.signed_factor()
            return ("-", factor) if sign == "-" else factor
        return self.power()

    def starts_factor(self) -> bool:
        """Whether the next token begins a factor written without a sign of multiplication."""
        token = self.peek()
        if not token or token[0] == "'":
            return False
        if is_number(token):
            return not (self.tokens[self.position - 1][0].isdigit())  # "2 3" is no product
        return token[0].isalpha() or token in _STARTS or token in FUNCTIONS or token in _GREEK

    def mixed_number(self) -> Node | None:
        """Read 1\\frac{4}{5}, 1 4/5: an integer followed by a proper fraction of integers is their sum."""
        match = re.match(
            r"(\d+) (?:\\frac (?:\{ (\d+) \}|(\d)) (?:\{ (\d+) \}|(\d))|\\frac (\d)(\d)|(\d+) / (\d+))(?= |$)",
            " ".join(self.tokens[self.position : self.position + 8]),
        )
        if match is None:
            return None
        whole, *parts = match.groups()
        numerator, denominator = (int(part) for part in parts if part is not None)
        if not 0 < numerator < denominator:
            return None
        self.position += len(match.group().split(" "))
        return ("number", int(whole) + Fraction(numerator, denominator))

    def power(self) -> Node:
        node = self.postfix(self.primary())
        if self.peek() == "^":
            self.take()
            node = self.postfix(("^", node, self.exponent()))
        return node

    def postfix(self, node: Node) -> Node:
        while self.peek() in ("!", r"\deg", "%"):
            token = self.take()
            if token == "!":
                node = ("call", "factorial", node)
            elif token == "%":
                node = ("/", node, ("number", Fraction(100)))
            else:
                node = ("*", node, ("/", ("constant", "pi"), ("number", Fraction(180))))
        return node

    def exponent(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable(f"nested more than {MAX_DEPTH} deep")
        if self.peek() == "-":
            self.take()
            node: Node = ("-", self.exponent())
        else:
            node = self.postfix_power(self.primary())
        self.depth -= 1
        return node

    def postfix_power(self, node: Node) -> Node:
        if self.peek() == "^":
            self.take()
            return ("^", node, self.exponent())
        return node

    def primary(self) -> Node:
        token = self.take()
        if is_number(token):
            if self.peek() == "_":
                raise Unreadable("a base subscript inside a formula")
            return ("number", _number(token))
        if token in _CLOSING:
            return self.bracketed(token)
        if token == "|":
            inner = self.sum()
            self.expect("|")
            return ("call", "abs", inner)
        if token[0] == "\\":
            return self.command(token)
        if token[0].isalpha():
            return self.names(token)
        raise Unreadable(f"unexpected {token!r}")

    def bracketed(self, opening: str) -> Node:
        inner = self.sum()
        self.expect(_CLOSING[opening])
        if opening == r"\lfloor":
            return ("call", "floor", inner)
        return ("call", "ceil", inner) if opening == r"\lceil" else inner

    def command(self, token: str) -> Node:
        if token == r"\frac":
            return ("/", self.argument(), self.argument())
        if token == r"\binom":
            return ("call", "binom", self.argument(), self.argument())
        if token == r"\sqrt":
            return self.root()
        if token in FUNCTIONS:
            return self.function(token[1:])
        if token == r"\pi":
            return ("constant", "pi")
        if token == r"\infty":
            return ("infinity",)
        if token in _GREEK:
            return ("name", token + self.subscript())
        raise Unreadable(f"{token} is not understood")

    def argument(self) -> Node:
        """Read the argument of a command: a group, or a single digit or letter."""
        if self.peek() == "{":
            self.take()
            return self.bracketed("{")
        token = self.peek()
        if len(token) > 1 and (_INTEGER.fullmatch(token) or token.isalpha()):
            self.tokens[self.position : self.position + 1] = [token[0], token[1:]]
        return self.primary()

    def root(self) -> Node:
        index: Node = ("number", Fraction(2))
        if self.peek() == "[":
            self.take()
            index = self.sum()
            self.expect("]")
        return ("call", "sqrt", self.primary(), index)

    def function(self, name: str) -> Node:
        base, exponent = None, None
        while self.peek() in ("^", "_"):
            if self.take() == "_":
                base = self.argument()
            else:
                exponent = self.exponent()
        if base is not None and name != "log":
            raise Unreadable(f"a subscript on {name}")
        argument = self.function_argument()
        if exponent == ("-", ("number", Fraction(1))) and name in ("sin", "cos", "tan"):
            return ("call", "a" + name, argument)
        node: Node = ("call", name, argument) if base is None else ("call", "log", argument, base)
        return node if exponent is None else ("^", node, exponent)

    def function_argument(self) -> Node:
        """Read sin(x), or the factors after sin up to the next sign or function, as in sin 2x cos y."""
        if self.peek() in ("(", "[", "{"):
            return self.postfix(self.primary())
        if self.peek() == "-":
            self.take()
            return ("-", self.function_argument())
        node = self.power()
        while self.starts_factor() and self.peek() not in FUNCTIONS and self.peek() not in ("(", "["):
            node = ("*", node, self.power())
        if self.peek() == "/" and self.peek(1)[:1].isdigit():
            self.take()
            node = ("/", node, self.power())
        return node

    def names(self, run: str) -> Node:
        """Read a run of letters as a product of names; the last one carries a subscript, exponent or argument."""
        if len(run) > 3:
            raise Unreadable(f"the word {run!r} inside a formula")
        if len(run) > 1:
            self.tokens[self.position : self.position] = list(run[1:])
            # Only the first letter is this factor; the others follow as factors of their own.
        letter = run[0]
        if letter in ("e", "i") and self.peek() != "_":
            return ("constant", letter)
        name = letter + self.subscript()
        if letter in _APPLIED and self.peek() == "(":
            self.take()
            arguments = [self.sum()]
            while self.peek() == ",":
                self.take()
                arguments.append(self.sum())
            self.expect(")")
            return ("call", "applied " + name, *arguments)
        return ("name", name)

    def subscript(self) -> str:
        if self.peek() != "_":
            return ""
        self.take()
        if self.peek() != "{":
            return "_" + self.take().lstrip("'")
        depth = 0
        parts: list[str] = []
        while True:
            token = self.take()
            depth += {"{": 1, "}": -1}.get(token, 0)
            if depth == 0:
                return "_" + "".join(parts[1:])
            parts.append(token)


def is_number(token: str) -> bool:
    """Whether a token is a number."""
    return token[0].isdigit() or token[0] == "." and token[1:2].isdigit()


def _number(token: str) -> Fraction:
    _, _, exponent = token.lower().partition("e")
    if exponent and abs(int(exponent)) > MAX_EXPONENT:
        raise Unreadable(f"an exponent beyond {MAX_EXPONENT}")
    try:
        return Fraction(token)
    except ValueError:  # digits that are none, or too many
        raise Unreadable(f"{token:.40} is no number") from None


_STARTS = frozenset(("(", "{", "[", r"\frac", r"\sqrt", r"\binom", r"\pi", r"\infty", r"\lfloor", r"\lceil"))
