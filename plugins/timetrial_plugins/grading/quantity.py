"""Keys of single quantities: a constant, a ratio, a number in a base, with a unit, or up to a modulus."""

from __future__ import annotations

import re
from fractions import Fraction

from timetrial_plugins.grading.expression import FUNCTIONS, parse
from timetrial_plugins.grading.formula import formula_key, node_key
from timetrial_plugins.grading.notation import Unreadable
from timetrial_plugins.grading.sets import REALS
from timetrial_plugins.grading.structure import Key, split
from timetrial_plugins.grading.units import CURRENCIES, MULTIPLIERS, SHORT, unit_name

_GLUED = re.compile(
    r"(?:(?P<word>[a-zA-Z]{2,})|(?:m|km|cm|mi|ft|g|kg|mg|L)/(?:s|h|hr|min|sec|mL|L|m|cm))(?:\^\{?-?\d\}?)?"
)
"""What may stand right behind a number as its unit."""
_BEHIND = frozenset("0123456789})")
_REPEATING = re.compile(
    r"(?P<sign>-?)(?P<whole>\d{0,100})\.(?P<fixed>\d{0,100}?)(?:(?P<one>\d)(?P=one){2,}|(?P<two>\d\d)(?P=two){2,}|(?P<many>\d{3,20})(?P=many)+)\.\.\."
)
"""One or two digits three times, or a longer period twice."""
_BASE_NAMES = {
    name: str(base)
    for base, name in enumerate(
        "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen".split(), 2
    )
}
_CONSTANTS: dict[str, Key] = {
    r"\infty": ("infinity", "+"),
    r"+ \infty": ("infinity", "+"),
    r"- \infty": ("infinity", "-"),
    r"\emptyset": ("set",),
    r"\mathbb { R }": REALS,
    r"\mathbb R": REALS,
    r"\mathbb { Z }": ("text", "integers"),
    r"\mathbb { N }": ("text", "natural numbers"),
    r"\mathbb { Q }": ("text", "rational numbers"),
    r"\mathbb { C }": ("text", "complex numbers"),
}


def is_constant(key: Key) -> bool:
    """Whether a key is free of names and fully understood."""
    return key[0] not in ("expr", "raw", "eq", "rel", "named", "cases", "list") and all(
        is_constant(part) for part in key[1:] if isinstance(part, tuple) and part and isinstance(part[0], str)
    )


def constant_key(tokens: list[str]) -> Key | None:
    """Return the key of infinity, the empty set and the usual sets of numbers."""
    return _CONSTANTS.get(" ".join(tokens)) if len(tokens) < 5 else None


def repeating_key(tokens: list[str]) -> Key | None:
    """Return the key of a decimal with dots whose digits evidently repeat: 0.333..., 0.1818...; else None."""
    match = _REPEATING.fullmatch("".join(tokens))
    if match is None:
        return None
    sign, whole, fixed, period = (
        match["sign"],
        match["whole"] or "0",
        match["fixed"],
        match["one"] or match["two"] or match["many"],
    )
    nines = 10 ** len(period) - 1
    number = Fraction(int(whole + fixed) * nines + int(period), 10 ** len(fixed) * nines)
    return ("q", str(-number if sign else number))


def ratio_key(tokens: list[str]) -> Key | None:
    """Return the key of a ratio, 3:4 or 1:2:3: what its later terms are if the first one is 1."""
    if "'to" in tokens and tokens[0].isdigit() and tokens[-1].isdigit():
        tokens = [":" if token == "'to" else token for token in tokens]
    if ":" not in tokens:
        return None
    parts = split(tokens, (":",))
    if ["..."] in parts:
        return ("list", *("..." if part == ["..."] else formula_key(part) for part in parts))
    terms = [parse(part) for part in parts]
    return ("ratio", *(node_key(("/", term, terms[0])) for term in terms[1:])) if len(terms) > 1 else None


def base_key(tokens: list[str]) -> Key | None:
    """Return the key of digits with a base, 204_5 or 204 (base 5); base 10 is the plain number."""
    if "_" not in tokens and not any("base" in token for token in tokens):
        return None
    words = "".join(token.lstrip("'") for token in tokens if token not in ("{", "}")).lower()
    match = re.fullmatch(
        r"\(?(-?[0-9a-f]+(?:\.[0-9a-f]+)?)\)?(?:_|\(?(?:in)?\s*base\s*)(?:base\s*)?([a-z]+|\d{1,2})\)?", words
    )
    if match is None or not any(character.isdigit() for character in match[1]):
        return None
    number, base = _without_zeros(match[1]), _BASE_NAMES.get(match[2], match[2])
    if not base.isdigit() or not 2 <= int(base) <= 36:
        return None
    if any(int(digit, 36) >= int(base) for digit in number if digit not in "-."):
        raise Unreadable(f"digits that do not belong to base {base}")
    return ("q", str(Fraction(number))) if base == "10" else ("base", number.upper(), base)


def _without_zeros(number: str) -> str:
    """Drop the zeros that do not count: those in front, and those at the end of decimals."""
    sign, digits = number[: number[0] == "-"], number.lstrip("-").lstrip("0")
    if "." in digits:
        digits = digits.rstrip("0").rstrip(".")
    return sign + (digits if digits[:1] not in ("", ".") else "0" + digits)


def residue_key(tokens: list[str]) -> Key | None:
    """Return the key of a number up to a modulus, "3 \\pmod 7" or "3 (mod 7)", reduced where both are integers."""
    place = next((index for index, token in enumerate(tokens) if token in (r"\pmod", r"\mod")), None)
    if not place:
        return None
    number, modulus = tokens[:place], tokens[place + 1 :]
    if number[-1] == "(" and modulus[-1:] == [")"]:
        number, modulus = number[:-1], modulus[:-1]
    elif tokens[place] == r"\mod":
        return None  # the remainder as an operation: the parser of formulas knows it
    residue, size = formula_key(number), formula_key(modulus)
    if all(key[0] == "q" and "/" not in key[1] for key in (residue, size)) and int(size[1]) > 0:
        residue = ("q", str(int(residue[1]) % int(size[1])))
    return ("mod", residue, size)


def unit_key(tokens: list[str]) -> Key | None:
    """Return the key of a number with a unit or a percent sign; None if there is no unit."""
    if len(tokens) > 1 and (tokens[0][0] == "'" or tokens[0].lower() in CURRENCIES):
        tokens = [*tokens[1:], "'" + tokens[0].lstrip("'")]  # a currency before its number
    if tokens[-1] == "%" and len(tokens) > 1:
        return ("unit", formula_key(tokens[:-1]), "%")
    if r"\deg" in tokens:
        return _degrees(tokens)
    place = next((index for index, token in enumerate(tokens) if token[0] == "'"), None) or _short_unit_place(tokens)
    if place and tokens[place - 1] == "(" and tokens[-1] == ")":
        tokens, place = [*tokens[: place - 1], *tokens[place:-1]], place - 1  # 5 (five), 5 (approximately)
    if not place or any(token in "()'" for token in tokens[place:]):
        return None
    number, words = tokens[:place], " ".join(token.lstrip("'") for token in tokens[place:]).lower()
    first, _, rest = words.partition(" ")
    scale = MULTIPLIERS.get(first)
    unit = unit_name(rest if scale else words) if rest or not scale else ""
    if unit is None:
        return None
    if number[-1] == "%":
        number, unit = number[:-1], "%"
    node = parse(number)
    key = node_key(("*", node, ("number", Fraction(scale))) if scale else node)
    return ("unit", key, unit) if unit else key


def _degrees(tokens: list[str]) -> Key | None:
    """Return the key of a formula in degrees, which are not written out, or of a temperature."""
    if FUNCTIONS.intersection(tokens) or tokens == [r"\deg"]:
        return None
    scale = tokens[-1].lstrip("'").lower() if tokens[-2:-1] == [r"\deg"] else ""
    if scale in ("c", "celsius", "f", "fahrenheit"):
        return ("unit", formula_key(tokens[:-2]), {"c": "celsius", "f": "fahrenheit"}[scale[0]])
    return formula_key([token for token in tokens if token != r"\deg"])


def _short_unit_place(tokens: list[str]) -> int | None:
    """Find a unit written right behind its number, as in 5cm, 5cm^2, 10weeks or 5 m/s."""
    places = (index for index in range(1, len(tokens)) if tokens[index].isalpha() and tokens[index - 1][0] in _BEHIND)
    place = next(places, None)
    if place is None:
        return None
    match = _GLUED.fullmatch("".join(tokens[place:]))
    is_unit = match is not None and (match["word"] is None or match["word"] in SHORT or len(match["word"]) > 3)
    return place if is_unit else None
