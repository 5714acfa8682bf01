"""The hybrid module: the equations token by token, and every way of reading tokens gives the same.

Shapes: B batch, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from transformers.models.mamba2 import modeling_mamba2

from timetrial_plugins.models import mamba_mixer
from timetrial_plugins.models.hybrid_config import HybridConfig
from timetrial_plugins.models.mamba_in_llama import MambaInLlama, MambaLayer
from timetrial_plugins.models.scan.selective import selective_sequential
from timetrial_plugins.models.scan.ssd import ssd_sequential

Json = dict[str, Any]
Make = Callable[..., MambaInLlama]
Published = Callable[..., Json]
Oracle = Callable[[MambaInLlama, Json, torch.Tensor], torch.Tensor]
VOCABULARY = 61
KINDS = ("mamba1", "mamba2")
VARIANTS = {
    "mamba1 as published": ("mamba1", {}),
    "mamba1, dt bias once": ("mamba1", {"timetrial": {"dt_bias_multiplicity": 1}}),
    "mamba1, llama3 rope": ("mamba1", {"timetrial": {"rope_scaling": "llama3"}}),
    "mamba1, untied": ("mamba1", {"tie_word_embeddings": False}),
    "mamba1, no attention left": ("mamba1", {"mamba": {"attn_layers": []}}),
    "mamba1, all attention": ("mamba1", {"mamba": {"attn_layers": [0, 1, 2, 3, 4]}}),
    "mamba2 as published": ("mamba2", {}),
    "mamba2, llama3 rope": ("mamba2", {"timetrial": {"rope_scaling": "llama3"}}),
}


def tokens(batch: int, length: int, seed: int = 1) -> torch.Tensor:  # (B, T)
    return torch.randint(VOCABULARY, (batch, length), generator=torch.Generator().manual_seed(seed))


def difference(first: torch.Tensor, second: torch.Tensor) -> float:
    return float((first.double() - second.double()).abs().max())


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-10)], ids=str)
def test_logits_are_those_of_the_equations(
    variant: str, dtype: torch.dtype, tolerance: float, published: Published, hybrid: Make, oracle: Oracle
) -> None:
    kind, changes = VARIANTS[variant]
    data = published(kind, **changes)
    module = hybrid(data, dtype)
    x = tokens(1, 75)  # two chunks of the Mamba-1 scan and a part of a third
    with torch.no_grad():
        logits = module.logits(x)[0]
    assert logits.dtype == dtype
    expected = oracle(module, data, x[0])
    assert expected.abs().max() > 1
    assert difference(logits, expected) < tolerance


def test_long_prompts_cross_the_chunks_of_mamba2(published: Published, hybrid: Make, oracle: Oracle) -> None:
    module = hybrid("mamba2", torch.float64)
    x = tokens(1, 150)
    with torch.no_grad():
        assert difference(module.logits(x)[0], oracle(module, published("mamba2"), x[0])) < 1e-10


@pytest.mark.parametrize("kind", KINDS)
def test_the_chunked_scan_is_the_sequential_one(kind: str, hybrid: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    module, x = hybrid(kind, torch.float64), tokens(2, 150)
    with torch.no_grad():
        chunked = module.logits(x)
        monkeypatch.setattr(mamba_mixer, "selective_chunked", selective_sequential)
        monkeypatch.setattr(mamba_mixer, "ssd_chunked", ssd_sequential)
        assert 0 < difference(module.logits(x), chunked) < 1e-11


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prompt", [1, 2, 33, 59])
def test_prefill_and_steps_give_the_logits_of_the_whole_sequence(kind: str, prompt: int, hybrid: Make) -> None:
    module, x = hybrid(kind), tokens(3, 60)
    with torch.inference_mode():
        expected = module.logits(x)
        state = module.init_state(5, 60)
        worst = difference(module.prefill(x[:, :prompt], state), expected[:, prompt - 1])
        for position in range(prompt, 60):
            worst = max(worst, difference(module.step(x[:, position], state), expected[:, position]))
    assert worst < 1e-4
    assert state.lengths.tolist() == [60, 60, 60, 0, 0] and state.longest == 60


@pytest.mark.parametrize("kind", KINDS)
def test_packed_documents_get_the_logits_they_get_alone(kind: str, hybrid: Make) -> None:
    module = hybrid(kind, torch.float64)
    lengths = ([1, 2, 40, 3, 54], [97, 3], [33, 32, 35])
    doc_ids = torch.stack(
        [torch.repeat_interleave(torch.tensor([7, 3, 9, 4, 5])[: len(n)], torch.tensor(n)) for n in lengths]
    )
    x = tokens(3, 100)
    with torch.no_grad():
        packed = module.logits(x, doc_ids)
        for row, its_lengths in enumerate(lengths):
            for document, its_logits in zip(x[row].split(its_lengths), packed[row].split(its_lengths), strict=True):
                assert difference(module.logits(document[None])[0], its_logits) < 1e-11
        assert difference(module.logits(x), packed) > 0.1


def test_one_document_a_row_is_what_no_doc_ids_mean(hybrid: Make) -> None:
    for kind in KINDS:
        module, x = hybrid(kind), tokens(2, 50)
        with torch.no_grad():
            assert difference(module.logits(x, torch.zeros(2, 50, dtype=torch.int64)), module.logits(x)) < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_different_lengths_do_not_disturb_each_other_when_rows_leave_and_enter(kind: str, hybrid: Make) -> None:
    module = hybrid(kind)
    prompts, new = [tokens(1, length) for length in (3, 17, 30, 8)], tokens(4, 5)
    with torch.inference_mode():
        state = module.init_state(4, 64)
        for prompt in prompts[:3]:
            single = module.init_state(1, prompt.shape[1])
            module.prefill(prompt, single)
            state.append(single, copies=1)
        module.step(new[:3, 0], state)
        module.step(new[:3, 1], state)
        state.move(torch.tensor([2]), torch.tensor([0]), batch=2)  # row 0 leaves, row 2 takes its place
        late = module.init_state(1, 8)
        module.prefill(prompts[3], late)
        state.append(late, copies=1)
        logits = module.step(new[[2, 1, 3], 2], state)
        expected = [
            module.logits(torch.cat((prompts[2], new[2:3, :3]), dim=1))[0, -1],
            module.logits(torch.cat((prompts[1], new[1:2, :3]), dim=1))[0, -1],
            module.logits(torch.cat((prompts[3], new[3:4, 2:3]), dim=1))[0, -1],
        ]
    assert difference(logits, torch.stack(expected)) < 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_a_broadcast_prompt_continues_like_separate_ones(kind: str, hybrid: Make) -> None:
    module = hybrid(kind)
    prompt, continuations = tokens(1, 35), tokens(4, 6)
    with torch.inference_mode():
        expected = module.logits(torch.cat((prompt.expand(4, -1), continuations), dim=1))[:, 35:]
        single, state = module.init_state(1, 35), module.init_state(4, 41)
        module.prefill(prompt, single)
        state.append(single, copies=4)
        stepped = torch.stack([module.step(column, state) for column in continuations.unbind(1)], dim=1)
    assert difference(stepped, expected) < 1e-4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_packed", [False, True])
def test_every_parameter_gets_a_gradient(kind: str, is_packed: bool, hybrid: Make) -> None:
    module, x = hybrid(kind), tokens(2, 40)
    doc_ids = torch.arange(40).div(15, rounding_mode="floor").expand(2, -1) if is_packed else None
    logits = module.logits(x, doc_ids)
    torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), x[:, 1:].flatten()).backward()
    without = [
        name
        for name, p in module.named_parameters()
        if p.grad is None or not p.grad.isfinite().all() or not p.grad.any()
    ]
    assert without == []


@pytest.mark.parametrize(("kind", "bias"), [("mamba1", "dt_proj.bias"), ("mamba2", "dt_bias")])
def test_a_bias_that_counts_twice_is_twice_the_bias_in_values_and_gradients(
    kind: str, bias: str, published: Published, hybrid: Make
) -> None:
    twice, once = (
        hybrid(published(kind, timetrial={"dt_bias_multiplicity": times}), torch.float64) for times in (2, 1)
    )
    stored = {name: tensor.clone() for name, tensor in twice.state_dict().items()}
    doubled = {name: 2 * tensor if name.endswith(bias) else tensor for name, tensor in stored.items()}
    x = tokens(1, 20)
    with torch.no_grad():
        assert difference(once.logits(x), twice.logits(x)) > 1e-3, "how often it counts must matter here"
    once.load_state_dict(doubled)
    assert torch.equal(once.logits(x), twice.logits(x))
    for module in (once, twice):
        module.logits(x).square().sum().backward()
    first, second = (module.get_parameter(f"model.layers.0.mamba.{bias}").grad for module in (once, twice))
    assert first is not None and second is not None and torch.allclose(2 * first, second, rtol=1e-12, atol=0)
    assert all(torch.equal(tensor, stored[name]) for name, tensor in twice.state_dict().items())


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_weights_keep_a_float32_state_unless_told_otherwise(kind: str, hybrid: Make) -> None:
    module, x = hybrid(kind), tokens(2, 30)
    with torch.inference_mode():
        exact = module.logits(x)
        module.to(torch.bfloat16)
        state = module.init_state(2, 30)
        assert {name: buffer.dtype for name, buffer in state.buffers.items()} == {
            "keys": torch.bfloat16,
            "values": torch.bfloat16,
            "conv": torch.bfloat16,
            "ssm": torch.float32,
        }
        module.prefill(x[:, :29], state)
        stepped, rounded = module.step(x[:, 29], state), module.logits(x)
        small = MambaInLlama(module.config, state_dtype=torch.bfloat16).to(torch.bfloat16)
        small.load_state_dict(module.state_dict())
        its_state = small.init_state(2, 30)
        small.prefill(x[:, :29], its_state)
        coarse = small.step(x[:, 29], its_state)
    assert its_state.buffers["ssm"].dtype == torch.bfloat16
    assert small.footprint.state_bytes < module.footprint.state_bytes
    assert rounded.dtype == stepped.dtype == coarse.dtype == torch.float32
    scale = float(exact.abs().max())
    assert difference(rounded, exact) < 0.1 * scale
    assert difference(stepped, rounded[:, -1]) < 0.1 * scale and difference(coarse, rounded[:, -1]) < 0.1 * scale


@pytest.mark.parametrize("kind", KINDS)
def test_rates_of_any_size_give_finite_numbers(kind: str, hybrid: Make) -> None:
    module, x = hybrid(kind), tokens(2, 40)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("A_log"):
                parameter.copy_(torch.linspace(-120, 80, parameter.numel()).reshape(parameter.shape))
        assert module.logits(x).isfinite().all()


def test_initial_weights_are_a_function_of_the_generator(published: Published) -> None:
    for kind in KINDS:
        modules = [MambaInLlama(HybridConfig.from_json(published(kind))) for _ in range(2)]
        for module in modules:
            module.initialise(torch.Generator().manual_seed(3), std=0.05)
        first, second = (module.state_dict() for module in modules)
        assert all(torch.equal(first[name], second[name]) for name in first)
        bias = first[f"model.layers.0.mamba.{'dt_proj.bias' if kind == 'mamba1' else 'dt_bias'}"]
        steps = torch.nn.functional.softplus(bias)
        assert 9e-4 < steps.min() and steps.max() < 0.11


def test_the_footprint_counts_what_a_step_reads(hybrid: Make) -> None:
    module = hybrid("mamba1")
    footprint = module.footprint
    assert footprint.weight_bytes == 4 * sum(parameter.numel() for parameter in module.parameters())
    assert footprint.kv_bytes_per_token == 4 * 2 * 2 * 2 * 16  # bytes, layers, keys and values, heads, channels
    assert footprint.state_bytes == 4 * 3 * (96 * 16 + 96 * 4)  # bytes, layers, state and columns of the convolution


@pytest.mark.parametrize("kv_heads", [6, 2])
def test_the_mamba2_layer_is_that_of_transformers_where_heads_are_spread_out(
    kv_heads: int, published: Published, hybrid: Make
) -> None:
    data = published("mamba2", mamba={"d_xb": 16 * kv_heads}, num_key_value_heads=kv_heads)
    mixer = next(layer.mamba for layer in hybrid(data, torch.float32).layers if isinstance(layer, MambaLayer))
    config = transformers.Mamba2Config(
        hidden_size=96, num_heads=6, head_dim=16, state_size=16, n_groups=6, expand=1, conv_kernel=4,
        use_bias=False, use_conv_bias=True, layer_norm_epsilon=1e-5, chunk_size=8, num_hidden_layers=1,
    )  # fmt: skip
    theirs = modeling_mamba2.Mamba2Mixer(config, layer_idx=0).eval()
    theirs.load_state_dict(spread_out(mixer.state_dict(), 6 // kv_heads))
    x = torch.randn(2, 45, 96, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        assert difference(mixer.read(x, None)[0], theirs(x)) < 1e-5


def spread_out(tensors: dict[str, torch.Tensor], repeat: int) -> dict[str, torch.Tensor]:
    """Return the layer with its x and B heads stored once for each head that uses them."""

    def spread(rows: torch.Tensor) -> torch.Tensor:
        return rows.unflatten(0, (-1, 16)).repeat_interleave(repeat, dim=0).flatten(0, 1)

    narrow = 96 // repeat
    z, x, b, c, dt = tensors["in_proj.weight"].split([96, narrow, narrow, 96, 6])
    spread_tensors = tensors | {"in_proj.weight": torch.cat([z, spread(x), spread(b), c, dt])}
    for name in ("conv1d.weight", "conv1d.bias"):
        x, b, c = tensors[name].split([narrow, narrow, 96])
        spread_tensors[name] = torch.cat([spread(x), spread(b), c])
    return spread_tensors
