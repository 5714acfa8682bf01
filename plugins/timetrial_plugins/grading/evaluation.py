"""Walk the tree of a formula and compute its value."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache, reduce

from mpmath.libmp import (  # type: ignore[import-untyped]  # mpmath has no annotations
    e_fixed,
    from_rational,
    ln2_fixed,
    ln10_fixed,
    mpf_e,
    mpf_pi,
    pi_fixed,
)

from timetrial_plugins.grading.arithmetic import (
    CAREFUL_BITS,
    FAST_BITS,
    Arithmetic,
    Complex,
    Imprecise,
    Value,
    negative,
    sign,
)
from timetrial_plugins.grading.counting import whole
from timetrial_plugins.grading.decimals import MAX_INFORMATION, number_key
from timetrial_plugins.grading.exponential import exp, power
from timetrial_plugins.grading.expression import Node, free_names
from timetrial_plugins.grading.fuel import Fuel, OutOfBounds, Undefined
from timetrial_plugins.grading.functions import FUNCTIONS
from timetrial_plugins.grading.probes import probe_integer, probe_value
from timetrial_plugins.grading.rational import Rational, information, simplified

_E = ("constant", "e")
_STEPWISE = frozenset(("floor", "ceil", "mod", "sign", "max", "min"))
_I = Complex(0, 1)

# libmp keeps the longest expansion of each constant it was asked for, and two threads that lengthen one corrupt it.
for _fixed in (pi_fixed, e_fixed, ln2_fixed, ln10_fixed):
    _fixed(1_200)


class _WholeNames(Exception):
    """Names turned out to stand for whole numbers."""

    def __init__(self, names: frozenset[str]) -> None:
        self.names = names


def evaluation(node: Node, probe: int, side: int, fuel: Fuel) -> Evaluation:
    """Evaluate a formula, with more digits if it takes them, and once more if names prove to be whole numbers.

    A plus-minus is plus if `side` is 1 and minus if it is -1.

    Raises:
        Undefined: it has no value, or none within the bounds.
    """
    precision = FAST_BITS
    whole_names: frozenset[str] = frozenset()
    while True:
        try:
            return Evaluation(node, Arithmetic(precision, fuel), probe, side, whole_names)
        except _WholeNames as found:
            whole_names |= found.names
        except Imprecise:
            if precision == CAREFUL_BITS:
                raise
            precision = CAREFUL_BITS


class Evaluation:
    """One pass over one tree at one probe point and one precision."""

    __slots__ = (
        "absolutes",
        "arithmetic",
        "bound",
        "has_sign",
        "is_stepwise",
        "num_names",
        "numbers",
        "probe",
        "result",
        "side",
        "whole_names",
    )

    def __init__(self, node: Node, arithmetic: Arithmetic, probe: int, side: int, whole_names: frozenset[str]) -> None:
        self.arithmetic = arithmetic
        self.probe = probe
        self.side = side
        self.whole_names = whole_names
        self.bound: dict[str, int] = {}
        self.numbers: set[Rational] = set()
        self.num_names = 0
        """How often a name, or a function that is not known, was met."""
        self.is_stepwise = False
        """Whether there are functions of names that a few probes tell nothing about."""
        self.absolutes: dict[int, set[int]] = {}
        """The signs of what stands between the bars of each absolute value of names."""
        self.has_sign = False
        """Whether there is a plus-minus."""
        self.result = self.value(node)
        if arithmetic.has_rounded:
            arithmetic.check_shade()
            if sum(map(information, self.numbers)) > MAX_INFORMATION * (3 if self.num_names else 1):
                raise OutOfBounds("many or long numbers inside an irrational formula")

    def value(self, node: Node) -> Value:
        """Return the value of a part of the formula."""
        fuel = self.arithmetic.fuel
        fuel.left -= 1
        if fuel.left < 0:
            fuel.charge(0)
        tag = node[0]
        if tag == "number":
            self.numbers.add(node[1])
            return node[1] if type(node[1]) is int else simplified(node[1])
        operation = _OPERATIONS.get(tag)
        if operation is None:
            return _READERS[tag](self, node)
        if tag == "^" and node[1] == _E:
            return exp(self.arithmetic, self.value(node[2]))
        return operation(self.arithmetic, self.value(node[1]), self.value(node[2]))

    def _sum(self, node: Node) -> Value:
        terms, waiting = [], [node[2], node[1]]
        while waiting:
            term = waiting.pop()
            if term[0] == "+":
                waiting += (term[2], term[1])
            else:
                terms.append(term)
        return self.arithmetic.total(self._each(map(self.value, terms)))

    def _each(self, values: Iterable[Value]) -> list[Value]:
        """Compute the terms of a sum: what one of them loses or hides does not add to what the others do."""
        arithmetic, found = self.arithmetic, []
        lost, shade = arithmetic.lost, arithmetic.shade
        most_lost, most_shade = lost, shade
        for value in values:
            found.append(value)
            most_lost, most_shade = max(most_lost, arithmetic.lost), max(most_shade, arithmetic.shade)
            arithmetic.lost, arithmetic.shade = lost, shade
        arithmetic.lost, arithmetic.shade = most_lost + len(found).bit_length() - 1, most_shade
        return found

    def _name(self, node: Node) -> Value:
        name = node[1]
        if name in self.bound:
            return self.bound[name]
        self.num_names += 1
        if name in self.whole_names:
            return probe_integer(name, self.probe)
        return _probe(name, self.probe, self.arithmetic.precision)

    def _constant(self, node: Node) -> Value:
        return _I if node[1] == "i" else _rounded_constant(node[1], self.arithmetic.precision)

    def _minus(self, node: Node) -> Value:
        return negative(self.value(node[1]))

    def _plus_minus(self, node: Node) -> Value:
        self.has_sign = True
        value = self.value(node[1])
        return value if (self.side > 0) == (node[0] == "+-") else negative(value)

    def _call(self, node: Node) -> Value:
        name, num_names = node[1], self.num_names
        arguments = [self.value(argument) for argument in node[2:]]
        if self.num_names > num_names and any(type(argument) is tuple for argument in arguments):
            if name in _STEPWISE:
                self.is_stepwise = True
                return self._applied(name, arguments)
            if name == "abs":
                self.absolutes.setdefault(id(node), set()).add(sign(arguments[0]))
        function = FUNCTIONS.get(name)
        if function is None:
            return self._applied(name.removeprefix("applied "), arguments)
        return function(self.arithmetic, *arguments)

    def _applied(self, name: str, arguments: list[Value]) -> Value:
        """Give an unknown function an unremarkable value that depends on its arguments; that of F_3 is the name F_3."""
        self.num_names += 1
        texts = [" ".join(number_key(argument)[1:]) for argument in arguments]
        indexed = name + texts[0] if name.endswith("_") else f"{name}({';'.join(texts)})"
        return _probe(indexed, self.probe, self.arithmetic.precision)

    def _series(self, node: Node) -> Value:
        """Add or multiply what the body is for every whole number from low to high."""
        tag, name, low, high, body = node
        unknown = (free_names(low) | free_names(high)) - self.whole_names - self.bound.keys()
        if unknown:
            raise _WholeNames(unknown)
        first, last = whole(self.value(low)), whole(self.value(high))
        if last < first - 1:
            raise Undefined("a sum from a number to a smaller one")
        if last - first > self.arithmetic.fuel.left:
            raise OutOfBounds("a sum of too many terms")
        outer = self.bound.copy()
        values = (self._at(name, number, body) for number in range(first, last + 1))
        total = (
            self.arithmetic.total(self._each(values)) if tag == "sum" else reduce(self.arithmetic.multiply, values, 1)
        )
        self.bound = outer
        return total

    def _at(self, name: str, number: int, body: Node) -> Value:
        self.bound[name] = number
        return self.value(body)

    def _nothing(self, node: Node) -> Value:
        raise Undefined(_WITHOUT_VALUE[node[0]])


@lru_cache(maxsize=64)
def _rounded_constant(name: str, precision: int) -> Value:
    return (mpf_pi if name == "pi" else mpf_e)(precision, "n")


@lru_cache(maxsize=4_096)
def _probe(name: str, probe: int, precision: int) -> Value:
    value = probe_value(name, probe)
    return from_rational(value.numerator, value.denominator, precision, "n")


_OPERATIONS: dict[str, Callable[[Arithmetic, Value, Value], Value]] = {
    "*": Arithmetic.multiply,
    "/": Arithmetic.divide,
    "^": power,
}
_READERS: dict[str, Callable[[Evaluation, Node], Value]] = {
    "+": Evaluation._sum,
    "name": Evaluation._name,
    "constant": Evaluation._constant,
    "-": Evaluation._minus,
    "+-": Evaluation._plus_minus,
    "-+": Evaluation._plus_minus,
    "call": Evaluation._call,
    "sum": Evaluation._series,
    "product": Evaluation._series,
    "integral": Evaluation._nothing,
    "limit": Evaluation._nothing,
    "infinity": Evaluation._nothing,
}
_WITHOUT_VALUE = {
    "integral": "an integral needs symbolic calculation",
    "limit": "a limit needs symbolic calculation",
    "infinity": "infinity inside a formula",
}
