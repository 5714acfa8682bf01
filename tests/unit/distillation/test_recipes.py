import json
from dataclasses import asdict
from pathlib import Path

import pytest

import timetrial_plugins.nutshell
from timetrial.error import UnknownNameError
from timetrial_distillation.pretrain import build_model
from timetrial_distillation.recipes import PRETRAIN_RECIPES, find_pretrain_recipe
from timetrial_plugins.nutshell.tokenizer import build_tokenizer


def test_recipes_are_found_by_their_unique_names():
    for recipe in PRETRAIN_RECIPES:
        assert find_pretrain_recipe(recipe.name) is recipe
    assert len({recipe.name for recipe in PRETRAIN_RECIPES}) == len(PRETRAIN_RECIPES)


def test_an_unknown_name_offers_the_closest():
    with pytest.raises(UnknownNameError, match="did you mean 'nutshell-llama'"):
        find_pretrain_recipe("nutshell-lama")


def test_the_nutshell_llama_has_one_to_four_million_parameters():
    config = find_pretrain_recipe("nutshell-llama").config
    model = build_model(config, build_tokenizer().get_vocab_size())
    assert 1_000_000 <= sum(p.numel() for p in model.parameters()) <= 4_000_000


def test_the_shipped_weights_are_of_the_recipe_as_it_stands():
    folder = Path(timetrial_plugins.nutshell.__file__).parent / "llama"
    shipped = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    config = asdict(find_pretrain_recipe("nutshell-llama").config)
    assert shipped["config"] == json.loads(json.dumps(config))
    assert shipped["result"]["num_steps"] == config["loop"]["num_steps"]
