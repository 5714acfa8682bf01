"""Llamba in plain PyTorch: Llama's blocks with a discrete Mamba-2 mixer in place of attention.

Facts: the published inference code (cartesia-ai/edge); Bick et al., arXiv 2408.10189 and 2502.14458. Parameters have
the published names.
Shapes: B batch, T tokens, V vocabulary, D model width, E inner width, L layers, H heads, G groups of heads that share
b and c, P channels per head, N state size, K convolution width, C = E + 2 G N convolution channels, R rows allocated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from timetrial_plugins.models.interface import Anatomy, CausalModule, DecodeState, Footprint, Layer
from timetrial_plugins.models.joint import JointLinear
from timetrial_plugins.models.kept import Kept
from timetrial_plugins.models.layers import RMSNorm, SwiGLU
from timetrial_plugins.models.llamba_config import LlambaConfig
from timetrial_plugins.models.scan.convolution import (
    causal_conv,
    causal_conv_step_in_place,
    side_by_side,
    window_buffer,
)
from timetrial_plugins.models.scan.precision import state_buffer, widen
from timetrial_plugins.models.scan.ssd import Mixing, SSDInputs, ssd_chunked, ssd_step_in_place
from timetrial_plugins.models.step_function import StepFunction

_BLOCK_EPSILON = 1e-5  # the published blocks do not read it from the config
_LLAMA3_EOS_IDS = frozenset((128001, 128008, 128009))  # the published configs name none
OPEN_GATE = 1.2784645427610738
"""The z_bias at which a gate lets everything through: silu of it is 1."""


class Memory(NamedTuple):
    """What a mixer keeps of the tokens before."""

    window: Tensor  # (B, C, K - 1), the last inputs of the convolution
    state: Tensor  # (B, H, P, N)


class LlambaMixer(nn.Module):
    """Discrete Mamba-2: the decay comes from the input alone, without a step size."""

    def __init__(self, config: LlambaConfig) -> None:
        super().__init__()
        self.config = config.ssm_cfg
        inner, channels, heads = config.inner_width, config.conv_channels, config.ssm_cfg.n_v_heads
        self.head_dim = inner // heads
        self.parts = [channels, inner, heads]  # of in_proj: what is convolved, gate, decay
        self.convolved_parts = [inner, config.group_width, config.group_width]  # x, b, c
        self.in_proj = nn.Linear(config.d_model, sum(self.parts), bias=self.config.bias)
        self.conv1d = nn.Conv1d(channels, channels, self.config.d_conv, groups=channels, bias=self.config.conv_bias)
        self.z_bias = None if self.config.bias else nn.Parameter(torch.zeros(inner))
        self.D = nn.Parameter(torch.ones(heads))
        self.out_proj = nn.Linear(inner, config.d_model, bias=self.config.bias)
        self.joint_in, self.joint_out = JointLinear(self.in_proj), JointLinear(self.out_proj)
        self._taps = Kept(self.conv1d, side_by_side)
        self._recur = StepFunction(ssd_step_in_place)

    def forward(self, hidden: Tensor, doc_ids: Tensor | None = None) -> tuple[Tensor, Memory]:
        """Mix `hidden` (B, T, D) from an empty memory; return the output (B, T, D) and the memory after it."""
        (projected,) = self.joint_in.apart(hidden)
        convolved, gate, decay = torch.split(projected, self.parts, dim=-1)
        convolved, window = causal_conv(convolved, self.conv1d.weight[:, 0], self.conv1d.bias, None, doc_ids)
        inputs = self._inputs(convolved, decay)
        y, state = ssd_chunked(inputs, None, doc_ids, self.config.chunk_size)  # (B, T, H, P)
        (output,) = self.joint_out.apart(self._gated(y, inputs.x, gate))
        return output, Memory(window, state)

    def mixing(self, hidden: Tensor, doc_ids: Tensor | None = None) -> Mixing:
        """Return what decides how the tokens of `hidden` (B, T, D) are mixed before the gate."""
        convolved, _, decay = torch.split(self.in_proj(hidden), self.parts, dim=-1)
        convolved, _ = causal_conv(convolved, self.conv1d.weight[:, 0], self.conv1d.bias, None, doc_ids)
        inputs = self._inputs(convolved, decay)
        return Mixing(inputs.log_decay, inputs.b, inputs.c, self.D.clone())

    @property
    def mixing_rows(self) -> Mapping[str, tuple[slice, ...]]:
        """The parameters that `mixing` depends on, and which of their rows: those of b, c and the decay."""
        inner, (channels, gate, _) = self.convolved_parts[0], self.parts
        projected, convolved = (slice(inner, channels), slice(channels + gate, None)), (slice(inner, channels),)
        rows = {"in_proj.weight": projected, "conv1d.weight": convolved, "D": (slice(None),)}
        biases = {"in_proj.bias": projected, "conv1d.bias": convolved}
        return rows | {name: its_rows for name, its_rows in biases.items() if name in dict(self.named_parameters())}

    def step(self, hidden: Tensor, memory: Memory, onto: Tensor | None = None) -> Tensor:
        """Mix one token per row, `hidden` (B, D), and write it into the memory; return the output (B, D).

        It is added to `onto`, if given, which may be overwritten.
        """
        convolved, gate, decay = torch.split(self.joint_in(hidden), self.parts, dim=-1)
        convolved = causal_conv_step_in_place(convolved, self._taps(), self.conv1d.bias, memory.window)
        inputs = self._inputs(convolved, decay)
        y = self._recur(inputs, memory.state)  # (B, H, P)
        return self.joint_out(self._gated(y, inputs.x, gate), onto)

    def _inputs(self, convolved: Tensor, decay: Tensor) -> SSDInputs:
        """Return the recurrence's inputs from (B, ..., C) and the in_proj's A_log (B, ..., H).

        The decay is sigmoid(-A_log). The published kernel call divides x by softplus(A_log) and multiplies it again;
        that is the same in exact arithmetic, and not a number for A_log below -104.
        """
        x, b, c = torch.split(convolved, self.convolved_parts, dim=-1)
        heads, groups = (self.config.n_v_heads, self.head_dim), (self.config.n_qk_heads, self.config.d_state)
        return SSDInputs(
            x=x.view(*x.shape[:-1], *heads),
            log_decay=functional.logsigmoid(-widen(decay)),
            b=b.view(*b.shape[:-1], *groups),
            c=c.view(*c.shape[:-1], *groups),
        )

    def _gated(self, y: Tensor, x: Tensor, gate: Tensor) -> Tensor:
        """Return out_proj's input (B, ..., E): the skip past the recurrence, then the gate."""
        y = torch.addcmul(y, widen(self.D)[:, None], widen(x)).to(gate.dtype).flatten(-2)
        gate = gate if self.z_bias is None else gate + self.z_bias
        return y * functional.silu(gate)


class LlambaBlock(nn.Module):
    """Mixer and MLP, each behind a norm and around a residual."""

    def __init__(self, config: LlambaConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.d_model, _BLOCK_EPSILON)
        self.mixer = LlambaMixer(config)
        self.post_attention_layernorm = RMSNorm(config.d_model, _BLOCK_EPSILON)
        self.mlp = SwiGLU(config.d_model, config.mlp_cfg.intermediate_size, bias=config.mlp_cfg.bias)

    def forward(self, hidden: Tensor, doc_ids: Tensor | None = None) -> tuple[Tensor, Memory]:
        """Return the block's output (B, T, D) and its mixer's memory."""
        mixed, memory = self.mix(hidden, doc_ids)
        hidden = hidden + mixed
        return hidden + self.mlp(self.post_attention_layernorm(hidden)), memory

    def mix(self, hidden: Tensor, doc_ids: Tensor | None = None) -> tuple[Tensor, Memory]:
        """Return what the mixer adds to the block's input, (B, T, D), and its memory."""
        mixed: tuple[Tensor, Memory] = self.mixer(self.input_layernorm(hidden), doc_ids)
        return mixed

    def mixing(self, hidden: Tensor, doc_ids: Tensor | None = None) -> Mixing:
        """Return what decides how the block mixes the tokens of its input (B, T, D)."""
        return self.mixer.mixing(self.input_layernorm(hidden), doc_ids)

    @property
    def mixing_rows(self) -> Mapping[str, tuple[slice, ...]]:
        """The parameters that `mixing` depends on apart from the norm, and which of their rows."""
        return {f"mixer.{name}": rows for name, rows in self.mixer.mixing_rows.items()}

    def step(self, hidden: Tensor, memory: Memory) -> Tensor:
        """Return the block's output (B, D) for one token per row, which is written into the memory.

        `hidden` may be overwritten.
        """
        hidden = self.mixer.step(self.input_layernorm.step(hidden), memory, onto=hidden)
        return self.mlp.step(self.post_attention_layernorm.step(hidden), onto=hidden)


class LlambaBackbone(nn.Module):
    """Embedding, blocks and final norm, under the published names."""

    def __init__(self, config: LlambaConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.num_rows, config.d_model)
        self.layers = nn.ModuleList(LlambaBlock(config) for _ in range(config.n_layer))
        self.final_layernorm = RMSNorm(config.d_model, config.norm_epsilon)

    @property
    def blocks(self) -> Iterable[LlambaBlock]:
        """The layers, typed."""
        return cast("Iterable[LlambaBlock]", self.layers)


class Llamba(CausalModule[DecodeState]):
    """A Llamba.

    Logits are those of the vocabulary: the rows that pad the embedding are no tokens, so nothing can draw them (the
    published code returns them too).
    """

    context_length = None  # a state has room for any number of tokens

    def __init__(self, config: LlambaConfig, *, state_dtype: torch.dtype | None = None) -> None:
        """Make a Llamba; `state_dtype` is that of recurrent states, None for float32, or float64 if the weights are."""
        super().__init__()
        self.config, self.state_dtype = config, state_dtype
        self.backbone = LlambaBackbone(config)
        self.vocab_size = config.vocab_size
        self.default_eos_ids = frozenset(token for token in _LLAMA3_EOS_IDS if token < config.vocab_size)
        is_tied = config.tie_embeddings
        self.redundant_tensors = (r"lm_head\.weight",) if is_tied else ()
        # The published code gives a tied head no bias, whatever lm_head_bias says.
        self.lm_head = None if is_tied else nn.Linear(config.d_model, config.num_rows, bias=config.lm_head_bias)
        head = self.backbone.embedding if self.lm_head is None else self.lm_head
        self.joint_head = JointLinear(head, rows=config.vocab_size)

    def initialise(self, generator: torch.Generator, std: float = 0.02) -> None:
        """Draw fresh weights for training: normal matrices, an open gate, and a convolution that copies its input."""
        for name, parameter in self.named_parameters():
            if name.endswith("conv1d.weight"):
                nn.init.zeros_(parameter)
                nn.init.ones_(parameter[:, :, -1])
            elif parameter.dim() > 1:
                nn.init.normal_(parameter, std=std, generator=generator)
            elif name.endswith("z_bias"):
                nn.init.constant_(parameter, OPEN_GATE)
            else:
                nn.init.constant_(parameter, 0.0 if name.endswith("bias") else 1.0)

    def logits(self, tokens: Tensor, doc_ids: Tensor | None = None) -> Tensor:
        """Return next-token logits (B, T, V) for `tokens` (B, T), each document of `doc_ids` by itself."""
        hidden = self.backbone.embedding(tokens)  # (B, T, D)
        for block in self.backbone.blocks:
            hidden, _ = block(hidden, doc_ids)
        return self._head(hidden)

    @property
    def anatomy(self) -> Anatomy:
        """The modules that `logits` runs one after the other."""
        backbone = self.backbone
        head = backbone.embedding if self.lm_head is None else self.lm_head
        return Anatomy(backbone.embedding, cast("Sequence[Layer]", backbone.layers), backbone.final_layernorm, head)

    def view(self, tokens: Tensor, doc_ids: Tensor | None) -> Tensor | None:
        """Return what the layers must know of sequences `tokens` (B, T): which document each belongs to."""
        assert doc_ids is None or doc_ids.shape == tokens.shape, f"{doc_ids.shape} ids for {tokens.shape} tokens"
        return doc_ids

    @property
    def footprint(self) -> Footprint:
        """What a decode step costs, apart from an untied embedding, of which a step reads one row.

        The convolution's state counts K columns, as the published one has; here it is kept in K - 1.
        """
        config, embedding = self.config, self.backbone.embedding.weight
        lookup = 0 if self.lm_head is None else embedding.numel()
        num_parameters = sum(parameter.numel() for parameter in self.parameters()) - lookup
        num_matrices = sum(parameter.numel() for parameter in self.parameters() if parameter.dim() == 2) - lookup
        size = embedding.element_size()
        window_bytes = config.conv_channels * config.ssm_cfg.d_conv * size
        state_bytes = config.inner_width * config.ssm_cfg.d_state * self._state_dtype.itemsize
        return Footprint(num_parameters * size, num_matrices, 0, config.n_layer * (window_bytes + state_bytes))

    def init_state(self, rows: int, capacity: int) -> DecodeState:
        """Return a state with room for `rows` sequences, none in use; its size does not depend on `capacity`."""
        weight, mixer = self.backbone.embedding.weight, self.config.ssm_cfg
        head_dim = self.config.inner_width // mixer.n_v_heads
        window = (self.config.n_layer, rows, self.config.conv_channels, mixer.d_conv - 1)
        state = (self.config.n_layer, rows, mixer.n_v_heads, head_dim, mixer.d_state)
        buffers = {
            "conv": window_buffer(window, weight),  # (L, R, C, K - 1)
            "ssm": state_buffer(state, self._state_dtype, weight.device),  # (L, R, H, P, N)
        }
        return DecodeState(buffers, capacity)

    def prefill(self, tokens: Tensor, state: DecodeState) -> Tensor:
        """Read prompts of equal length, (B, T), into an empty state; return the logits (B, V) after them."""
        assert state.batch == 0, "prefill starts from an empty state"
        batch, length = tokens.shape
        state.batch = batch
        hidden = self.backbone.embedding(tokens)  # (B, T, D)
        for layer, block in enumerate(self.backbone.blocks):
            hidden, memory = block(hidden)
            self._keep(memory, state, layer)
        state.lengths[:batch] = length
        state.longest = length
        return self._head(hidden[:, -1])

    def step(self, tokens: Tensor, state: DecodeState) -> Tensor:
        """Read one token per row in use, (B,); return the next token's logits (B, V)."""
        batch = state.batch
        windows, states = (state.buffers[name][:, :batch] for name in ("conv", "ssm"))
        hidden = self.backbone.embedding(tokens)  # (B, D)
        for layer, block in enumerate(self.backbone.blocks):
            hidden = block.step(hidden, Memory(windows[layer], states[layer]))
        state.lengths[:batch] += 1
        state.longest += 1
        return widen(self.joint_head(self.backbone.final_layernorm.step(hidden)))

    def _head(self, hidden: Tensor) -> Tensor:  # (..., D) -> (..., V)
        head = self.backbone.embedding if self.lm_head is None else self.lm_head
        bias = None if self.lm_head is None or self.lm_head.bias is None else self.lm_head.bias[: self.vocab_size]
        return widen(functional.linear(self.backbone.final_layernorm(hidden), head.weight[: self.vocab_size], bias))

    @staticmethod
    def _keep(memory: Memory, state: DecodeState, layer: int) -> None:
        """Store what a layer remembers of the rows in use."""
        state.buffers["conv"][layer, : state.batch] = memory.window
        state.buffers["ssm"][layer, : state.batch] = memory.state

    @property
    def _state_dtype(self) -> torch.dtype:
        return self.state_dtype or torch.promote_types(self.backbone.embedding.weight.dtype, torch.float32)
