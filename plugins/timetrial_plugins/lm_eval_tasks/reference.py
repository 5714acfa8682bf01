"""How a task of lm-eval is asked for: `lm-eval:[FOLDER/]NAME[:filter=F][:fewshot=N][:grader=math]`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from timetrial.error import UnknownNameError, UsageError

OPTIONS = ("filter", "fewshot", "grader")
GRADERS = ("exact", "math")
"""exact: lm-eval's exact_match, on what its filter leaves. math: timetrial's extraction and grader."""

_WRITTEN = re.compile(r"(?P<place>.+?)(?P<options>(?::[a-z_]+=[^:]*)*)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """One task of lm-eval, and what of it is chosen."""

    name: str
    folder: Path | None = None
    """Where its YAML file lies; None: among lm-eval's own."""
    filter: str | None = None
    """The filter pipeline that finds the answer; None: the first that can be used."""
    num_fewshot: int | None = None
    """None: as many as the task says."""
    grader: str | None = None
    """One of `GRADERS`; None: as the task's metric asks for."""


def parse_reference(text: str) -> Reference:
    """Read what stands behind `lm-eval:`.

    Raises:
        UsageError: it is empty, or an option is unknown, repeated or has no such value.
    """
    match = _WRITTEN.fullmatch(text)
    if match is None:
        raise UsageError("lm-eval: is followed by the name of one of its tasks, for example lm-eval:gsm8k")
    folder, _, name = match["place"].rpartition("/")
    options: dict[str, str] = {}
    for option in match["options"].split(":")[1:]:
        key, _, value = option.partition("=")
        if key not in OPTIONS:
            raise UnknownNameError("option of an lm-eval task", key, OPTIONS)
        if key in options or not value:
            raise UsageError(f"lm-eval:{text}: expected one value for {key}")
        options[key] = value
    return Reference(
        name=name,
        folder=Path(folder or "/") if "/" in match["place"] else None,
        filter=options.get("filter"),
        num_fewshot=_num_fewshot(options.get("fewshot")),
        grader=_grader(options.get("grader")),
    )


def _num_fewshot(text: str | None) -> int | None:
    if text is not None and not (text.isascii() and text.isdigit()):
        raise UsageError(f"fewshot is {text!r}: expected a number of worked examples, 0 for none")
    return None if text is None else int(text)


def _grader(text: str | None) -> str | None:
    if text is not None and text not in GRADERS:
        raise UnknownNameError("grader of an lm-eval task", text, GRADERS)
    return text
