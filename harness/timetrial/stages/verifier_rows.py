"""Read the seconds of reward models that a run holds, and say why those of one are missing."""

from __future__ import annotations

from timetrial.environment_record import EnvironmentRecord
from timetrial.record import ScoreTiming
from timetrial.store import RunFolder


def verifier_rows(folder: RunFolder, environment: str | None) -> list[ScoreTiming]:
    """Return the timings of reward models that belong together: one machine's, and of each its last workload.

    Args:
        folder: the run.
        environment: the machine that timed the models; None: the one that timed a reward model last.
    """
    rows = list(folder.read(ScoreTiming))
    environment = environment or (rows[-1].environment if rows else None)
    rows = [row for row in rows if row.environment == environment]
    last = {row.reward_model: _workload(row) for row in rows}
    return [row for row in rows if _workload(row) == last[row.reward_model]]


def why_untimed(folder: RunFolder, name: str, environment: str | None) -> str:
    """Return why the seconds of a reward model are not known on a machine, and what to do."""
    recorded = None if environment is None else EnvironmentRecord(folder, environment).why_untimed(name)
    if recorded is not None:
        return recorded
    mine = [row for row in folder.read(ScoreTiming) if row.reward_model == name]
    if any(row.environment == environment for row in mine):
        return "no batch of solutions fitted in memory"
    where = "on the machine that timed the models" if mine else "here"
    return f"it was not timed {where}: `timetrial score {folder.path} --reward-model {name} --time` does it"


def _workload(row: ScoreTiming) -> tuple[int, int, int]:
    return row.prompt_tokens, row.tokens, row.steps
