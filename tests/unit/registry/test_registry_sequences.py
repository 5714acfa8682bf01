"""Whatever is done in whatever order, the registry is what a dictionary would be, and verify finds nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from timetrial_registry import Registry
from timetrial_registry.error import TimetrialError

from .conftest import write_checkpoint

PAYLOADS = st.integers(0, 3)
NUMBERS = st.integers(1, 4)
OPERATIONS = st.one_of(
    st.tuples(st.just("publish"), PAYLOADS),
    st.tuples(st.just("delete"), NUMBERS),
    st.tuples(st.just("alias"), NUMBERS | st.none()),
    st.tuples(st.just("collect"), st.booleans()),
)


class Model:
    """What a registry of one name should be."""

    def __init__(self) -> None:
        self.payloads: list[int] = []
        """The payload of version 1, 2, ..."""
        self.deleted: set[int] = set()
        self.champion: int | None = None

    @property
    def ready(self) -> list[int]:
        return [number for number in range(1, len(self.payloads) + 1) if number not in self.deleted]

    def publish(self, payload: int) -> int:
        if payload not in self.payloads:
            self.payloads.append(payload)
        number = self.payloads.index(payload) + 1
        self.deleted.discard(number)
        return number

    def may_delete(self, number: int) -> bool:
        return number in self.ready and number != self.champion

    def may_point_at(self, number: int | None) -> bool:
        return bool(self.payloads) if number is None else number in self.ready


def apply(registry: Registry, model: Model, sources: Path, operation: str, argument: int | bool | None) -> None:
    if operation == "publish":
        version = registry.publish("m", sources / str(argument))
        assert version.version == model.publish(argument)
    elif operation == "collect":
        registry.collect(dry_run=argument, grace_s=0)
    else:
        is_allowed = model.may_delete(argument) if operation == "delete" else model.may_point_at(argument)
        try:
            registry.delete(f"m@{argument}") if operation == "delete" else registry.set_alias("m", "champion", argument)
        except TimetrialError:
            assert not is_allowed
            return
        assert is_allowed
        if operation == "delete":
            model.deleted.add(argument)
        else:
            model.champion = argument


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("sources")
    for payload in range(4):
        write_checkpoint(place / str(payload), seed=payload)
    return place


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=st.lists(OPERATIONS, min_size=4, max_size=14))
def test_a_registry_is_what_a_dictionary_would_be(operations, sources, tmp_path_factory, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # the power stays on
    registry, model = Registry(tmp_path_factory.mktemp("registry")), Model()
    for operation, argument in operations:
        apply(registry, model, sources, operation, argument)
    assert [version.version for version in registry.versions()] == model.ready
    for number in model.ready:
        payload = sources / str(model.payloads[number - 1]) / "model.safetensors"
        assert (registry.folder(f"m@{number}") / "model.safetensors").read_bytes() == payload.read_bytes()
    if model.champion is not None:
        assert registry.get("m@champion").version == model.champion
    if model.ready:
        assert registry.get("m").version == max(model.ready)
    assert registry.verify() == ()
    registry.collect(dry_run=False, grace_s=0)
    assert registry.verify() == ()
