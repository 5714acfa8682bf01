"""From what a user writes after --model to a checkpoint, its family and its tokenizer."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import timetrial
from timetrial.catalog import Catalog, open_catalog
from timetrial.error import CheckpointError, UnknownNameError, UsageError
from timetrial.loading import find_configuration, known_checkpoint, locate_model
from timetrial.spec import LoadOptions
from timetrial.testing import FakeDistribution, FakePlugin


class Shelf:
    """A plugin with one family, which keeps the options it is called with, and some checkpoints."""

    def __init__(self, folder: Path) -> None:
        self.options: list[LoadOptions] = []
        self.folder = folder
        self.builds_random = True
        self.built: list[Any] = []

    def catalog(self, **fields: Any) -> Catalog:
        @timetrial.hookimpl
        def timetrial_models() -> Any:
            return [
                timetrial.ModelSpec(
                    family="echo",
                    load=self.load,
                    doc="",
                    recognises=lambda config: True,
                    build_random=self.build_random if self.builds_random else None,
                )
            ]

        @timetrial.hookimpl
        def timetrial_checkpoints() -> Any:
            fields_of_all = {"location": str(self.folder), "doc": "", "family": "echo"} | fields
            return [timetrial.CheckpointSpec(name="echo-1b", **fields_of_all)]

        plugin = SimpleNamespace(
            timetrial_models=timetrial_models, timetrial_checkpoints=timetrial_checkpoints, __name__="mine"
        )
        return open_catalog([FakePlugin("mine", plugin, FakeDistribution("shelf", "1"))])

    def load(self, folder: Path, options: LoadOptions) -> Any:
        assert folder == self.folder
        self.options.append(options)
        return timetrial.testing.EchoModel()

    def build_random(self, config: Any, options: LoadOptions) -> Any:
        self.built.append(config)
        return timetrial.testing.EchoModel()


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    folder = tmp_path / "echo"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "echo"}))
    (folder / "model.safetensors").write_text("")
    return Shelf(folder)


def test_a_checkpoint_is_known_by_its_name_and_by_its_location(shelf: Shelf) -> None:
    catalog = shelf.catalog(temperature=0.8)
    for ref in ("echo-1b", str(shelf.folder)):
        located = locate_model(ref, catalog)
        assert (located.folder, located.temperature) == (shelf.folder, 0.8)
    assert known_checkpoint("org/other", catalog) is None


def test_an_unknown_name_is_told_the_closest(shelf: Shelf) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'echo-1b'"):
        locate_model("echo-1", shelf.catalog())


def test_a_shape_without_weights_cannot_be_loaded_and_says_so(shelf: Shelf) -> None:
    with pytest.raises(CheckpointError, match="not published: `timetrial models show echo-1b`"):
        locate_model("echo-1b", shelf.catalog(location=None, config={"model_type": "echo"}))


def test_a_configuration_is_the_plugins_if_it_gives_one_else_the_checkpoints(shelf: Shelf) -> None:
    (shelf.folder / "model.safetensors").unlink()
    own = {"model_type": "echo", "layers": 2}
    cases = [({}, {"model_type": "echo"}), ({"config": own}, own), ({"location": None, "config": own}, own)]
    for fields, expected in cases:
        found = find_configuration("echo-1b", shelf.catalog(**fields))
        found.load(LoadOptions())
        assert found.config == shelf.built[-1] == expected
        assert found.weights == found.facts()["weights"] == "random"
    assert not shelf.options, "no checkpoint was loaded"


def test_a_configuration_is_told_from_another_by_its_content(shelf: Shelf) -> None:
    digests = [
        find_configuration("echo-1b", shelf.catalog(config=config)).facts()["config_sha256"]
        for config in ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1, "b": 3})
    ]
    assert digests[0] == digests[1] != digests[2]


def test_a_family_that_builds_nothing_at_random_says_so(shelf: Shelf) -> None:
    shelf.builds_random = False
    with pytest.raises(CheckpointError, match="family 'echo' builds no 'echo-1b' of random weights"):
        find_configuration("echo-1b", shelf.catalog())
    with pytest.raises(UnknownNameError, match="did you mean 'echo-1b'"):
        find_configuration("echo-1", shelf.catalog())


def test_another_tokenizer_stands_in_only_where_the_checkpoint_brings_none(shelf: Shelf, tmp_path: Path) -> None:
    spare = tmp_path / "spare"
    spare.mkdir()
    (spare / "tokenizer.json").write_text("{}")
    located = locate_model("echo-1b", shelf.catalog(tokenizer=str(spare)))
    located.load(LoadOptions(device="cpu"))
    (shelf.folder / "tokenizer.json").write_text("{}")
    located.load(LoadOptions(device="cpu"))
    assert shelf.options == [LoadOptions(device="cpu", tokenizer=spare), LoadOptions(device="cpu")]


def test_a_stand_in_without_a_tokenizer_is_refused(shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    located = locate_model("echo-1b", shelf.catalog(tokenizer=str(tmp_path / "empty")))
    with pytest.raises(CheckpointError, match="holds no tokenizer: found nothing"):
        located.load(LoadOptions())


def test_a_family_that_passes_over_the_state_interval_is_not_taken_at_its_word(shelf: Shelf) -> None:
    for found in (locate_model("echo-1b", shelf.catalog()), find_configuration("echo-1b", shelf.catalog())):
        with pytest.raises(UsageError, match="state interval is 16, and models of family 'echo' do not say"):
            found.load(LoadOptions(state_interval=16))
