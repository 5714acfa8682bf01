"""Keys of equations, inequalities and values with a label in front."""

from __future__ import annotations

import re
from collections.abc import Callable

from timetrial_plugins.grading.expression import Node, parse
from timetrial_plugins.grading.formula import digest, has_names
from timetrial_plugins.grading.notation import Unreadable
from timetrial_plugins.grading.quantity import is_constant
from timetrial_plugins.grading.structure import CLOSING, OPENING, Key, sequence_key, split
from timetrial_plugins.grading.value import NUM_PROBES, Undefined, Value, digits, evaluate, exact, probe_value

RELATIONS = frozenset(("=", "<", ">", "<=", ">=", "!=", r"\in", r"\approx"))
_REVERSED = {">": "<", ">=": "<="}
_ORDER = frozenset(("<", "<=", ">", ">="))
_LABEL_SIGNS = frozenset(
    ("_", "{", "}", "(", ")", ",", "|", ":", "/", r"\frac", r"\angle", r"\triangle", r"\overline", r"\measuredangle")
)

KeyOf = Callable[[list[str]], Key]


def relation_key(tokens: list[str], key_of: KeyOf) -> Key:
    """Return the key of tokens that hold a relation.

    Raises:
        Unreadable: the relation is not understood.
    """
    parts, operators = _chain(tokens)
    if not operators:
        raise Unreadable("a relation inside brackets")
    if any(not part for part in parts[1:]):
        raise Unreadable("a relation without a side")
    if set(operators) <= {"=", r"\approx"}:
        return _equality_key(parts, operators, key_of)
    if operators == [r"\in"]:
        if not is_label(parts[0]):
            raise Unreadable("membership of more than a name")
        return key_of(parts[1])
    if set(operators) <= _ORDER:
        return _order_key(parts, operators, key_of)
    if operators == ["!="]:
        return ("rel", "!=", _up_to_factor(_difference(parts[0], parts[1]), signed=False))
    raise Unreadable("a mixture of relations")


def split_label(tokens: list[str]) -> tuple[str | None, list[str]]:
    """Split "x = 5" into the label and the value; the label is None if there is none or more than one."""
    parts, operators = _chain(tokens)
    if operators == ["="] and is_label(parts[0]) and parts[1] and len(split(parts[1], (",", ";"))) == 1:
        return "".join(parts[0]), parts[1]
    return None, tokens


def is_label(tokens: list[str]) -> bool:
    """Whether tokens only name something: x, x_1, f(x), AB, |AB|, NO/BO, (p, q), words."""
    if not tokens:
        return False
    is_after_subscript = False
    depth = 0
    previous = ""
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
    return True


def _may_label(token: str, previous: str) -> bool:
    if (
        token in _LABEL_SIGNS
        or token[0] == "'"
        or token[0] == "\\"
        and token[1:].isalpha()
        and token not in _FUNCTIONAL
    ):
        return token not in ("/", r"\frac") or previous == "" or previous.isupper() or previous == "}"
    is_product = token.isalpha() and token.islower() and (len(token) > 1 or previous.isalpha())
    return token.isalpha() and not is_product


_FUNCTIONAL = frozenset((r"\sqrt", r"\pi", r"\infty", r"\sin", r"\cos", r"\tan", r"\log", r"\ln", r"\pm", r"\binom"))


def _chain(tokens: list[str]) -> tuple[list[list[str]], list[str]]:
    """Split at the relations that stand outside all brackets."""
    parts: list[list[str]] = [[]]
    operators: list[str] = []
    depth = 0
    for token in tokens:
        depth += (token in OPENING) - (token in CLOSING)
        if depth == 0 and token in RELATIONS:
            operators.append(token)
            parts.append([])
        else:
            parts[-1].append(token)
    return parts, operators


def _equality_key(parts: list[list[str]], operators: list[str], key_of: KeyOf) -> Key:
    """Return the value of x = ... = 5, or the equation. What follows an approximation sign is not the answer."""
    if r"\approx" in operators:
        place = operators.index(r"\approx")
        parts = parts[1:2] if place == 0 and is_label(parts[0]) else parts[: place + 1]
    if len(parts) == 1:
        return key_of(parts[0])
    if not parts[0]:
        return key_of(parts[-1])
    is_named = is_label(parts[0])
    if len(parts) > 2:
        for part in parts[1:-1]:
            parse(part)  # what is no formula here shows that the answer was misread
        if is_named:
            return key_of(parts[-1])
        raise Unreadable("a chain of equations")
    if is_named and not _is_plain_name(parts[0]):
        return key_of(parts[1])
    if is_named:
        value = key_of(parts[1])
        if is_constant(value):
            return value
    left, right = parse(parts[0]), parse(parts[1])
    if not has_names(left) and not has_names(right):
        return key_of(parts[1])
    return ("eq", _up_to_factor(("+", left, ("-", right)), signed=False))


def _is_plain_name(tokens: list[str]) -> bool:
    """Whether a label could be an unknown of an equation (y = 2x + 3) and not only the name of a value (f(x) = ...)."""
    return re.fullmatch(r"\\?[A-Za-z]+|[A-Za-z] _ .*", " ".join(tokens)) is not None


def _difference(left: list[str], right: list[str]) -> Node:
    return ("+", parse(left), ("-", parse(right)))


def _up_to_factor(node: Node, *, signed: bool) -> str:
    """Return a text for a formula that stays the same when the formula is multiplied by a (positive if signed) number.

    Raises:
        Unreadable: the formula vanishes at a probe point, or has no value there.
    """
    try:
        first, *others = (evaluate(node, probe) for probe in range(NUM_PROBES + 1))
    except Undefined as error:
        raise Unreadable(str(error)) from error
    if first == 0:
        return "always" if all(other == 0 for other in others) else _fail("an equation that vanishes by chance")
    scale = abs(first) if signed else first
    return digest([_text(value, scale) for value in ([first] if signed else []) + others])


def _text(value: Value, scale: Value) -> str:
    if exact(value) is not None and exact(scale) is not None:
        value, scale = exact(value), exact(scale)
    return digits(value / scale)


def _fail(reason: str) -> str:
    raise Unreadable(reason)


def _order_key(parts: list[list[str]], operators: list[str], key_of: KeyOf) -> Key:
    """Return an interval for x < 3 and 0 < x <= 1, else the inequality itself."""
    if all(operator in _REVERSED for operator in operators):
        parts, operators = parts[::-1], [_REVERSED[operator] for operator in operators[::-1]]
    if any(operator in _REVERSED for operator in operators):
        raise Unreadable("a chain of inequalities in both directions")
    brackets = [("(", ")") if operator == "<" else ("[", "]") for operator in operators]
    if len(parts) == 3 and is_label(parts[1]) and "|" not in parts[1]:
        low, high = key_of(parts[0]), key_of(parts[2])
        if is_constant(low) and is_constant(high):
            return sequence_key(brackets[0][0], brackets[1][1], [low, high])
    if len(parts) == 2:
        bound = _bound(parts[0], parts[1], key_of)
        if bound is not None:
            is_upper, value = bound
            if is_upper:
                return sequence_key("(", brackets[0][1], [("infinity", "-"), value])
            return sequence_key(brackets[0][0], ")", [value, ("infinity", "+")])
    texts = [
        _up_to_factor(_difference(right, left), signed=True) for left, right in zip(parts, parts[1:], strict=False)
    ]
    return ("rel", *operators, *texts)


def _bound(left: list[str], right: list[str], key_of: KeyOf) -> tuple[bool, Key] | None:
    """Return the bound that left < right sets to one name, and whether it is an upper one; None if it sets none."""
    for is_upper, name, other in ((True, left, right), (False, right, left)):
        if is_label(name) and "|" not in name:
            value = key_of(other)
            return (is_upper, value) if is_constant(value) else None
    try:
        node = _difference(right, left)
        names = _names(node)
        if len(names) != 1:
            return None
        name_value = [probe_value(next(iter(names)), probe) for probe in range(3)]
        values = [exact(evaluate(node, probe)) for probe in range(3)]
    except Undefined:
        return None
    first, second, third = values
    if first is None or second is None or third is None or first == second:
        return None
    slope = (second - first) / (name_value[1] - name_value[0])
    if third - first != slope * (name_value[2] - name_value[0]):
        return None
    return slope < 0, ("q", str(name_value[0] - first / slope))


def _names(node: Node) -> set[str]:
    """Return the names in a formula; an unknown function counts as a name that is bound by nothing."""
    if node[0] == "name":
        return {node[1]}
    found = {node[1], ""} if node[0] == "call" and node[1].startswith("applied ") else set()
    return found.union(*(_names(operand) for operand in node[1:] if isinstance(operand, tuple)))
