"""Train a small Llama from scratch on the nutshell task, into a folder in the Hub's layout."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from timetrial.clock import Clock
from timetrial.error import RunError, UsageError
from timetrial_distillation.checkpoint import TrainingState
from timetrial_distillation.loop import LOG_NAME, StepLog, Surroundings, train
from timetrial_distillation.objectives.end_to_end import EndToEnd
from timetrial_distillation.objectives.token_loss import TokenLoss
from timetrial_distillation.output import export_model, prepare_output, write_json
from timetrial_distillation.solutions import SolutionRows, SolutionStream
from timetrial_distillation.trainer import Execution, Job, LoopConfig
from timetrial_distillation.world import World
from timetrial_plugins.models.llama import Llama, LlamaConfig
from timetrial_plugins.nutshell.tokenizer import MAX_LENGTH, load_tokenizer, write_tokenizer


@dataclass(frozen=True, kw_only=True, slots=True)
class LlamaSize:
    """The shape of the Llama. The embedding is tied; the vocabulary is the tokenizer's."""

    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int = 32

    def __post_init__(self) -> None:
        """Refuse shapes that cannot be built.

        Raises:
            UsageError: names the field.
        """
        for name, value in asdict(self).items():
            if value < 1:
                raise UsageError(f"{name} is {value}; expected a positive number")
        if self.num_heads % self.num_kv_heads:
            raise UsageError(f"num_heads is {self.num_heads}; expected a multiple of num_kv_heads, {self.num_kv_heads}")
        if self.head_dim % 2:
            raise UsageError(f"head_dim is {self.head_dim}; rotary embeddings need an even number")


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainConfig:
    """A whole training run; equal configs give equal weights."""

    size: LlamaSize
    loop: LoopConfig
    stream: SolutionStream = field(default_factory=SolutionStream)
    seed: int = 0
    """Of the initial weights."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainResult:
    """What a finished run did; also written to training.json beside the weights."""

    num_parameters: int
    num_steps: int
    tokens_seen: int
    elapsed_s: float
    final_loss: float
    """Mean over the last twentieth of the steps, in nats a label."""


def pretrain(
    config: PretrainConfig,
    out: Path,
    *,
    clock: Clock,
    resume: bool = False,
    report: Callable[[StepLog], None] = lambda entry: None,
) -> PretrainResult:
    """Train by `config` and write the model to `out`: config.json, model.safetensors, tokenizer, training.json.

    What is needed to resume is kept in `out`/training; it may be deleted when the run is done.

    Raises:
        UsageError: `out` has files and `resume` is off.
        ConfigMismatchError: the run to resume was made with another config.
        RunError: `out` cannot be written to, or the disk is full.
        CheckpointError: the checkpoint to resume from is damaged.
        KeyboardInterrupt: on Ctrl-C, after saving.
    """
    try:
        folder = prepare_output(out, asdict(config), resume=resume)
        write_tokenizer(out)
        tokenizer = load_tokenizer(out)
        model = build_model(config, len(tokenizer))
        state = train(_job(config, model, out), folder, Surroundings(clock=clock, world=World(), report=report))
        export_model(model, tokenizer, out)
        result = _result(model, folder, state)
        write_json(out / "training.json", {"config": asdict(config), "result": asdict(result)})
    except OSError as error:
        raise RunError(
            f"cannot write to {out}: {error}. Make room or choose another folder; a saved checkpoint stays valid."
        ) from error
    return result


def build_model(config: PretrainConfig, vocab_size: int) -> Llama:
    """Return the Llama with its initial weights, a function of the config alone."""
    size = config.size
    model = Llama(
        LlamaConfig(
            vocab_size=vocab_size,
            hidden_size=size.hidden_size,
            intermediate_size=size.intermediate_size,
            num_hidden_layers=size.num_layers,
            num_attention_heads=size.num_heads,
            num_key_value_heads=size.num_kv_heads,
            head_dim=size.head_dim,
            max_position_embeddings=MAX_LENGTH,
            tie_word_embeddings=True,
        )
    )
    model.initialise(torch.Generator().manual_seed(config.seed))
    return model


def _job(config: PretrainConfig, model: Llama, out: Path) -> Job:
    stream = config.stream
    return Job(
        student=model,
        objective=EndToEnd(token_loss=TokenLoss(kl_weight=0.0)),
        source=SolutionRows(stream, out),
        batch_rows=stream.batch_examples,
        loop=config.loop,
        execution=Execution(micro_rows=math.ceil(stream.batch_examples / stream.num_batches)),
    )


def _result(model: Llama, folder: Path, state: TrainingState) -> PretrainResult:
    lines = (folder / LOG_NAME).read_text(encoding="utf-8").splitlines()
    losses = [json.loads(line)["loss"] for line in lines[-max(1, len(lines) // 20) :]]
    return PretrainResult(
        num_parameters=sum(p.numel() for p in model.parameters()),
        num_steps=state.step,
        tokens_seen=state.tokens_seen,
        elapsed_s=round(state.elapsed_s, 1),
        final_loss=round(sum(losses) / len(losses), 5),
    )
