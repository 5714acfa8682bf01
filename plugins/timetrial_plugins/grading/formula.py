"""The key of a formula: its value, exact or to 40 digits, or its values at probe points if it has names."""

from __future__ import annotations

import hashlib

from timetrial_plugins.grading.expression import Node, parse
from timetrial_plugins.grading.notation import Unreadable
from timetrial_plugins.grading.structure import Key, set_key
from timetrial_plugins.grading.value import NEGATIVE_PROBE, NUM_PROBES, OutOfBounds, Undefined, digits, evaluate, exact


def formula_key(tokens: list[str]) -> Key:
    """Return the key of a formula by its value: exact, to 40 digits, or at probe points if it has names.

    Raises:
        Unreadable: it is no formula, or has no value that may be computed.
    """
    return node_key(parse(tokens))


def node_key(node: Node) -> Key:
    """Return the key of a formula that was parsed or put together.

    Raises:
        Unreadable: it has no value that may be computed.
    """
    try:
        if not _has_sign(node):
            return _value_key(node, 1)
        return set_key([_value_key(node, 1), _value_key(node, -1)])
    except OutOfBounds as error:
        from timetrial_plugins.grading.symbolic import symbolic_form  # sympy is slow to import and seldom needed

        form = symbolic_form(node)
        if form is None:
            raise Unreadable(str(error)) from error
        return ("symbolic", form)
    except Undefined as error:
        raise Unreadable(str(error)) from error


def _value_key(node: Node, sign: int) -> Key:
    probes = NUM_PROBES if has_names(node) else 1
    values = [evaluate(node, probe, sign) for probe in range(probes)]
    rational = exact(values[0])
    if rational is not None and all(exact(value) == rational for value in values[1:]):
        return ("q", str(rational))
    texts = [digits(value) for value in values]
    if len(set(texts)) == 1:
        return ("n", texts[0])
    return ("expr", digest(texts[:NEGATIVE_PROBE]), digest(texts[NEGATIVE_PROBE:]))


def digest(texts: list[str]) -> str:
    """Return a short text that stands for values at probe points."""
    return hashlib.blake2b("|".join(texts).encode(), digest_size=12).hexdigest()


def has_names(node: Node) -> bool:
    """Whether a formula has names, so that its value depends on the probe point."""
    if node[0] == "name" or node[0] == "call" and node[1].startswith("applied "):
        return True
    return any(has_names(operand) for operand in node[1:] if isinstance(operand, tuple))


def _has_sign(node: Node) -> bool:
    return node[0] in ("+-", "-+") or any(_has_sign(operand) for operand in node[1:] if isinstance(operand, tuple))
