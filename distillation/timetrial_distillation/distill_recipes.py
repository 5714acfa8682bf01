"""The named recipes of distillation: the paper's values for Llamba and MambaInLlama, and their twins at nutshell size.

Source: arXiv 2502.20339, section 3: tokens, learning rates, lengths, betas, weight decay, and Llamba's schedule. It
states no batch sizes: those of MOHAWK's published configurations are taken, 2^17 tokens in stage 1 and 2^18 otherwise.
Of hybrids it states no schedule, and of fine-tuning nothing: cosine with little warm-up and a rate of 1e-5 are those of
the published code of M1, and a billion tokens is a choice of ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from timetrial.error import UnknownNameError
from timetrial_distillation.data.plan import Mode
from timetrial_distillation.objectives.token_loss import TokenLoss
from timetrial_distillation.schedule import Schedule
from timetrial_distillation.sources import NUTSHELL
from timetrial_distillation.stages import SFT_LOSS, StageConfig, StageName, steps_for
from timetrial_distillation.student import HybridShape, LlambaShape, Shape
from timetrial_distillation.trainer import LoopConfig

Method = Literal["mohawk", "mamba-in-llama", "finetune"]
_FORWARD = TokenLoss(divergence="forward")
_REVERSE = TokenLoss(divergence="reverse")
_COSINE = Schedule(kind="cosine", warmup_fraction=0.02)


@dataclass(frozen=True, kw_only=True, slots=True)
class DistillRecipe:
    """A method with all its values."""

    name: str
    method: Method
    doc: str
    teacher: str
    """The model it is meant for: the teacher, or for finetune what is tuned."""
    shape: Shape | None
    """Of the student; None for finetune."""
    stages: tuple[StageConfig, ...]
    data: tuple[str, ...] = ()
    """What every stage is trained on unless told otherwise; empty: the user has to say."""
    task: str | None = None
    """What results are evaluated on unless told otherwise."""


def _paper(stage: StageName, tokens: float, rate: float) -> StageConfig:
    """Return a stage in the paper's units."""
    batch_tokens = 2**17 if stage == "mohawk-1" else 2**18
    length = 2048 if stage.startswith("mohawk") else 8192
    mode: Mode = "concat" if stage in ("mohawk-1", "mohawk-2") else "bfd"
    losses = {"mohawk-3": _FORWARD, "hybrid-kd": _REVERSE, "sft": SFT_LOSS}
    batch_rows = batch_tokens // length
    return StageConfig(
        stage=stage,
        loop=LoopConfig(
            num_steps=steps_for(int(tokens), batch_rows, length),
            learning_rate=rate,
            schedule=Schedule() if stage.startswith("mohawk") else _COSINE,
            checkpoint_every=500,
        ),
        batch_rows=batch_rows,
        length=length,
        mode=mode,
        token_loss=losses.get(stage, _REVERSE),
    )


def _nutshell(stage: StageName, num_steps: int, rate: float, batch_rows: int = 4) -> StageConfig:
    """Return a stage on rows of 512 generated tokens.

    The divergence is forward for hybrids too: with so few steps the reverse one, which the new layers' first outputs
    make large and flat, falls far more slowly.
    """
    return StageConfig(
        stage=stage,
        loop=LoopConfig(
            num_steps=num_steps,
            learning_rate=rate,
            schedule=Schedule() if stage.startswith("mohawk") else _COSINE,
            checkpoint_every=100,
        ),
        batch_rows=batch_rows,
        length=512,
        token_loss=SFT_LOSS if stage == "sft" else _FORWARD,
    )


_MOHAWK = (_paper("mohawk-1", 1e9, 1e-4), _paper("mohawk-2", 3e9, 1e-4), _paper("mohawk-3", 4e9, 1e-5))
_HYBRID = (_paper("hybrid-kd", 8e9, 2e-5), _paper("sft", 1e9, 1e-5))
_FINETUNE = (_paper("sft", 8e9, 1e-5),)

DISTILL_RECIPES = (
    DistillRecipe(
        name="nutshell-llamba",
        method="mohawk",
        doc="A Llamba of the shipped teacher, in three stages on generated problems.",
        teacher="nutshell-llama",
        shape=LlambaShape(state_size=32),
        stages=(
            _nutshell("mohawk-1", 150, 3e-3),
            _nutshell("mohawk-2", 500, 2e-3),
            _nutshell("mohawk-3", 1500, 2e-3),
        ),
        data=(NUTSHELL,),
        task="nutshell",
    ),
    DistillRecipe(
        name="nutshell-mamba-in-llama",
        method="mamba-in-llama",
        doc="A hybrid of the shipped teacher that keeps one of four attention layers.",
        teacher="nutshell-llama",
        shape=HybridShape(attention_layers=(1,)),
        stages=(_nutshell("hybrid-kd", 1400, 3e-3), _nutshell("sft", 200, 3e-4)),
        data=(NUTSHELL,),
        task="nutshell",
    ),
    DistillRecipe(
        name="nutshell-ft",
        method="finetune",
        doc="The control: the shipped teacher fine-tuned on the data its students see.",
        teacher="nutshell-llama",
        shape=None,
        stages=(_nutshell("sft", 400, 3e-4),),
        data=(NUTSHELL,),
        task="nutshell",
    ),
    DistillRecipe(
        name="llamba-1b",
        method="mohawk",
        doc="Llamba-1B of Llama-3.2-1B-Instruct: 1, 3 and 4 billion tokens.",
        teacher="llama-3.2-1b",
        shape=LlambaShape(state_size=64),
        stages=_MOHAWK,
    ),
    DistillRecipe(
        name="llamba-4b",
        method="mohawk",
        doc="Llamba-4B of Llama-3.2-3B-Instruct: 1, 3 and 4 billion tokens.",
        teacher="llama-3.2-3b",
        shape=LlambaShape(state_size=128),
        stages=_MOHAWK,
    ),
    DistillRecipe(
        name="mamba-in-llama-1b",
        method="mamba-in-llama",
        doc="MambaInLlama-1B: attention kept in 4 of 16 layers, 8 billion tokens, then fine-tuning.",
        teacher="llama-3.2-1b",
        shape=HybridShape(attention_layers=(3, 7, 11, 15)),
        stages=_HYBRID,
    ),
    DistillRecipe(
        name="mamba-in-llama-3b",
        method="mamba-in-llama",
        doc="MambaInLlama-3B: attention kept in 6 of 28 layers, 8 billion tokens, then fine-tuning.",
        teacher="llama-3.2-3b",
        shape=HybridShape(attention_layers=(3, 8, 13, 18, 23, 27)),
        stages=_HYBRID,
    ),
    DistillRecipe(
        name="llama-1b-ft",
        method="finetune",
        doc="The control: Llama-3.2-1B-Instruct fine-tuned on as many tokens as its students.",
        teacher="llama-3.2-1b",
        shape=None,
        stages=_FINETUNE,
    ),
    DistillRecipe(
        name="llama-3b-ft",
        method="finetune",
        doc="The control: Llama-3.2-3B-Instruct fine-tuned on as many tokens as its students.",
        teacher="llama-3.2-3b",
        shape=None,
        stages=_FINETUNE,
    ),
)


def find_distill_recipe(name: str, method: Method) -> DistillRecipe:
    """Return the recipe of that name.

    Raises:
        UnknownNameError: the method has none; offers the closest name.
    """
    recipes = {recipe.name: recipe for recipe in DISTILL_RECIPES if recipe.method == method}
    if name not in recipes:
        raise UnknownNameError(f"{method} recipe", name, list(recipes))
    return recipes[name]
