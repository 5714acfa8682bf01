"""Keys of single quantities: a constant, a number in a base, a number with a unit."""

from __future__ import annotations

import re

from timetrial_plugins.grading.expression import FUNCTIONS
from timetrial_plugins.grading.formula import formula_key
from timetrial_plugins.grading.notation import Unreadable
from timetrial_plugins.grading.structure import Key

_BASE_DIGITS = re.compile(r"[0-9A-Fa-f]+")
_CONSTANTS = {
    (r"\infty",): ("infinity", "+"),
    ("+", r"\infty"): ("infinity", "+"),
    ("-", r"\infty"): ("infinity", "-"),
    (r"\emptyset",): ("set",),
    (r"\mathbb", "{", "R", "}"): ("text", "reals"),
    (r"\mathbb", "R"): ("text", "reals"),
}
_UNITS = {
    "centimeter": "cm", "centimetre": "cm", "meter": "m", "metre": "m", "kilometer": "km", "kilometre": "km",
    "millimeter": "mm", "millimetre": "mm", "inche": "inch", "in": "inch", "feet": "foot", "ft": "foot", "mile": "mi",
    "hour": "hr", "minute": "min", "second": "sec", "kilogram": "kg", "gram": "g", "pound": "lb", "ounce": "oz",
    "cent": "cent", "people": "person",
}  # fmt: skip
_SHORT_UNITS = frozenset("cm mm km m ft in kg g mg s hr min sec mph lb oz ml L mi yd".split())
_NOT_WRITTEN = frozenset(("dollar", "unit", "usd"))
_POWERS = {"square": "^2", "sq": "^2", "cubic": "^3", "cu": "^3"}


def is_constant(key: Key) -> bool:
    """Whether a key is free of names and fully understood."""
    return key[0] not in ("expr", "raw", "eq", "rel", "named", "symbolic") and all(
        is_constant(part) for part in key[1:] if isinstance(part, tuple)
    )


def constant_key(tokens: list[str]) -> Key | None:
    """Return the key of infinity, the empty set and the real line."""
    return _CONSTANTS.get(tuple(tokens))


def base_key(tokens: list[str]) -> Key | None:
    """Return the key of digits with a base as subscript, 204_5; base 10 is the plain number."""
    if "_" not in tokens or not tokens[0][0].isalnum():
        return None
    place = tokens.index("_")
    number = "".join(tokens[:place])
    base = "".join(token.lstrip("'") for token in tokens[place + 1 :] if token not in ("{", "}"))
    base = base.removeprefix("base").strip()
    if not (_BASE_DIGITS.fullmatch(number) and any(c.isdigit() for c in number) and base.isdigit() and len(base) < 3):
        return None
    if not 2 <= int(base) <= 36 or any(int(digit, 36) >= int(base) for digit in number):
        raise Unreadable(f"digits that do not belong to base {base}")
    return ("q", str(int(number))) if base == "10" else ("base", number.lstrip("0").upper() or "0", base)


def unit_key(tokens: list[str]) -> Key | None:
    """Return the key of a number with a unit or a percent sign; None if there is no unit."""
    if tokens[-1] == "%" and len(tokens) > 1:
        return ("unit", formula_key(tokens[:-1]), "%")
    if tokens[-1] == r"\deg" and len(tokens) > 1 and not FUNCTIONS.intersection(tokens):
        return formula_key(tokens[:-1])
    place = next((index for index, token in enumerate(tokens) if token[0] == "'"), None)
    if place is None:
        place = _short_unit_place(tokens)
    if not place:
        return None
    unit = _unit(tokens[place:])
    if unit is None:
        return None
    number = tokens[: place - 1] if tokens[place - 1] == r"\deg" else tokens[:place]
    key = formula_key(number)
    return ("unit", key, unit) if unit else key


def _short_unit_place(tokens: list[str]) -> int | None:
    """Find a unit written right after its number, as in 5cm or 5cm^2."""
    place = len(tokens) - 1
    if place >= 2 and tokens[place - 1] == "^":
        place -= 2
    is_unit = place >= 1 and tokens[place] in _SHORT_UNITS and len(tokens[place]) > 1 and tokens[place - 1][0].isdigit()
    return place if is_unit else None


def _unit(tokens: list[str]) -> str | None:
    """Return a unit in one spelling, "" if it is one that is not written out, None if this is no unit."""
    words = " ".join(token.lstrip("'") for token in tokens).lower()
    if not re.fullmatch(r"[a-z .,/]+(?:\^ *(?:\{ *)?-?\d(?: *\})?)?", words):
        return None
    words, _, exponent = words.partition("^")
    power = "".join(character for character in exponent if character.isdigit() or character == "-")
    power = f"^{power}" if power and power != "1" else ""
    names = []
    for word in re.findall(r"[a-z]+", words):
        if word in _POWERS and not power:
            power = _POWERS[word]
            continue
        singular = word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
        names.append(_UNITS.get(singular, singular))
    unit = " ".join(name for name in names if name not in _NOT_WRITTEN)
    return f"{unit}{power}" if unit else ""
