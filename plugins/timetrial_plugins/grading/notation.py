"""Turn the text of an answer into tokens, one spelling for each thing.

A token is a string, and its first character says what it is:

    digit         a number: "12", "0.5"                  '       words: "'cm", "'no solution"
    backslash     a command: "\\\\frac", "\\\\pi"            letter  a name: "x", "ab" (a run of letters not set apart)
    anything else a symbol: "+", "(", "^", "<=", "\\u00b0" is written "deg" as "\\\\deg"
"""

from __future__ import annotations

import re

from timetrial_plugins.grading.characters import plain_ascii
from timetrial_plugins.grading.tidying import tidied
from timetrial_plugins.grading.units import MEASURES, SHORT, unit_name

MAX_CHARACTERS = 2_000
MAX_TOKENS = 1_000
MAX_NESTING = 50


class Unreadable(Exception):
    """The answer cannot be understood; the text of the exception says why."""


_PIECE = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|normal)?|mbox|hbox|math(?:rm|bf|it|sf|tt)|operatorname\*?)\s*\{[^{}]*\}"
    r"|\\(?:[a-zA-Z]+|.)|\d+(?:\.\d+)?(?:[eE][-+]?\d+(?![\w.]))?|\.\d+|[a-zA-Z]+|<=|>=|!=|=<|=>|\*\*|\.\.\.|\s+|.",
    re.DOTALL,
)
_UPRIGHT = ("\\mathr", "\\mathb", "\\mathi", "\\maths", "\\matht", "\\operat")
"""How commands begin that set a name upright: with them, e is the number e wherever it stands."""
_DROPPED = frozenset(
    rf"\{name}"
    for name in "left right middle big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr bf rm it boxed fbox text "
    "underline small large Large huge bm boldsymbol".split()
) | {r"\$", "$", '"', "`"}
_RENAMED = {
    r"\dfrac": r"\frac", r"\tfrac": r"\frac", r"\cfrac": r"\frac", r"\dbinom": r"\binom", r"\tbinom": r"\binom",
    r"\times": "*", r"\cdot": "*", r"\ast": "*", "**": "^", r"\div": "/", r"\%": "%", r"\colon": ":",
    r"\le": "<=", r"\leq": "<=", r"\leqslant": "<=", "=<": "<=", r"\ge": ">=", r"\geq": ">=", r"\geqslant": ">=",
    r"\lt": "<", r"\gt": ">", r"\ne": "!=", r"\neq": "!=", r"\lbrace": r"\{", r"\rbrace": r"\}", r"\lvert": "|",
    r"\rvert": "|", r"\vert": "|", r"\mid": "|", r"\lbrack": "[", r"\rbrack": "]", r"\circ": r"\deg",
    r"\langle": "(", r"\rangle": ")", r"\degree": r"\deg", r"\varnothing": r"\emptyset", r"\dots": "...",
    r"\ldots": "...", r"\cdots": "...", r"\dotsc": "...", r"\arcsin": r"\asin", r"\arccos": r"\acos",
    r"\arctan": r"\atan", r"\&": r"\and", r"\land": r"\and", r"\wedge": r"\and", r"\lor": r"\or", r"\vee": r"\or",
    r"\approxeq": r"\approx", r"\simeq": r"\approx", r"\sim": r"\approx", r"\lg": r"\log", r"\bmod": r"\mod",
    r"\smallsetminus": r"\setminus", r"\backslash": r"\setminus", r"\rightarrow": r"\to", r"\longrightarrow": r"\to",
    r"\Rightarrow": r"\to", r"\Longrightarrow": r"\to",
    **{rf"\{prefix}{name}": rf"\a{name}" for prefix in ("arc", "ar") for name in ("sinh", "cosh", "tanh")},
}  # fmt: skip
_KNOWN = {
    **{symbol: symbol for symbol in (*"{}()[]+-*/^=<>|!,;:&%", r"\{", r"\}", r"\frac", r"\sqrt", r"\pi")},
    **_RENAMED,
    **dict.fromkeys(_DROPPED, ""),
}
"""What has one token wherever it stands, or none ("")."""
_WORD_TOKENS = {
    **{name: rf"\{name}" for name in (
        "and or pi sqrt sin cos tan cot sec csc sinh cosh tanh coth asin acos atan asinh acosh atanh ln log exp abs "
        "binom gcd lcm max min floor ceil mod"
    ).split()},
    **{f"arc{name}": rf"\a{name}" for name in "sin cos tan cot sec csc sinh cosh tanh".split()},
    **{f"ar{name}": rf"\a{name}" for name in "sinh cosh tanh".split()},
    "infinity": r"\infty", "oo": r"\infty", "inf": r"\infty", "percent": "%", "pct": "%", "percentage": "%",
    "degrees": r"\deg", "degree": r"\deg", "deg": r"\deg", "union": r"\cup", "theta": r"\theta", "alpha": r"\alpha",
    "beta": r"\beta", "lambda": r"\lambda",
}  # fmt: skip
_NO_VOWELS = re.compile(r"a?[b-df-hj-np-tv-z]+")
_SHORT_WORDS = MEASURES.keys() | SHORT | {"am", "pm", "as", "at", "an", "by", "my", "pts", "th", "st", "nd", "rd"}
_SIGNS = frozenset("+-*=([{")
"""What names stand behind rather than short words: de + df + ef."""
_WITH_ARGUMENTS = frozenset((r"\frac", r"\sqrt", r"\binom", "^", "_"))
_UNIT_WORDS = frozenset(("min", "sec"))
"""Functions at the start of something, units behind a number."""


def normalise(answer: str) -> str:
    """Return the answer in ASCII, without what only steers the display and without a label such as "Answer:".

    Raises:
        Unreadable: the answer is too long or too deeply nested.
    """
    if len(answer) > MAX_CHARACTERS:
        raise Unreadable(f"longer than {MAX_CHARACTERS} characters")
    if len(answer) > MAX_NESTING and _nesting(answer) > MAX_NESTING:
        raise Unreadable(f"nested more than {MAX_NESTING} deep")
    return tidied(answer if answer.isascii() and answer.isprintable() else plain_ascii(answer))


def _nesting(text: str) -> int:
    """Return the greatest depth of brackets of any kind."""
    depth = deepest = 0
    for character in text:
        if character in "{([":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "})]":
            depth -= 1
    return deepest


def tokenize(text: str) -> list[str]:
    """Return the tokens of a normalised answer.

    Raises:
        Unreadable: there are too many.
    """
    tokens: list[str] = []
    is_spaced = True
    pieces = _PIECE.findall(text)
    for piece in pieces:
        token = _KNOWN.get(piece)
        if token is not None:
            if token:
                tokens.append(token)
        elif piece.isspace():
            is_spaced = True
            continue
        elif piece.isalpha():
            is_unit = piece in _UNIT_WORDS and piece is pieces[-1]
            is_set_apart = bool(tokens) and tokens[-1] not in _WITH_ARGUMENTS
            is_set_apart = is_set_apart and (is_spaced or len(piece) > 3 and tokens[-1] != "{")
            is_set_apart = is_set_apart and (len(piece) > 3 or tokens[-1] not in _SIGNS)
            tokens.append(_word(piece, is_set_apart, is_unit))
        elif piece[0] == "\\" and piece[-1] == "}":
            is_first = all(token in ("{", "(") for token in tokens)
            tokens += _text_tokens(piece[piece.index("{") + 1 : -1], is_first, piece.startswith(_UPRIGHT))
        else:
            tokens.append(piece)
        is_spaced = False
    if len(tokens) > MAX_TOKENS:
        raise Unreadable(f"more than {MAX_TOKENS} symbols")
    return tokens


def _word(word: str, is_set_apart: bool, is_unit: bool) -> str:
    """A run of letters: a function, a word set apart by a space, or names written together (3 xy)."""
    known = None if is_set_apart and is_unit else _WORD_TOKENS.get(word.lower() if len(word) > 2 else word)
    if known:
        return known
    return "'" + word if is_set_apart and len(word) > 1 and not _is_product(word) else word


def _is_product(word: str) -> bool:
    """Whether two or three letters are rather names than a word or a unit."""
    return len(word) < 4 and _NO_VOWELS.fullmatch(word) is not None and word not in _SHORT_WORDS


def _text_tokens(content: str, is_first: bool, is_upright: bool) -> list[str]:
    """Read what stands in a text command: a number is a number, anything else words.

    A single letter is a name at the start of an answer, as in \\text{(B)}, and a unit after something.
    """
    words = content.strip()
    inner = words.strip("()").strip()
    if len(inner) == 1 and inner.isalpha():
        if is_first and words[0] == "(":
            return ["(", inner, ")"]
        return [inner if is_first or is_upright else "'" + inner]
    if not words:
        return []
    if any(character.isdigit() or character in "\\$" for character in words):
        is_unit = not is_first and words[0].isalpha() and unit_name(words.lower()) is not None
        return ["'" + words] if is_unit else tokenize(words)
    plain = words.lower().strip(",. ")
    known = None if plain in _UNIT_WORDS and not is_first else _WORD_TOKENS.get(plain)
    return [known] if known else ["'" + words]
