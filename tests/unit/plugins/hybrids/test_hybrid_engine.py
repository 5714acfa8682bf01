"""A hybrid through the plugin and the engine: recognised, loaded from either layout, and decoded as its logits say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from timetrial.error import CheckpointError
from timetrial.protocol import Request, Sampling
from timetrial.record import Message, Prompt
from timetrial.spec import LoadOptions
from timetrial.testing import ModelContract
from timetrial_plugins.engine.model import EngineModel
from timetrial_plugins.models.mamba_in_llama import MambaInLlama
from timetrial_plugins.models.plugin import timetrial_checkpoints, timetrial_models
from timetrial_plugins.models.saving import save_weights
from timetrial_registry.checkpoint import COMPANION, read_config

Json = dict[str, Any]
Published = Callable[..., Json]
TEXTS = ("What is 2 + 3?", "Tom has 12 apples and eats 5 of them. How many are left?", "Name a prime.", "?")
PROMPTS = [Prompt(problem=f"p{i}", messages=(Message("user", text),)) for i, text in enumerate(TEXTS)]
GREEDY = Sampling(temperature=0.0, max_tokens=24)
SAMPLED = Sampling(temperature=1.0, max_tokens=24, seed=3)
SPECS = {spec.family: spec for spec in timetrial_models()}


def load(folder: Path, **options: str) -> EngineModel:
    model = SPECS["mamba_in_llama"].load(folder, LoadOptions(**{"device": "cpu", "dtype": "float32"} | options))
    assert isinstance(model, EngineModel)
    return model


@pytest.fixture(params=["mamba1", "mamba2"])
def checkpoint(
    request: pytest.FixtureRequest,
    published: Published,
    write_split: Callable[..., Path],
    write_tokenizer: Callable[..., Path],
    tmp_path: Path,
) -> Path:
    """Return the folder of a hybrid as the older ones are published, with a tokenizer of one token a byte."""
    return write_tokenizer(write_split(tmp_path, published(request.param, vocab_size=258, eos_token_id=257)))


def texts(model: EngineModel, sampling: Sampling, batch_size: int, samples: int = 1) -> dict[Request, str]:
    wanted = [Request(prompt=prompt, sample=sample) for prompt in PROMPTS for sample in range(samples)]
    return {g.request: g.text for g in model.generate(wanted, sampling, batch_size=batch_size)}


def greedy_by_logits(model: EngineModel, prompt: Prompt) -> str:
    """Decode by reading the whole sequence again for every token."""
    tokens = model.tokenizer.encode(model.tokenizer.render(prompt))
    start = len(tokens)
    while len(tokens) < start + 24 and tokens[-1] != 257:
        tokens.append(int(model.logits(torch.tensor([tokens]))[0, -1].argmax()))
    return model.tokenizer.decode(tokens[start:])


def test_greedy_completions_follow_the_logits_alone_and_in_a_batch_of_mixed_lengths(checkpoint: Path) -> None:
    model = load(checkpoint)
    expected = {Request(prompt=prompt, sample=0): greedy_by_logits(model, prompt) for prompt in PROMPTS}
    for batch_size in (1, 3, 8):
        assert texts(model, GREEDY, batch_size) == expected, f"in batches of {batch_size}"


def test_sampled_completions_are_the_same_at_any_batch_size(checkpoint: Path) -> None:
    model = load(checkpoint)
    reference = texts(model, SAMPLED, 1, samples=5)
    assert texts(model, SAMPLED, 7, samples=5) == texts(model, SAMPLED, 64, samples=5) == reference
    assert len(set(reference.values())) > 10


def test_a_hybrid_saved_here_completes_the_same(
    checkpoint: Path, tmp_path_factory: pytest.TempPathFactory, write_tokenizer: Callable[..., Path]
) -> None:
    model = load(checkpoint)
    module = model._module
    assert isinstance(module, MambaInLlama)
    folder = write_tokenizer(tmp_path_factory.mktemp("saved"))
    save_weights(module, folder)
    again = load(folder)
    assert texts(again, GREEDY, 4) == texts(model, GREEDY, 4)
    assert again.description["family"] == "mamba_in_llama"
    assert again.description["parameters"] == model.description["parameters"]


def test_exactly_one_family_recognises_a_hybrid_by_the_file_beside_its_config(checkpoint: Path) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    whole = read_config(checkpoint)
    assert [family for family, spec in SPECS.items() if spec.recognises(whole)] == ["mamba_in_llama"]
    assert [family for family, spec in SPECS.items() if spec.recognises({**whole, "model_type": "mistral"})] == [
        "mamba_in_llama"
    ]
    assert [family for family, spec in SPECS.items() if spec.recognises(config)] == ["llama"]


def test_a_hybrid_without_its_second_config_is_refused(checkpoint: Path) -> None:
    (checkpoint / f"{COMPANION}.json").unlink()
    with pytest.raises(CheckpointError, match=r"needs a mamba_config\.json"):
        load(checkpoint)


def test_costs_count_state_and_the_few_keys_and_values(checkpoint: Path) -> None:
    model = load(checkpoint, dtype="bfloat16")
    footprint = model._module.footprint
    assert footprint.kv_bytes_per_token == 2 * 2 * 2 * 2 * 16
    cost = model.costs(3, 100)
    assert cost.bytes_moved == footprint.weight_bytes + 3 * (100 * 256 + 2 * footprint.state_bytes)


def test_short_names_are_those_of_the_hub() -> None:
    locations = {spec.name: spec.location for spec in timetrial_checkpoints()}
    assert locations["mambainllama3b-distill-math"] == "JunxiongWang/MambaInLlama3B_Distill_MATH"
    assert locations["m1-3b"] == "togethercomputer/M1-3B"
    assert locations["llamba-1b"] == "cartesia-ai/Llamba-1B"
    assert len(locations) == len(timetrial_checkpoints())


def test_cartesias_llambas_are_not_passed_off_as_the_papers() -> None:
    docs = [spec.doc for spec in timetrial_checkpoints() if spec.family == "llamba" and spec.location]
    assert len(docs) == 3 and all("not the model of the paper" in doc for doc in docs)


class TestContractOfHybrids(ModelContract):
    @pytest.fixture
    def model(self, checkpoint: Path) -> EngineModel:
        return load(checkpoint)
