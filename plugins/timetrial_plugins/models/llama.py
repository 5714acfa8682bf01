"""Llama in plain PyTorch: config, module with Hugging Face's parameter names, and its decode state.

Facts: Llama 3 model card and config files; RMSNorm and rotary halves as in the published implementations.
Shapes: B batch, T tokens, V vocabulary, D model width.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from timetrial_plugins.models.attention import Attention, SequenceView, view_sequences
from timetrial_plugins.models.attention_state import AttentionState, StepCache, StepView, key_value_buffers
from timetrial_plugins.models.frame import LlamaFrame
from timetrial_plugins.models.interface import Footprint
from timetrial_plugins.models.layers import Llama3Scaling, RMSNorm, SwiGLU
from timetrial_plugins.models.shared_prompt import KeyValues
from timetrial_registry.error import CheckpointError


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

    def forward(self, hidden: Tensor, view: SequenceView) -> tuple[Tensor, KeyValues]:
        """Return the layer's output (B, T, D) and its keys and values."""
        mixed, entries = self.mix(hidden, view)
        hidden = hidden + mixed
        return hidden + self.mlp(self.post_attention_layernorm(hidden)), entries

    def mix(self, hidden: Tensor, view: SequenceView) -> tuple[Tensor, KeyValues]:
        """Return what attention adds to the layer's input, (B, T, D), and its keys and values."""
        return self.self_attn.attend(self.input_layernorm(hidden), view)

    def step(self, hidden: Tensor, view: StepView, cache: StepCache) -> Tensor:
        """Return the layer's output (B, D) for one new token per row; `hidden` may be overwritten."""
        hidden = self.self_attn.step(self.input_layernorm.step(hidden), view, cache, onto=hidden)
        return self.mlp.step(self.post_attention_layernorm.step(hidden), onto=hidden)


class Llama(LlamaFrame[AttentionState]):
    """A Llama."""

    def __init__(self, config: LlamaConfig) -> None:
        layers = [LlamaLayer(config) for _ in range(config.num_hidden_layers)]
        super().__init__(config, layers, config.rope_scaling)
        self.config = config

    def initialise(self, generator: torch.Generator, std: float = 0.02) -> None:
        """Draw fresh weights for training: normal matrices, zero biases, unit norms."""
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=std, generator=generator)
            else:
                nn.init.constant_(parameter, 0.0 if name.endswith("bias") else 1.0)

    def logits(self, tokens: Tensor, doc_ids: Tensor | None = None) -> Tensor:
        """Return next-token logits (B, T, V) in float32 for `tokens` (B, T) without padding; differentiable.

        Tokens of a row with equal `doc_ids` (B, T) are one document, and see nothing of the others; documents are
        contiguous. None means one document a row.
        """
        hidden, _ = self._encode(tokens, self.view(tokens, doc_ids))
        return self.head(hidden)

    @property
    def footprint(self) -> Footprint:
        """What a decode step costs; an untied embedding does not count, for a step reads one row of it."""
        config = self.config
        return self.cost(2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim, 0)

    def init_state(self, rows: int, capacity: int) -> AttentionState:
        """Return a state with room for `rows` sequences of `capacity` tokens, none in use."""
        config, weight = self.config, self.model.embed_tokens.weight
        shape = (config.num_hidden_layers, rows, config.num_key_value_heads, capacity, config.head_dim)
        return AttentionState(key_value_buffers(shape, weight), self.rotary.tables(capacity, weight))

    def prefill(self, tokens: Tensor, state: AttentionState) -> Tensor:
        """Read prompts of equal length, (B, T), into an empty state; return the logits (B, V) after them."""
        assert state.batch == 0, "prefill starts from an empty state"
        hidden, entries = self._encode(tokens, view_sequences(state.tables, tokens.shape[1], None))
        for layer, its_entries in enumerate(entries):
            state.store(layer, its_entries)
        state.finish_prefill(*tokens.shape)
        return self.head(hidden[:, -1])

    def step(self, tokens: Tensor, state: AttentionState) -> Tensor:
        """Read one token per row in use, (B,), at each row's own position; return the next token's logits (B, V)."""
        view = state.step_view()
        hidden = self.model.embed_tokens(tokens)  # (B, D)
        for layer, cache in zip(self._layers, state.caches(), strict=True):
            hidden = layer.step(hidden, view, cache)
        state.finish_step()
        return self.step_head(hidden)

    def _encode(self, tokens: Tensor, view: SequenceView) -> tuple[Tensor, list[KeyValues]]:
        """Return the last layer's output (B, T, D) and each layer's keys and values."""
        hidden = self.model.embed_tokens(tokens)
        entries = []
        for layer in self._layers:
            hidden, its_entries = layer(hidden, view)
            entries.append(its_entries)
        return hidden, entries

    @property
    def _layers(self) -> Iterable[LlamaLayer]:
        return cast("Iterable[LlamaLayer]", self.model.layers)
