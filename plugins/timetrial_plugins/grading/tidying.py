"""Tidy the text of an answer: layout commands, thousands separators, labels, markdown, run-on spellings."""

from __future__ import annotations

import re

_UNTIDY = re.compile(
    r"[ ,~*_:]|\\[^a-zA-Z{}]|\.[mM]|and|or|x10|(?:sin|cos|tan|ln|log)[xyzabnu\d]|\\(?:left|right|middle|circ|q?quad"
    r"|(?:text)?color|[hv]?phantom|\w+style|(?:no)?limits|overline|bar|dot|rm|bf|it|tt|sf)"
)
"""What any of the steps of `tidied` may have to do with."""
_ANSWER_LABEL = re.compile(
    r"\s*(?:\*\*)?(?:so |thus |hence |therefore )?,?\s*(?:the )?(?:(?:final|correct) )?"
    r"(?:answer|ans|solution)(?: is\b|\s*[:=])[:=\s]*(?:\*\*)?(?=.)",
    re.IGNORECASE,
)
_BOLD = re.compile(r"(?<![\w)}\]])\*\*\s*(.+?)\s*\*\*(?![\w({\\])")
_EMPHASIS = re.compile(r"\s*([*_]{1,2})(?=[^\s*_])(.*[^\s*_\\])\1\s*")
_DELIMITERS = re.compile(r"(?<!\\)\\[()\[\]]")
_INVISIBLE = re.compile(r"\\(?:text)?color\s*\{[a-zA-Z]+\}|\\[hv]?phantom\s*\{[^{}]*\}")
_HALVED = re.compile(r"(?<!\\)\\\\(?:begin|boxed|frac|text|left)\b")
_DOUBLED = re.compile(r"\\\\(?=[a-zA-Z{}])")
_BRACKET_SIZE = re.compile(r"\\(?:left|right|middle)(?![a-zA-Z])\s*\.?")
_CASES = re.compile(r"\\left\s*\\\{\s*\\begin\{array\}\s*\{[^{}]*\}(.*?)\\end\{array\}\s*\\right\s*\.", re.DOTALL)
_DEGREE = re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![a-zA-Z]))")
_UPRIGHT_GROUP = re.compile(r"\{\s*\\(?:rm|bf|it|tt|sf)\b\s*([^{}]*)\}")
_SPACES = re.compile(
    r"(?<!\\)\\(?:[,;:! >/]|quad(?![a-wyz])|qquad(?![a-wyz])|(?:display|text)style\b|(?:no)?limits\b)|~"
)
_SPACING = re.compile(r"\\[^a-zA-Z{}\\]|quad|style|limits|~")
"""What `_SPACES` may be about, found faster."""
_REPEATING = re.compile(
    r"(?P<whole>\d*)\.(?P<fixed>\d*)(?:\\(?:overline|bar)\s*\{?\s*(?P<period>\d+)\}?"
    r"|\\dot\s*\{?\s*(?P<first>\d)\}?(?:(?P<middle>\d*)\\dot\s*\{?\s*(?P<last>\d)\}?)?)"
)
"""0.1\\overline{6}, and 0.\\dot{1}4285\\dot{7} with dots over the first and last digit of the period."""

_THOUSANDS_LATEX = re.compile(r"(?<=\d)\s*(?:\{\s*,\s*\}|,\s*\\!|\\,|\\!,)\s*(?=\d{3}(?!\d))")
_THOUSANDS = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:,\d{3})+(?!\d|,\d)")
_THOUSANDS_ZERO = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:,\d{3})*,0\d\d(?:,\d{3})*(?!\d|,\d)")
_THOUSANDS_SPACE = re.compile(r"(?<![\d.,\s])(?<!\d )\b[1-9]\d{0,2}(?: \d{3})+(?![\d,]| \d|\s*/|\s*\\[dt]?frac)")
_DECIMAL_COMMA = re.compile(r"\$?\s*-?(?:\d{4,},\d\d|\d+,0\d+)\s*\$?")
_HALF_DAY = re.compile(r"(?<=\d)\s*([apAP])\.\s?[mM]\b\.?")
_FUNCTIONS = re.compile(r"(?<![\\a-zA-Z])(?:sin|cos|tan|ln|log)[xyzabnu\d]")
_RUN_ON_NAME = re.compile(r"(?<![\\a-zA-Z])(sin|cos|tan|ln|log)([xyzabnu])(?![a-zA-Z])")
_RUN_ON_BASE = re.compile(r"(?<![\\a-zA-Z])log(2|10)(?=\()")
_TIMES_TEN = re.compile(r"(?<=\d)\s*x\s*(?=10\s*\^)")
_GLUED = re.compile(r"(?<=[\d)}\]])(and|or)(?=[\d(\\A-Za-z])")


def tidied(text: str) -> str:
    """Return a text in ASCII without what only steers the display, and with one spelling for separators."""
    if _UNTIDY.search(text) is not None:
        text = _without_layout(_without_markdown(text))
        text = _spelled_out(_without_separators(text))
    text = text.strip()
    return text if text.endswith("...") else text.rstrip(".,;: ")


def _without_markdown(text: str) -> str:
    """Drop emphasis and a label in front; a double star between operands is a power."""
    if text[-1:] in ("*", "_") and (emphasis := _EMPHASIS.fullmatch(text)):
        text = emphasis[2]
    if "**" in text:
        text = _BOLD.sub(r"\1", text).replace("**", "^" if re.search(r"[\w)}\]]\s*\*\*", text) else "")
    return _ANSWER_LABEL.sub("", text, count=1) if _ANSWER_LABEL.match(text) else text


def _spelled_out(text: str) -> str:
    """Set apart what was run on: sinx, log2(8), 1x10^5, 5p.m., 3or 4."""
    if _FUNCTIONS.search(text) is not None:
        text = _RUN_ON_NAME.sub(r"\\\1 \2", text)
        text = _RUN_ON_BASE.sub(r"\\log_{\1}", text)
    if "x10" in text or "x 10" in text:
        text = _TIMES_TEN.sub(" * ", text)
    if ".m" in text or ".M" in text:
        text = _HALF_DAY.sub(r" \1m", text)
    if "or" in text or "and" in text:
        text = _GLUED.sub(r" \1 ", text)
    return text


def _without_layout(text: str) -> str:
    """Drop the commands that only steer the display, and undo a second level of backslashes."""
    if "," in text:
        text = _THOUSANDS_LATEX.sub("", text)
    if "\\" not in text:
        return text
    if "\\\\" in text:
        if _HALVED.search(text):
            text = text.replace("\\\\", "\\")
        elif r"\begin" not in text:
            text = _DOUBLED.sub(r"\\", text)
    if r"\(" in text or r"\[" in text:
        text = _DELIMITERS.sub("", text)
    if "color" in text or "phantom" in text:
        text = _INVISIBLE.sub("", text)
    if r"\begin{array}" in text and r"\right." in text:
        text = _CASES.sub(r"\\begin{cases}\1\\end{cases}", text)
    if "\\left" in text or "\\right" in text or "\\middle" in text:
        text = _BRACKET_SIZE.sub("", text)
    if "\\circ" in text:
        text = _DEGREE.sub(r"\\deg ", text)
    if "{\\" in text or "{ \\" in text:
        text = _UPRIGHT_GROUP.sub(r"\\mathrm{\1}", text)
    if _SPACING.search(text) is not None:
        text = _SPACES.sub(" ", text)
    return _REPEATING.sub(_repeating_fraction, text) if "." in text else text


def _without_separators(text: str) -> str:
    """Join the digits of numbers written in groups of three; set words apart that are glued to numbers."""
    is_bracketed = "(" in text or "[" in text or r"\{" in text
    if "," in text:
        pattern = _THOUSANDS_ZERO if is_bracketed else _THOUSANDS
        text = pattern.sub(lambda match: match.group().replace(",", ""), text)
        if _DECIMAL_COMMA.fullmatch(text):
            text = text.replace(",", ".")
    if " " in text and not is_bracketed:
        text = _THOUSANDS_SPACE.sub(lambda match: match.group().replace(" ", ""), text)
    return text


def _repeating_fraction(match: re.Match[str]) -> str:
    """Write 0.1\\overline{6} as a fraction."""
    whole, fixed = match["whole"], match["fixed"]
    period = match["period"] or match["first"] + (match["middle"] or "") + (match["last"] or "")
    scale = 10 ** len(fixed)
    nines = 10 ** len(period) - 1
    numerator = int((whole or "0") + fixed) * nines + int(period)
    return rf"({numerator}/{scale * nines})"
