import hashlib
from pathlib import Path

import pytest
import torch

from timetrial.testing.fake import FakeClock
from timetrial_distillation.data.rows import IGNORED, Rows
from timetrial_distillation.loop import Surroundings, train
from timetrial_distillation.objectives.end_to_end import EndToEnd
from timetrial_distillation.objectives.token_loss import TokenLoss
from timetrial_distillation.trainer import Execution, Job, LoopConfig
from timetrial_distillation.world import World
from timetrial_plugins.models.llama import Llama, LlamaConfig

VOCABULARY = 11


class Doubling:
    """Rows in which 2t mod 11 follows t, a function of their number; a part of each is not learned."""

    length = 8
    digest = hashlib.sha256(b"doubling").hexdigest()
    tokenizer_digest = digest

    def __init__(self):
        self.asked = []

    def rows(self, start, count):
        self.asked += range(start, start + count)
        drawn = [torch.Generator().manual_seed(place) for place in range(start, start + count)]
        tokens = torch.stack([torch.randint(VOCABULARY, (self.length,), generator=each) for each in drawn])
        labels = (2 * tokens) % VOCABULARY
        for row, place in enumerate(range(start, start + count)):
            labels[row, : place % 5] = IGNORED
        return Rows(tokens, labels, torch.zeros_like(tokens), tokens.numel(), int((labels != IGNORED).sum()))


@pytest.fixture
def make_llama():
    def make(layers=1, width=16):
        llama = Llama(
            LlamaConfig(
                vocab_size=VOCABULARY,
                hidden_size=width,
                intermediate_size=2 * width,
                num_hidden_layers=layers,
                num_attention_heads=2,
                num_key_value_heads=1,
                head_dim=width // 2,
                tie_word_embeddings=True,
            )
        )
        llama.initialise(torch.Generator().manual_seed(0), std=0.2)
        return llama

    return make


@pytest.fixture
def make_job(make_llama):
    """Return a function that makes a job of 20 steps; `micro_rows` and the loop's fields can be changed."""

    def make(student=None, source=None, objective=None, micro_rows=6, precision="float32", **loop):
        values = {"num_steps": 20, "learning_rate": 0.05, "checkpoint_every": 6} | loop
        return Job(
            student=student or make_llama(),
            objective=objective or EndToEnd(token_loss=TokenLoss(kl_weight=0.0)),
            source=source or Doubling(),
            batch_rows=6,
            loop=LoopConfig(**values),
            execution=Execution(micro_rows=micro_rows, precision=precision),
        )

    return make


@pytest.fixture
def doubling():
    return Doubling


@pytest.fixture
def run_job():
    """Return a function that trains a job in a folder, on a clock of one second a look."""

    def run(folder: Path, job, report=lambda entry: None, **surroundings):
        folder.mkdir(exist_ok=True)
        state = train(job, folder, Surroundings(clock=FakeClock(), world=World(), report=report, **surroundings))
        return job.student, state

    return run
