"""Aliases: names for versions that move, each move logged, and refused if the alias stands elsewhere than expected."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from timetrial_registry.error import AliasConflictError
from timetrial_registry.index import check_known, find
from timetrial_registry.records import AliasMove, Unset
from timetrial_registry.reference import check_alias

_SELECT_LOG = "SELECT name, alias, old, new, at, by, reason FROM alias_log"


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """Where an alias is to go."""

    name: str
    alias: str
    new: int | None
    """None removes it."""
    expected: int | None | Unset
    """Where its mover thinks it stands."""
    reason: str | None
    by: str


def move(connection: sqlite3.Connection, order: Order) -> AliasMove:
    """Move an alias, and log it.

    Raises:
        RegistryError: the alias has no form of one.
        UnknownVersionError: there is no such model or version.
        AliasConflictError: it does not stand where it was expected.
    """
    check_alias(order.alias)
    check_known(connection, order.name)
    if order.new is not None:
        find(connection, f"{order.name}@{order.new}")
    old = standing(connection, order.name, order.alias)
    if not isinstance(order.expected, Unset) and old != order.expected:
        raise AliasConflictError(
            f"{order.name}@{order.alias} is {_shown(old)}, not {_shown(order.expected)} as expected: somebody has "
            "moved it. Look at `timetrial registry alias` and decide again."
        )
    if order.new is None:
        connection.execute("DELETE FROM alias WHERE name = ? AND alias = ?", (order.name, order.alias))
    else:
        connection.execute(
            "INSERT OR REPLACE INTO alias (name, alias, version) VALUES (?, ?, ?)",
            (order.name, order.alias, order.new),
        )
    cursor = connection.execute(
        "INSERT INTO alias_log (name, alias, old, new, by, reason) VALUES (?, ?, ?, ?, ?, ?)",
        (order.name, order.alias, old, order.new, order.by, order.reason),
    )
    return AliasMove(**dict(connection.execute(f"{_SELECT_LOG} WHERE id = ?", (cursor.lastrowid,)).fetchone()))


def standing(connection: sqlite3.Connection, name: str, alias: str) -> int | None:
    """Return the version an alias stands at, or None."""
    row = connection.execute("SELECT version FROM alias WHERE name = ? AND alias = ?", (name, alias)).fetchone()
    return None if row is None else row[0]


def log(connection: sqlite3.Connection, name: str, alias: str | None) -> tuple[AliasMove, ...]:
    """Return the moves of a model's aliases, or of one of them, oldest first.

    Raises:
        UnknownVersionError: there is no such model.
    """
    check_known(connection, name)
    rows = connection.execute(
        f"{_SELECT_LOG} WHERE name = ? AND (? IS NULL OR alias = ?) ORDER BY id", (name, alias, alias)
    )
    return tuple(AliasMove(**dict(row)) for row in rows)


def _shown(number: int | None) -> str:
    return "nowhere" if number is None else f"version {number}"
