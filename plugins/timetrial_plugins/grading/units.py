"""Units behind a number, in one spelling: "miles per hour", "mi/h" and "mph" are "hr^-1 mi"."""

from __future__ import annotations

import re

_SPELLINGS = {
    "cm": "centimeter centimetre", "mm": "millimeter millimetre", "m": "meter metre", "km": "kilometer kilometre",
    "inch": "in inche", "foot": "ft feet", "yd": "yard", "mi": "mile",
    "hr": "hour h", "min": "minute", "sec": "second s", "day": "", "week": "wk", "month": "", "year": "yr",
    "mg": "milligram", "g": "gram", "kg": "kilogram", "lb": "pound", "oz": "ounce", "ton": "tonne",
    "l": "liter litre", "ml": "milliliter millilitre", "gallon": "gal", "cup": "", "quart": "",
    "cent": "", "eur": "euro", "gbp": "", "yen": "jpy", "yuan": "rmb cny", "rupee": "rs inr",
    "celsius": "degc", "fahrenheit": "degf", "kelvin": "", "radian": "rad",
    "newton": "n", "joule": "j", "watt": "w", "volt": "v", "hz": "hertz", "pa": "pascal", "mol": "mole",
    "byte": "", "bit": "", "knot": "",
}  # fmt: skip
MEASURES = {
    spelling: name for name, spellings in _SPELLINGS.items() for spelling in (name, *spellings.split()) if spelling
}
"""Spelling in the singular to the name of the unit."""
SHORT = frozenset("cm mm km m ft in kg g mg s hr h min sec mph kph lb oz ml mL L l mi yd".split())
"""Spellings that may stand right behind a number, as in 5cm."""
CURRENCIES = frozenset("usd us eur euro gbp yen jpy rmb cny rs inr".split())
"""Words that may stand before a number."""
_COMPOUND = {"mph": ("mi", "/", "hr"), "kph": ("km", "/", "hr"), "kmh": ("km", "/", "hr"), "fps": ("foot", "/", "sec")}
_NOT_WRITTEN = frozenset(("dollar", "unit", "usd", "us", "buck"))
"""A number with one of these is the number alone."""
_FILLERS = frozenset(("a", "an", "the", "of", "each", "exactly", "approximately", "about"))
_POWERS = {"square": 2, "sq": 2, "squared": 2, "cubic": 3, "cu": 3, "cubed": 3}
_NO_UNITS = frozenset(
    "half halve third fourth fifth tenth quarter hundredth thousandth factorial choose time mod base over less more "
    "fewer plus minus or and to power if when where for is are not than root dozen negative positive".split()
)
"""Words (in the singular) that change what the number before them says."""
MULTIPLIERS = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_WORDS = re.compile(r"[a-z]+|\^\s*\{?\s*-?\d|[./,* {}()]+")
_IRREGULAR = {"people": "person", "children": "child", "men": "man", "women": "woman", "feet": "foot", "dice": "die"}


def unit_name(words: str) -> str | None:
    """Return the unit that some words are, "" if it is one that is not written out, None if they are no unit.

    Words that are no unit of measurement (apples, students) count as the unit only where there is no other.
    """
    if "".join(_WORDS.findall(words)) != words or not words.strip():
        return None
    powers: dict[str, int] = {}
    nouns: list[str] = []
    sign, next_power = 1, 1
    pieces = [word for piece in _WORDS.findall(words) for word in _COMPOUND.get(piece, (piece,))]
    for piece in pieces:
        word = _singular(piece.strip(" .,*{}()"))
        if word in _NO_UNITS or word in MULTIPLIERS:
            return None
        if word in ("per", "/"):
            sign = -1
        elif word in _POWERS:
            if word in ("squared", "cubed"):
                if not powers:
                    return None
                _raise_last(powers, _POWERS[word])
            else:
                next_power = _POWERS[word]
        elif word.startswith("^"):
            _raise_last(powers, int(word.strip("^ {")))
        elif word and word not in _FILLERS:
            name = MEASURES.get(word)
            if name or word in _NOT_WRITTEN:
                name = name or word
                powers[name] = powers.get(name, 0) + sign * next_power
                next_power = 1
            else:
                nouns.append(word)
    measures = sorted(
        f"{name}^{power}" if power != 1 else name for name, power in powers.items() if name not in _NOT_WRITTEN
    )
    if measures or powers:
        return " ".join(measures)
    return " ".join(nouns)


def _raise_last(powers: dict[str, int], power: int) -> None:
    if powers:
        last = next(reversed(powers))
        powers[last] *= power


def _singular(word: str) -> str:
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) > 4 and word.endswith(("xes", "ches", "shes", "sses")):
        return word[:-2]
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def are_compatible(one: str, other: str) -> bool:
    """Whether two units may be the same: equal, one of them not written, or words with one in common."""
    if not one or not other or one == other:
        return True
    return not is_measure(one) and not is_measure(other) and not set(one.split()).isdisjoint(other.split())


def is_measure(unit: str) -> bool:
    """Whether a unit is one of measurement, and not a word such as apples."""
    return unit == "%" or any(part.partition("^")[0] in _SPELLINGS for part in unit.split())
