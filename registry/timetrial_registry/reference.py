"""How a version is named: `name`, `name@alias`, `name@3`, `name:3`, `name@latest`, `sha256:<prefix>`, `models:/...`.

A name holds no slash, so that it is never taken for a folder or a Hub id. An alias begins with a letter, so that
`name@3` can only be a number.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from timetrial_registry.error import RegistryError

LATEST = "latest"
DIGEST_PREFIX = "sha256:"
MLFLOW_PREFIX = "models:/"
MIN_DIGEST_DIGITS = 6

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_ALIAS = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_NUMBER_LIKE = re.compile(r"v[0-9]+")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
_DIGEST = re.compile(rf"[0-9a-f]{{{MIN_DIGEST_DIGITS},64}}")
_RESERVED_NAMES = {"sha256", "models"}
_FORMS = "name, name@alias, name@3, name@latest, sha256:<first digits> or models:/name/3"


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """A reference, taken apart: a name with at most one of number and alias, or the first digits of a digest."""

    name: str | None = None
    number: int | None = None
    alias: str | None = None
    """Never `latest`, which is what a name alone means."""
    digest_prefix: str | None = None


def parse_reference(text: str) -> Reference:
    """Take a reference apart.

    Raises:
        RegistryError: it has none of the forms.
    """
    if text.startswith(DIGEST_PREFIX):
        digits = text.removeprefix(DIGEST_PREFIX).lower()
        if not _DIGEST.fullmatch(digits):
            raise RegistryError(
                f"{text!r} is no digest: expected sha256: and {MIN_DIGEST_DIGITS} to 64 hexadecimal digits"
            )
        return Reference(digest_prefix=digits)
    name, separator, selector = _split(text)
    if not _NAME.fullmatch(name):
        raise RegistryError(f"{text!r} names no version: expected {_FORMS}")
    if not separator or selector == LATEST:
        return Reference(name=name)
    if _NUMBER.fullmatch(selector):
        return Reference(name=name, number=int(selector))
    if separator == "@" and _ALIAS.fullmatch(selector) and not _NUMBER_LIKE.fullmatch(selector):
        return Reference(name=name, alias=selector)
    raise RegistryError(f"{text!r} names no version: {selector!r} is neither a number nor an alias; expected {_FORMS}")


def is_reference(text: str) -> bool:
    """Whether a text has one of the forms, whatever it names."""
    try:
        parse_reference(text)
    except RegistryError:
        return False
    return True


def check_name(name: str) -> None:
    """Refuse what cannot be the name of a model.

    Raises:
        RegistryError: says what is allowed.
    """
    if not _NAME.fullmatch(name):
        raise RegistryError(
            f"{name!r} cannot name a model: expected letters, digits, '.', '_' and '-', the first a letter or digit, "
            "at most 128"
        )
    if name in _RESERVED_NAMES:
        raise RegistryError(f"the name {name!r} is reserved: references begin with it. Choose another.")


def check_alias(alias: str) -> None:
    """Refuse what cannot be an alias.

    Raises:
        RegistryError: says what is allowed.
    """
    if alias == LATEST or _NUMBER_LIKE.fullmatch(alias):
        raise RegistryError(f"the alias {alias!r} is reserved: it always means a version by its number")
    if not _ALIAS.fullmatch(alias):
        raise RegistryError(
            f"{alias!r} cannot be an alias: expected lower-case letters, digits, '_' and '-', the first a letter, "
            "at most 64"
        )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint at the closest known names, or at all of them if they are few."""
    names = list(known)
    by_lower = {candidate.lower(): candidate for candidate in names}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    if close:
        return f"did you mean {by_lower[close[0]]!r}?"
    if not names:
        return "there is none."
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"known: {', '.join(names[:8])}{more}."


def _split(text: str) -> tuple[str, str, str]:
    """Return name, separator and selector; the separator is empty if there is no selector."""
    if text.startswith(MLFLOW_PREFIX):
        text = text.removeprefix(MLFLOW_PREFIX)
        name, slash, selector = text.partition("/")
        if slash:
            return name, "/", selector
    return next((parts for mark in "@:" if (parts := text.partition(mark))[1]), (text, "", ""))
