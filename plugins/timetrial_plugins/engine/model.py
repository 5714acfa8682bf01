"""A timetrial Model made of any family's module and a tokenizer.

Shapes: B batch, T tokens, V vocabulary.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from timetrial.clock import Clock
from timetrial.error import TimetrialError, UsageError
from timetrial.protocol import Generation, OutOfMemory, PhaseTimes, Request, Sampling, StepCost
from timetrial.record import Prompt
from timetrial_plugins.device.replay_memory import state_traffic
from timetrial_plugins.device.steps import Begin, begin_on_device
from timetrial_plugins.engine import placement
from timetrial_plugins.engine.batch import Batch, DecodeBatch
from timetrial_plugins.engine.decoder import Decoded, DecodeLoop, Ending, PromptJob, Sample
from timetrial_plugins.engine.sampler import Sampler, stream_seed
from timetrial_plugins.engine.step_plan import OWN_STEPS, StepPlan
from timetrial_plugins.engine.stop import StopStrings
from timetrial_plugins.models.interface import CausalModule
from timetrial_plugins.models.packed import PackedProduct, can_pack
from timetrial_plugins.models.tokenizer import ChatTokenizer
from timetrial_registry.digest import checkpoint_digest, tokenizer_digest

_MOST_PACKED_BYTES = 2**30  # the packed copy doubles the memory of the weights
_STEPS_PER_LOOK = {"cpu": 4, "cuda": 32}  # looking is cheap on a CPU, and stalls an accelerator's queue


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedCheckpoint:
    """A module with its weights on a device, and what belongs to it."""

    family: str
    folder: Path
    module: CausalModule[Any]  # Any: the engine does not look into a family's state
    tokenizer: ChatTokenizer
    eos_ids: frozenset[int]
    device: torch.device
    dtype: torch.dtype
    is_compiled: bool = False
    """Whether the parts of a step that gain by it are to be compiled."""
    plan: StepPlan = OWN_STEPS
    """How steps are to run."""


class _Rendered(NamedTuple):
    """A prompt as the model reads it, or why it cannot."""

    tokens: list[int]
    digest: str
    error: str | None


class EngineModel:
    """Implements `timetrial.protocol.Model` for every family through the engine."""

    def __init__(
        self, checkpoint: LoadedCheckpoint, *, shares_prompts: bool | None = None, begin: Begin = begin_on_device
    ) -> None:
        """Decode with the checkpoint's module, whose weights must not change afterwards: what steps make of them is
        made now, and small ones are packed.

        With `shares_prompts` the completions of a prompt read its keys and values together when they are generated;
        None means on a CPU. Timings never do (docs/timing.md). `begin` makes the steps of a plan, if they are not the
        module's own.
        """
        self._checkpoint = checkpoint
        self._module, self._device = checkpoint.module, checkpoint.device
        self._shares_prompts = self._device.type == "cpu" if shares_prompts is None else shares_prompts
        self._module.keep()
        self._compiled = self._module.compile_steps() if checkpoint.is_compiled else []
        begun = begin(self._module, checkpoint.plan, self._device) if not checkpoint.plan.is_own else None
        self._steps = begun and begun.steps
        self._reasons = checkpoint.plan.reasons if begun is None else begun.reasons
        self._packing = self._pack()
        if self._steps is not None and self._steps.products is not None:
            self._steps.probe()  # so that the description says from the start what cannot be recorded

    @property
    def tokenizer(self) -> ChatTokenizer:
        """The checkpoint's tokenizer."""
        return self._checkpoint.tokenizer

    @property
    def module(self) -> CausalModule[Any]:  # Any: each family has its own kind of state
        """The module with its weights, which are not to be changed."""
        return self._module

    @property
    def description(self) -> Mapping[str, Any]:  # Any: JSON
        """Facts for provenance; the first look computes the checkpoint's digest.

        How steps run may change: when a graph of theirs cannot be recorded.
        """
        return {**self._facts, "kernels": self._kernels()}

    @cached_property
    def _facts(self) -> Mapping[str, Any]:  # Any: JSON
        checkpoint, footprint = self._checkpoint, self._module.footprint
        is_cuda = self._device.type == "cuda"
        return {
            "family": checkpoint.family,
            "parameters": sum(parameter.numel() for parameter in self._module.parameters()),
            "weight_bytes": footprint.weight_bytes,
            "context_length": self._module.context_length,
            "eos_ids": sorted(checkpoint.eos_ids),
            "dtype": _name_of(checkpoint.dtype),
            "device": torch.cuda.get_device_name(self._device) if is_cuda else "cpu",
            "threads": torch.get_num_threads(),
            **self._of_states(),
            "shares_prompts": self._shares_prompts,
            **self._origin(),
        }

    def _of_states(self) -> Mapping[str, str | int]:
        """Return the number format of recurrent states, if there are some, and how often they are written."""
        if not self._module.footprint.state_bytes:
            return {}
        widest = torch.promote_types(self._checkpoint.dtype, torch.float32)
        facts: dict[str, str | int] = {"state_dtype": _name_of(self._module.state_dtype or widest)}
        interval = self._checkpoint.plan.state_interval
        return facts if interval == 1 else facts | {"state_interval": interval}

    def _kernels(self) -> str:
        """Say what steps consist of."""
        if self._steps is not None:
            return self._packed(self._steps.kernels)
        kind = "pytorch-eager"
        if self._checkpoint.is_compiled:
            names = ", ".join(self._compiled)
            kind = f"pytorch-compiled ({names})" if names else "pytorch-eager (nothing to compile)"
        whole = self._packed(kind)
        return f"{whole} ({'; '.join(self._reasons)})" if self._reasons else whole

    def _packed(self, kind: str) -> str:
        return ", ".join([kind, *([self._packing] if self._packing else [])])

    def _pack(self) -> str | None:
        """Copy small weights into the layout in which steps multiply fastest, if there is one; return what was done."""
        if self._module.footprint.weight_bytes > _MOST_PACKED_BYTES:
            return None
        if self._steps is not None and self._steps.products is not None:
            self._module.pack(self._steps.products)
            return "weights packed"
        if not can_pack(self._checkpoint.dtype, self._device):
            return None
        self._module.pack(PackedProduct)
        return "weights packed by onednn"

    def _origin(self) -> Mapping[str, str]:
        """Return facts that tell which weights and tokenizer these are."""
        folder = self._checkpoint.folder
        return {
            "checkpoint_digest": checkpoint_digest(folder),
            "tokenizer_digest": tokenizer_digest(self.tokenizer.folder),
        }

    def logits(self, tokens: Tensor) -> Tensor:
        """Return next-token logits (B, T, V) in float32 for `tokens` (B, T) without padding."""
        with torch.inference_mode():
            return self._module.logits(tokens.to(self._device))

    def synchronize(self) -> None:
        """Wait until the device has finished everything queued."""
        placement.synchronize(self._device)

    def costs(self, batch: int, context: int) -> StepCost:
        """Return the cost of one decode step (docs/timing.md); every sequence reads its own context.

        Where states are written every L steps it is the mean over those.
        """
        footprint = self._module.footprint
        traffic = state_traffic(self._module, self._checkpoint.plan.state_interval)
        per_sequence = footprint.kv_bytes_per_token * context + traffic
        return StepCost(
            bytes_moved=footprint.weight_bytes + batch * per_sequence,
            flops=2 * footprint.linear_parameters * batch,
        )

    def generate(self, requests: Sequence[Request], sampling: Sampling, *, batch_size: int) -> Iterator[Generation]:
        """Yield one Generation per request as they finish.

        A completion ends with an end-of-sequence token, a stop string, `max_tokens`, or where prompt and completion
        fill the model's context (where it has one); the last two are `finish="length"`. Hand over all requests at once:
        a finished row then makes room for the next, and each distinct prompt is read once.

        Raises:
            UsageError: a sampling parameter or the batch size is out of range, or the batch does not fit the device.
        """
        sampler = Sampler(sampling)
        if batch_size < 1:
            raise UsageError(f"batch size is {batch_size}: expected 1 or more")
        return self._generate(requests, sampling, sampler, batch_size)

    def _generate(
        self, requests: Sequence[Request], sampling: Sampling, sampler: Sampler, batch_size: int
    ) -> Iterator[Generation]:
        tags: dict[Prompt, list[int]] = {}
        for tag, request in enumerate(requests):
            tags.setdefault(request.prompt, []).append(tag)
        rendered: dict[int, _Rendered] = {}  # by tag: to look a prompt up is to go through its text
        jobs = []
        for prompt, its_tags in tags.items():
            one = self._render(prompt)
            if one.error is not None:
                for tag in its_tags:
                    failed = Decoded(tag=tag, text="", finish="error", num_tokens=0, error=one.error)
                    yield _generation(requests[tag], one, failed)
                continue
            rendered |= dict.fromkeys(its_tags, one)
            samples = [
                Sample(tag, stream_seed(sampling.seed, prompt.problem, requests[tag].sample)) for tag in its_tags
            ]
            limit = self._limit(len(one.tokens), sampling.max_tokens)
            jobs.append(PromptJob(tokens=one.tokens, limit=limit, samples=samples))
        for decoded in self._decode(jobs, sampling, sampler, batch_size):
            yield _generation(requests[decoded.tag], rendered[decoded.tag], decoded)

    def complete(
        self, prompts: Sequence[Sequence[int]], streams: Sequence[int], sampling: Sampling, *, batch_size: int
    ) -> Iterator[Decoded]:
        """Yield a completion of each prompt as they finish, as `generate` does, of tokens that stand as they are.

        A completion's `tag` is the place of its prompt, and its random numbers are those of the stream of that place
        (`stream_seed`). No prompt is empty, and each leaves room in the model's context.
        """
        jobs = [
            PromptJob(tokens=tokens, limit=self._limit(len(tokens), sampling.max_tokens), samples=[Sample(tag, stream)])
            for tag, (tokens, stream) in enumerate(zip(prompts, streams, strict=True))
        ]
        yield from self._decode(jobs, sampling, Sampler(sampling), batch_size)

    def _decode(
        self, jobs: Sequence[PromptJob], sampling: Sampling, sampler: Sampler, batch_size: int
    ) -> Iterator[Decoded]:
        """Run the jobs through one batch."""
        if not jobs:
            return
        steps_per_look = _STEPS_PER_LOOK[self._device.type]
        rows = min(batch_size, sum(len(job.samples) for job in jobs))
        capacity = max(len(job.tokens) + job.limit for job in jobs) + steps_per_look
        ending = Ending(self._checkpoint.eos_ids, StopStrings(sampling.stop, self.tokenizer), self.tokenizer)
        try:
            with placement.memory_errors():
                batch = self._batch(sampler, rows, capacity, shares_prompts=self._shares_prompts)
                yield from DecodeLoop(batch, ending, rows, steps_per_look).run(jobs)
        except OutOfMemory as cause:
            raise UsageError(
                f"a batch of {rows} sequences of up to {capacity} tokens does not fit the device ({cause}). "
                f"Use a smaller batch size, for example {max(1, rows // 2)}; what is finished is kept."
            ) from cause

    def decode_timing(self, batch: int, prompt_tokens: int, new_tokens: int, *, clock: Clock, seed: int) -> PhaseTimes:
        """Time one batch: a random prompt read once and shared, then `new_tokens` steps at temperature 1.

        The lengths may go past the context the model was made for: a step costs the same whatever it says.

        Raises:
            OutOfMemory: the batch does not fit.
        """
        with placement.memory_errors():
            placement.reset_peak(self._device)
            last = prompt_tokens + new_tokens
            decode = self._batch(Sampler(Sampling(temperature=1.0)), batch, last, shares_prompts=False)
            decode.prepare(batch, prompt_tokens, last)
            generator = torch.Generator().manual_seed(seed)
            prompt = torch.randint(self._module.vocab_size, (prompt_tokens,), generator=generator).tolist()
            streams = [stream_seed(seed, "timing", sample) for sample in range(batch)]
            self.synchronize()
            start = clock.now()
            decode.admit(decode.prefill(prompt), streams)
            self.synchronize()
            prefilled = clock.now()
            for _ in range(new_tokens):
                decode.advance()
            self.synchronize()
            done = clock.now()
        return PhaseTimes(
            prefill_s=prefilled - start,
            decode_s=done - prefilled,
            peak_bytes=placement.peak_bytes(self._device),
        )

    def _batch(self, sampler: Sampler, rows: int, capacity: int, *, shares_prompts: bool) -> Batch:
        """Return a batch whose steps run as planned."""
        if self._steps is None:
            return DecodeBatch(self._module, sampler, rows, capacity, shares_prompts=shares_prompts)
        return self._steps.start(sampler, rows, capacity, shares_prompts=shares_prompts)

    def _limit(self, num_prompt_tokens: int, max_tokens: int) -> int:
        """Return how long a completion may become: up to `max_tokens`, and within the context if there is one."""
        context = self._module.context_length
        return max_tokens if context is None else min(max_tokens, context - num_prompt_tokens)

    def _render(self, prompt: Prompt) -> _Rendered:
        """Return the prompt's tokens, or why the model cannot be asked."""
        try:
            text = self.tokenizer.render(prompt)
        except TimetrialError as cause:
            return _Rendered([], "", str(cause))
        tokens, context = self.tokenizer.encode(text), self._module.context_length
        error = None
        if not tokens:
            error = "the prompt is empty"
        elif max(tokens) >= self._module.vocab_size:
            error = f"the tokenizer gives token {max(tokens)}, but the model knows {self._module.vocab_size} tokens"
        elif context is not None and len(tokens) >= context:
            error = f"the prompt has {len(tokens)} tokens, which leaves no room in the model's context of {context}"
        return _Rendered(tokens, hashlib.sha256(text.encode()).hexdigest(), error)


def _name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _generation(request: Request, rendered: _Rendered, decoded: Decoded) -> Generation:
    return Generation(
        request=request,
        text=decoded.text,
        finish=decoded.finish,
        num_prompt_tokens=len(rendered.tokens),
        num_tokens=decoded.num_tokens,
        prompt_digest=rendered.digest,
        error=decoded.error,
    )
