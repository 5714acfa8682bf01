"""Read the tokens of a formula; `expression.py` says what the tree is made of."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING

from timetrial_plugins.grading import binders, commands, letters
from timetrial_plugins.grading.notation import Unreadable

if TYPE_CHECKING:
    from timetrial_plugins.grading.expression import Node

MAX_DEPTH = 50
MAX_TOKENS = 300
"""Bounds the height of a tree, and so the recursion of everything that walks it."""
MAX_EXPONENT = 400
"""Of a number such as 1e5."""
MAX_POSTFIX = 8
"""Signs behind one another, as in 5!%."""

_CIRCULAR = [prefix + name for name in "sin cos tan cot sec csc".split() for prefix in ("", "a")]
_INVERTIBLE = frozenset(name + end for name in "sin cos tan cot sec csc".split() for end in ("", "h"))
FUNCTIONS = frozenset(
    rf"\{name}"
    for name in [*_CIRCULAR, *(name + "h" for name in _CIRCULAR), *"ln log exp abs floor ceil sign Re Im arg".split()]
)
"""The functions of one argument, as tokens."""
_LISTED = frozenset((r"\gcd", r"\lcm", r"\max", r"\min"))
_GREEK = frozenset(
    rf"\{name}"
    for name in (
        "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma tau "
        "upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Sigma Phi Psi Omega ell hbar"
    ).split()
)
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_LIST_CLOSING = {"(": ")", "[": "]", r"\{": r"\}"}
_SIGNS = frozenset(("+", "-", r"\pm", r"\mp"))
_SIGN_NODES = {"-": "-", r"\pm": "+-", r"\mp": "-+"}


class Parser:
    """Recursive descent with a few tokens of look-ahead; `depth` bounds the recursion."""

    __slots__ = ("bars", "bound", "depth", "is_indexed", "position", "tokens")

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = [*tokens, "", "", "", ""]
        self.position = 0
        self.depth = 0
        self.bars = 0
        """Absolute values that are open."""
        self.bound: list[str] = []
        """Names that stand for something inside a sum, product, integral or limit."""
        self.is_indexed = r"\sum" in tokens or r"\prod" in tokens
        """Whether subscripts are formulas."""

    def whole(self) -> Node:
        """Read all tokens."""
        node = self._infix()
        if self.tokens[self.position]:
            raise Unreadable(f"unexpected {self.tokens[self.position]!r}")
        return node

    def _infix(self) -> Node:
        """Read terms, or two of them above each other in plain TeX: n \\choose k."""
        node = self.sum()
        infix = _INFIX.get(self.tokens[self.position])
        if infix is None:
            return node
        self.position += 1
        return infix(node, self.sum())

    def peek(self) -> str:
        """Return the next token; nothing at the end."""
        return self.tokens[self.position]

    def take(self) -> str:
        """Return the next token and go on to the one behind it."""
        token = self.tokens[self.position]
        if not token:
            raise Unreadable("unexpected end")
        self.position += 1
        return token

    def expect(self, token: str) -> None:
        """Go on, past a token that must stand here."""
        if self.tokens[self.position] != token:
            raise Unreadable(f"{token!r} is missing")
        self.position += 1

    def sum(self) -> Node:
        """Read terms."""
        node = self._signed_product()
        while self.tokens[self.position] in _SIGNS:
            node = ("+", node, self._signed_product())
        return node

    def _signed_product(self) -> Node:
        signs = []
        while self.tokens[self.position] in _SIGNS:
            signs.append(self.take())
        node = self.product()
        for sign in reversed(signs):
            node = node if sign == "+" else (_SIGN_NODES[sign], node)
            if len(signs) > MAX_POSTFIX:
                raise Unreadable("a long row of signs")
        return node

    def product(self) -> Node:
        """Read factors."""
        node = factor = self._power()
        while True:
            token = self.tokens[self.position]
            if token == "*" or token == "/":
                self.position += 1
                factor = self._signed_factor()
                node = (token, node, factor)
            elif token == r"\mod":
                self.position += 1
                factor = self._signed_factor()
                node = ("call", "mod", node, factor)
            elif self._starts_factor(token, factor):
                factor = self._power()
                node = ("*", node, factor)
            else:
                return node

    def _signed_factor(self) -> Node:
        if self.tokens[self.position] not in ("-", "+"):
            return self._power()
        sign = self.take()
        factor = self._power()
        return ("-", factor) if sign == "-" else factor

    def _starts_factor(self, token: str, before: Node) -> bool:
        """Whether a token begins a factor that is written without a sign of multiplication behind the one before."""
        if token in _STARTS:
            return True
        if not token:
            return False
        if is_number(token):
            return bool(before[0] != "number")  # "2 3" is no product, 2^2 3^2 is one
        return token[0].isalpha() or token == "|" and not self.bars or self._is_run(token)

    def _is_run(self, token: str) -> bool:
        """Whether words are names: letters that stand apart inside a sum or integral are no unit."""
        return bool(self.bound) and token[0] == "'" and token[1:].isalpha()

    def _power(self) -> Node:
        token, after = self.tokens[self.position], self.tokens[self.position + 1]
        if (after == r"\frac" or after.isdigit()) and token.isdigit():
            mixed = self._mixed_number()
            if mixed is not None:
                return mixed
        node = self.primary()
        after = self.tokens[self.position]
        if after in _POSTFIX:
            node = self._postfix(node)
            after = self.tokens[self.position]
        if after == "^":
            self.position += 1
            node = self._postfix(("^", node, self._exponent()))
        return node

    def _mixed_number(self) -> Node | None:
        """Read 1\\frac{4}{5}, 1 4/5: an integer followed by a proper fraction of integers is their sum."""
        tokens, place = self.tokens, self.position + 1
        if tokens[place] == r"\frac":
            numerator, place = self._digits(place + 1)
            denominator, place = self._digits(place)
        elif tokens[place + 1] == "/" and tokens[place + 2].isdigit():
            numerator, denominator, place = int(tokens[place]), int(tokens[place + 2]), place + 3
        else:
            return None
        if not 0 < numerator < denominator:
            return None
        whole = int(tokens[self.position])
        self.position = place
        return ("number", whole + Fraction(numerator, denominator))

    def _digits(self, place: int) -> tuple[int, int]:
        """Return the number that is the argument at a place, 0 if it is something else, and the place behind it."""
        if self.tokens[place] == "{" and self.tokens[place + 1].isdigit() and self.tokens[place + 2] == "}":
            return int(self.tokens[place + 1]), place + 3
        if not self.tokens[place].isdigit():
            return 0, place
        self._split(place)
        return int(self.tokens[place]), place + 1

    def _split(self, place: int) -> None:
        """Set the first character of a number or run of letters apart, which is an argument of its own."""
        token = self.tokens[place]
        if len(token) > 1 and (token.isdigit() or token.isalpha()):
            self.tokens[place : place + 1] = [token[0], token[1:]]

    def _postfix(self, node: Node) -> Node:
        count = 0
        while self.tokens[self.position] in _POSTFIX:
            count += 1
            if count > MAX_POSTFIX:
                raise Unreadable("a long row of signs")
            token = self.take()
            if token == "%":
                node = ("/", node, ("number", 100))
            elif token == r"\deg":
                node = ("*", node, ("/", ("constant", "pi"), ("number", 180)))
            elif self.tokens[self.position] == "!":
                self.position += 1
                node = ("call", "factorial2", node)
            else:
                node = ("call", "factorial", node)
        return node

    def _exponent(self) -> Node:
        """Read what follows "^"; a further "^" belongs to it."""
        if self.tokens[self.position] == "-":
            self.position += 1
            return ("-", self._exponent_size())
        return self._exponent_size()

    def _exponent_size(self) -> Node:
        node = self.primary()
        if self.tokens[self.position] == "^":
            self.position += 1
            self._deepen()
            node = ("^", node, self._exponent())
            self.depth -= 1
        return node

    def _deepen(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable(f"nested more than {MAX_DEPTH} deep")

    def primary(self) -> Node:
        """Read a number, a name, a command with its arguments, or what stands in brackets."""
        self._deepen()
        token = self.take()
        reader = _READERS.get(token)
        if reader is not None:
            node = reader(self)
        elif is_number(token):
            node = ("number", _number(token))
        elif token[0].isalpha():
            node = letters.read_run(self, token)
        elif self._is_run(token):
            node = letters.read_run(self, token[1:])
        else:
            raise Unreadable(f"unexpected {token!r}" if token[0] != "\\" else f"{token} is not understood")
        self.depth -= 1
        return node

    def _bracketed(self, closing: str) -> Node:
        """Read what stands in brackets, up to the closing one."""
        token, after = self.tokens[self.position], self.tokens[self.position + 1]
        if after == closing and token.isdigit():
            self.position += 2
            return ("number", int(token))
        bars, self.bars = self.bars, 0
        node = self._infix() if closing == "}" else self.sum()
        self.expect(closing)
        self.bars = bars
        return node

    def _absolute(self) -> Node:
        bars, self.bars = self.bars, 1
        node = self.sum()
        self.expect("|")
        self.bars = bars
        return ("call", "abs", node)

    def argument(self) -> Node:
        """Read the argument of a command: a group, or a single digit or letter."""
        self._split(self.position)
        return self.primary()

    def arguments(self) -> list[Node]:
        """Read a list in brackets."""
        closing = _LIST_CLOSING.get(self.take())
        if closing is None:
            raise Unreadable("arguments without brackets")
        bars, self.bars = self.bars, 0
        found = [self.sum()]
        while self.tokens[self.position] == ",":
            self.position += 1
            found.append(self.sum())
        self.expect(closing)
        self.bars = bars
        return found

    def _function(self, name: str) -> Node:
        base, exponent = None, None
        while self.tokens[self.position] in ("^", "_"):
            if self.take() == "_":
                base = self.argument()
            else:
                exponent = self._exponent()
        if base is not None and name != "log":
            raise Unreadable(f"a subscript on {name}")
        argument = self.function_argument()
        if exponent == ("-", ("number", 1)) and name in _INVERTIBLE:
            return ("call", "a" + name, argument)
        node: Node = ("call", name, argument) if base is None else ("call", "log", argument, base)
        return node if exponent is None else ("^", node, exponent)

    def function_argument(self) -> Node:
        """Read sin(x), or the factors after sin up to the next sign or function, as in sin 2x cos y."""
        token = self.tokens[self.position]
        if token in ("(", "[", "{"):
            return self._postfix(self.primary())
        if token == "-":
            self.position += 1
        node = factor = self._power()
        while (following := self.tokens[self.position]) not in FUNCTIONS and following not in ("(", "["):
            is_divided = following == "/" and self.tokens[self.position + 1][:1].isdigit()
            if not is_divided and not self._starts_factor(following, factor):
                break
            self.position += is_divided
            factor = self._power()
            node = ("/" if is_divided else "*", node, factor)
            if is_divided:
                break
        return ("-", node) if token == "-" else node


def is_number(token: str) -> bool:
    """Whether a token is a number."""
    return token[0].isdigit() or token[0] == "." and token[1:2].isdigit()


def _number(token: str) -> int | Fraction:
    try:
        if token.isdigit():
            return int(token)
        _, _, exponent = token.lower().partition("e")
        if exponent and abs(int(exponent)) > MAX_EXPONENT:
            raise Unreadable(f"an exponent beyond {MAX_EXPONENT}")
        number = Fraction(token)
    except ValueError:  # digits that are none, or too many
        raise Unreadable(f"{token:.40} is no number") from None
    return number.numerator if number.denominator == 1 else number


def _listed(name: str, parser: Parser) -> Node:
    return ("call", name, *parser.arguments())


_READERS: dict[str, Callable[[Parser], Node]] = {
    **{opening: partial(Parser._bracketed, closing=closing) for opening, closing in _CLOSING.items()},
    **{name: partial(letters.read_name, letter=name) for name in _GREEK},
    **{name: partial(Parser._function, name=name[1:]) for name in FUNCTIONS},
    **{name: partial(_listed, name[1:]) for name in _LISTED},
    "|": Parser._absolute,
    r"\lfloor": lambda parser: ("call", "floor", parser._bracketed(r"\rfloor")),
    r"\lceil": lambda parser: ("call", "ceil", parser._bracketed(r"\rceil")),
    "sgn": partial(Parser._function, name="sign"),
    "'sgn": partial(Parser._function, name="sign"),
    **commands.READERS,
    **letters.READERS,
    **binders.READERS,
}
"""What begins with each token that is neither a number nor a name."""
_INFIX: dict[str, Callable[[Node, Node], Node]] = {
    r"\choose": lambda a, b: ("call", "binom", a, b),
    r"\over": lambda a, b: ("/", a, b),
}
_STARTS = _READERS.keys() - {"|"}
_POSTFIX = frozenset(("!", r"\deg", "%"))
