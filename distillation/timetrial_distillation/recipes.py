"""Named training runs: everything that is needed to make the shipped weights again."""

from __future__ import annotations

from dataclasses import dataclass

from timetrial.error import UnknownNameError
from timetrial_distillation.pretrain import LlamaSize, PretrainConfig
from timetrial_distillation.schedule import Schedule
from timetrial_distillation.solutions import SolutionStream
from timetrial_distillation.trainer import LoopConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class PretrainRecipe:
    """A config with a name."""

    name: str
    doc: str
    config: PretrainConfig


PRETRAIN_RECIPES = (
    PretrainRecipe(
        name="nutshell-llama",
        doc="The shipped Llama of 1.7 million parameters; about 15 minutes on two cores.",
        config=PretrainConfig(
            size=LlamaSize(
                hidden_size=192,
                intermediate_size=512,
                num_layers=4,
                num_heads=6,
                num_kv_heads=2,
            ),
            loop=LoopConfig(
                num_steps=1700,
                learning_rate=2e-3,
                betas=(0.9, 0.99),
                schedule=Schedule(kind="cosine", warmup_fraction=0.02),
            ),
            stream=SolutionStream(batch_examples=24, num_batches=2, easy_problems=12_000),
        ),
    ),
)


def find_pretrain_recipe(name: str) -> PretrainRecipe:
    """Return the recipe of that name.

    Raises:
        UnknownNameError: there is none; offers the closest name.
    """
    for recipe in PRETRAIN_RECIPES:
        if recipe.name == name:
            return recipe
    raise UnknownNameError("recipe", name, [recipe.name for recipe in PRETRAIN_RECIPES])
