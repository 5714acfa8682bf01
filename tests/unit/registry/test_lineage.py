"""Lineage as a tree, as JSON, and as a flow chart."""

from __future__ import annotations

import pytest

from timetrial_registry import Parent, Provenance, Registry
from timetrial_registry.lineage import to_json, to_mermaid, to_text


@pytest.fixture
def family(registry: Registry, make_checkpoint) -> Registry:
    """teacher -> stage 1 -> stage 2, both distilled from the teacher."""
    registry.publish("teacher", make_checkpoint("t", seed=1), Provenance(licence="llama3.2"))
    teacher = Parent(role="teacher", ref="teacher")
    registry.publish("one", make_checkpoint("1", seed=2), Provenance(stage="mohawk-1", parents=(teacher,)))
    data = Parent(role="data", ref='org/"data"', revision="abc")
    parents = (teacher, Parent(role="stage_parent", ref="one"), data)
    registry.publish("two", make_checkpoint("2", seed=3), Provenance(stage="mohawk-2", parents=parents))
    return registry


def test_the_text_is_a_tree_with_each_version_expanded_once(family):
    digests = {name: family.get(name).digest[:12] for name in ("teacher", "one", "two")}
    assert to_text(family.lineage("two")) == "\n".join([
        f"two@1  ({digests['two']}, mohawk-2)",
        f"|-- teacher: teacher@1  ({digests['teacher']})",
        f"|-- stage_parent: one@1  ({digests['one']}, mohawk-1)",
        f"|   `-- teacher: teacher@1  ({digests['teacher']}, see above)",
        '`-- data: org/"data" at abc  (outside)',
    ])  # fmt: skip


def test_the_chart_has_each_box_and_arrow_once_from_parent_to_child(family):
    assert to_mermaid(family.lineage("two")).splitlines() == [
        "flowchart TD",
        '    n0["two@1"]',
        '    n1["teacher@1"]',
        '    n2["one@1"]',
        '    n3["org/#quot;data#quot;"]',
        "    n1 -->|teacher| n0",
        "    n1 -->|teacher| n2",
        "    n2 -->|stage_parent| n0",
        "    n3 -->|data| n0",
    ]


def test_descendants_are_what_was_made_from_a_version(family):
    tree = family.descendants("teacher")
    assert [(child.ref, child.role) for child in tree.children] == [("one@1", "teacher"), ("two@1", "teacher")]
    assert [child.ref for child in tree.children[0].children] == ["two@1"]
    assert "    n0 -->|teacher| n1" in to_mermaid(tree, downwards=True)
    family.delete("two")
    assert [child.ref for child in family.descendants("teacher").children] == ["one@1"]


def test_a_deleted_parent_stays_in_the_lineage(family):
    family.delete("one", force=True)
    assert "one@1" in to_text(family.lineage("two")) and ", deleted)" in to_text(family.lineage("two"))


def test_the_json_says_what_is_here_and_what_is_not(family):
    data = to_json(family.lineage("two"))
    assert data["ref"] == "two@1" and data["stage"] == "mohawk-2"
    outside = data["children"][2]
    assert (outside["role"], outside["revision"], outside["is_here"]) == ("data", "abc", False)
