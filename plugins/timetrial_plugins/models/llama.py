"""Llama in plain PyTorch: config, module with Hugging Face's parameter names, and its decode state.

Facts: Llama 3 model card and config files; RMSNorm and rotary halves as in the published implementations.
Shapes: B batch, T tokens, V vocabulary, D model width, L layers, H query heads, K key/value heads, P channels per
head, S slots of the key/value buffers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from timetrial_plugins.models.interface import CausalModule, DecodeState, Footprint
from timetrial_plugins.models.layers import (
    Attention,
    KeyValueSlice,
    Llama3Scaling,
    RMSNorm,
    RotaryTables,
    SwiGLU,
    rotary_tables,
)
from timetrial_registry.error import CheckpointError

_BUCKET = 16  # attention reads the key/value buffers up to a multiple of this, not to their end


@dataclass(frozen=True, kw_only=True, slots=True)
class LlamaConfig:
    """The shape of a Llama. Field names are those of Hugging Face's config.json."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    max_position_embeddings: int = 2048
    rms_norm_eps: float = 1e-6
    rope_theta: float = 10000.0
    rope_scaling: Llama3Scaling | None = None
    tie_word_embeddings: bool = False
    attention_bias: bool = False
    mlp_bias: bool = False

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LlamaConfig:
        """Read a parsed config.json; unknown keys are ignored, absent ones take Hugging Face's defaults.

        Raises:
            CheckpointError: a size is missing, or the config asks for something this module does not do.
        """
        required = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
        missing = [name for name in required if not isinstance(data.get(name), int)]
        if missing:
            raise CheckpointError(f"config.json of a llama lacks {', '.join(missing)} (whole numbers are expected)")
        if data.get("hidden_act", "silu") != "silu":
            raise CheckpointError(f"config.json: hidden_act is {data['hidden_act']!r}; this llama has 'silu' only")
        theta, scaling = _read_rope(data)
        heads = data["num_attention_heads"]
        kv_heads = data.get("num_key_value_heads") or heads
        if heads % kv_heads:
            raise CheckpointError(f"config.json: {heads} query heads cannot share {kv_heads} key/value heads evenly")
        optional = ("max_position_embeddings", "rms_norm_eps", "tie_word_embeddings", "attention_bias", "mlp_bias")
        return cls(
            **{name: data[name] for name in required},
            num_key_value_heads=kv_heads,
            head_dim=data.get("head_dim") or data["hidden_size"] // heads,
            rope_theta=theta,
            rope_scaling=scaling,
            **{name: data[name] for name in optional if data.get(name) is not None},
        )

    def to_json(self) -> dict[str, Any]:
        """Return the content of a config.json that Hugging Face's transformers, old and new, read as this model."""
        data: dict[str, Any] = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu"}
        data |= {name: getattr(self, name) for name in self.__slots__ if name != "rope_scaling"}
        scaling = self.rope_scaling
        data["rope_scaling"] = None if scaling is None else {"rope_type": "llama3", **scaling._asdict()}
        return data


def _read_rope(data: Mapping[str, Any]) -> tuple[float, Llama3Scaling | None]:
    """Return RoPE's theta and scaling from either spelling: transformers 5's rope_parameters, or the older two keys."""
    rope: Mapping[str, Any] = data.get("rope_parameters") or data.get("rope_scaling") or {}
    theta = float(rope.get("rope_theta") or data.get("rope_theta") or 10000.0)
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if kind == "default":
        return theta, None
    if kind != "llama3":
        raise CheckpointError(
            f"config.json: RoPE type {kind!r} is not supported; expected 'default' or 'llama3'. "
            "Its outputs would be wrong, so the checkpoint is refused."
        )
    missing = [name for name in Llama3Scaling._fields if name not in rope]
    if missing:
        raise CheckpointError(f"config.json: llama3 RoPE scaling lacks {', '.join(missing)}")
    return theta, Llama3Scaling(*(rope[name] for name in Llama3Scaling._fields))


class LlamaLayer(nn.Module):
    """Attention and MLP, each behind a norm and around a residual."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        width, bias = config.hidden_size, config.attention_bias
        self.input_layernorm = RMSNorm(width, config.rms_norm_eps)
        heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.self_attn = Attention(width, heads, kv_heads, config.head_dim, bias=bias)
        self.post_attention_layernorm = RMSNorm(width, config.rms_norm_eps)
        self.mlp = SwiGLU(width, config.intermediate_size, bias=config.mlp_bias)

    def forward(self, hidden: Tensor, tables: RotaryTables) -> tuple[Tensor, Tensor, Tensor]:
        """Return the layer's output (B, T, D) and its keys and values (B, K, T, P)."""
        mixed, key, value = self.self_attn.attend(self.input_layernorm(hidden), tables)
        return self._finish(hidden + mixed), key, value

    def step(self, hidden: Tensor, tables: RotaryTables, cache: KeyValueSlice) -> Tensor:
        """Return the layer's output (B, 1, D) for one new token per row."""
        return self._finish(hidden + self.self_attn.step(self.input_layernorm(hidden), tables, cache))

    def _finish(self, hidden: Tensor) -> Tensor:
        output: Tensor = hidden + self.mlp(self.post_attention_layernorm(hidden))
        return output


class LlamaBackbone(nn.Module):
    """Embedding, layers and final norm, under the names of Hugging Face's `model.` prefix."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(LlamaLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    @property
    def blocks(self) -> Iterable[LlamaLayer]:
        """The layers, typed."""
        return cast("Iterable[LlamaLayer]", self.layers)


class LlamaState(DecodeState):
    """Keys and values, (L, B, K, S, P) each, and the rotary tables of all S positions."""

    def __init__(self, buffers: Mapping[str, Tensor], tables: RotaryTables) -> None:
        super().__init__(buffers, capacity=tables.cos.shape[0])
        self.tables = tables


class Llama(CausalModule[LlamaState]):
    """A Llama."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        self.model = LlamaBackbone(config)
        self.vocab_size, self.context_length = config.vocab_size, config.max_position_embeddings
        is_tied = config.tie_word_embeddings
        # Old checkpoints store what rotary_tables computes; tied ones may store the head once more.
        self.redundant_tensors = (r".*rotary_emb\.inv_freq", *([r"lm_head\.weight"] if is_tied else []))
        self.lm_head = None if is_tied else nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def initialise(self, generator: torch.Generator, std: float = 0.02) -> None:
        """Draw fresh weights for training: normal matrices, zero biases, unit norms."""
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=std, generator=generator)
            else:
                nn.init.constant_(parameter, 0.0 if name.endswith("bias") else 1.0)

    def logits(self, tokens: Tensor) -> Tensor:
        """Return next-token logits (B, T, V) in float32 for `tokens` (B, T); differentiable."""
        hidden, _ = self._encode(tokens, self._tables(tokens.shape[1], tokens.device))
        return self._head(hidden)

    @property
    def footprint(self) -> Footprint:
        """What a decode step costs; an untied embedding does not count, for a step reads one row of it."""
        embedding = self.model.embed_tokens.weight
        lookup = 0 if self.lm_head is None else embedding.numel()
        num_parameters = sum(parameter.numel() for parameter in self.parameters()) - lookup
        num_matrices = sum(parameter.numel() for parameter in self.parameters() if parameter.dim() == 2) - lookup
        config, size = self.config, embedding.element_size()
        kv_values = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim
        return Footprint(num_parameters * size, num_matrices, kv_values * size, 0)

    def init_state(self, rows: int, capacity: int) -> LlamaState:
        """Return a state with room for `rows` sequences of `capacity` tokens, none in use."""
        config, weight = self.config, self.model.embed_tokens.weight
        shape = (config.num_hidden_layers, rows, config.num_key_value_heads, capacity, config.head_dim)
        # Zeros, because what lies past a row's end gets weight 0, and 0 times garbage may be NaN.
        buffers = {name: torch.zeros(shape, dtype=weight.dtype, device=weight.device) for name in ("keys", "values")}
        return LlamaState(buffers, self._tables(capacity, weight.device))

    def prefill(self, tokens: Tensor, state: LlamaState) -> Tensor:
        """Read prompts of equal length, (B, T), into an empty state; return the logits (B, V) after them."""
        assert state.batch == 0, "prefill starts from an empty state"
        batch, length = tokens.shape
        hidden, caches = self._encode(tokens, RotaryTables(*(table[:length] for table in state.tables)))
        for layer, (key, value) in enumerate(caches):
            state.buffers["keys"][layer, :batch, :, :length] = key
            state.buffers["values"][layer, :batch, :, :length] = value
        state.lengths[:batch] = length
        state.batch, state.longest = batch, length
        return self._head(hidden[:, -1])

    def step(self, tokens: Tensor, state: LlamaState) -> Tensor:
        """Read one token per row in use, (B,), at each row's own position; return the next token's logits (B, V)."""
        assert state.longest < state.capacity, "the state is full"
        positions = state.lengths[: state.batch]
        num_slots = min(-(-(state.longest + 1) // _BUCKET) * _BUCKET, state.capacity)
        rows, slots = (torch.arange(size, device=tokens.device) for size in (state.batch, num_slots))
        is_ahead = slots > positions[:, None]
        bias = torch.zeros(is_ahead.shape, device=tokens.device).masked_fill_(is_ahead, -torch.inf)[:, None, None]
        tables = RotaryTables(*(table[positions][:, None] for table in state.tables))
        keys, values = (state.buffers[name][:, : state.batch, :, :num_slots] for name in ("keys", "values"))
        hidden = self.model.embed_tokens(tokens)[:, None]  # (B, 1, D)
        for index, layer in enumerate(self.model.blocks):
            hidden = layer.step(hidden, tables, KeyValueSlice(keys[index], values[index], rows, positions, bias))
        positions += 1
        state.longest += 1
        return self._head(hidden[:, 0])

    def _encode(self, tokens: Tensor, tables: RotaryTables) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Return the last layer's output (B, T, D) and each layer's keys and values."""
        caches = []
        hidden = self.model.embed_tokens(tokens)
        for layer in self.model.blocks:
            hidden, key, value = layer(hidden, tables)
            caches.append((key, value))
        return hidden, caches

    def _head(self, hidden: Tensor) -> Tensor:  # (..., D) -> (..., V)
        weight = self.model.embed_tokens.weight if self.lm_head is None else self.lm_head.weight
        return functional.linear(self.model.norm(hidden), weight).float()

    def _tables(self, num_positions: int, device: torch.device) -> RotaryTables:
        config = self.config
        return rotary_tables(num_positions, config.head_dim, config.rope_theta, config.rope_scaling, device)
