"""Keys of equations and of values with a label in front."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

from timetrial_plugins.grading.expression import Node, parse
from timetrial_plugins.grading.formula import has_names, node_key
from timetrial_plugins.grading.notation import Unreadable
from timetrial_plugins.grading.quantity import is_constant
from timetrial_plugins.grading.rendering import render
from timetrial_plugins.grading.structure import DEPTH, Key, encloses, set_key, split, strip_group
from timetrial_plugins.grading.substitution import unremarkable, variables, whole, with_numbers

RELATIONS = frozenset(("=", "<", ">", "<=", ">=", "!=", r"\in", r"\approx", r"\equiv"))
_EQUALITIES = frozenset(("=", r"\approx"))
_LABEL_SIGNS = frozenset(
    ("_", "{", "}", "(", ")", ",", "|", ":", "/", r"\frac", r"\angle", r"\triangle", r"\overline", r"\measuredangle")
)
_FUNCTIONAL = frozenset(
    (r"\sqrt", r"\pi", r"\infty", r"\sin", r"\cos", r"\tan", r"\log", r"\ln", r"\pm", r"\binom", r"\det", r"\begin")
)
_FRACTIONS = frozenset(("/", r"\frac"))
_INVERSE = ["^", "{", "-", "1", "}"]

KeyOf = Callable[[list[str]], Key]


def chain(tokens: list[str]) -> tuple[list[list[str]], list[str]]:
    """Split at the relations that stand outside all brackets; return the sides and the relations between them."""
    parts: list[list[str]] = [[]]
    operators: list[str] = []
    depth = 0
    for token in tokens:
        depth += DEPTH.get(token, 0)
        if depth == 0 and token in RELATIONS:
            operators.append(token)
            parts.append([])
        else:
            parts[-1].append(token)
    return parts, operators


def equality_key(parts: list[list[str]], operators: list[str], key_of: KeyOf) -> Key:
    """Return the value of x = ... = 5, or the equation. What follows an approximation sign is not the answer.

    Raises:
        Unreadable: a side is missing or not understood.
    """
    if r"\approx" in operators:
        place = operators.index(r"\approx")
        parts = parts[1:2] if place == 0 and (not parts[0] or is_label(parts[0])) else parts[: place + 1]
    if len(parts) == 1 or not parts[0]:
        return key_of(parts[-1])
    if any(not part for part in parts):
        raise Unreadable("a relation without a side")
    is_named = is_label(parts[0])
    tuple_of_names = _named_tuple(parts, key_of) if is_named and len(parts) == 2 else None
    if tuple_of_names is not None:
        return tuple_of_names
    if len(parts) > 2 or is_named and not _is_plain_name(parts[0]):
        return _last_value(parts, key_of, is_named=is_named)
    if is_named or is_label(parts[1]) and _is_plain_name(parts[1]):
        value = _understood(parts[1 if is_named else 0], key_of)
        if value is not None and is_constant(value):
            return value
    return _equation(parts[0], parts[1], key_of)


def _named_tuple(parts: list[list[str]], key_of: KeyOf) -> Key | None:
    """Return named values for (y, x) = (1, 2), whose names are not in order; None for everything else."""
    label, value = parts
    if label[0] != "(" or not encloses(label) or not encloses(value):
        return None
    names = ["".join(part) for part in split(label[1:-1], (",",))]
    values = split(value[1:-1], (",",))
    if len(names) != len(values) or names == sorted(names, key=name_order):
        return None
    pairs = zip(names, (key_of(part) for part in values), strict=True)
    return ("named", *sorted(pairs, key=lambda pair: name_order(pair[0])))


def name_order(name: str) -> str:
    """Return what names are ordered by: their letters, whatever the case or the alphabet."""
    return name.lstrip("\\").lower()


def _last_value(parts: list[list[str]], key_of: KeyOf, *, is_named: bool) -> Key:
    """Return the value at the end of a chain. Words in between show that the answer was misread."""
    if any(token[0] == "'" for part in parts[1:-1] for token in part):
        raise Unreadable("words inside a chain of equations")
    value = key_of(parts[-1])
    if is_named or is_constant(value) or all(_understood(part, key_of) == value for part in parts[:-1]):
        return value
    raise Unreadable("a chain of equations")


def _equation(left: list[str], right: list[str], key_of: KeyOf) -> Key:
    if r"\begin" in left or r"\begin" in right:
        value = key_of(right)  # of an equation between matrices the computed side counts
        if not is_constant(value):
            raise Unreadable("an equation between matrices")
        return value
    one, other = parse(left), parse(right)
    last = _understood(right, key_of)
    if last is not None and (last == _understood(left, key_of) or not has_names(one) and not has_names(other)):
        return last  # 2 + 3 = 5, and a formula written in two ways
    return equation_key(one, other)


def equation_key(left: Node, right: Node) -> Key:
    """Return the key of an equation between two formulas, the same for all its multiples; of +- both equations.

    Raises:
        Unreadable: it has no value at a probe point.
    """
    difference = ("+", left, ("-", right))
    names = " ".join(sorted(variables(difference)))
    versions = {_with_sign(difference, sign) for sign in (1, -1)}
    return set_key([("eq", names, up_to_factor(version)) for version in versions])


def _with_sign(node: Node, sign: int) -> Node:
    """Let +- stand for one of its signs."""
    if node[0] in ("+-", "-+"):
        inner = _with_sign(node[1], sign)
        return inner if (node[0] == "+-") == (sign > 0) else ("-", inner)
    return tuple(_with_sign(part, sign) if isinstance(part, tuple) else part for part in node)


def _understood(tokens: list[str], key_of: KeyOf) -> Key | None:
    try:
        return key_of(tokens)
    except Unreadable:
        return None


def congruence_key(parts: list[list[str]], key_of: KeyOf) -> Key:
    """Return the key of x \\equiv 3 (mod 7), or of 10 \\equiv 3 (mod 7).

    Raises:
        Unreadable: there is no modulus.
    """
    if not any(token in (r"\pmod", r"\mod") for token in parts[-1]):
        raise Unreadable("a congruence without a modulus")
    return key_of(parts[-1])


def split_label(tokens: list[str]) -> tuple[str | None, list[str]]:
    """Split "x = 5" into the label and the value; the label is None if there is none or more than one."""
    parts, operators = chain(tokens)
    if operators == ["="] and is_label(parts[0]) and parts[1] and len(split(parts[1], (",", ";"))) == 1:
        return "".join(parts[0]), parts[1]
    return None, tokens


def without_labels(tokens: list[str]) -> list[str]:
    """Return the value of x = ... = 5 and {x = 5}, and other tokens as they are."""
    tokens = strip_group(tokens)
    parts, operators = chain(tokens)
    if operators and set(operators) <= _EQUALITIES and is_label(parts[0]) and parts[-1]:
        return without_labels(parts[operators.index(r"\approx")] if r"\approx" in operators else parts[-1])
    return tokens


def is_label(tokens: list[str]) -> bool:
    """Whether tokens only name something: x, x_1, f(x), f(2), AB, |AB|, NO/BO, (p, q), P(X > 1), words."""
    if len(tokens) > 3 and tokens[0].isalpha() and tokens[1] == "(" and tokens[-1] == ")":
        return len(tokens[0]) == 1 and len(split(tokens[2:-1], ("(", ")"))) == 1
    is_after_subscript = False
    depth = 0
    previous = ""
    if tokens[1:6] == _INVERSE:
        tokens = tokens[:1] + tokens[6:]
    if not _FRACTIONS.isdisjoint(tokens) and any(_is_small(token) for token in tokens):
        return False  # y / x = 2 is an equation, NO / BO = 2 is not
    for token in tokens:
        is_subscript = is_after_subscript or depth > 0
        if previous == "_" and token == "{":
            depth = 1
        elif depth and token in "{}":
            depth += 1 if token == "{" else -1
        is_after_subscript = token == "_"
        if not (is_subscript or _may_label(token, previous)):
            return False
        previous = token
    return any(token.lstrip("'\\").isalpha() for token in tokens)


def _is_small(token: str) -> bool:
    return token.isalpha() and token.islower() and not (len(token) == 2 and token[0] == "d")


def _may_label(token: str, previous: str) -> bool:
    if token in _LABEL_SIGNS or token[0] == "'" or _is_command(token):
        return token not in ("/", r"\frac") or previous == "" or previous.isupper() or previous == "}"
    is_product = token.isalpha() and token.islower() and (len(token) > 1 or previous.isalpha())
    return token.isalpha() and not is_product


def _is_command(token: str) -> bool:
    return token[0] == "\\" and token[1:].isalpha() and token not in _FUNCTIONAL


def _is_plain_name(tokens: list[str]) -> bool:
    """Whether a label could be an unknown of an equation (y = 2x + 3) and not only the name of a value (f(x) = ...)."""
    return re.fullmatch(r"\\?[A-Za-z]+|[A-Za-z] _ .*", " ".join(tokens)) is not None


def up_to_factor(difference: Node, *, is_signed: bool = False) -> str:
    """Return a text for a formula that stays the same when it is multiplied by a number (a positive one if signed).

    It is the key of the formula divided by its own value at one point.

    Raises:
        Unreadable: the formula is zero or has no value there.
    """
    problem = Unreadable("an equation without a value")
    for number in (unremarkable, whole):
        scale = with_numbers(difference, number)
        try:
            size = node_key(scale)
            if is_signed and (size[0] not in ("q", "n", "exact") or "i" in size[1]):
                raise Unreadable("an inequality between complex numbers")
            sign = -1 if is_signed and size[1].startswith("-") else 1
            key = node_key(("/", difference, ("*", ("number", Fraction(sign)), scale)))
            return f"{sign} {render(key)}" if is_signed else render(key)
        except Unreadable as error:
            problem = error
    raise problem
