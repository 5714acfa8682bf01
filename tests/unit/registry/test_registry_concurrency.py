"""Many processes at once: each payload becomes one version, numbers have no gaps, aliases one winner."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from timetrial_registry import Registry

NUM_WRITERS = 8
PUBLISHER = """
import json, sys
from timetrial_registry import Registry

sys.stdin.readline()  # all start at once
registry, sources = Registry(sys.argv[1]), sys.argv[2:]
print(json.dumps([[source, registry.publish("student", source).version] for source in sources]))
"""
PROMOTER = """
import sys
from timetrial_registry import AliasConflictError, Registry

sys.stdin.readline()
try:
    Registry(sys.argv[1]).set_alias("student", "champion", int(sys.argv[2]), expected=1, by=sys.argv[2])
    print("won")
except AliasConflictError as error:
    print("lost:", error)
"""


def run_at_once(program: str, arguments: list[list[str]]) -> list[str]:
    """The output of several processes of a program that wait for a line before they begin."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    started = [subprocess.Popen([sys.executable, "-c", program, *each], **pipes) for each in arguments]
    for process in started:
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = []
    for process in started:
        output, errors = process.communicate()
        assert process.returncode == 0, errors
        outputs.append(output.strip())
    return outputs


def test_eight_writers_at_once_get_one_version_for_each_payload(tmp_path: Path, make_checkpoint):
    folder = tmp_path / "registry"
    shared = make_checkpoint("shared", seed=99)
    own = [[make_checkpoint(f"{writer}-{n}", seed=writer * 10 + n) for n in range(3)] for writer in range(NUM_WRITERS)]
    outputs = run_at_once(PUBLISHER, [[str(folder), str(shared), *map(str, sources)] for sources in own])

    published = [json.loads(output) for output in outputs]
    numbers = {source: number for rows in published for source, number in rows}
    assert sorted(numbers.values()) == list(range(1, NUM_WRITERS * 3 + 2)), "no gap and none twice"
    assert len({number for rows in published for source, number in rows if source == str(shared)}) == 1
    registry = Registry(folder)
    assert [version.version for version in registry.versions("student")] == list(range(1, NUM_WRITERS * 3 + 2))
    assert registry.verify() == ()
    assert registry.collect(grace_s=0).removed == ()


def test_of_two_that_move_an_alias_at_once_one_wins_and_the_other_is_told(registry, make_checkpoint):
    for seed in range(3):
        registry.publish("student", make_checkpoint(str(seed), seed=seed))
    registry.set_alias("student", "champion", 1)
    outputs = run_at_once(PROMOTER, [[str(registry.path), "2"], [str(registry.path), "3"]])
    winner = registry.get("student@champion").version
    assert outputs[winner - 2] == "won"
    assert f"student@champion is version {winner}, not version 1 as expected" in outputs[3 - winner]
    log = registry.alias_log("student", "champion")
    assert [(move.old, move.new, move.by) for move in log[1:]] == [(1, winner, str(winner))]
