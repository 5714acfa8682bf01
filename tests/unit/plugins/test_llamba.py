"""The Llamba module: logits of a float64 loop over the equations, and a decode state that gives them step by step.

Shapes: B batch, T tokens, V vocabulary, E inner width, H heads, G groups, P channels per head, N state size.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from timetrial_plugins.models.llamba import Llamba
from timetrial_plugins.models.llamba_config import LlambaConfig

SMALL: dict[str, Any] = {
    "vocab_size": 96,
    "d_model": 24,
    "n_layer": 3,
    "tie_embeddings": True,
    "mlp_cfg": {"intermediate_size": 40, "bias": False, "act_fn": "silu"},
    "ssm_cfg": {"d_state": 5, "n_v_heads": 4, "n_qk_heads": 4, "expand": 1, "chunk_size": 16},
}
VARIANTS: dict[str, dict[str, Any]] = {
    "tied": {},
    "untied": {"tie_embeddings": False},
    "untied with a bias": {"tie_embeddings": False, "lm_head_bias": True},
    "padded vocabulary": {"vocab_size": 91},
    "untied padded vocabulary with a bias": {"vocab_size": 91, "tie_embeddings": False, "lm_head_bias": True},
    "no chunk size": {"ssm_cfg": {"d_state": 5, "n_v_heads": 4, "n_qk_heads": 4}},
    "shared groups, wider": {"ssm_cfg": {"d_state": 6, "n_v_heads": 8, "n_qk_heads": 2, "expand": 2, "chunk_size": 7}},
    "biases": {"ssm_cfg": {"d_state": 5, "n_v_heads": 4, "n_qk_heads": 4, "bias": True}, "norm_epsilon": 1e-3},
    "narrow convolution": {"ssm_cfg": {"d_state": 5, "n_v_heads": 4, "n_qk_heads": 4, "d_conv": 2, "conv_bias": False}},
    "mlp bias": {"mlp_cfg": {"intermediate_size": 40, "bias": True}},
}
PUBLISHED: dict[str, dict[str, Any]] = {
    "1B": {
        "d_model": 2048,
        "n_layer": 16,
        "mlp_cfg": {"intermediate_size": 8192, "bias": False, "act_fn": "silu"},
        "ssm_cfg": {"d_state": 64, "n_v_heads": 32, "n_qk_heads": 32, "expand": 1, "activation": "identity"},
    },
    "4B": {
        "d_model": 3072,
        "n_layer": 28,
        "mlp_cfg": {"intermediate_size": 8192, "bias": False, "act_fn": "silu"},
        "ssm_cfg": {"d_state": 128, "n_v_heads": 24, "n_qk_heads": 24, "expand": 1, "activation": "identity"},
    },
}
COMMON = {"vocab_size": 128256, "tie_embeddings": True, "lm_head_bias": False, "pad_vocab_size_multiple": 8}


def make(changes: dict[str, Any] | None = None, *, dtype: torch.dtype = torch.float32, **options: Any) -> Llamba:
    """Return a Llamba whose every tensor is random, and whose decays spread over all of 0 to 1."""
    module = Llamba(LlambaConfig.from_json(SMALL | (changes or {})), **options)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            mean, std = (1.0, 0.3) if name.endswith(("layernorm.weight", ".D")) else (0.0, 0.3)
            parameter.copy_(mean + std * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
            if name.endswith("in_proj.weight"):
                parameter[-module.config.ssm_cfg.n_v_heads :] *= 4
    return module.to(dtype).eval()


def draw(batch: int, length: int, seed: int = 1) -> Tensor:  # (B, T)
    return torch.randint(90, (batch, length), generator=torch.Generator().manual_seed(seed))


# The equations, in float64, one token at a time


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def rms(x: np.ndarray, weight: np.ndarray, epsilon: float) -> np.ndarray:
    return x / math.sqrt(float(np.mean(x * x)) + epsilon) * weight


class Loop:
    """One sequence through the model, from the published tensors alone."""

    def __init__(self, module: Llamba) -> None:
        self.tensors = {name: tensor.double().numpy() for name, tensor in module.state_dict().items()}
        self.config = module.config
        layers, mixer = range(self.config.n_layer), self.config.ssm_cfg
        self.inner = mixer.expand * self.config.d_model
        channels = self.inner // mixer.n_v_heads
        conv = self.inner + 2 * mixer.n_qk_heads * mixer.d_state
        self.past = [np.zeros((mixer.d_conv, conv)) for _ in layers]
        self.states = [np.zeros((mixer.n_v_heads, channels, mixer.d_state)) for _ in layers]

    def linear(self, name: str, x: np.ndarray) -> np.ndarray:
        return self.tensors[f"{name}.weight"] @ x + self.tensors.get(f"{name}.bias", 0.0)

    def mix(self, layer: int, u: np.ndarray) -> np.ndarray:
        mixer, name, heads = self.config.ssm_cfg, f"backbone.layers.{layer}.mixer", self.config.ssm_cfg.n_v_heads
        shared = mixer.n_qk_heads * mixer.d_state
        projected = self.linear(f"{name}.in_proj", u)
        convolved, z, a_log = np.split(projected, [self.inner + 2 * shared, 2 * self.inner + 2 * shared])
        self.past[layer] = np.vstack((self.past[layer][1:], convolved))
        taps = self.tensors[f"{name}.conv1d.weight"][:, 0].T  # (K, C)
        convolved = (self.past[layer] * taps).sum(axis=0) + self.tensors.get(f"{name}.conv1d.bias", 0.0)
        x, b, c = np.split(convolved, [self.inner, self.inner + shared])
        x = x.reshape(heads, -1)
        b, c = (part.reshape(mixer.n_qk_heads, mixer.d_state) for part in (b, c))
        y = np.zeros_like(x)
        for head in range(heads):
            group = head // (heads // mixer.n_qk_heads)
            kept = 1 / (1 + math.exp(a_log[head]))  # sigmoid(-A_log)
            self.states[layer][head] = kept * self.states[layer][head] + np.outer(x[head], b[group])
            y[head] = self.states[layer][head] @ c[group] + self.tensors[f"{name}.D"][head] * x[head]
        return self.linear(f"{name}.out_proj", y.ravel() * silu(z + self.tensors.get(f"{name}.z_bias", 0.0)))

    def read(self, token: int) -> np.ndarray:
        hidden = self.tensors["backbone.embedding.weight"][token]
        for layer in range(self.config.n_layer):
            name = f"backbone.layers.{layer}"
            hidden = hidden + self.mix(layer, rms(hidden, self.tensors[f"{name}.input_layernorm.weight"], 1e-5))
            inner = rms(hidden, self.tensors[f"{name}.post_attention_layernorm.weight"], 1e-5)
            gated = silu(self.linear(f"{name}.mlp.gate_proj", inner)) * self.linear(f"{name}.mlp.up_proj", inner)
            hidden = hidden + self.linear(f"{name}.mlp.down_proj", gated)
        out = rms(hidden, self.tensors["backbone.final_layernorm.weight"], self.config.norm_epsilon)
        if self.config.tie_embeddings:
            return self.tensors["backbone.embedding.weight"] @ out
        return self.linear("lm_head", out)


def loop_logits(module: Llamba, tokens: Tensor) -> Tensor:
    """Return the logits of the vocabulary, (B, T, V)."""
    rows = []
    for row in tokens.tolist():
        loop = Loop(module)
        rows.append(np.stack([loop.read(token)[: module.config.vocab_size] for token in row]))
    return torch.from_numpy(np.stack(rows))


@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_are_those_of_the_equations(variant: str) -> None:
    """At lengths within a chunk, of whole chunks and of a part."""
    for length in (1, 16, 45):
        tokens = draw(2, length)
        exact = make(VARIANTS[variant], dtype=torch.float64)
        with torch.inference_mode():
            logits = exact.logits(tokens)
            expected = loop_logits(exact, tokens)
            assert logits.dtype == torch.float64 and float((logits - expected).abs().max()) < 1e-10
            rounded = make(VARIANTS[variant]).logits(tokens)
        assert rounded.dtype == torch.float32 and float((rounded - expected).abs().max()) < 1e-4


def test_the_equations_have_logits_worth_comparing() -> None:
    logits = loop_logits(make(dtype=torch.float64), draw(2, 20))
    assert 0.5 < float(logits.std()) < 50 and float((logits[:, 0] - logits[:, -1]).abs().max()) > 1


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 1e-4)], ids=str)
@pytest.mark.parametrize("prompt", [1, 2, 16, 23])
@pytest.mark.parametrize("variant", VARIANTS)
def test_prefill_and_steps_give_the_logits_of_the_whole_sequence(
    variant: str, prompt: int, dtype: torch.dtype, tolerance: float
) -> None:
    module, tokens = make(VARIANTS[variant], dtype=dtype), draw(3, 33)
    with torch.inference_mode():
        expected = module.logits(tokens)
        state = module.init_state(5, 33)
        worst = (module.prefill(tokens[:, :prompt], state) - expected[:, prompt - 1]).abs().max()
        for position in range(prompt, 33):
            worst = torch.maximum(worst, (module.step(tokens[:, position], state) - expected[:, position]).abs().max())
    assert worst < tolerance
    assert state.lengths.tolist() == [33, 33, 33, 0, 0] and state.longest == 33


@pytest.mark.parametrize("chunk_size", [1, 5, 16, 64])
def test_the_chunk_size_does_not_matter(chunk_size: int) -> None:
    tokens = draw(2, 45)
    mixer = {**SMALL["ssm_cfg"], "chunk_size": chunk_size}
    expected, logits = (make(changes, dtype=torch.float64).logits(tokens) for changes in ({}, {"ssm_cfg": mixer}))
    assert torch.allclose(logits, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("variant", ["tied", "shared groups, wider", "narrow convolution"])
def test_packed_documents_get_the_logits_they_get_alone(variant: str) -> None:
    """Documents shorter than the convolution, within a chunk, and over several chunks."""
    module = make(VARIANTS[variant], dtype=torch.float64)
    lengths = [(1, 2, 3, 29, 10), (20, 1, 17, 5, 2)]
    tokens = draw(2, 45)
    doc_ids = torch.tensor([sum(([9 - i] * n for i, n in enumerate(row)), []) for row in lengths])
    packed = module.logits(tokens, doc_ids)
    for row, its_lengths in enumerate(lengths):
        start = 0
        for length in its_lengths:
            alone = module.logits(tokens[row : row + 1, start : start + length])
            assert torch.allclose(packed[row : row + 1, start : start + length], alone, rtol=0, atol=1e-11)
            start += length


def test_one_document_a_row_is_what_no_documents_are() -> None:
    module, tokens = make(), draw(2, 45)
    assert torch.equal(module.logits(tokens, torch.full((2, 45), 3)), module.logits(tokens))


def test_no_tokens_have_no_logits() -> None:
    nothing = torch.zeros(2, 0, dtype=torch.int64)
    for doc_ids in (None, nothing):
        assert make().logits(nothing, doc_ids).shape == (2, 0, 96)


# Numbers


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_decays_are_exact_and_finite_for_any_input(dtype: torch.dtype) -> None:
    """A_log from -120 to 120: the decay is sigmoid(-A_log), and outputs, states and gradients are finite."""
    mixer = make({"ssm_cfg": {"d_state": 5, "n_v_heads": 4, "n_qk_heads": 4}}, dtype=dtype).backbone.blocks[0].mixer
    a_log = torch.linspace(-120, 120, 241, dtype=torch.float64)
    hidden = torch.randn(1, 241, 24, generator=torch.Generator().manual_seed(2)).to(dtype)
    hidden[0, :, 0] = a_log.to(dtype)
    with torch.no_grad():
        mixer.in_proj.weight[-4:] = 0
        mixer.in_proj.weight[-4:, 0] = 1
        mixer.in_proj.weight[:-4, 0] = 0
    inputs = mixer._inputs(torch.zeros(1, 241, 24 + 40, dtype=dtype), mixer.in_proj(hidden)[..., -4:])
    decays = inputs.log_decay.double().exp()[0]
    expected = (1 / (1 + hidden[0, :, :1].double().exp())).expand(-1, 4)
    wide = torch.finfo(torch.promote_types(dtype, torch.float32))
    assert ((decays - expected).abs() <= 500 * wide.eps * expected + wide.tiny).all()
    hidden.requires_grad_()
    output, memory = mixer(hidden)
    assert output.isfinite().all() and memory.state.isfinite().all()
    gradients = torch.autograd.grad(output.float().square().sum(), [hidden, *mixer.parameters()])
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_bfloat16_logits_stay_close_and_come_in_float32() -> None:
    tokens = draw(2, 30)
    with torch.inference_mode():
        exact = make().logits(tokens)
        module = make(dtype=torch.bfloat16)
        rounded = module.logits(tokens)
        state = module.init_state(2, 30)
        module.prefill(tokens[:, :29], state)
        stepped = module.step(tokens[:, 29], state)
    assert rounded.dtype == stepped.dtype == torch.float32
    assert 0 < (rounded - exact).std() < 0.05 * exact.std()
    assert 0 < (stepped - exact[:, -1]).std() < 0.05 * exact.std()


@pytest.mark.parametrize(("weights", "option", "expected"), [
    (torch.float32, None, torch.float32),
    (torch.bfloat16, None, torch.float32),
    (torch.float64, None, torch.float64),
    (torch.bfloat16, torch.bfloat16, torch.bfloat16),
    (torch.float32, torch.bfloat16, torch.bfloat16),
])  # fmt: skip
def test_states_are_float32_unless_asked_for(
    weights: torch.dtype, option: torch.dtype | None, expected: torch.dtype
) -> None:
    module = make(dtype=weights, state_dtype=option)
    state = module.init_state(2, 8)
    assert state.buffers["ssm"].dtype == expected and state.buffers["conv"].dtype == weights
    per_row = sum(buffer[:, 0].nbytes for buffer in state.buffers.values())
    window_column = 3 * 64 * torch.empty(0, dtype=weights).element_size()  # layers, channels; a step sees one more
    assert module.footprint.state_bytes == per_row + window_column


def test_a_bfloat16_state_rounds_and_nothing_else() -> None:
    tokens = draw(2, 40)
    exact, rounded = make(), make(state_dtype=torch.bfloat16)
    with torch.inference_mode():
        assert torch.equal(exact.logits(tokens), rounded.logits(tokens)), "a whole sequence stores no state"
        outputs = []
        for module in (exact, rounded):
            state = module.init_state(2, 40)
            module.prefill(tokens[:, :10], state)
            outputs.append(torch.stack([module.step(column, state) for column in tokens[:, 10:].unbind(1)]))
    error = (outputs[0] - outputs[1]).abs().max() / outputs[0].abs().max()
    assert 1e-5 < error < 0.05


# The decode state


def test_rows_share_prompts_leave_enter_and_do_not_disturb_each_other() -> None:
    module = make(dtype=torch.float64)
    prompts, new = [draw(1, length, seed=length) for length in (3, 17, 30, 8)], draw(4, 5)
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
        state.append(late, copies=2)
        logits = module.step(new[[2, 1, 3, 0], 2], state)
        whole = [(prompts[2], new[2:3, :3]), (prompts[1], new[1:2, :3]), (prompts[3], new[3:4, 2:3])]
        expected = [module.logits(torch.cat(parts, dim=1))[0, -1] for parts in (*whole, (prompts[3], new[:1, 2:3]))]
    assert torch.allclose(logits, torch.stack(expected), rtol=0, atol=1e-11)


def test_a_state_does_not_grow_with_the_text() -> None:
    module = make()
    assert module.context_length is None
    short, long = (module.init_state(3, capacity) for capacity in (1, 10**9))
    assert [b.shape for b in short.buffers.values()] == [b.shape for b in long.buffers.values()]
    assert short.buffers["conv"].shape == (3, 3, 64, 3) and short.buffers["ssm"].shape == (3, 3, 4, 6, 5)
    with torch.inference_mode():
        module.prefill(draw(3, 1), short)
        assert all(module.step(draw(3, 1)[:, 0], short).isfinite().all() for _ in range(5))


def test_a_saved_state_continues_where_it_was(tmp_path: Any) -> None:
    module, tokens = make(), draw(2, 30)
    with torch.inference_mode():
        state = module.init_state(4, 64)
        module.prefill(tokens[:, :20], state)
        save_file(state.snapshot(), tmp_path / "state.safetensors")
        expected = [module.step(column, state) for column in tokens[:, 20:].unbind(1)]
        restored = module.init_state(2, 64)
        restored.restore(load_file(tmp_path / "state.safetensors"))
        for column, logits in zip(tokens[:, 20:].unbind(1), expected, strict=True):
            assert torch.equal(module.step(column, restored), logits)
    assert restored.lengths.tolist() == [30, 30] and restored.longest == 30


# Vocabulary, weights, sizes


def test_rows_that_pad_the_embedding_are_no_tokens() -> None:
    for changes in (VARIANTS["padded vocabulary"], VARIANTS["untied padded vocabulary with a bias"]):
        module, tokens = make(changes), draw(2, 10)
        assert module.backbone.embedding.weight.shape == (96, 24) and module.vocab_size == 91
        before = module.logits(tokens)
        with torch.no_grad():
            head = module.backbone.embedding if module.lm_head is None else module.lm_head
            head.weight[91:] = torch.nan
        assert before.shape == (2, 10, 91) and torch.equal(module.logits(tokens), before)
        state = module.init_state(2, 11)
        assert module.prefill(tokens, state).shape == module.step(tokens[:, 0], state).shape == (2, 91)


@pytest.mark.parametrize("variant", ["tied", "untied with a bias", "biases"])
def test_every_parameter_gets_a_gradient(variant: str) -> None:
    module, tokens = make(VARIANTS[variant]), draw(2, 20)
    logits = module.logits(tokens)
    torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in module.parameters())


def test_fresh_weights_are_a_function_of_the_generator_and_copy_the_input() -> None:
    modules = [Llamba(LlambaConfig.from_json(SMALL | VARIANTS["untied with a bias"])) for _ in range(2)]
    for module in modules:
        module.initialise(torch.Generator().manual_seed(3), std=0.05)
    first, second = (module.state_dict() for module in modules)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert abs(float(first["backbone.embedding.weight"].std()) - 0.05) < 0.005
    mixer = "backbone.layers.1.mixer"
    assert torch.equal(first[f"{mixer}.conv1d.weight"], torch.tensor([0.0, 0, 0, 1]).expand(64, 1, 4))
    assert not first[f"{mixer}.conv1d.bias"].any() and not first["lm_head.bias"].any()
    assert torch.equal(first[f"{mixer}.D"], torch.ones(4))
    gate = torch.nn.functional.silu(first[f"{mixer}.z_bias"].double())
    assert torch.allclose(gate, torch.ones(24, dtype=torch.float64), rtol=0, atol=1e-6)
    assert torch.equal(first["backbone.final_layernorm.weight"], torch.ones(24))


def published_keys(width: int, layers: int, heads: int, state: int, inner: int) -> dict[str, tuple[int, ...]]:
    """The complete state dict of a tied model."""
    conv, shapes = width + 2 * heads * state, {"backbone.embedding.weight": (128256, width)}
    shapes["backbone.final_layernorm.weight"] = (width,)
    for layer in range(layers):
        of_layer = {
            "input_layernorm.weight": (width,),
            "post_attention_layernorm.weight": (width,),
            "mixer.in_proj.weight": (conv + width + heads, width),
            "mixer.conv1d.weight": (conv, 1, 4),
            "mixer.conv1d.bias": (conv,),
            "mixer.z_bias": (width,),
            "mixer.D": (heads,),
            "mixer.out_proj.weight": (width, width),
            "mlp.gate_proj.weight": (inner, width),
            "mlp.up_proj.weight": (inner, width),
            "mlp.down_proj.weight": (width, inner),
        }
        shapes |= {f"backbone.layers.{layer}.{name}": shape for name, shape in of_layer.items()}
    return shapes


@pytest.mark.parametrize(("size", "keys", "parameters", "mixer", "linear", "state_bytes", "bfloat16_state_bytes"), [
    ("1B", (2048, 16, 32, 64, 8192), 1_405_159_936, 21_069_856, 1_404_567_552, 9_175_040, 4_980_736),
    ("4B", (3072, 28, 24, 128, 8192), 3_832_753_824, 47_308_824, 3_831_201_792, 46_104_576, 24_084_480),
])  # fmt: skip
def test_published_shapes_have_the_published_keys_and_size(
    size: str,
    keys: tuple[int, int, int, int, int],
    parameters: int,
    mixer: int,
    linear: int,
    state_bytes: int,
    bfloat16_state_bytes: int,
) -> None:
    config = LlambaConfig.from_json(COMMON | PUBLISHED[size])
    with torch.device("meta"):
        module = Llamba(config).to(torch.bfloat16)
        small = Llamba(config, state_dtype=torch.bfloat16).to(torch.bfloat16)
        untied = Llamba(LlambaConfig.from_json(COMMON | PUBLISHED[size] | {"tie_embeddings": False}))
    assert {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()} == published_keys(*keys)
    assert set(untied.state_dict()) - set(module.state_dict()) == {"lm_head.weight"}
    assert sum(parameter.numel() for parameter in module.parameters()) == parameters
    assert sum(parameter.numel() for parameter in module.backbone.blocks[0].mixer.parameters()) == mixer
    footprint = module.footprint
    assert (footprint.weight_bytes, footprint.linear_parameters) == (2 * parameters, linear)
    assert (footprint.kv_bytes_per_token, footprint.state_bytes) == (0, state_bytes)
    assert small.footprint.state_bytes == bfloat16_state_bytes
    assert module.default_eos_ids == {128001, 128008, 128009} and make().default_eos_ids == frozenset()


def test_an_untied_embedding_costs_no_bandwidth() -> None:
    assert make().footprint == make({"tie_embeddings": False}).footprint
