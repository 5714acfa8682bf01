"""Spell the characters of an answer in ASCII, and restore commands whose backslash was eaten by an escape sequence."""

from __future__ import annotations

import re
import unicodedata

_NAMED = {
    "\u2212": "-", "\u2012": "-", "\u2013": "-", "\u2014": "-", "\uff0d": "-",
    "\u00d7": r" \times ", "\u22c5": r" \cdot ", "\u00b7": r" \cdot ", "\u2022": r" \cdot ", "\u2217": "*",
    "\u00f7": "/", "\u2215": "/", "\u2044": "/", "\u2236": ":",
    "\u221a": r" \sqrt ", "\u221b": r" \sqrt[3] ", "\u221c": r" \sqrt[4] ", "\u221e": r" \infty ",
    "\u2264": "<=", "\u2a7d": "<=", "\u2265": ">=", "\u2a7e": ">=", "\u2260": "!=", "\u2248": r" \approx ",
    "\u222a": r" \cup ", "\u2229": r" \cap ", "\u2208": r" \in ", "\u2216": r" \setminus ", "\u2205": r" \emptyset ",
    "\u211d": r" \mathbb{R} ", "\u2124": r" \mathbb{Z} ", "\u2115": r" \mathbb{N} ", "\u211a": r" \mathbb{Q} ",
    "\u2102": r" \mathbb{C} ", "\u00b0": r"^\circ ", "\u2218": r"^\circ ", "\u00b1": r" \pm ", "\u2213": r" \mp ",
    "\u2211": r" \sum ", "\u220f": r" \prod ", "\u222b": r" \int ", "\u2026": r" \ldots ", "\u22ef": r" \cdots ",
    "\u2220": r" \angle ", "\u2192": r" \to ", "\u2261": r" \equiv ", "\u230a": r" \lfloor ", "\u230b": r" \rfloor ",
    "\u2308": r" \lceil ", "\u2309": r" \rceil ", "\u27e8": r" \langle ", "\u27e9": r" \rangle ", "\u2032": "'",
    "\u20ac": r" \text{ euro} ", "\u00a3": r" \text{ gbp} ", "\u00a5": r" \text{ yen} ",
    "\u20b9": r" \text{ rupee} ", "\u00a2": r" \text{ cent} ",
    "\u201c": '"', "\u201d": '"', "\u2018": "'", "\u2019": "'", "\u3002": ".", "\uff0c": ",", "\u3001": ",",
    "\u066a": "%", "\u066b": ".", "\u066c": ",",
}  # fmt: skip
_GREEK = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma_ sigma tau upsilon "
    "phi chi psi omega"
).split()
_LETTERS = {
    **{chr(0x3B1 + index): rf" \{name.rstrip('_')} " for index, name in enumerate(_GREEK)},
    **{
        chr(0x391 + index): rf" \{name.capitalize()} "
        for index, name in enumerate(_GREEK)
        if name in ("gamma", "delta", "theta", "lambda", "xi", "pi", "sigma", "upsilon", "phi", "psi", "omega")
    },
}
_RAISED = str.maketrans(
    "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207a\u207b\u207f", "0123456789+-n"
)
_LOWERED = str.maketrans("\u2080\u2081\u2082\u2083\u2084\u2085\u2086\u2087\u2088\u2089", "0123456789")
_SUPERSCRIPT = re.compile("[\u2070\u00b9\u00b2\u00b3\u2074-\u207b\u207f]+")
_SUBSCRIPT = re.compile("[\u2080-\u2089]+")
_VULGAR = re.compile("(?<=\\d)(?=[\u00bc-\u00be\u2150-\u215e])")

_LOST = re.compile(
    r"(?P<a>\a)(?=[a-z])|(?P<b>\x08)(?=[a-z])|(?P<f>\f)(?=[a-z])|(?P<v>\v)(?=[a-z])"
    r"|(?P<t>\t)(?=(?:ext|imes|heta|frac|an|au|o|op|riangle|binom|ilde)(?![a-z]))"
    r"|(?P<r>\r)(?=(?:ight|floor|ceil|brace|vert|angle|ho)(?![a-z]))|(?P<n>\n)(?=(?:eq|otin|abla)(?![a-z]))"
)


def plain_ascii(text: str) -> str:
    """Return the text in ASCII as far as its characters have a mathematical meaning; the others stay.

    A control character before the rest of a command is what a careless string literal made of its backslash:
    form feed and "rac{1}{2}" were meant as a fraction.
    """
    text = _LOST.sub(lambda match: f"\\{match.lastgroup}", text)
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
        text = _SUPERSCRIPT.sub(lambda match: "^{" + match.group().translate(_RAISED) + "}", text)
        text = _SUBSCRIPT.sub(lambda match: "_{" + match.group().translate(_LOWERED) + "}", text)
        text = _VULGAR.sub(" ", text)
    return "".join(character if " " <= character <= "~" else _spelled(character) for character in text)


def _spelled(character: str) -> str:
    """Spell one character in ASCII where it has a mathematical meaning; drop what only steers the display."""
    named = _NAMED.get(character) or _LETTERS.get(character)
    if named:
        return named
    digit = unicodedata.decimal(character, None)
    if digit is not None:
        return str(digit)
    if character.isspace():
        return " "
    if unicodedata.category(character) in ("Cf", "Cc") or "\ufe00" <= character <= "\ufe0f":
        return ""
    plain = unicodedata.normalize("NFKC", character)
    if "\u2044" in plain:
        numerator, _, denominator = plain.partition("\u2044")
        return rf"\frac{{{numerator}}}{{{denominator}}}"
    if plain.isdigit():
        return plain + ","  # a digit in a circle is one of several answers
    return plain_ascii(plain) if plain != character else plain
