"""Any decoder that transformers knows as a body of reward models: Mistral, Qwen2 and the rest.

Code in a checkpoint is never run: what is not a family of transformers' own is refused.
Shapes: B sequences, S tokens of the prefix, T tokens after it, M positions, D model width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from timetrial.error import CheckpointError
from timetrial_plugins.engine import placement
from timetrial_plugins.rewards.body import Batch

_HEADS = ("score.", "v_head.", "lm_head.")


class TransformersBody:
    """A decoder of transformers', without its head."""

    continues = True

    def __init__(self, module: Any) -> None:  # Any: transformers has no types
        """Read with the module, which returns hidden states."""
        self._module, self.device = module, module.device
        self.vocab_size: int = module.config.vocab_size
        self.context_length: int | None = getattr(module.config, "max_position_embeddings", None)

    @property
    def facts(self) -> Mapping[str, Any]:  # Any: JSON-ready
        """Family, size, number format, device, and whose code it is."""
        config = self._module.config
        return {
            "family": f"transformers {config.model_type}",
            "kernels": f"transformers {transformers.__version__}, {config._attn_implementation}",
            "parameters": sum(parameter.numel() for parameter in self._module.parameters()),
            "dtype": str(self._module.dtype).removeprefix("torch."),
            "device": placement.device_name(self.device),
        }

    def states(self, batch: Batch) -> Tensor:
        """Return the hidden states, after the last norm, at the batch's positions: (M, D), in order."""
        cache = None
        if len(batch.prefix):
            cache = transformers.DynamicCache(config=self._module.config)
            self._module(input_ids=batch.prefix[None], past_key_values=cache, use_cache=True)
            cache.batch_repeat_interleave(len(batch.tokens))
        output = self._module(input_ids=batch.tokens, past_key_values=cache, use_cache=cache is not None)
        states: Tensor = output.last_hidden_state[batch.rows, batch.columns]
        return states


def load_decoder(folder: Path, device: torch.device, dtype: torch.dtype, *, with_head: bool) -> Any:
    """Return transformers' module of a checkpoint, with its output head or without any (Any: it has no types).

    Raises:
        CheckpointError: transformers knows no such family, or the tensors do not fit it.
    """
    loader = transformers.AutoModelForCausalLM if with_head else transformers.AutoModel
    try:
        with _quiet():
            module, report = loader.from_pretrained(
                folder, dtype=dtype, local_files_only=True, trust_remote_code=False, output_loading_info=True
            )
    except Exception as cause:  # whatever transformers makes of files that do not fit
        raise CheckpointError(
            f"{folder} cannot be loaded by transformers {transformers.__version__} without code of its own "
            f"({type(cause).__name__}: {cause})"
        ) from cause
    _check(folder, report)
    return module.to(device).eval()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from reporting the tensors of other heads, which are none of its business here."""
    verbosity = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(verbosity)


def _check(folder: Path, report: Mapping[str, Any]) -> None:  # Any: transformers has no types
    """Refuse tensors that are missing, since they would be random, and such as nothing here reads."""
    problems = [f"missing {name}" for name in sorted(report["missing_keys"])]
    problems += [f"unexpected {name}" for name in sorted(report["unexpected_keys"]) if not name.startswith(_HEADS)]
    problems += [f"mismatched {name}" for name in sorted(map(str, report["mismatched_keys"]))]
    if problems:
        raise CheckpointError(
            f"the tensors in {folder} do not fit its config.json ({len(problems)} problems):\n  "
            + "\n  ".join(problems)
        )
