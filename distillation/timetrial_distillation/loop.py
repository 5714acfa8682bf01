"""The training loop: gradient steps, schedule, log and checkpoints. It does not know what is being learned.

Everything random or ordered is a function of the step number, and the state is saved whole, so a run that was stopped
and resumed is the run that was not, bit for bit on a CPU with the same number of threads.

Shapes: B examples, T tokens.
"""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, Protocol

import jsonlines
import torch

from timetrial.clock import Clock
from timetrial.error import TimetrialError, UsageError
from timetrial_distillation.checkpoint import TrainingState, load_state, save_state
from timetrial_distillation.schedule import Schedule

IGNORED = -100
"""The label of places where nothing is to be learned; PyTorch's own default."""

LOG_NAME = "log.jsonl"


class Batch(NamedTuple):
    """Examples that go through the model together."""

    tokens: torch.Tensor
    """(B, T) int64 inputs, padded on the right."""
    labels: torch.Tensor
    """(B, T) int64, the token to predict at each place, or IGNORED."""
    num_tokens: int
    """Inputs without the padding."""


class Objective(Protocol):
    """What is learned, and from which data."""

    def batches(self, step: int) -> Sequence[Batch]:
        """Return the batches of one step, a function of `step` alone; their gradients are summed."""
        ...

    def loss(self, model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """Return the loss summed over the labels of the batch."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopConfig:
    """How the weights are moved: AdamW with decoupled decay of matrices only, clipping, a schedule."""

    num_steps: int
    learning_rate: float
    """At the schedule's peak."""
    schedule: Schedule = field(default_factory=Schedule)
    weight_decay: float = 0.1
    """Of tensors with two or more dimensions; norms and biases do not decay."""
    betas: tuple[float, float] = (0.9, 0.95)
    epsilon: float = 1e-8
    clip_norm: float = 1.0
    checkpoint_every: int = 100
    """Steps between checkpoints; one is also written at the end and on Ctrl-C."""

    def __post_init__(self) -> None:
        """Refuse values that no run can have.

        Raises:
            UsageError: names the field.
        """
        for name in ("num_steps", "learning_rate", "clip_norm", "checkpoint_every"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} is {getattr(self, name)}; expected a positive number")
        if self.weight_decay < 0:
            raise UsageError(f"weight_decay is {self.weight_decay}; expected 0 or more")


@dataclass(frozen=True, kw_only=True, slots=True)
class StepLog:
    """What happened in one step: a line of log.jsonl."""

    step: int
    loss: float
    """Mean over the step's labels, in nats."""
    learning_rate: float
    gradient_norm: float
    """Before clipping."""
    num_tokens: int
    """Inputs of this step, padding not counted; labels are fewer."""
    tokens_seen: int
    """Inputs up to and including this step."""
    elapsed_s: float
    """Training seconds up to and including this step, pauses left out."""


class TrainingDivergedError(TimetrialError):
    """The loss is no longer a number."""


def train(
    model: torch.nn.Module,
    objective: Objective,
    config: LoopConfig,
    folder: Path,
    *,
    clock: Clock,
    report: Callable[[StepLog], None],
) -> TrainingState:
    """Train `model` in place up to `config.num_steps`, from the checkpoint in `folder` if there is one.

    `folder` gets checkpoint.pt and log.jsonl. `report` is called after every step. Ctrl-C finishes the step in
    progress, saves, and then raises KeyboardInterrupt.

    Returns:
        The final state, which is also saved.

    Raises:
        TrainingDivergedError: the loss became NaN or infinite; the last checkpoint is kept.
    """
    optimizer = make_optimizer(model, config)
    state = load_state(folder, model, optimizer) or TrainingState()
    _drop_log_after(folder / LOG_NAME, state.step)
    with _deferred_interrupt() as is_interrupted:
        with jsonlines.open(folder / LOG_NAME, "a", flush=True) as log:
            while state.step < config.num_steps:
                start_s = clock.now()
                outcome = _advance(model, objective, optimizer, config, state.step)
                state = state.after(outcome.num_tokens, clock.now() - start_s)
                entry = StepLog(
                    step=state.step,
                    tokens_seen=state.tokens_seen,
                    elapsed_s=round(state.elapsed_s, 3),
                    **outcome._asdict(),
                )
                log.write({name: getattr(entry, name) for name in StepLog.__slots__})
                report(entry)
                is_last = state.step == config.num_steps or is_interrupted()
                if is_last or state.step % config.checkpoint_every == 0:
                    save_state(folder, model, optimizer, state)
                if is_interrupted():
                    raise KeyboardInterrupt
    return state


def make_optimizer(model: torch.nn.Module, config: LoopConfig) -> torch.optim.AdamW:
    """Return AdamW over all parameters that require gradients; only matrices decay."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.AdamW(
        [
            {
                "params": [p for p in parameters if p.ndim >= 2],
                "weight_decay": config.weight_decay,
            },
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ],
        lr=config.learning_rate,
        betas=config.betas,
        eps=config.epsilon,
    )


class _Outcome(NamedTuple):
    loss: float
    learning_rate: float
    gradient_norm: float
    num_tokens: int


def _advance(
    model: torch.nn.Module,
    objective: Objective,
    optimizer: torch.optim.AdamW,
    config: LoopConfig,
    step: int,
) -> _Outcome:
    """Do one optimizer step. The gradient is that of the mean over all labels, however they are batched."""
    batches = objective.batches(step)
    num_labels = sum(int((batch.labels >= 0).sum()) for batch in batches)
    learning_rate = config.learning_rate * config.schedule.multiplier(step, config.num_steps)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    optimizer.zero_grad(set_to_none=True)
    loss = 0.0
    for batch in batches:
        part = objective.loss(model, batch) / num_labels
        part.backward()  # type: ignore[no-untyped-call]  # torch
        loss += part.item()
    if not math.isfinite(loss):
        raise TrainingDivergedError(
            f"the loss became {loss} at step {step + 1}, at a learning rate of {learning_rate:.3g}."
            " Begin again in another output folder with a lower learning rate."
        )
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
    optimizer.step()
    return _Outcome(loss, learning_rate, norm.item(), sum(b.num_tokens for b in batches))


def _drop_log_after(path: Path, step: int) -> None:
    """Cut the log to the steps that the checkpoint contains: later ones will be done again."""
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:step]), encoding="utf-8")


@contextmanager
def _deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C into a flag; a second one interrupts at once.

    Outside the main thread, where Python delivers no signals, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    previous = signal.getsignal(signal.SIGINT)
    pressed = threading.Event()

    def remember(number: int, frame: FrameType | None) -> Any:  # Any: signal handlers return what they like
        pressed.set()
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, remember)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, previous)
