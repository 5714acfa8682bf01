"""The training loop: steps, log, checkpoints, interruptions. It does not know what is being learned.

Everything ordered is a function of the step number and nothing is random, so a run that was stopped and resumed is the
run that was not, bit for bit on a CPU with the same numbers of processes and threads.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import jsonlines

from timetrial.clock import Clock
from timetrial_distillation.checkpoint import CheckpointFolder, TrainingState
from timetrial_distillation.interruption import InterruptedTraining, deferred_interruption
from timetrial_distillation.trainer import Job, Outcome, Trainer
from timetrial_distillation.world import World

LOG_NAME = "log.jsonl"


@dataclass(frozen=True, kw_only=True, slots=True)
class StepLog:
    """What happened in one step: a line of log.jsonl."""

    step: int
    loss: float
    """Mean over the step's units (places, tokens or rows, as the objective counts), over all processes."""
    learning_rate: float
    gradient_norm: float
    """Before clipping."""
    num_tokens: int
    """Inputs of this step, padding not counted; labels are fewer."""
    tokens_seen: int
    """Inputs up to and including this step."""
    elapsed_s: float
    """Training seconds up to and including this step; pauses, checkpoints and evaluations left out."""
    metrics: Mapping[str, float]
    """Parts of the loss, such as each layer's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """What the loop takes from outside."""

    clock: Clock
    world: World
    report: Callable[[StepLog], None] = lambda entry: None
    """Called after every step, in the first process."""
    evaluate: Callable[[TrainingState], None] = lambda state: None
    """Called in every process when `evaluate_every` steps have been done, and not after the last one."""
    evaluate_every: int = 0
    """0: never."""


def train(job: Job, folder: Path, surroundings: Surroundings) -> TrainingState:
    """Train the job's student in place, from the checkpoint in `folder` if there is one.

    `folder` gets checkpoints and log.jsonl. Ctrl-C or SIGTERM, in any process, finishes the step in progress and saves.

    Returns:
        The final state, which is also saved.

    Raises:
        TrainingDivergedError: the loss became NaN or infinite; the last checkpoint is kept.
        InterruptedTraining: after saving, when asked to stop.
        CheckpointError: the checkpoint is damaged, or of another model.
    """
    return run_loop(Trainer(job, surroundings.world), job, folder, surroundings)


def run_loop(trainer: Trainer, job: Job, folder: Path, surroundings: Surroundings) -> TrainingState:
    """Do what `train` does, with a trainer that is there already."""
    world, clock = surroundings.world, surroundings.clock
    checkpoints = CheckpointFolder(folder, world, job.execution.keep_last)
    state = checkpoints.load(job.student, trainer.optimizer) or TrainingState()
    if world.is_first:
        cut_log(folder / LOG_NAME, state.step)
    with deferred_interruption() as was_asked:
        while state.step < job.loop.num_steps:
            start_s = clock.now()
            outcome = trainer.advance(state.step)
            state = state.after(outcome.num_tokens, clock.now() - start_s)
            if world.is_first:
                entry = _entry(state, outcome)
                with jsonlines.open(folder / LOG_NAME, "a") as log:
                    log.write(asdict(entry))
                surroundings.report(entry)
            must_stop = world.total([was_asked()])[0] > 0
            is_last = state.step == job.loop.num_steps
            if is_last or must_stop or state.step % job.loop.checkpoint_every == 0:
                checkpoints.save(job.student, trainer.optimizer, state)
            if must_stop:
                raise InterruptedTraining
            if surroundings.evaluate_every and not is_last and state.step % surroundings.evaluate_every == 0:
                surroundings.evaluate(state)
    return state


def cut_log(path: Path, step: int) -> None:
    """Cut a log to the lines of the steps that a checkpoint contains: later ones will be done again."""
    if not path.exists():
        return
    kept = [line for line in path.read_bytes().splitlines(keepends=True) if _is_kept(line, step)]
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(b"".join(kept))
    partial.replace(path)


def _is_kept(line: bytes, step: int) -> bool:
    """Whether a line is whole, which the last one of a killed process need not be, and not of a later step."""
    return line.endswith(b"\n") and json.loads(line)["step"] <= step


def _entry(state: TrainingState, outcome: Outcome) -> StepLog:
    return StepLog(
        step=state.step,
        tokens_seen=state.tokens_seen,
        elapsed_s=round(state.elapsed_s, 3),
        **outcome._asdict(),
    )
