"""The tree of what a version was made from, or of what was made from it: as text, JSON, and a Mermaid flow chart."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from timetrial_registry.index import of_digest
from timetrial_registry.records import LineageNode, Role, Version


def ancestors(connection: sqlite3.Connection, version: Version) -> LineageNode:
    """Return the tree whose children are what a version was made from."""
    return _above(connection, version, None, set())


def descendants(connection: sqlite3.Connection, version: Version) -> LineageNode:
    """Return the tree whose children are the kept versions that were made from a version."""
    return _below(connection, version, None, set())


def to_json(node: LineageNode) -> dict[str, Any]:  # Any: JSON
    """Return a lineage as JSON."""
    facts = {} if node.version is None else {"stage": node.version.stage, "state": node.version.state}
    return {
        "ref": node.ref,
        "role": node.role,
        "digest": node.digest,
        "revision": node.revision,
        "is_here": node.version is not None,
        **facts,
        "is_repeated": node.is_repeated,
        "children": [to_json(child) for child in node.children],
    }


def to_text(node: LineageNode) -> str:
    """Draw a lineage as an indented tree."""
    return "\n".join([_label(node), *_branches(node, "")])


def to_mermaid(node: LineageNode, *, downwards: bool = False) -> str:
    """Draw a lineage as a Mermaid flow chart, each arrow from parent to child.

    Args:
        node: the root.
        downwards: whether the children of a node were made from it, as `descendants` gives them.
    """
    names: dict[tuple[str, str | None], str] = {}
    edges: dict[str, None] = {}
    _collect_edges(node, downwards, names, edges)
    boxes = [f'    {name}["{_escape(ref)}"]' for (ref, _), name in names.items()]
    return "\n".join(["flowchart TD", *boxes, *(f"    {edge}" for edge in edges)])


def _above(connection: sqlite3.Connection, version: Version, role: Role | None, seen: set[str]) -> LineageNode:
    node = _node(version, role, is_repeated=version.digest in seen)
    if node.is_repeated:
        return node
    seen.add(version.digest)
    rows = connection.execute(
        "SELECT role, ref, parent, revision FROM edge WHERE child = ? ORDER BY rowid", (version.digest,)
    ).fetchall()
    children = []
    for row in rows:
        parent = None if row["parent"] is None else of_digest(connection, row["parent"], deleted=True)
        if parent is not None:
            children.append(_above(connection, parent, row["role"], seen))
        else:
            outside = LineageNode(
                ref=row["ref"],
                role=row["role"],
                digest=row["parent"],
                revision=row["revision"],
                version=None,
                children=(),
            )
            children.append(outside)
    return replace(node, children=tuple(children))


def _below(connection: sqlite3.Connection, version: Version, role: Role | None, seen: set[str]) -> LineageNode:
    node = _node(version, role, is_repeated=version.digest in seen)
    if node.is_repeated:
        return node
    seen.add(version.digest)
    rows = connection.execute(
        "SELECT DISTINCT child, role FROM edge WHERE parent = ? ORDER BY rowid", (version.digest,)
    ).fetchall()
    made = [(of_digest(connection, row["child"]), row["role"]) for row in rows]
    return replace(
        node, children=tuple(_below(connection, child, role, seen) for child, role in made if child is not None)
    )


def _node(version: Version, role: Role | None, *, is_repeated: bool) -> LineageNode:
    return LineageNode(
        ref=version.ref,
        role=role,
        digest=version.digest,
        revision=None,
        version=version,
        children=(),
        is_repeated=is_repeated,
    )


def _label(node: LineageNode) -> str:
    role = f"{node.role}: " if node.role else ""
    revision = f" at {node.revision}" if node.revision else ""
    return f"{role}{node.ref}{revision}{_remark(node)}"


def _remark(node: LineageNode) -> str:
    if node.version is None:
        return f"  (outside{f', {node.digest[:12]}' if node.digest else ''})"
    stage = f", {node.version.stage}" if node.version.stage else ""
    deleted = ", deleted" if node.version.state == "deleted" else ""
    repeated = ", see above" if node.is_repeated else ""
    return f"  ({node.version.digest[:12]}{stage}{deleted}{repeated})"


def _branches(node: LineageNode, indent: str) -> Iterator[str]:
    for position, child in enumerate(node.children, start=1):
        is_last = position == len(node.children)
        yield f"{indent}{'`-- ' if is_last else '|-- '}{_label(child)}"
        yield from _branches(child, f"{indent}{'    ' if is_last else '|   '}")


def _collect_edges(
    node: LineageNode, downwards: bool, names: dict[tuple[str, str | None], str], edges: dict[str, None]
) -> str:
    """Name a node's box, and note the arrows below it; both keep their first place."""
    name = names.setdefault((node.ref, node.digest), f"n{len(names)}")
    for child in node.children:
        other = _collect_edges(child, downwards, names, edges)
        start, end = (name, other) if downwards else (other, name)
        edges[f"{start} -->|{child.role}| {end}"] = None
    return name


def _escape(text: str) -> str:
    return text.replace("&", "#amp;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")
