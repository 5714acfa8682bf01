"""Turn the text of an answer into tokens, one spelling for each thing.

A token is a string, and its first character says what it is:

    digit         a number: "12", "0.5"                  '       words: "'cm", "'no solution"
    backslash     a command: "\\\\frac", "\\\\pi"            letter  a name: "x", "ab" (a run of letters not set apart)
    anything else a symbol: "+", "(", "^", "<=", "\\u00b0" is written "deg" as "\\\\deg"
"""

from __future__ import annotations

import re
import unicodedata

MAX_CHARACTERS = 2_000
MAX_TOKENS = 1_000
MAX_NESTING = 50


class Unreadable(Exception):
    """The answer cannot be understood; the text of the exception says why."""


_CHARACTERS = {
    "\u2212": "-", "\u2013": "-", "\u2014": "-", "\u00d7": r" \times ", "\u22c5": r" \cdot ", "\u00b7": r" \cdot ",
    "\u00f7": "/", "\u2215": "/", "\u2044": "/", "\u221a": r" \sqrt ", "\u03c0": r" \pi ", "\u221e": r" \infty ",
    "\u2264": "<=", "\u2265": ">=", "\u2260": "!=", "\u222a": r" \cup ", "\u2229": r" \cap ", "\u2208": r" \in ",
    "\u00b0": r"^\circ ", "\u00b1": r" \pm ", "\u2213": r" \mp ", "\u2205": r" \emptyset ", "\u2248": r" \approx ",
    "\u03b8": r" \theta ", "\u03b1": r" \alpha ", "\u03b2": r" \beta ", "\u03b3": r" \gamma ", "\u03bb": r" \lambda ",
    "\u201c": '"', "\u201d": '"', "\u2018": "'", "\u2019": "'",
}  # fmt: skip
_SUPERSCRIPTS = str.maketrans("\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207b", "0123456789-")
_SUPERSCRIPT = re.compile("[\u2070\u00b9\u00b2\u00b3\u2074-\u2079\u207b]+")

_SPACES = re.compile(r"(?<!\\)\\(?:[,;:! ]|quad\b|qquad\b|displaystyle\b|textstyle\b|limits\b)|~")
_THOUSANDS_LATEX = re.compile(r"(?<=\d)\s*(?:\{\s*,\s*\}|,\s*\\!|\\,|\\!,)\s*(?=\d{3}(?!\d))")
_THOUSANDS = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:,\d{3})+(?![\d,])")
_THOUSANDS_ZERO = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:,\d{3})*,0\d\d(?:,\d{3})*(?![\d,])")
_THOUSANDS_SPACE = re.compile(r"(?<![\d.,\s])(?<!\d )\b[1-9]\d{0,2}(?: \d{3})+(?![\d,]| \d)")
_DOUBLED = re.compile(r"\\\\(?=[a-zA-Z{}])")
_REPEATING = re.compile(r"(\d*)\.(\d*)\\overline\s*\{(\d+)\}")

_TOKEN = re.compile(
    r"(?P<space>\s+)|(?P<number>\d+(?:\.\d+)?(?:[eE][-+]?\d+(?![\w.]))?|\.\d+)|(?P<command>\\[a-zA-Z]+|\\.)"
    r"|(?P<word>[a-zA-Z]+)|(?P<relation><=|>=|!=|=<|=>|\*\*|\.\.\.)|(?P<symbol>.)",
    re.DOTALL,
)

_TEXT_COMMANDS = frozenset(
    rf"\{name}"
    for name in "text textbf textit textrm textnormal mbox hbox mathrm mathbf mathit mathsf rm bf operatorname".split()
)
_UPRIGHT = frozenset((r"\mathrm", r"\mathbf", r"\mathit", r"\mathsf", r"\rm", r"\bf", r"\operatorname"))
"""Commands that set a name upright: with them, e is the number e wherever it stands."""
_DROPPED = frozenset(
    rf"\{name}" for name in "left right big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr bf rm it boxed fbox".split()
) | {r"\$", "$", '"', "`"}
_RENAMED = {
    r"\dfrac": r"\frac", r"\tfrac": r"\frac", r"\cfrac": r"\frac", r"\dbinom": r"\binom", r"\tbinom": r"\binom",
    r"\times": "*", r"\cdot": "*", r"\ast": "*", "**": "^", r"\div": "/", r"\over": "/", r"\%": "%", r"\colon": ":",
    r"\le": "<=", r"\leq": "<=", r"\leqslant": "<=", "=<": "<=", r"\ge": ">=", r"\geq": ">=", r"\geqslant": ">=",
    r"\lt": "<", r"\gt": ">", r"\ne": "!=", r"\neq": "!=", r"\lbrace": r"\{", r"\rbrace": r"\}", r"\lvert": "|",
    r"\rvert": "|", r"\vert": "|", r"\mid": "|", r"\lbrack": "[", r"\rbrack": "]", r"\circ": r"\deg",
    r"\degree": r"\deg", r"\varnothing": r"\emptyset", r"\dots": "...", r"\ldots": "...", r"\cdots": "...",
    r"\arcsin": r"\asin", r"\arccos": r"\acos", r"\arctan": r"\atan", r"\&": r"\and", r"\land": r"\and",
    r"\lor": r"\or", r"\approxeq": r"\approx", r"\simeq": r"\approx", r"\lg": r"\log",
}  # fmt: skip
_WORD_TOKENS = {
    "and": r"\and", "or": r"\or", "pi": r"\pi", "sqrt": r"\sqrt", "infinity": r"\infty", "oo": r"\infty",
    "inf": r"\infty", "sin": r"\sin", "cos": r"\cos", "tan": r"\tan", "cot": r"\cot", "sec": r"\sec", "csc": r"\csc",
    "arcsin": r"\asin", "arccos": r"\acos", "arctan": r"\atan", "asin": r"\asin", "acos": r"\acos", "atan": r"\atan",
    "ln": r"\ln", "log": r"\log", "exp": r"\exp", "abs": r"\abs", "percent": "%", "pct": "%", "percentage": "%",
    "degrees": r"\deg", "degree": r"\deg", "binom": r"\binom", "union": r"\cup",
}  # fmt: skip


def normalise(answer: str) -> str:
    """Return the answer in ASCII with thousands separators and spacing commands gone.

    Raises:
        Unreadable: the answer is too long or too deeply nested.
    """
    if len(answer) > MAX_CHARACTERS:
        raise Unreadable(f"longer than {MAX_CHARACTERS} characters")
    if _nesting(answer) > MAX_NESTING:
        raise Unreadable(f"nested more than {MAX_NESTING} deep")
    text = answer if answer.isascii() else _to_ascii(answer)
    text = text.replace("\t", " ").replace("**", "^" if re.search(r"\w\s*\*\*\s*[\w(]", text) else "")
    if r"\begin" not in text and "\\\\" in text:
        text = _DOUBLED.sub(r"\\", text)
    text = _THOUSANDS_LATEX.sub("", text)
    text = _SPACES.sub(" ", text)
    is_bracketed = any(bracket in text for bracket in ("(", "[", r"\{"))
    pattern = _THOUSANDS_ZERO if is_bracketed else _THOUSANDS
    text = pattern.sub(lambda match: match.group().replace(",", ""), text)
    if not is_bracketed:
        text = _THOUSANDS_SPACE.sub(lambda match: match.group().replace(" ", ""), text)
    text = _REPEATING.sub(_repeating_fraction, text)
    return text.strip().rstrip(".,;: \n")


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


def _to_ascii(text: str) -> str:
    text = _SUPERSCRIPT.sub(lambda match: "^{" + match.group().translate(_SUPERSCRIPTS) + "}", text)
    return "".join(character if character.isascii() else _ascii(character) for character in text)


def _ascii(character: str) -> str:
    """Spell one character in ASCII where it has a mathematical meaning; drop what only steers the display."""
    if character in _CHARACTERS:
        return _CHARACTERS[character]
    digit = unicodedata.decimal(character, None)
    if digit is not None:
        return str(digit)
    if unicodedata.category(character) in ("Cf", "Cc", "Mn"):
        return ""
    plain = unicodedata.normalize("NFKC", character)
    if "\u2044" in plain:
        numerator, _, denominator = plain.partition("\u2044")
        return rf"\frac{{{numerator}}}{{{denominator}}}"
    return " " if plain.isspace() else plain


def _repeating_fraction(match: re.Match[str]) -> str:
    """Write 0.1\\overline{6} as a fraction."""
    whole, fixed, period = match.groups()
    scale = 10 ** len(fixed)
    nines = 10 ** len(period) - 1
    numerator = int((whole or "0") + fixed) * nines + int(period)
    return rf"({numerator}/{scale * nines})"


def tokenize(text: str) -> list[str]:
    """Return the tokens of a normalised answer.

    Raises:
        Unreadable: there are too many.
    """
    tokens: list[str] = []
    position = 0
    is_spaced = True
    while position < len(text):
        match = _TOKEN.match(text, position)
        assert match is not None, "the last alternative matches any character"
        position = match.end()
        kind, value = match.lastgroup, match.group()
        if kind == "space":
            is_spaced = True
            continue
        if kind == "command" and value in _TEXT_COMMANDS and (group := _group(text, position)) is not None:
            content, position = group
            is_name = value in _UPRIGHT or not tokens
            tokens += _text_tokens(content, is_name)
        elif kind == "word":
            tokens.append(_word(value, is_spaced and bool(tokens)))
        elif value not in _DROPPED:
            tokens.append(_RENAMED.get(value, value))
        elif value in (r"\left", r"\right") and text[position : position + 1] == ".":
            position += 1
        is_spaced = False
    if len(tokens) > MAX_TOKENS:
        raise Unreadable(f"more than {MAX_TOKENS} symbols")
    return _clean(tokens)


def _group(text: str, position: int) -> tuple[str, int] | None:
    """Return the content of the brace group that starts at `position` (after spaces) and the place after it."""
    while position < len(text) and text[position] == " ":
        position += 1
    if text[position : position + 1] != "{":
        return None
    depth = 0
    for index in range(position, len(text)):
        depth += {"{": 1, "}": -1}.get(text[index], 0)
        if depth == 0:
            return text[position + 1 : index], index + 1
    return None


def _word(word: str, is_set_apart: bool) -> str:
    """A run of letters: a function, a word set apart by a space, or names written together."""
    known = _WORD_TOKENS.get(word.lower() if len(word) > 2 else word)
    if known:
        return known
    return "'" + word if is_set_apart and len(word) > 1 else word


def _text_tokens(content: str, is_name: bool) -> list[str]:
    """Read what stands in a text command: a number is a number, anything else words.

    A single letter is a name at the start of an answer, as in \text{(B)}, and a unit after something.
    """
    words = content.strip()
    inner = words.strip("()").strip()
    if len(inner) == 1 and inner.isalpha():
        return [inner if is_name else "'" + inner]
    if not words:
        return []
    if any(character.isdigit() or character in "\\$" for character in words):
        return tokenize(words)
    known = _WORD_TOKENS.get(words.lower().strip(",. "))
    return [known] if known else ["'" + words]


def _clean(tokens: list[str]) -> list[str]:
    """Write ^\\circ as the one token it means."""
    cleaned: list[str] = []
    index = 0
    while index < len(tokens):
        if tokens[index : index + 2] == ["^", r"\deg"]:
            index += 1
        elif tokens[index : index + 4] == ["^", "{", r"\deg", "}"]:
            cleaned.append(r"\deg")
            index += 4
            continue
        cleaned.append(tokens[index])
        index += 1
    return cleaned
