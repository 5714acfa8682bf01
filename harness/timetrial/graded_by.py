"""Who graded a run, as config.json records it: named, compared, and refused where verdicts would be mixed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from timetrial.config import NO_GRADER, OWN_GRADER, RunConfig
from timetrial.error import ConfigMismatchError
from timetrial.stages.judge import Graders

Facts = Mapping[str, Any]  # Any: JSON-ready


def check_graders(
    run: Path, tasks: Mapping[str, Facts], recorded: RunConfig, asked: RunConfig, graders: Mapping[str, Graders]
) -> None:
    """Refuse to add verdicts to those of other graders.

    Args:
        run: the run folder, for the message.
        tasks: what its config.json records of each task.
        recorded: its config.
        asked: the config of this command.
        graders: who would grade each task now.

    Raises:
        ConfigMismatchError: lists every difference, and says how to grade the run anew.
    """
    lines = [
        f"task {name}: {_difference(before, now.facts())}"
        for name, now in graders.items()
        if (before := recorded_graders(tasks.get(name, {}))) and before != now.facts()
    ]
    if lines:
        listed = "\n  ".join(lines)
        flags = "" if recorded.grader == asked.grader else f" --grader {asked.grader or OWN_GRADER}"
        if recorded.second_opinion != asked.second_opinion:
            flags += f" --second-opinion {asked.second_opinion or NO_GRADER}"
        raise ConfigMismatchError(
            f"{run} was graded otherwise:\n  {listed}\nRun `timetrial grade {run}{flags}` to grade all of it anew from "
            "the stored texts, without the model; then this command continues it"
        )


def different_graders(runs: Mapping[str, Mapping[str, Facts]]) -> list[str]:
    """Say, a line each, which tasks the runs have in common and had graded differently.

    `runs` maps the name of a run to what its config.json records of each task.
    """
    lines = []
    for task in dict.fromkeys(task for tasks in runs.values() for task in tasks):
        graded = {run: recorded_graders(tasks[task]) for run, tasks in runs.items() if task in tasks}
        by_facts = {repr(facts): f"{graders_label(facts)} in {run}" for run, facts in graded.items() if facts}
        if len(by_facts) > 1:
            lines.append(
                f"task {task} is graded by {' and by '.join(by_facts.values())}: differences may be the graders'. "
                "`timetrial grade` makes the runs alike"
            )
    return lines


def recorded_graders(task: Facts) -> Facts:
    """Return what config.json records of the graders of a task; empty if it does not say."""
    if "grading" in task:
        return dict(task["grading"])
    return {"grader": task["grader"]} if "grader" in task else {}


def graders_label(facts: Facts) -> str:
    """Name recorded graders in a line of text."""
    second = facts.get("second_opinion")
    return f"{facts['grader']}, second opinions by {second['grader']}" if second else str(facts["grader"])


def _difference(old: Facts, new: Facts) -> str:
    if graders_label(old) != graders_label(new):
        return f"graded by {graders_label(old)}, installed is {graders_label(new)}"
    rules = [_rules(facts) for facts in (old, new)]
    changed = sorted(name for name in {*rules[0], *rules[1]} if rules[0].get(name) != rules[1].get(name))
    return f"graded by {graders_label(old)} under another policy than is installed: {', '.join(changed)}"


def _rules(facts: Facts) -> dict[str, Any]:  # Any: JSON values
    """Return the rules of the policies, those of the second opinion under its name."""
    second = facts.get("second_opinion") or {}
    return {**facts.get("policy", {}), **{f"{second['grader']} {k}": v for k, v in second.get("policy", {}).items()}}
