"""The named recipes of reward models: RLHFlow's values, and those of the nutshell's verifiers.

Source: RLHFlow/RLHF-Reward-Modeling, math-rm/llama-3.1-prm.yaml and llama-3.1-orm.yaml: rows of 8,192 tokens with whole
conversations, 32 of them a step on eight devices (a row each, four times), one epoch, AdamW without decay, a cosine
from 2e-6 after 5% of warm-up, and the loss of "+" or "-" over the whole vocabulary, behind earlier steps' own labels.
"""

from __future__ import annotations

from dataclasses import dataclass

from timetrial.error import UnknownNameError
from timetrial_distillation.objectives.step_labels import StepLoss
from timetrial_distillation.rewards.rows import Reading
from timetrial_distillation.schedule import Schedule
from timetrial_plugins.rewards.declaration import Declaration
from timetrial_plugins.rewards.steps import WHOLE


@dataclass(frozen=True, kw_only=True, slots=True)
class RewardRecipe:
    """How a reward model is trained; the steps follow from how many rows the labels fill."""

    name: str
    doc: str
    model: str
    """What it starts from."""
    reading: Reading
    loss: StepLoss = "pair"
    epochs: float = 1.0
    batch_rows: int = 32
    """Rows a step, over all processes."""
    length: int = 8192
    """Tokens a row."""
    learning_rate: float = 2e-6
    schedule: Schedule = Schedule(kind="cosine", warmup_fraction=0.05)
    weight_decay: float = 0.0
    data: tuple[str, ...] = ()
    """Labels to learn from unless told otherwise; empty: the user has to say."""


_PROCESS = Declaration(format="rlhflow", splitter="blank-line")
_OUTCOME = Declaration(format="outcome", splitter=WHOLE)

REWARD_RECIPES = (
    RewardRecipe(
        name="nutshell-prm",
        doc="The nutshell's process reward model, from its Llama.",
        model="nutshell-llama",
        reading=Reading(declaration=_PROCESS, labels="soft"),
        epochs=3,
        batch_rows=4,
        length=512,
        learning_rate=1e-3,
    ),
    RewardRecipe(
        name="nutshell-orm",
        doc="An outcome reward model for the nutshell: one score for the whole solution.",
        model="nutshell-llama",
        reading=Reading(declaration=_OUTCOME),
        epochs=3,
        batch_rows=4,
        length=512,
        learning_rate=1e-3,
    ),
    RewardRecipe(
        name="llama-3.1-8b-prm",
        doc="RLHFlow's process reward model on Mistral's solutions, the paper's verifier.",
        model="meta-llama/Llama-3.1-8B-Instruct",
        reading=Reading(declaration=_PROCESS, replies="labels"),
        loss="vocabulary",
        data=("RLHFlow/Mistral-PRM-Data",),
    ),
    RewardRecipe(
        name="llama-3.1-8b-orm",
        doc="RLHFlow's outcome reward model on Mistral's solutions.",
        model="meta-llama/Llama-3.1-8B-Instruct",
        reading=Reading(declaration=_OUTCOME),
        loss="vocabulary",
        data=("RLHFlow/Mistral-ORM-Data",),
    ),
)


def find_reward_recipe(name: str) -> RewardRecipe:
    """Return the recipe of that name.

    Raises:
        UnknownNameError: there is none; offers the closest name.
    """
    recipes = {recipe.name: recipe for recipe in REWARD_RECIPES}
    if name not in recipes:
        raise UnknownNameError("reward-model recipe", name, list(recipes))
    return recipes[name]
