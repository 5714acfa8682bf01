"""What the installed plugins ship is what was published, and the registry holds it under the plugin's name."""

from __future__ import annotations

from pathlib import Path

import pytest

from timetrial.catalog import open_catalog
from timetrial.loading import locate_model
from timetrial.registries import open_registries

CATALOG = open_catalog()
SHIPPED = sorted(
    offer.name
    for offer in CATALOG.checkpoints().values()
    if offer.spec.location is not None and Path(offer.spec.location).is_dir()
)


def test_the_nutshells_three_families_are_shipped():
    assert {"nutshell-llama", "nutshell-llamba", "nutshell-mamba-in-llama"} <= set(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_checkpoint_is_a_version_under_its_own_name(name):
    """If it has none: publish it, export it, and put the export's lineage.json into its folder."""
    registry = open_registries(CATALOG)
    version = registry.get(name)
    located = locate_model(name, CATALOG)
    assert registry.folder(version) == located.folder == Path(CATALOG.checkpoint(name).location)
    assert located.version == locate_model(f"{name}@{version.version}", CATALOG).version == version


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_file_is_as_it_was_published(name):
    registry = open_registries(CATALOG).shipped
    assert [finding for finding in registry.verify() if finding.subject.partition("@")[0] == name] == []


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_version_says_its_licence_and_where_it_is_from(name):
    version = open_registries(CATALOG).get(name)
    provenance = version.manifest.provenance
    assert provenance.licence == CATALOG.checkpoint(name).licence
    assert provenance.stage and provenance.parents and provenance.recipe
