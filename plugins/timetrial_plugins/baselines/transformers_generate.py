"""Llama as transformers' `generate` runs it: what a model is timed against where nobody has tuned anything.

The batch is k copies of the prompt, each prefilled, in one static batch. On CUDA the cache is static and the forward
pass compiled, as `generate` does by itself then; elsewhere the cache grows, and nothing is compiled unless asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from shutil import which
from typing import Any, cast

import torch
import transformers
from torch import Tensor
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from timetrial.clock import Clock
from timetrial.engines import EngineInput
from timetrial.error import CheckpointError, UsageError
from timetrial.protocol import PhaseTimes
from timetrial_plugins.engine import placement
from timetrial_plugins.engine.model import EngineModel

_MOST_SHAPES = 256  # compiled for each by itself; PyTorch's own limit of 8 would leave the others eager
_COMPILERS = ("g++", "clang++", "c++", "cl")
_HALF = (torch.bfloat16, torch.float16)


def load_llama(given: EngineInput, *, is_compiled: bool | None = None) -> GenerateModel:
    """Return transformers' Llama with the weights of the engine's own, which both then share.

    `is_compiled` None means on CUDA, where `generate` does so by itself if the cache is static.

    Raises:
        CheckpointError: transformers cannot build the configuration, or builds another model of it.
        UsageError: it is to be compiled on a CPU, and there is no C++ compiler.
    """
    if is_compiled and given.own.description["device"] == "cpu" and not any(map(which, _COMPILERS)):
        raise UsageError(
            f"no C++ compiler ({', '.join(_COMPILERS)}) is there to compile with: install one, or time the engine "
            "'paper-style' instead"
        )
    if not isinstance(given.own, EngineModel):
        raise CheckpointError(f"a Llama of {type(given.own).__name__} does not show its weights to other engines")
    weights = given.own._module.state_dict()  # under the names of the published checkpoints, which transformers' are
    example = next(iter(weights.values()))
    device, dtype = example.device, example.dtype
    attention = choose_attention(device, dtype)
    try:
        config = transformers.LlamaConfig.from_dict({**given.config, "attn_implementation": attention})
        with torch.device("meta"):
            module = transformers.LlamaForCausalLM(config).to(dtype)
        missing, unexpected = module.load_state_dict(weights, strict=False, assign=True)
    except (ValueError, TypeError, KeyError, RuntimeError) as cause:
        raise CheckpointError(f"transformers cannot build this Llama ({cause})") from cause
    if unexpected or not {"lm_head.weight"} >= set(missing):  # a tied head is the embedding
        raise CheckpointError(
            f"transformers builds another Llama of this config: without {unexpected or 'nothing'}, and with "
            f"{missing} that the checkpoint lacks"
        )
    module.tie_weights()
    # Its tables are no part of a checkpoint, and still lie on the meta device.
    with torch.device(device):
        module.model.rotary_emb = LlamaRotaryEmbedding(config)
    return GenerateModel(
        module.eval(), attention, is_compiled=device.type == "cuda" if is_compiled is None else is_compiled
    )


def choose_attention(device: torch.device, dtype: torch.dtype) -> str:
    """Return FlashAttention-2 where it is installed and can run, else SDPA, by transformers' names for them."""
    can_flash = device.type == "cuda" and dtype in _HALF and find_spec("flash_attn") is not None
    return "flash_attention_2" if can_flash else "sdpa"


class GenerateModel:
    """A transformers model that is timed as its `generate` runs it."""

    def __init__(self, module: Any, attention: str, *, is_compiled: bool) -> None:  # Any: transformers has no types
        """Take the module, and the attention it was built with; compiled, it decodes into a static cache."""
        self._module, self._attention, self._is_compiled = module, attention, is_compiled
        self._device: torch.device = module.device

    @property
    def module(self) -> Any:  # Any: transformers has no types
        """What is run."""
        return self._module

    @property
    def description(self) -> Mapping[str, Any]:  # Any: JSON-ready
        """Say what runs it."""
        cache = "static cache, compiled" if self._is_compiled else "dynamic cache, eager"
        return {
            "kernels": f"transformers {transformers.__version__} generate, {self._attention}, {cache}",
            "parameters": sum(parameter.numel() for parameter in self._module.parameters()),
            "dtype": str(self._module.dtype).removeprefix("torch."),
            "device": placement.device_name(self._device),
            "threads": torch.get_num_threads(),
        }

    def decode_timing(self, batch: int, prompt_tokens: int, new_tokens: int, *, clock: Clock, seed: int) -> PhaseTimes:
        """Time one batch of copies of a random prompt: `new_tokens` draws and steps after the prefill.

        `generate` is asked for one token more. Its hook for logits is called after the prefill and after every step, so
        that between its first and last call lie exactly the draws and steps that the engine's own timing has.

        Raises:
            OutOfMemory: the batch does not fit.
        """
        stopwatch = _Stopwatch(clock, last=new_tokens)
        with placement.memory_errors(), torch.inference_mode(), self._one_graph_per_shape():
            placement.reset_peak(self._device)
            torch.manual_seed(seed)
            prompt = torch.randint(self._module.config.vocab_size, (1, prompt_tokens)).to(self._device)
            prompts = prompt.expand(batch, -1).contiguous()
            start_s = clock.now()
            self._module.generate(
                prompts,
                attention_mask=torch.ones_like(prompts),
                do_sample=True,
                temperature=1.0,
                top_k=0,
                top_p=1.0,
                max_new_tokens=new_tokens + 1,
                eos_token_id=None,
                pad_token_id=0,
                logits_processor=transformers.LogitsProcessorList([stopwatch]),
                **self._cache_options(),
            )
        return PhaseTimes(
            prefill_s=stopwatch.first_s - start_s,
            decode_s=stopwatch.last_s - stopwatch.first_s,
            peak_bytes=placement.peak_bytes(self._device),
        )

    def _cache_options(self) -> dict[str, Any]:  # Any: options of several types
        if not self._is_compiled:
            return {}
        # `generate` keeps the longest cache so far for shorter prompts too, and attention would read all of it.
        self._module._previous_max_cache_length = -1
        compiled = transformers.CompileConfig(mode="reduce-overhead", dynamic=False)
        compiled._compile_all_devices = True  # decided here, not by `generate`
        return {"cache_implementation": "static", "compile_config": compiled}

    def _one_graph_per_shape(self) -> AbstractContextManager[None]:
        if not self._is_compiled:
            return nullcontext()
        import torch._dynamo

        patch = cast("Callable[..., AbstractContextManager[None]]", torch._dynamo.config.patch)
        return patch(recompile_limit=_MOST_SHAPES)


class _Stopwatch(transformers.LogitsProcessor):  # type: ignore[misc]  # transformers has no types
    """Reads the clock when logits arrive for the first and for the last time, and leaves them as they are."""

    def __init__(self, clock: Clock, last: int) -> None:
        """Number the calls from 0 to `last`."""
        self._clock, self._last, self._call = clock, last, 0
        self.first_s = self.last_s = float("nan")

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Look at the clock, which waits for the device, if this is one of the two calls."""
        if self._call == 0:
            self.first_s = self._clock.now()
        elif self._call == self._last:
            self.last_s = self._clock.now()
        self._call += 1
        return scores
