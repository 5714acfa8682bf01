"""The key of a formula: its value, exact or to 85 digits, or its values at probe points if it has names.

("q", "1/2")          a rational number          ("exact", digits, digest)   a long one
("n", digits)         an irrational or complex number
("expr", d1, d2)      a formula with names: digests of its values where names are positive, and where not
("raw", "sum n ...")  a formula with sums up to n, n being a whole number, or with steps (floor and the like, of
                      which a few probes tell little, and which therefore count as unknown functions): equal keys
                      show that two of them are equal; different keys show nothing, as for all that is raw
"""

from __future__ import annotations

import hashlib
from fractions import Fraction

from timetrial_plugins.grading.decimals import fingerprint, number_key, text
from timetrial_plugins.grading.evaluation import evaluation
from timetrial_plugins.grading.expression import Node, free_names, parse
from timetrial_plugins.grading.fuel import Fuel, Undefined
from timetrial_plugins.grading.notation import Unreadable
from timetrial_plugins.grading.probes import NEGATIVE_PROBE, NUM_PROBES
from timetrial_plugins.grading.structure import Key, set_key


def formula_key(tokens: list[str]) -> Key:
    """Return the key of a formula.

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
        fuel = Fuel()
        key, has_sign = _key(node, 1, fuel)
        return set_key([key, _key(node, -1, fuel)[0]]) if has_sign else key
    except Undefined as error:
        raise Unreadable(str(error)) from error


def _key(node: Node, side: int, fuel: Fuel) -> tuple[Key, bool]:
    """Return the key for one side of the plus-minus signs, and whether there are any."""
    first = evaluation(node, 0, side, fuel)
    if not first.num_names:
        return number_key(first.result), first.has_sign
    evaluations = [first, *(evaluation(node, probe, side, fuel) for probe in range(1, NUM_PROBES))]
    bars = set().union(*(each.absolutes for each in evaluations))
    if any(len(set().union(*(each.absolutes.get(bar, ()) for each in evaluations))) < 2 for bar in bars):
        raise Undefined("an absolute value of what is never, or always, negative at the probes")
    texts = [fingerprint(each.result) for each in evaluations]
    if len(set(texts)) == 1 and not first.is_stepwise:
        return number_key(first.result), first.has_sign
    digests = digest(texts[:NEGATIVE_PROBE]), digest(texts[NEGATIVE_PROBE:])
    kind = " ".join(["sum", *sorted(first.whole_names)] if first.whole_names else ["step"] if first.is_stepwise else [])
    return (("raw", f"{kind} {' '.join(digests)}") if kind else ("expr", *digests)), first.has_sign


def digest(texts: list[str]) -> str:
    """Return a short text that stands for values at probe points."""
    return hashlib.blake2b("|".join(texts).encode(), digest_size=12).hexdigest()


def may_be_equal(one: Key, other: Key) -> bool:
    """Whether two different keys may be of one number: one of them rough, and the digits agree."""
    if {one[0], other[0]} not in ({"n", "q"}, {"n", "exact"}):
        return False
    digits = [text(Fraction(key[1])) if key[0] == "q" else key[1] for key in (one, other)]
    return bool(digits[0] == digits[1])


def has_names(node: Node) -> bool:
    """Whether a formula has names, so that its value depends on the probe point."""
    return bool(free_names(node))
