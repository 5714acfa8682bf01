"""Is a training step at least as fast as a plain Hugging Face Trainer loop on the same Llama? Fine-tuning, here.

Both train the same Llama, from the same weights, on the same rows of generated problems, by fused AdamW with clipping.
Steps alternate in one process: the Trainer's callback does one of ours after each of its own, so whatever else the
machine does meets both. Both keep the documents of a row apart, and their losses, printed side by side, agree. Ours
makes its rows in the step; the Trainer's are made beforehand.
Needs transformers with accelerate (`pip install accelerate`).
Usage: python benchmarks/training.py [--steps 20] [--rows 8] [--length 512] [--teacher nutshell-llama] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from dataclasses import dataclass, field
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from transformers import LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from timetrial.clock import MonotonicClock
from timetrial_distillation import trainer as own
from timetrial_distillation.data.rows import IGNORED
from timetrial_distillation.objectives.end_to_end import EndToEnd
from timetrial_distillation.origin import OriginModel, find_model
from timetrial_distillation.schedule import Schedule
from timetrial_distillation.sources import NUTSHELL, Arrangement, DataName, open_rows
from timetrial_distillation.stages import SFT_LOSS
from timetrial_distillation.world import World

WARM_UPS = 3
RATE = 1e-4


@dataclass(kw_only=True)
class Alternation(TrainerCallback):
    """Times the Trainer's steps, and does one of ours after each."""

    trainer: own.Trainer
    clock: MonotonicClock = field(default_factory=MonotonicClock)
    theirs_s: list[float] = field(default_factory=list)
    ours_s: list[float] = field(default_factory=list)
    our_losses: list[float] = field(default_factory=list)
    _since_s: float = 0.0

    def on_train_begin(self, *_: Any, **__: Any) -> None:  # Any: the Trainer's
        self._since_s = self.clock.now()

    def on_step_end(self, *_: Any, **__: Any) -> None:  # Any: as above
        ended_s = self.clock.now()
        outcome = self.trainer.advance(len(self.ours_s))
        self.theirs_s.append(ended_s - self._since_s)
        self._since_s = self.clock.now()
        self.ours_s.append(self._since_s - ended_s)
        self.our_losses.append(outcome.loss)


def make_trainer(model: OriginModel, arguments: argparse.Namespace) -> own.Trainer:
    source = open_rows([DataName(NUTSHELL, 1.0)], Arrangement(length=arguments.length), model.tokenizer, model.ref)
    steady = Schedule(kind="wsd", warmup_fraction=0.0, decay_fraction=0.0)
    return own.Trainer(
        own.Job(
            student=model.load(torch.float32),
            objective=EndToEnd(token_loss=SFT_LOSS),
            source=source,
            batch_rows=arguments.rows,
            loop=own.LoopConfig(num_steps=arguments.steps, learning_rate=RATE, schedule=steady),
            execution=own.Execution(micro_rows=arguments.rows),
        ),
        World(),
    )


def their_rows(model: OriginModel, arguments: argparse.Namespace) -> list[dict[str, torch.Tensor]]:
    """Return the same rows as transformers wants them: labels not shifted, documents told apart by positions."""
    source = open_rows([DataName(NUTSHELL, 1.0)], Arrangement(length=arguments.length), model.tokenizer, model.ref)
    rows = source.rows(0, arguments.rows * arguments.steps)
    labels = torch.full_like(rows.labels, IGNORED)
    labels[:, 1:] = rows.labels[:, :-1]
    is_first = torch.ones_like(rows.doc_ids, dtype=torch.bool)
    is_first[:, 1:] = rows.doc_ids[:, 1:] != rows.doc_ids[:, :-1]
    places = torch.arange(arguments.length).expand_as(rows.tokens)
    positions = places - (places * is_first).cummax(1).values
    names = ("input_ids", "labels", "position_ids")
    return [dict(zip(names, row, strict=True)) for row in zip(rows.tokens, labels, positions, strict=True)]


def train_both(model: OriginModel, arguments: argparse.Namespace) -> tuple[Alternation, list[float]]:
    alternation = Alternation(trainer=make_trainer(model, arguments))
    with tempfile.TemporaryDirectory() as folder:
        theirs = Trainer(
            model=LlamaForCausalLM.from_pretrained(model.folder, dtype=torch.float32),
            args=TrainingArguments(
                output_dir=folder,
                per_device_train_batch_size=arguments.rows,
                max_steps=arguments.steps,
                learning_rate=RATE,
                lr_scheduler_type="constant",
                weight_decay=0.1,
                adam_beta2=0.95,
                max_grad_norm=1.0,
                optim="adamw_torch_fused",
                train_sampling_strategy="sequential",
                logging_steps=1,
                save_strategy="no",
                report_to=[],
                use_cpu=True,
                disable_tqdm=True,
                dataloader_num_workers=0,
            ),
            train_dataset=their_rows(model, arguments),
            callbacks=[alternation],
        )
        theirs.remove_callback(PrinterCallback)
        theirs.train()
    return alternation, [entry["loss"] for entry in theirs.state.log_history if "loss" in entry]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--teacher", default="nutshell-llama")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.steps <= WARM_UPS:
        parser.error(f"--steps must be above {WARM_UPS}, which are warm-ups")
    alternation, their_losses = train_both(find_model(arguments.teacher), arguments)
    tokens = arguments.rows * arguments.length
    ratios = [t / o for t, o in zip(alternation.theirs_s, alternation.ours_s, strict=True)][WARM_UPS:]
    found = {
        "threads": torch.get_num_threads(),
        "ours_tokens_a_second": tokens / statistics.median(alternation.ours_s[WARM_UPS:]),
        "trainer_tokens_a_second": tokens / statistics.median(alternation.theirs_s[WARM_UPS:]),
        "times_as_fast": statistics.median(ratios),
        "quartiles": statistics.quantiles(ratios, n=4)[::2],
        "our_last_loss": alternation.our_losses[-1],
        "trainer_last_loss": their_losses[-1],
    }
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    table = Table("", "Tokens a second", "Last loss", title=f"{len(ratios)} alternating steps of {tokens:,} tokens")
    table.add_row("timetrial", f"{found['ours_tokens_a_second']:,.0f}", f"{found['our_last_loss']:.4f}")
    table.add_row(
        "transformers.Trainer", f"{found['trainer_tokens_a_second']:,.0f}", f"{found['trainer_last_loss']:.4f}"
    )
    Console().print(table)
    low, high = found["quartiles"]
    print(f"{found['times_as_fast']:.2f} times as fast (quartiles of the steps {low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
