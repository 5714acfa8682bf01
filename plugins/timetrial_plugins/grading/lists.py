"""Keys of several answers in a row, and of what stands in brackets: solutions, tuples, named values, progressions."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from timetrial_plugins.grading.inequality import ORDER, subject
from timetrial_plugins.grading.notation import Unreadable
from timetrial_plugins.grading.relation import RELATIONS, chain, name_order, split_label
from timetrial_plugins.grading.sets import intersection, is_interval, union
from timetrial_plugins.grading.structure import Key, is_braced, sequence_key, set_key, split, strip_group

MAX_TERMS = 1_000
"""A progression with dots is written out up to this length."""
AND, OR = r"\and", r"\or"
SEPARATORS = frozenset((",", ";", AND, OR))
_DOTS = ["..."]
_CONDITIONS = ORDER | {"!="}

KeyOf = Callable[[list[str]], Key]


def list_key(tokens: list[str], key_of: KeyOf) -> Key | None:
    """Return the key of a list; None if the tokens are none.

    Raises:
        Unreadable: an element is not understood.
    """
    parts = [part for part in split(tokens, (",", ";", AND, OR)) if part]
    if len(parts) < 2:
        return key_of(parts[0]) if parts and parts[0] != tokens else None
    if _DOTS in parts:
        return _progression_key([key_of(part) if part != _DOTS else None for part in parts])
    groups = [group for group in split(tokens, (";",)) if group]
    if len(groups) > 1 and len(parts) > len(groups):
        return set_key([_group_key(group, key_of) for group in groups])
    named = _named_key(parts, key_of) if OR not in tokens else None
    if named is not None:
        return named
    groups = [group for group in split(tokens, (";", AND, OR)) if group]
    if 1 < len(groups) < len(parts) and all(_named_key(_listed(group), key_of) for group in groups):
        return set_key([_group_key(group, key_of) for group in groups])
    names = [split_label(part)[0] for part in parts]
    if None not in names and len(set(names)) > 1:  # x = 1 or y = 2
        pairs = zip(names, parts, strict=True)
        return set_key([("named", (name, key_of(split_label(part)[1]))) for name, part in pairs])
    return _solutions_key(parts, key_of, is_any=OR in tokens)


def _listed(tokens: list[str]) -> list[list[str]]:
    return [part for part in split(tokens, (",",)) if part]


def _group_key(tokens: list[str], key_of: KeyOf) -> Key:
    """Return the key of one of several lists that semicolons separate: named values, or a tuple."""
    parts = _listed(tokens)
    named = _named_key(parts, key_of)
    if named is not None or len(parts) == 1:
        return named or key_of(parts[0])
    return sequence_key("(", ")", [key_of(part) for part in parts])


def _named_key(parts: list[list[str]], key_of: KeyOf) -> Key | None:
    """Return the key of values for several names, x = 1, y > 2; None if not every part names another one."""
    if len(parts) < 2:
        return None
    names = [_name(part) for part in parts]
    if None in names or len(set(names)) < len(names):
        return None
    keys = [key_of(split_label(part)[1]) for part in parts]
    if any(key[0] == "eq" and split_label(part)[0] is None for part, key in zip(parts, keys, strict=True)):
        return None  # a system of equations
    return ("named", *sorted(zip(names, keys, strict=True), key=lambda pair: name_order(str(pair[0]))))


def _name(part: list[str]) -> str | None:
    """Return the name a part gives a value to, or bounds."""
    name, _ = split_label(part)
    if name is not None:
        return name
    sides, operators = chain(part)
    if operators == ["="] and len(sides[0]) > 1:
        return "".join(sides[0])
    return subject(sides) if operators and set(operators) <= _CONDITIONS else None


def _solutions_key(parts: list[list[str]], key_of: KeyOf, *, is_any: bool) -> Key:
    """Return the key of solutions in any order. Conditions all hold, or any of them if they are joined by "or"."""
    keys = [_element_key(split_label(part)[1], key_of) for part in _excluded(parts)]
    are_conditions = any(not _CONDITIONS.isdisjoint(chain(part)[1]) for part in parts)
    if are_conditions or all(is_interval(key) for key in keys):
        joined = None if is_any or not are_conditions else intersection(keys)
        joined = union(keys) if joined in (None, ("set",)) else joined
        if joined is not None:
            return joined
        if are_conditions:
            raise Unreadable("conditions that are not understood")
    flat: list[Key] = []
    for part, key in zip(parts, keys, strict=True):
        flat += key[1:] if key[0] == "set" and not is_braced(part) else (key,)
    # In "1/2 or 0.5" a solution is written twice; in "1, 1, 2" it is one of multiplicity two.
    return set_key(flat) if is_any else ("set", *sorted(flat, key=repr))


def _element_key(tokens: list[str], key_of: KeyOf) -> Key:
    """Return the key of one solution; a set of one number is not the number."""
    key = key_of(tokens)
    return ("set", key) if tokens[0] == r"\{" and is_braced(tokens) and key[0] != "set" else key


def _excluded(parts: list[list[str]]) -> list[list[str]]:
    """Return the parts of "x != 1, 2" as x != 1 and x != 2."""
    sides, operators = chain(parts[0])
    if operators != ["!="] or any(not RELATIONS.isdisjoint(part) for part in parts[1:]):
        return parts
    return [parts[0], *([*sides[0], "!=", *part] for part in parts[1:])]


def _progression_key(keys: list[Key | None]) -> Key:
    """Return the numbers that 1, 2, ..., 9 stands for, or the list as it is written if they are not evident."""
    numbers = [Fraction(key[1]) if key is not None and key[0] == "q" else None for key in keys]
    place = keys.index(None)
    if keys.count(None) == 1 and 0 < place < len(keys) - 1 and numbers.count(None) == 1:
        first, last = [n for n in numbers[:place] if n is not None], [n for n in numbers[place + 1 :] if n is not None]
        step = first[1] - first[0] if len(first) > 1 else Fraction(1)
        if step and 0 < (count := (last[-1] - first[0]) / step) < MAX_TERMS and count.denominator == 1:
            terms = [first[0] + step * index for index in range(count.numerator + 1)]
            if terms[: len(first)] == first and terms[-len(last) :] == last:
                return set_key([("q", str(term)) for term in terms])
    return ("list", *("..." if key is None else key for key in keys))


def bracketed_key(tokens: list[str], key_of: KeyOf) -> Key:
    """Return the key of what stands in one pair of brackets: a set, a tuple, an interval, named values, rows.

    Raises:
        Unreadable: it is not understood.
    """
    opening, inner, closing = tokens[0], tokens[1:-1], tokens[-1]
    parts = split(inner, (",", ";")) if inner else []
    if opening == r"\{" or closing == r"\}":
        return _set_key(inner, parts, key_of)
    if not parts or not all(parts):
        raise Unreadable("empty brackets")
    if len(parts) == 1:
        if opening + closing not in ("()", "[]"):
            raise Unreadable("one number in brackets that do not match")
        return key_of(inner)
    if _DOTS in parts:
        return ("list", *("..." if part == _DOTS else key_of(part) for part in parts))
    named = _named_key(parts, key_of)
    if named is not None:
        return named
    keys = [key_of(part) for part in parts]
    is_row = [key[:3] == ("seq", "[", "]") and len(key) == len(keys[0]) for key in keys]
    if opening + closing == "[]" and all(is_row):
        return ("matrix", *(key[3:] for key in keys))
    return sequence_key(opening, closing, keys)


def _set_key(inner: list[str], parts: list[list[str]], key_of: KeyOf) -> Key:
    if not inner:
        return ("set",)
    for sign in ("|", ":"):
        if inner.count(sign) == 1 and not RELATIONS.isdisjoint(inner):
            return _condition_key(inner[: inner.index(sign)], inner[inner.index(sign) + 1 :], key_of)
    if len(parts) == 1:
        key = key_of(inner)
        return ("set", key) if is_braced(inner) or key == ("set",) else key
    found = list_key(inner, key_of)
    if found is None:
        raise Unreadable("an empty list")
    return ("set", *sorted(set(found[1:]), key=repr)) if found[0] == "set" else found


def _condition_key(name: list[str], condition: list[str], key_of: KeyOf) -> Key:
    """Return the key of { x | condition }, of real numbers."""
    about, operators = chain(name)
    if operators == [r"\in"]:
        if about[1] not in (["\\mathbb", "{", "R", "}"], ["\\mathbb", "R"]):
            raise Unreadable("a set of other than real numbers given by a condition")
        name = about[0]
    if len(name) != 1 or not name[0].lstrip("\\").isalpha():
        raise Unreadable("a set given by a condition")
    key = key_of(strip_group(condition))
    if union([key]) is None:
        raise Unreadable("a set given by a condition")
    return key
