"""Run by tests as a process of its own, alone or under torchrun: distil a tiny Llamba, and perhaps be interrupted.

    python training_process.py FOLDER STAGE[,STAGE...] [SIGNAL STEP]

Each stage is a training of its own, in FOLDER/STAGE. The signal (KILL, TERM) is raised in the first process after the
step.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import torch

from timetrial.testing.fake import FakeClock
from timetrial_distillation.data.rows import Rows
from timetrial_distillation.loop import StepLog, Surroundings, train
from timetrial_distillation.stages import StageConfig, make_objective
from timetrial_distillation.student import LlambaShape, initialised_student
from timetrial_distillation.trainer import Execution, Job, LoopConfig
from timetrial_distillation.world import opened_world
from timetrial_plugins.models.llama import Llama, LlamaConfig


class RandomRows:
    length = 10
    digest = tokenizer_digest = "0"

    def rows(self, start: int, count: int) -> Rows:
        drawn = [torch.Generator().manual_seed(place) for place in range(start, start + count)]
        tokens = torch.stack([torch.randint(31, (self.length,), generator=each) for each in drawn])
        labels, doc_ids = tokens.roll(-1, 1), torch.zeros_like(tokens)
        doc_ids[:, 6:] = 1
        labels[:, [5, 9]] = -100
        return Rows(tokens, labels, doc_ids, tokens.numel(), 8 * count)


def make_job(stage: str) -> Job:
    teacher = Llama(
        LlamaConfig(
            vocab_size=31,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
            tie_word_embeddings=True,
        )
    )
    teacher.initialise(torch.Generator().manual_seed(0), std=0.2)
    loop = LoopConfig(num_steps=12, learning_rate=0.01, checkpoint_every=4)
    config = StageConfig(stage=stage, loop=loop, batch_rows=4, length=10)
    return Job(
        student=initialised_student(LlambaShape(state_size=8), teacher, seed=1),
        teacher=teacher,
        objective=make_objective(config, teacher),
        source=RandomRows(),
        batch_rows=config.batch_rows,
        loop=loop,
        execution=Execution(micro_rows=1),
    )


def main() -> None:
    folder, stages, *interruption = sys.argv[1:]

    def report(entry: StepLog) -> None:
        if interruption and entry.step == int(interruption[1]):
            signal.raise_signal(signal.Signals[f"SIG{interruption[0]}"])

    with opened_world("cpu") as world:
        for stage in stages.split(","):
            output = Path(folder) / stage
            output.mkdir(parents=True, exist_ok=True)
            train(make_job(stage), output, Surroundings(clock=FakeClock(), world=world, report=report))


if __name__ == "__main__":
    main()
