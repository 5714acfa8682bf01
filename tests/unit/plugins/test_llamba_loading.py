"""Llamba folders in the published layout through the engine: what loads, what is refused, and what is generated."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from timetrial.error import CheckpointError
from timetrial.protocol import Generation, Model, Request, Sampling
from timetrial.record import Message, Prompt
from timetrial.spec import LoadOptions
from timetrial.testing import ModelContract
from timetrial_plugins.engine.loading import load_model
from timetrial_plugins.engine.model import EngineModel
from timetrial_plugins.models.llamba import Llamba
from timetrial_plugins.models.llamba_config import LlambaConfig

CONFIG: dict[str, Any] = {
    "model_type": "llamba",
    "vocab_size": 258,
    "d_model": 32,
    "n_layer": 2,
    "tie_embeddings": True,
    "lm_head_bias": False,
    "pad_vocab_size_multiple": 8,
    "resid_dropout": 0.0,
    "norm_epsilon": 1e-05,
    "mlp_cfg": {"intermediate_size": 48, "bias": False, "act_fn": "silu"},
    "ssm_cfg": {"d_state": 8, "n_v_heads": 4, "n_qk_heads": 4, "expand": 1, "activation": "identity", "bias": False},
    "architectures": None,
    "transformers_version": "4.46.1",
}
EOS = 257
TOKENS = torch.arange(60).reshape(2, 30)
TEXTS = ("What is 2 + 3?", "Tom has 12 apples and eats 5 of them. How many are left?", "Name a prime.", "?")
PROMPTS = [Prompt(problem=f"p{i}", messages=(Message("user", text),)) for i, text in enumerate(TEXTS)]
GREEDY = Sampling(temperature=0.0, max_tokens=24)
WriteTokenizer = Callable[..., Path]
MakeLlamba = Callable[..., Path]


def load(folder: Path, **options: str) -> EngineModel:
    options = {"device": "cpu", "dtype": "float32"} | options
    return load_model(
        folder, LoadOptions(**options), family="llamba", build=lambda c: Llamba(LlambaConfig.from_json(c))
    )


def published_tensors(config: LlambaConfig) -> dict[str, Tensor]:
    """Return random tensors under the names and in the shapes of the published layout, written out by hand."""
    width, heads, inner = config.d_model, config.ssm_cfg.n_v_heads, config.mlp_cfg.intermediate_size
    conv = width + 2 * heads * config.ssm_cfg.d_state
    shapes: dict[str, tuple[int, ...]] = {
        "embedding.weight": (config.num_rows, width),
        "final_layernorm.weight": (width,),
    }
    for i in range(config.n_layer):
        shapes |= {
            f"layers.{i}.input_layernorm.weight": (width,),
            f"layers.{i}.post_attention_layernorm.weight": (width,),
            f"layers.{i}.mixer.in_proj.weight": (conv + width + heads, width),
            f"layers.{i}.mixer.conv1d.weight": (conv, 1, 4),
            f"layers.{i}.mixer.conv1d.bias": (conv,),
            f"layers.{i}.mixer.z_bias": (width,),
            f"layers.{i}.mixer.D": (heads,),
            f"layers.{i}.mixer.out_proj.weight": (width, width),
            f"layers.{i}.mlp.gate_proj.weight": (inner, width),
            f"layers.{i}.mlp.up_proj.weight": (inner, width),
            f"layers.{i}.mlp.down_proj.weight": (width, inner),
        }
    shapes = {f"backbone.{name}": shape for name, shape in shapes.items()}
    if not config.tie_embeddings:
        shapes["lm_head.weight"] = (config.num_rows, width)
    generator = torch.Generator().manual_seed(0)
    return {name: 0.3 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


@pytest.fixture(scope="session")
def make_llamba(tmp_path_factory: pytest.TempPathFactory, write_tokenizer: WriteTokenizer) -> MakeLlamba:
    """Return a function that writes a random Llamba in the published layout, and its tokenizer beside it."""

    def make(
        *, file: str = "model.safetensors", dtype: torch.dtype = torch.float32, drop: Sequence[str] = (), **changes: Any
    ) -> Path:
        data = CONFIG | changes
        tensors = published_tensors(LlambaConfig.from_json(data))
        tensors = {name: tensor.to(dtype) for name, tensor in tensors.items() if name not in drop}
        folder = tmp_path_factory.mktemp("llamba")
        (folder / "config.json").write_text(json.dumps(data))
        if file.endswith(".safetensors"):
            save_file(tensors, folder / file, metadata={"format": "pt"})
        else:
            torch.save(tensors, folder / file)
        return write_tokenizer(folder)

    return make


@pytest.fixture(scope="session")
def tiny_llamba(make_llamba: MakeLlamba) -> Path:
    return make_llamba()


@pytest.fixture(scope="module")
def model(tiny_llamba: Path) -> EngineModel:
    return load(tiny_llamba)


# What loads


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_both_published_files_give_the_same_model(make_llamba: MakeLlamba, tied: bool) -> None:
    """pytorch_model.bin is what the published code saves, model.safetensors what the Hub holds."""
    safetensors, pickle = (
        load(make_llamba(file=file, tie_embeddings=tied)) for file in ("model.safetensors", "pytorch_model.bin")
    )
    logits = safetensors.logits(TOKENS)
    assert logits.shape == (2, 30, 258) and torch.equal(logits, pickle.logits(TOKENS))


def test_weights_may_be_bfloat16_in_the_file_and_in_use(make_llamba: MakeLlamba, tiny_llamba: Path) -> None:
    exact = load(tiny_llamba).logits(TOKENS)
    stored = load(make_llamba(dtype=torch.bfloat16)).logits(TOKENS)
    used = load(tiny_llamba, dtype="bfloat16")
    assert used.description["weight_bytes"] * 2 == load(tiny_llamba).description["weight_bytes"]
    for logits in (stored, used.logits(TOKENS)):
        assert logits.dtype == torch.float32 and 0 < (logits - exact).std() < 0.05 * exact.std()


def test_a_tied_head_may_be_in_the_file(make_llamba: MakeLlamba, tiny_llamba: Path) -> None:
    folder = make_llamba()
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {"lm_head.weight": tensors["backbone.embedding.weight"].clone()}, folder / "model.safetensors")
    assert torch.equal(load(folder).logits(TOKENS), load(tiny_llamba).logits(TOKENS))


def test_every_tensor_that_does_not_fit_is_named(make_llamba: MakeLlamba) -> None:
    lost = ("backbone.layers.1.mixer.z_bias", "backbone.final_layernorm.weight")
    folder = make_llamba(drop=lost)
    tensors = load_file(folder / "model.safetensors")
    tensors["backbone.layers.0.mixer.dt_bias"] = torch.ones(4)
    tensors["backbone.layers.0.mixer.D"] = torch.ones(8)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError) as caught:
        load(folder)
    message = str(caught.value)
    assert "4 problems" in message and str(folder) in message
    assert "missing backbone.layers.1.mixer.z_bias [32]" in message
    assert "missing backbone.final_layernorm.weight [32]" in message
    assert "unexpected backbone.layers.0.mixer.dt_bias [4]" in message
    assert "backbone.layers.0.mixer.D has shape [8], expected [4]" in message


def test_an_untied_model_must_bring_its_head(make_llamba: MakeLlamba) -> None:
    with pytest.raises(CheckpointError, match=r"missing lm_head.weight \[264, 32\]"):
        load(make_llamba(tie_embeddings=False, drop=["lm_head.weight"]))


def test_the_files_and_the_published_convention_say_what_ends_a_sequence(make_llamba: MakeLlamba) -> None:
    assert load(make_llamba()).description["eos_ids"] == [EOS]
    assert load(make_llamba(eos_token_id=[5, 6])).description["eos_ids"] == [5, 6, EOS]
    large = load(make_llamba(vocab_size=128256, d_model=4, mlp_cfg={"intermediate_size": 4}, n_layer=1))
    assert large.description["eos_ids"] == [EOS, 128001, 128008, 128009]


def test_the_description_tells_family_and_no_context(model: EngineModel) -> None:
    description = json.loads(json.dumps(model.description))
    assert description["family"] == "llamba" and description["context_length"] is None


def test_costs_do_not_depend_on_the_context(model: EngineModel) -> None:
    footprint = model._module.footprint
    cost = model.costs(3, 100)
    per_sequence = 2 * (4 * 8 * 8 * 4 + (32 + 2 * 4 * 8) * 4 * 4)  # layers; state; convolution; float32
    assert footprint.state_bytes == per_sequence and footprint.kv_bytes_per_token == 0
    assert cost == model.costs(3, 100_000)
    assert cost.bytes_moved == footprint.weight_bytes + 3 * 2 * per_sequence


# What is generated


def by_request(
    model: EngineModel, wanted: Sequence[Request], sampling: Sampling, batch_size: int
) -> dict[Request, Generation]:
    return {g.request: g for g in model.generate(wanted, sampling, batch_size=batch_size)}


def greedy_by_logits(model: EngineModel, prompt: Prompt, max_tokens: int) -> list[int]:
    """Decode by reading the whole sequence again for every token."""
    tokens = model.tokenizer.encode(model.tokenizer.render(prompt))
    new: list[int] = []
    while len(new) < max_tokens and EOS not in new:
        new.append(int(model.logits(torch.tensor([tokens + new]))[0, -1].argmax()))
    return new


@pytest.mark.parametrize("batch_size", [1, 3, 64])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_greedy_completions_follow_the_logits_alone_and_among_prompts_of_other_lengths(
    make_llamba: MakeLlamba, tied: bool, batch_size: int
) -> None:
    model = load(make_llamba(tie_embeddings=tied))
    wanted = [Request(prompt=prompt, sample=sample) for prompt in PROMPTS for sample in range(2)]
    generations = by_request(model, wanted, GREEDY, batch_size)
    lengths = {generation.num_prompt_tokens for generation in generations.values()}
    assert len(generations) == len(wanted) and len(lengths) == len(PROMPTS)
    expected = {prompt.problem: greedy_by_logits(model, prompt, GREEDY.max_tokens) for prompt in PROMPTS}
    for request, generation in generations.items():
        tokens = expected[request.prompt.problem]
        assert generation.num_tokens == len(tokens)
        assert generation.text == model.tokenizer.decode(tokens)


def test_no_context_limits_a_completion(model: EngineModel) -> None:
    for generation in model.generate(
        [Request(prompt=PROMPTS[1], sample=0)], Sampling(temperature=0.0, max_tokens=600), batch_size=1
    ):
        assert generation.finish == "stop" or generation.num_tokens == 600


def test_the_rows_that_pad_the_vocabulary_are_never_drawn(make_llamba: MakeLlamba, model: EngineModel) -> None:
    folder = make_llamba()
    tensors = load_file(folder / "model.safetensors")
    assert tensors["backbone.embedding.weight"].shape[0] == 264
    tensors["backbone.embedding.weight"][258:] = 100 * tensors["backbone.embedding.weight"][:6]  # huge logits
    save_file(tensors, folder / "model.safetensors")
    wanted = [Request(prompt=prompt, sample=sample) for prompt in PROMPTS for sample in range(4)]
    for sampling in (GREEDY, Sampling(temperature=2.0, max_tokens=24)):
        assert by_request(load(folder), wanted, sampling, 64) == by_request(model, wanted, sampling, 64)


class TestTinyLlamba(ModelContract):
    """A random Llamba keeps the contract of models."""

    @pytest.fixture
    def model(self, model: EngineModel) -> Model:
        return model
