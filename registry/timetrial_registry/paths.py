"""Which relative paths a checkpoint's files may have: those that stay in their folder, and mean the same everywhere."""

from __future__ import annotations

from timetrial_registry.error import CheckpointError

_MARKS_OF_SOME_SYSTEM = frozenset('\\:*?"<>|')
_MAX_LENGTH = 255


def check_path(path: str) -> str:
    """Return a relative path with forward slashes that stays in its folder on every system.

    Raises:
        CheckpointError: it is absolute, climbs out, or has characters that some system reads otherwise.
    """
    parts = path.split("/")
    is_plain = path.isprintable() and not _MARKS_OF_SOME_SYSTEM & set(path) and len(path) <= _MAX_LENGTH
    if not is_plain or any(part in ("", ".", "..") or part != part.strip() for part in parts):
        raise CheckpointError(
            f"a checkpoint may not hold a file {path!r}: expected a relative path of plain names, such as "
            "tokenizer.json"
        )
    return path
