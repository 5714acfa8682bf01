import pytest
import torch

from timetrial.catalog import open_catalog
from timetrial.error import UnknownNameError, UsageError
from timetrial.loading import find_configuration
from timetrial_distillation.distill_recipes import DISTILL_RECIPES, find_distill_recipe
from timetrial_distillation.stages import FIRST, PREVIOUS, SFT_LOSS, StageConfig, make_objective
from timetrial_distillation.student import HybridShape, empty_student, initialised_student
from timetrial_distillation.trainer import LoopConfig
from timetrial_plugins.models.families import BUILDERS

PAPER = {
    "llamba-1b": [("mohawk-1", 1e9, 1e-4, 2048), ("mohawk-2", 3e9, 1e-4, 2048), ("mohawk-3", 4e9, 1e-5, 2048)],
    "mamba-in-llama-3b": [("hybrid-kd", 8e9, 2e-5, 8192), ("sft", 1e9, 1e-5, 8192)],
    "llama-1b-ft": [("sft", 8e9, 1e-5, 8192)],
}


def test_names_are_unique_and_found():
    for recipe in DISTILL_RECIPES:
        assert find_distill_recipe(recipe.name, recipe.method) is recipe
    assert len({recipe.name for recipe in DISTILL_RECIPES}) == len(DISTILL_RECIPES)


def test_a_recipe_of_another_method_is_not_offered():
    with pytest.raises(UnknownNameError, match="mohawk recipe 'mamba-in-llama-1b'"):
        find_distill_recipe("mamba-in-llama-1b", "mohawk")


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_values_stand_in_its_recipes(name):
    recipe = next(recipe for recipe in DISTILL_RECIPES if recipe.name == name)
    for config, (stage, tokens, rate, length) in zip(recipe.stages, PAPER[name], strict=True):
        assert (config.stage, config.loop.learning_rate, config.length) == (stage, rate, length)
        assert tokens <= config.tokens < 1.001 * tokens
        assert (config.loop.betas, config.loop.weight_decay) == ((0.9, 0.95), 0.1)


@pytest.mark.parametrize("recipe", DISTILL_RECIPES, ids=lambda recipe: recipe.name)
def test_stages_follow_one_another(recipe):
    names = [config.stage for config in recipe.stages]
    assert (names[0] in FIRST) == (recipe.method != "finetune")
    for before, name in zip(names, names[1:], strict=False):
        assert PREVIOUS.get(name, before) == before


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("llamba-1b", 1_405_159_936),
        ("llamba-4b", 3_832_753_824),
        ("mamba-in-llama-1b", 1_293_002_752),
        ("mamba-in-llama-3b", 3_447_874_560),
    ],
)
def test_students_have_the_published_number_of_parameters(name, number):
    recipe = next(recipe for recipe in DISTILL_RECIPES if recipe.name == name)
    config = find_configuration(recipe.teacher, open_catalog()).config
    with torch.device("meta"):
        student = empty_student(recipe.shape, BUILDERS["llama"](config))
    assert sum(p.numel() for p in student.parameters()) == number


def test_a_hybrid_of_a_smaller_teacher_than_meant_is_refused(make_llama):
    with pytest.raises(UsageError, match="keeps attention in layer 3, and the teacher has 2 layers"):
        initialised_student(HybridShape(attention_layers=(0, 3)), make_llama(layers=2), seed=0)


def test_new_students_are_functions_of_the_seed(make_llama):
    shape = HybridShape(attention_layers=(1,))
    weights = [initialised_student(shape, make_llama(2, 64), seed).layers[0].mamba.in_proj.weight for seed in (1, 1, 2)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_checkpointing_where_it_would_do_nothing_is_refused(make_llama):
    config = StageConfig(stage="mohawk-2", loop=LoopConfig(num_steps=1, learning_rate=0.1), batch_rows=1, length=8)
    with pytest.raises(UsageError, match="nothing that gradient checkpointing would save"):
        make_objective(config, make_llama(), checkpointing=True)


def test_fine_tuning_with_a_divergence_is_refused():
    loop = LoopConfig(num_steps=1, learning_rate=0.1)
    with pytest.raises(UsageError, match="kl_weight of 0"):
        StageConfig(stage="sft", loop=loop, batch_rows=1, length=8)
    assert not StageConfig(stage="sft", loop=loop, batch_rows=1, length=8, token_loss=SFT_LOSS).has_teacher
