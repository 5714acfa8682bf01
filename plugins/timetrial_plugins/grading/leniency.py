"""The rules of the policy (`policy.py`): when two answers with different keys are nevertheless equal.

A rule takes the keys of the gold answer and of the answer and says whether it makes them equal. A few read the text of
the gold answer too. None reads the text of the answer, so that all members of an answer class are judged alike.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import NamedTuple

from timetrial_plugins.grading.expression import parse
from timetrial_plugins.grading.key import read
from timetrial_plugins.grading.notation import Unreadable, normalise, tokenize
from timetrial_plugins.grading.policy import Policy
from timetrial_plugins.grading.relation import equation_key, split_label
from timetrial_plugins.grading.rounding import rounds_to
from timetrial_plugins.grading.structure import Key
from timetrial_plugins.grading.substitution import variables
from timetrial_plugins.grading.units import are_compatible

Rule = Callable[[Key, Key, Policy], bool]

MAX_MATCHED = 32
"""Sets up to this size are matched element by element."""
_DECIMAL_COMMA = re.compile(r"-?\d+,\d{2,}")
"""With one digit behind the comma it is far more often a list."""
_LETTERS = re.compile(r"[a-df-z][b-df-hj-np-tv-z]{1,2}")
"""Few words are spelled so; e and i are numbers."""
_MONEY = re.compile(r"\\\$|dollar|usd|^\$[^$]*$", re.IGNORECASE)
_ANGLE = re.compile(r"circ|degree|\u00b0", re.IGNORECASE)


class Gold(NamedTuple):
    """The gold answer as text, and its key."""

    text: str
    key: Key


def forgives(gold: Gold, answer: Key, policy: Policy) -> bool:
    """Whether the policy makes answers with a key equal to the gold answer."""
    if _contradicts(gold, answer):
        return False
    return forgives_key(gold.key, answer, policy) or any(rule(gold, answer, policy) for rule in _TEXT_RULES)


def forgives_key(gold: Key, answer: Key, policy: Policy) -> bool:
    """Whether the policy makes two keys equal, whole or part by part."""
    return gold == answer or any(rule(gold, answer, policy) for rule in _KEY_RULES)


def _contradicts(gold: Gold, answer: Key) -> bool:
    """Whether the gold answer writes what its key leaves out and the answer's key says otherwise.

    Dollars and degrees, which no cents and no percent equal; a name, as in x = 1 or x = 2, which is not x = 1, y = 2.
    """
    if answer[0] == "unit" and gold.key[0] != "unit":
        return bool(_MONEY.search(gold.text) or _ANGLE.search(gold.text))
    return answer[0] == "named" and gold.key[0] == "set" and "=" in gold.text


def _unit(gold: Key, answer: Key, policy: Policy) -> bool:
    if not policy.unit or "unit" not in (gold[0], answer[0]):
        return False
    (bare_gold, gold_unit), (bare_answer, answer_unit) = (
        key[1:] if key[0] == "unit" else (key, "") for key in (gold, answer)
    )
    if not are_compatible(gold_unit, answer_unit):
        return False
    return forgives_key(bare_gold, bare_answer, policy)


def _percent(gold: Key, answer: Key, policy: Policy) -> bool:
    if not policy.percent or gold[0] == answer[0]:
        return False
    shares = [_share(key) for key in (gold, answer)]
    return shares != [gold, answer] and forgives_key(shares[0], shares[1], policy)


def _share(key: Key) -> Key:
    is_percentage = key[0] == "unit" and key[2] == "%" and key[1][0] == "q"
    return ("q", str(Fraction(key[1][1]) / 100)) if is_percentage else key


def _precision(gold: Key, answer: Key, policy: Policy) -> bool:
    digits = policy.significant_digits
    return digits is not None and (rounds_to(gold, answer, digits) or rounds_to(answer, gold, digits))


def _label(gold: Key, answer: Key, policy: Policy) -> bool:
    """Named values for the same values in the order of their names; a residue for the number."""
    if not policy.label or gold[0] == answer[0] and gold[0] != "set":
        return False
    if "mod" in (gold[0], answer[0]):
        return (gold[1] if gold[0] == "mod" else gold) == (answer[1] if answer[0] == "mod" else answer)
    return any(
        (named, other) != (gold, answer) and forgives_key(named, other, policy)
        for named, other in zip(_unnamed(gold), _unnamed(answer), strict=True)
    )


def _unnamed(key: Key) -> list[Key]:
    """Return named values as a tuple in the order of their names, and as a list; also inside a set."""
    if key[0] == "named":
        values = [value for _, value in key[1:]]
        return [_tuple_of(values), ("set", *sorted(values, key=repr))]
    if key[0] == "set":
        unnamed = [_unnamed(part)[0] if part[0] == "named" and len(part) > 2 else part for part in key[1:]]
        return [("set", *sorted(unnamed, key=repr)), key]
    return [key, key]


def _tuple_of(values: Sequence[Key]) -> Key:
    return values[0] if len(values) == 1 else ("seq", "(", ")", *values)


def _vector(gold: Key, answer: Key, policy: Policy) -> bool:
    """A matrix of one column or one row for a tuple."""
    if not policy.vectors or {gold[0], answer[0]} != {"matrix", "seq"}:
        return False
    one, other = (_tuple(key) for key in (gold, answer))
    return one is not None and other is not None and forgives_key(one, other, policy)


def _tuple(key: Key) -> Key | None:
    if key[0] == "seq":
        return ("seq", "(", ")", *key[3:]) if key[1] + key[2] in ("()", "[]") else None
    cells = [row[0] for row in key[1:]] if all(len(row) == 1 for row in key[1:]) else key[1] if len(key) == 2 else None
    return None if cells is None else ("seq", "(", ")", *cells)


def _choice(gold: Key, answer: Key, policy: Policy) -> bool:
    if not policy.choice or (gold[0] == "choice") == (answer[0] == "choice"):
        return False
    lettered, other = (gold, answer) if gold[0] == "choice" else (answer, gold)
    return other in (read(lettered[1]).key, lettered[2])


def _ratio(gold: Key, answer: Key, policy: Policy) -> bool:
    if not policy.ratio or gold[0] == answer[0]:
        return False
    fractions = [_fraction(key) for key in (gold, answer)]
    return fractions != [gold, answer] and fractions[0] == fractions[1]


def _fraction(key: Key) -> Key:
    """Return a ratio of two rational numbers as a fraction; 1:20 may have been read as a time."""
    if key[0] == "ratio" and len(key) == 2 and key[1][0] == "q" and key[1][1] != "0":
        return ("q", str(1 / Fraction(key[1][1])))
    if key[0] == "time" and key[2] == "" and key[1].count(":") == 1:
        hour, minute = (int(part) for part in key[1].split(":"))
        return ("q", str(Fraction(hour, minute))) if minute else key
    return key


def _clock(gold: Key, answer: Key, policy: Policy) -> bool:
    return policy.clock and gold[0] == answer[0] == "time" and gold[1] == answer[1] and "" in (gold[2], answer[2])


def _parts(gold: Key, answer: Key, policy: Policy) -> bool:
    """Containers of the same shape whose parts are equal or forgiven."""
    if answer[0] == "set" and gold[0] != "set" and len(set(answer[1:])) == 1:
        return policy.repeats and forgives_key(gold, answer[1], policy)
    if gold[0] != answer[0]:
        return False
    if gold[0] == "set":
        return _sets(gold[1:], answer[1:], policy)
    if len(gold) != len(answer):
        return False
    if gold[0] == "seq":
        return gold[1:3] == answer[1:3] and _all(gold[3:], answer[3:], policy)
    if gold[0] == "matrix":
        rows = zip(gold[1:], answer[1:], strict=True)
        return all(len(one) == len(other) and _all(one, other, policy) for one, other in rows)
    if gold[0] == "named":
        names = [[name for name, _ in key[1:]] for key in (gold, answer)]
        return names[0] == names[1] and _all([v for _, v in gold[1:]], [v for _, v in answer[1:]], policy)
    if gold[0] == "union":
        return _all(gold[1:], answer[1:], policy)
    return False


def _all(gold: Sequence[Key], answer: Sequence[Key], policy: Policy) -> bool:
    return all(forgives_key(one, other, policy) for one, other in zip(gold, answer, strict=True))


def _sets(gold: Key, answer: Key, policy: Policy) -> bool:
    """Whether the solutions are the same; those that the answer alone lists twice count once."""
    if policy.repeats and len(set(gold)) == len(gold):
        answer = tuple(sorted(set(answer), key=repr))
    return len(gold) == len(answer) <= MAX_MATCHED and _matched(gold, answer, policy)


def _matched(gold: Key, answer: Key, policy: Policy) -> bool:
    """Whether each element has a partner of its own; equal elements are partners."""
    rest = list(answer)
    for key in sorted(gold, key=lambda key: key not in rest):
        partner = key if key in rest else next((other for other in rest if forgives_key(key, other, policy)), None)
        if partner is None:
            return False
        rest.remove(partner)
    return True


_KEY_RULES: tuple[Rule, ...] = (_unit, _percent, _precision, _label, _vector, _choice, _ratio, _clock, _parts)


def _decimal_comma(gold: Gold, answer: Key, policy: Policy) -> bool:
    """A gold answer with a decimal comma, which was read as a list of two numbers."""
    plain = gold.text.strip().strip("$").strip()
    if not policy.decimal_comma or gold.key[0] != "set" or not _DECIMAL_COMMA.fullmatch(plain):
        return False
    return forgives_key(read(plain.replace(",", ".")).key, answer, policy)


def _labelled(gold: Gold, answer: Key, policy: Policy) -> bool:
    """An equation y = f for the formula f."""
    if not policy.label or {gold.key[0], answer[0]} != {"eq", "expr"}:
        return False
    try:
        label, tokens = split_label(tokenize(normalise(gold.text)))
        if gold.key[0] == "eq":
            return label is not None and read(" ".join(tokens)).key == answer
        formula = parse(tokens)
        names = set(answer[1].split()) - variables(formula)
        return len(names) == 1 and equation_key(("name", names.pop()), formula) == answer
    except Unreadable:
        return False


def _letters(gold: Gold, answer: Key, policy: Policy) -> bool:
    """A few small letters that were read as a word for their product."""
    if not policy.letters or {gold.key[0], answer[0]} != {"text", "expr"}:
        return False
    word, formula = (gold.key[1], answer) if gold.key[0] == "text" else (answer[1], gold.key)
    return bool(_LETTERS.fullmatch(word)) and read("*".join(word)).key == formula


_TEXT_RULES = (_decimal_comma, _labelled, _letters)
