"""The names and unknown functions in a formula, and numbers put in place of names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction

from timetrial_plugins.grading.binders import TAGS as BINDERS
from timetrial_plugins.grading.expression import Node, free_names
from timetrial_plugins.grading.probes import probe_integer, probe_value

_OWN_PROBE = 101
"""A probe of this module's own: the values that keys are made of are never those put in place of names."""


def variables(node: Node) -> frozenset[str]:
    """Return the names a formula depends on, without unknown functions."""
    return frozenset(name for name in free_names(node) if not name.startswith("applied "))


def functions(node: Node) -> frozenset[str]:
    """Return the unknown functions in a formula, such as f in f(x)."""
    return free_names(node) - variables(node)


def with_numbers(node: Node, number: Callable[[str], Fraction]) -> Node:
    """Put a number in place of every name."""
    return substituted(node, {name: ("number", number(name)) for name in variables(node)})


def unremarkable(name: str) -> Fraction:
    """Return a positive number, always the same one for a name."""
    return Fraction(probe_value(name, _OWN_PROBE))


def whole(name: str) -> Fraction:
    """Return a positive whole number for a name, where no others make sense."""
    return Fraction(probe_integer(name, _OWN_PROBE))


def substituted(node: Node, values: Mapping[str, Node]) -> Node:
    """Put formulas in place of names."""
    if node[0] == "name":
        return values.get(node[1], node)
    if node[0] in BINDERS:
        inner = {name: value for name, value in values.items() if name != node[1]}
        parts = [substituted(part, values) if isinstance(part, tuple) else part for part in node[1:-1]]
        return (node[0], *parts, substituted(node[-1], inner))
    return tuple(substituted(part, values) if isinstance(part, tuple) else part for part in node)
