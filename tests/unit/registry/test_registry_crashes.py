"""A writer killed at any step of a publication leaves nothing or the whole version, and debris that gc removes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from timetrial_registry import Provenance, Registry
from timetrial_registry.database import Database
from timetrial_registry.publishing import Submission, publish
from timetrial_registry.store import Store

from .conftest import write_checkpoint

KILLED_PUBLISHERS = """
import os, signal, sys
from pathlib import Path
from timetrial_registry import Provenance, Registry
from timetrial_registry.database import Database
from timetrial_registry.publishing import Submission, publish
from timetrial_registry.store import Store

def publish_until(folder, source, last):
    steps = []

    def die_at(step):
        steps.append(step)
        if len(steps) == last:
            os.kill(os.getpid(), signal.SIGKILL)

    submission = Submission(name="student", folder=source, provenance=Provenance(), description=None, by="killed")
    publish(Database(folder, read_only=False), Store(folder), submission, at_step=die_at)

place, source, steps = Path(sys.argv[1]), Path(sys.argv[2]), map(int, sys.argv[3:])
for step in steps:
    child = os.fork()
    if not child:
        publish_until(place / str(step), source, step)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL, step
"""
"""One process that forks: starting Python for every step would take most of the time."""


def publish_noting_steps(folder: Path, source: Path) -> list[str]:
    steps: list[str] = []
    submission = Submission(name="student", folder=source, provenance=Provenance(), description=None, by="me")
    publish(Database(folder, read_only=False), Store(folder), submission, at_step=steps.append)
    return steps


def publish_until_killed(place: Path, source: Path, *steps: str) -> list[Path]:
    """Kill a publication after each of the steps, each in a registry of its own below `place`; return the folders."""
    numbers = [str(STEPS.index(step) + 1) for step in steps]
    command = [sys.executable, "-c", KILLED_PUBLISHERS, str(place), str(source), *numbers]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [place / number for number in numbers]


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


STEPS = (
    "staged",
    "copied config.json",
    "copied model.safetensors",
    "copied tokenizer.json",
    "copied",
    "locked",
    "kept config.json",
    "kept model.safetensors",
    "kept tokenizer.json",
    "installed",
    "inserted",
    "committed",
)


def test_the_steps_of_a_publication_are_these(registry, make_checkpoint):
    assert tuple(publish_noting_steps(registry.path, make_checkpoint())) == STEPS


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """The checkpoint that was there before, and the one whose publication is killed."""
    place = tmp_path_factory.mktemp("sources")
    return write_checkpoint(place / "before", seed=1), write_checkpoint(place / "after", seed=2)


@pytest.fixture(scope="module")
def killed(sources, tmp_path_factory):
    """Step -> a registry whose writer was killed after it, and the files it held before."""
    before, after = sources
    place = tmp_path_factory.mktemp("killed")
    for number in range(1, len(STEPS) + 1):
        Registry(place / str(number)).publish("teacher", before)
    kept = [files_below(place / str(number)) for number in range(1, len(STEPS) + 1)]
    folders = publish_until_killed(place, after, *STEPS)
    return {step: (Registry(folder), files) for step, folder, files in zip(STEPS, folders, kept, strict=True)}


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_writer_leaves_nothing_or_the_whole_version(killed, sources, step):
    registry, kept = killed[step]
    before, after = (source / "model.safetensors" for source in sources)

    is_whole = step == "committed"
    assert registry.names() == (("student", "teacher") if is_whole else ("teacher",))
    assert {finding.severity for finding in registry.verify()} <= {"note"}, "debris is no damage"
    registry.collect(dry_run=False, grace_s=0)
    assert registry.verify() == ()
    assert (registry.folder("teacher") / "model.safetensors").read_bytes() == before.read_bytes()
    if not is_whole:
        assert files_below(registry.path) == kept, "nothing is left of it"
    version = registry.publish("student", sources[1])
    assert version.version == 1
    assert (registry.folder(version) / "model.safetensors").read_bytes() == after.read_bytes()
    assert registry.verify() == ()


def test_a_writer_killed_in_a_new_registry_leaves_one_that_works(tmp_path, make_checkpoint):
    source = make_checkpoint()
    (folder,) = publish_until_killed(tmp_path, source, "locked")
    registry = Registry(folder)
    assert registry.names() == ()
    assert registry.publish("student", source).version == 1
    registry.collect(dry_run=False, grace_s=0)
    assert registry.verify() == ()


def test_a_dead_writers_staging_is_kept_for_the_grace_period(tmp_path, make_checkpoint):
    (folder,) = publish_until_killed(tmp_path, make_checkpoint(), "copied")
    found = Registry(folder).collect(dry_run=False)
    assert found.removed == ()
    assert {item.kind for item in found.kept} == {"staging"}
    assert all("younger than the grace period" in item.reason for item in found.kept)


def test_a_collection_leaves_a_publication_under_way_alone(registry, make_checkpoint):
    def collect_at(step: str) -> None:
        if step == "copied":
            found = registry.collect(dry_run=False, grace_s=0)
            assert found.removed == ()
            assert {item.reason for item in found.kept} == {"a publication is under way"}

    source = make_checkpoint()
    submission = Submission(name="student", folder=source, provenance=Provenance(), description=None, by="me")
    publish(Database(registry.path, read_only=False), Store(registry.path), submission, at_step=collect_at)
    assert registry.verify() == ()


def test_a_failure_while_copying_publishes_nothing_and_leaves_nothing(registry, make_checkpoint):
    registry.publish("teacher", make_checkpoint("before", seed=1))
    kept = files_below(registry.path)

    def fail(step: str) -> None:
        if step == "copied model.safetensors":
            raise OSError(28, "No space left on device")

    submission = Submission(
        name="student", folder=make_checkpoint("after"), provenance=Provenance(), description=None, by="me"
    )
    with pytest.raises(Exception, match=r"nothing is published.*No space left"):
        publish(Database(registry.path, read_only=False), Store(registry.path), submission, at_step=fail)
    assert files_below(registry.path) == kept
    assert Registry(registry.path).names() == ("teacher",)
