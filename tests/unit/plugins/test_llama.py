"""The Llama module: transformers' logits, and a decode state that gives them step by step.

Shapes: B batch, T tokens.
"""

from __future__ import annotations

import json

import pytest
import torch
import transformers

from timetrial.error import CheckpointError
from timetrial_plugins.models.layers import Llama3Scaling
from timetrial_plugins.models.llama import Llama, LlamaConfig

PUBLISHED = {
    "1B": dict(hidden_size=2048, num_hidden_layers=16, num_attention_heads=32, head_dim=64),
    "3B": dict(hidden_size=3072, num_hidden_layers=28, num_attention_heads=24, head_dim=128),
}
COMMON = {
    "model_type": "llama",
    "vocab_size": 128256,
    "intermediate_size": 8192,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131072,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "rope_scaling": {
        "factor": 32.0,
        "high_freq_factor": 4.0,
        "low_freq_factor": 1.0,
        "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    },
    "tie_word_embeddings": True,
}
SMALL = {
    "vocab_size": 97,
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}


def reference(**changes: object) -> transformers.LlamaForCausalLM:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(**(SMALL | {"initializer_range": 0.1} | changes))
    return transformers.LlamaForCausalLM(config).eval()


def ours(model: transformers.LlamaForCausalLM) -> Llama:
    module = Llama(LlamaConfig.from_json(json.loads(model.config.to_json_string())))
    tensors = model.state_dict()
    if module.config.tie_word_embeddings:
        del tensors["lm_head.weight"]
    module.load_state_dict(tensors)
    return module.eval()


def tokens(batch: int, length: int) -> torch.Tensor:  # (B, T)
    return torch.randint(SMALL["vocab_size"], (batch, length), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def module() -> Llama:
    return ours(reference(rope_parameters=LLAMA3))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"num_key_value_heads": 6},
        {"num_key_value_heads": 1},
        {"tie_word_embeddings": True},
        {"rope_parameters": LLAMA3},
        {"rope_parameters": LLAMA3, "tie_word_embeddings": True, "head_dim": 16},
        {"attention_bias": True, "mlp_bias": True, "rms_norm_eps": 1e-5},
    ],
    ids=str,
)
def test_logits_are_those_of_transformers(changes: dict[str, object]) -> None:
    model = reference(**changes)
    x = tokens(3, 80)
    with torch.no_grad():
        assert torch.allclose(ours(model).logits(x), model(x).logits, rtol=0, atol=1e-5)


def test_biases_that_are_not_zero_are_used() -> None:
    model = reference(attention_bias=True, mlp_bias=True)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.5)
    x = tokens(2, 20)
    with torch.no_grad():
        assert torch.allclose(ours(model).logits(x), model(x).logits, rtol=0, atol=1e-5)


def test_prefill_and_steps_give_the_logits_of_the_whole_sequence(module: Llama) -> None:
    x = tokens(3, 40)
    with torch.inference_mode():
        expected = module.logits(x)
        state = module.init_state(5, 40)
        worst = (module.prefill(x[:, :10], state) - expected[:, 9]).abs().max()
        for position in range(10, 40):
            worst = torch.maximum(worst, (module.step(x[:, position], state) - expected[:, position]).abs().max())
    assert worst < 1e-5
    assert state.lengths.tolist() == [40, 40, 40, 0, 0] and state.longest == 40


def test_a_full_state_is_never_written_past_its_end(module: Llama) -> None:
    state = module.init_state(1, 4)
    module.prefill(tokens(1, 4), state)
    with pytest.raises(AssertionError, match="full"):
        module.step(tokens(1, 1)[:, 0], state)


def test_a_broadcast_prompt_continues_like_separate_ones(module: Llama) -> None:
    prompt, continuations = tokens(1, 9), tokens(4, 6)
    with torch.inference_mode():
        expected = module.logits(torch.cat((prompt.expand(4, -1), continuations), dim=1))[:, 9:]
        single, state = module.init_state(1, 9), module.init_state(4, 15)
        module.prefill(prompt, single)
        state.append(single, copies=4)
        stepped = torch.stack([module.step(column, state) for column in continuations.unbind(1)], dim=1)
    assert torch.allclose(stepped, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("rope", [{"rope_parameters": LLAMA3}, {}], ids=["llama3", "default"])
def test_packed_documents_get_the_logits_they_get_alone(rope: dict[str, object]) -> None:
    module, x = ours(reference(**rope)).double(), tokens(2, 60)
    lengths = ([1, 29, 2, 28], [55, 5])
    ids = [torch.repeat_interleave(torch.tensor([3, 1, 2, 0][: len(n)]), torch.tensor(n)) for n in lengths]
    with torch.no_grad():
        packed = module.logits(x, torch.stack(ids))
        for row, its_lengths in enumerate(lengths):
            for document, logits in zip(x[row].split(its_lengths), packed[row].split(its_lengths), strict=True):
                assert torch.allclose(module.logits(document[None])[0], logits, rtol=0, atol=1e-11)
        assert not torch.allclose(module.logits(x), packed, rtol=0, atol=0.1)


def test_packed_documents_get_the_logits_of_transformers() -> None:
    model, x = reference(rope_parameters=LLAMA3), tokens(1, 40)
    with torch.no_grad():
        packed = ours(model).logits(x, torch.tensor([[0] * 17 + [1] * 23]))
        expected = torch.cat([model(document).logits for document in x.split([17, 23], dim=1)], dim=1)
    assert torch.allclose(packed, expected, rtol=0, atol=1e-5)


def test_positions_restart_with_every_document(module: Llama) -> None:
    # Logits cannot tell, for rotations are relative: angles past those of training would.
    view = module.view(tokens(2, 7), torch.tensor([[5, 5, 5, 2, 2, 9, 9], [1, 1, 1, 1, 1, 1, 1]]))
    tables = module.rotary.tables(7, module.model.embed_tokens.weight)
    assert torch.equal(view.tables.cos, tables.cos[torch.tensor([[0, 1, 2, 0, 1, 0, 1], [0, 1, 2, 3, 4, 5, 6]])])
    assert view.mask is not None and view.mask[0, 0].sum(dim=1).tolist() == [1, 2, 3, 1, 2, 1, 2]


def test_weights_in_float64_give_logits_in_float64() -> None:
    module, x = ours(reference(rope_parameters=LLAMA3)), tokens(2, 30)
    with torch.no_grad():
        single = module.logits(x)
        exact = module.double().logits(x)
        state = module.init_state(2, 30)
        module.prefill(x[:, :29], state)
        stepped = module.step(x[:, 29], state)
    assert exact.dtype == stepped.dtype == torch.float64
    assert torch.allclose(stepped, exact[:, -1], rtol=0, atol=1e-12)
    assert 0 < (exact - single).abs().max() < 1e-5


def test_rows_of_different_lengths_do_not_disturb_each_other_when_rows_leave_and_enter(module: Llama) -> None:
    prompts = [tokens(1, length) for length in (3, 17, 30, 8)]
    new = tokens(4, 5)
    with torch.inference_mode():
        state = module.init_state(4, 64)
        for prompt in prompts[:3]:
            single = module.init_state(1, prompt.shape[1])
            module.prefill(prompt, single)
            state.append(single, copies=1)
        module.step(new[:3, 0], state)
        module.step(new[:3, 1], state)
        state.move(torch.tensor([2]), torch.tensor([0]), batch=2)  # row 0 leaves, row 2 takes its place
        assert state.lengths[:2].tolist() == [32, 19] and state.longest == 32
        late = module.init_state(1, 8)
        module.prefill(prompts[3], late)
        state.append(late, copies=1)
        logits = module.step(new[[2, 1, 3], 2], state)
        expected = [
            module.logits(torch.cat((prompts[2], new[2:3, :3]), dim=1))[0, -1],
            module.logits(torch.cat((prompts[1], new[1:2, :3]), dim=1))[0, -1],
            module.logits(torch.cat((prompts[3], new[3:4, 2:3]), dim=1))[0, -1],
        ]
    assert torch.allclose(logits, torch.stack(expected), rtol=0, atol=1e-5)


def test_wiped_rows_hold_nothing(module: Llama) -> None:
    with torch.inference_mode():
        state = module.init_state(2, 4)
        module.prefill(tokens(2, 4), state)
        state.wipe(torch.tensor([1]))
    for buffer in state.buffers.values():
        assert not buffer[:, 1].any() and buffer[:, 0].any()


def test_every_parameter_gets_a_gradient(module: Llama) -> None:
    x = tokens(2, 12)
    logits = module.logits(x)
    torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), x[:, 1:].flatten()).backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in module.parameters())


def test_bfloat16_logits_stay_close_and_come_in_float32(module: Llama) -> None:
    x = tokens(2, 30)
    with torch.inference_mode():
        exact = module.logits(x)
        state = module.to(torch.bfloat16).init_state(2, 30)
        module.prefill(x[:, :29], state)
        stepped = module.step(x[:, 29], state)
        rounded = module.logits(x)
    assert rounded.dtype == stepped.dtype == torch.float32
    assert (rounded - exact).abs().max() < 0.05 * exact.abs().max()
    assert (stepped - exact[:, -1]).abs().max() < 0.05 * exact.abs().max()


def test_initial_weights_are_a_function_of_the_generator() -> None:
    modules = [Llama(LlamaConfig.from_json(SMALL | {"attention_bias": True})) for _ in range(2)]
    for module in modules:
        module.initialise(torch.Generator().manual_seed(3), std=0.05)
    first, second = (module.state_dict() for module in modules)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert abs(float(first["model.embed_tokens.weight"].std()) - 0.05) < 0.005
    assert float(first["model.layers.0.self_attn.q_proj.bias"].abs().max()) == 0
    assert torch.equal(first["model.norm.weight"], torch.ones(48))


@pytest.mark.parametrize(("size", "parameters", "linear", "kv"), [
    ("1B", 1_235_814_400, 1_235_746_816, 32_768),
    ("3B", 3_212_749_824, 3_212_574_720, 114_688),
])  # fmt: skip
def test_published_shapes_have_the_published_size(size: str, parameters: int, linear: int, kv: int) -> None:
    with torch.device("meta"):
        module = Llama(LlamaConfig.from_json(COMMON | PUBLISHED[size])).to(torch.bfloat16)
    assert sum(parameter.numel() for parameter in module.parameters()) == parameters
    footprint = module.footprint
    assert (footprint.weight_bytes, footprint.linear_parameters) == (2 * parameters, linear)
    assert (footprint.kv_bytes_per_token, footprint.state_bytes) == (kv, 0)


def test_an_untied_embedding_costs_no_bandwidth() -> None:
    tied, untied = (Llama(LlamaConfig.from_json(SMALL | {"tie_word_embeddings": tie})) for tie in (True, False))
    assert tied.footprint == untied.footprint


def test_the_old_and_the_new_spelling_of_rope_are_the_same() -> None:
    scaling = {name: value for name, value in LLAMA3.items() if name != "rope_theta"}
    new = LlamaConfig.from_json(SMALL | {"rope_parameters": LLAMA3})
    old = LlamaConfig.from_json(SMALL | {"rope_theta": 500000.0, "rope_scaling": scaling})
    oldest = LlamaConfig.from_json(SMALL | {"rope_theta": 500000.0, "rope_scaling": None})
    assert new == old and new.rope_scaling == Llama3Scaling(32.0, 1.0, 4.0, 32)
    assert oldest.rope_theta == 500000.0 and oldest.rope_scaling is None


@pytest.mark.parametrize("rope", [{"rope_type": "default", "rope_theta": 12345.0}, LLAMA3], ids=["default", "llama3"])
def test_a_written_config_is_read_back_here_and_by_transformers(rope: dict[str, object]) -> None:
    config = LlamaConfig.from_json(SMALL | {"rope_parameters": rope, "tie_word_embeddings": True, "rms_norm_eps": 1e-5})
    assert LlamaConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    theirs = transformers.LlamaConfig(**config.to_json())
    assert rope.items() <= theirs.rope_parameters.items()
    assert LlamaConfig.from_json(json.loads(theirs.to_json_string())) == config


def test_absent_optional_fields_mean_what_they_mean_to_transformers() -> None:
    sizes = {name: value for name, value in SMALL.items() if name != "num_key_value_heads"}
    ours_, theirs = LlamaConfig.from_json(sizes | {"head_dim": None}), transformers.LlamaConfig(**sizes)
    for name in ("num_key_value_heads", "head_dim", "max_position_embeddings", "rms_norm_eps", "tie_word_embeddings"):
        assert getattr(ours_, name) == getattr(theirs, name), name
    assert ours_.rope_theta == theirs.rope_parameters["rope_theta"]


@pytest.mark.parametrize(("changes", "message"), [
    ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "'yarn'.*'llama3'"),
    ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "'linear'"),
    ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "lacks low_freq_factor, high_freq_factor, original"),
    ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
    ({"vocab_size": None, "hidden_size": "many"}, "lacks vocab_size, hidden_size"),
    ({"num_attention_heads": 5, "num_key_value_heads": 2}, "5 query heads.*2"),
])  # fmt: skip
def test_a_config_this_module_cannot_honour_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        LlamaConfig.from_json(SMALL | changes)
