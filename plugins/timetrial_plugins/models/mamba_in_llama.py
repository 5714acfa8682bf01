"""MambaInLlama: a Llama most of whose attention layers have become Mamba layers (arXiv 2408.15237, 2502.20339).

Parameter names are those of the fused layout of the published checkpoints: `mamba.in_proj`, `mha.in_proj`.
Facts: docs/models.md.
Shapes: B batch, T tokens, V vocabulary, D model width; L layers of one kind, R rows allocated.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from timetrial_plugins.models.attention import FusedAttention, SequenceView, view_sequences
from timetrial_plugins.models.attention_state import AttentionState, StepCache, StepView, key_value_buffers
from timetrial_plugins.models.frame import LlamaFrame
from timetrial_plugins.models.hybrid_config import HybridConfig
from timetrial_plugins.models.interface import Footprint
from timetrial_plugins.models.layers import RMSNorm, SwiGLU
from timetrial_plugins.models.layouts import Fusion, fusions_of
from timetrial_plugins.models.mamba_mixer import Mamba1Mixer, Mamba2Mixer, MambaMemory, MambaMixer
from timetrial_plugins.models.scan.convolution import window_buffer
from timetrial_plugins.models.scan.precision import state_buffer
from timetrial_plugins.models.scan.ssd import Mixing
from timetrial_plugins.models.shared_prompt import KeyValues


class HybridLayer(nn.Module):
    """A mixer and an MLP, each behind a norm and around a residual; the kinds differ in the mixer."""

    def __init__(self, config: HybridConfig) -> None:
        super().__init__()
        width, epsilon = config.llama.hidden_size, config.llama.rms_norm_eps
        self.input_layernorm = RMSNorm(width, epsilon, scales_first=True)
        self.post_attention_layernorm = RMSNorm(width, epsilon, scales_first=True)
        self.mlp = SwiGLU(width, config.llama.intermediate_size)

    def finish(self, hidden: Tensor, mixed: Tensor) -> Tensor:
        """Return the layer's output from its input and what the mixer made of it."""
        hidden = hidden + mixed
        output: Tensor = hidden + self.mlp(self.post_attention_layernorm(hidden))
        return output

    def finish_step(self, hidden: Tensor) -> Tensor:
        """Do the same for one token per row, from the sum of both, (B, D), which may be overwritten."""
        return self.mlp.step(self.post_attention_layernorm.step(hidden), onto=hidden)


class AttentionLayer(HybridLayer):
    """A layer that kept its attention."""

    def __init__(self, config: HybridConfig) -> None:
        super().__init__(config)
        llama = config.llama
        heads, kv_heads = llama.num_attention_heads, llama.num_key_value_heads
        self.mha = FusedAttention(llama.hidden_size, heads, kv_heads, llama.head_dim)

    def forward(self, hidden: Tensor, view: SequenceView) -> tuple[Tensor, KeyValues]:
        """Return the layer's output (B, T, D) and its keys and values."""
        mixed, entries = self.mix(hidden, view)
        return self.finish(hidden, mixed), entries

    def mix(self, hidden: Tensor, view: SequenceView) -> tuple[Tensor, KeyValues]:
        """Return what attention adds to the layer's input, (B, T, D), and its keys and values."""
        return self.mha.attend(self.input_layernorm(hidden), view)

    def step(self, hidden: Tensor, view: StepView, cache: StepCache) -> Tensor:
        """Return the layer's output (B, D) for one new token per row; `hidden` may be overwritten."""
        return self.finish_step(self.mha.step(self.input_layernorm.step(hidden), view, cache, onto=hidden))


class MambaLayer(HybridLayer):
    """A layer whose attention became Mamba."""

    def __init__(self, config: HybridConfig) -> None:
        super().__init__(config)
        self.mamba: MambaMixer = Mamba1Mixer(config) if config.mixer == "mamba1" else Mamba2Mixer(config)

    def forward(self, hidden: Tensor, view: SequenceView) -> tuple[Tensor, MambaMemory]:
        """Return the layer's output (B, T, D) and its memory after the last token."""
        mixed, memory = self.mix(hidden, view)
        return self.finish(hidden, mixed), memory

    def mix(self, hidden: Tensor, view: SequenceView) -> tuple[Tensor, MambaMemory]:
        """Return what the mixer adds to the layer's input, (B, T, D), and its memory after the last token."""
        return self.mamba.read(self.input_layernorm(hidden), view.doc_ids)

    def mixing(self, hidden: Tensor, view: SequenceView) -> Mixing:
        """Return what decides how the layer mixes the tokens of its input (B, T, D)."""
        return self.mamba.mixing(self.input_layernorm(hidden), view.doc_ids)

    @property
    def mixing_rows(self) -> Mapping[str, tuple[slice, ...]]:
        """The parameters that `mixing` depends on apart from the norm, and which of their rows."""
        return {f"mamba.{name}": rows for name, rows in self.mamba.mixing_rows.items()}

    def step(self, hidden: Tensor, memory: MambaMemory) -> Tensor:
        """Return the layer's output (B, D) for one new token per row, which is written into the memory.

        `hidden` may be overwritten.
        """
        return self.finish_step(self.mamba.step(self.input_layernorm.step(hidden), memory, onto=hidden))


class HybridState(AttentionState):
    """Keys and values of the attention layers; "conv" (L, R, C, K - 1) and "ssm" (L, R, H, P, N) of the others."""

    def store_memory(self, layer: int, memory: MambaMemory) -> None:
        """Keep what Mamba layer `layer` made of the prompts, which fill the first rows."""
        batch = memory.window.shape[0]
        self.buffers["conv"][layer, :batch] = memory.window
        self.buffers["ssm"][layer, :batch] = memory.state

    def memories(self) -> list[MambaMemory]:
        """Return the memory of every Mamba layer, rows in use only."""
        windows, states = (self.buffers[name][:, : self.batch] for name in ("conv", "ssm"))
        return [MambaMemory(*pair) for pair in zip(windows, states, strict=True)]


class MambaInLlama(LlamaFrame[HybridState]):
    """A hybrid of attention and Mamba layers."""

    def __init__(self, config: HybridConfig, *, state_dtype: torch.dtype | None = None) -> None:
        """Build the layers; the recurrent state is kept in `state_dtype`, by default float32 or wider."""
        layers = [
            AttentionLayer(config) if index in config.attn_layers else MambaLayer(config)
            for index in range(config.llama.num_hidden_layers)
        ]
        super().__init__(config.llama, layers, config.rope_scaling)
        self.config, self.state_dtype = config, state_dtype

    def initialise(self, generator: torch.Generator, std: float = 0.02) -> None:
        """Draw fresh weights for training: normal matrices, unit norms, Mamba's own parameters as published."""
        for parameter in self.parameters():
            if parameter.dim() == 1:
                nn.init.ones_(parameter)
            else:
                nn.init.normal_(parameter, std=std, generator=generator)
        with torch.no_grad():
            for layer in self.layers:
                if isinstance(layer, MambaLayer):
                    for name, fresh in layer.mamba.fresh(generator).items():
                        layer.mamba.get_parameter(name).copy_(fresh.value)

    @property
    def fusions(self) -> Sequence[Fusion]:
        """The parameters that checkpoints in the split layout hold in parts."""
        return fusions_of(self.config)

    @property
    def layers(self) -> Iterable[AttentionLayer | MambaLayer]:
        """The layers, typed."""
        return cast("Iterable[AttentionLayer | MambaLayer]", self.model.layers)

    @property
    def footprint(self) -> Footprint:
        """What a decode step costs; K columns of each convolution count: the window and the new input."""
        config, element = self.config, self.model.embed_tokens.weight.element_size()
        kv_values = 2 * len(config.attn_layers) * config.llama.num_key_value_heads * config.llama.head_dim
        conv_bytes = config.window_shape[0] * config.d_conv * element
        ssm_bytes = math.prod(config.state_shape) * self._state_dtype().itemsize
        return self.cost(kv_values, config.num_mamba_layers * (conv_bytes + ssm_bytes))

    def logits(self, tokens: Tensor, doc_ids: Tensor | None = None) -> Tensor:
        """Return next-token logits (B, T, V) in float32 for `tokens` (B, T) without padding; differentiable.

        Tokens of a row with equal `doc_ids` (B, T) are one document, and see nothing of the others; documents are
        contiguous. None means one document a row.
        """
        hidden, _ = self._encode(tokens, self.view(tokens, doc_ids))
        return self.head(hidden)

    def init_state(self, rows: int, capacity: int) -> HybridState:
        """Return a state with room for `rows` sequences of `capacity` tokens, none in use."""
        config, llama, weight = self.config, self.config.llama, self.model.embed_tokens.weight
        attention = (len(config.attn_layers), rows, llama.num_key_value_heads, capacity, llama.head_dim)
        mamba = (config.num_mamba_layers, rows)
        buffers = {
            **key_value_buffers(attention, weight),
            "conv": window_buffer((*mamba, *config.window_shape), weight),
            "ssm": state_buffer((*mamba, *config.state_shape), self._state_dtype(), weight.device),
        }
        return HybridState(buffers, self.rotary.tables(capacity, weight))

    def prefill(self, tokens: Tensor, state: HybridState) -> Tensor:
        """Read prompts of equal length, (B, T), into an empty state; return the logits (B, V) after them."""
        assert state.batch == 0, "prefill starts from an empty state"
        hidden, memories = self._encode(tokens, view_sequences(state.tables, tokens.shape[1], None))
        for index, entries in enumerate(memory for memory in memories if isinstance(memory, KeyValues)):
            state.store(index, entries)
        for index, memory in enumerate(memory for memory in memories if isinstance(memory, MambaMemory)):
            state.store_memory(index, memory)
        state.finish_prefill(*tokens.shape)
        return self.head(hidden[:, -1])

    def step(self, tokens: Tensor, state: HybridState) -> Tensor:
        """Read one token per row in use, (B,), at each row's own position; return the next token's logits (B, V)."""
        view, caches, memories = state.step_view(), iter(state.caches()), iter(state.memories())
        hidden = self.model.embed_tokens(tokens)  # (B, D)
        for layer in self.layers:
            if isinstance(layer, AttentionLayer):
                hidden = layer.step(hidden, view, next(caches))
            else:
                hidden = layer.step(hidden, next(memories))
        state.finish_step()
        return self.step_head(hidden)

    def _encode(self, tokens: Tensor, view: SequenceView) -> tuple[Tensor, list[KeyValues | MambaMemory]]:
        """Return the last layer's output (B, T, D) and what each layer keeps."""
        hidden = self.model.embed_tokens(tokens)
        memories = []
        for layer in self.layers:
            hidden, memory = layer(hidden, view)
            memories.append(memory)
        return hidden, memories

    def _state_dtype(self) -> torch.dtype:
        widest = torch.promote_types(self.model.embed_tokens.weight.dtype, torch.float32)
        return self.state_dtype or widest
