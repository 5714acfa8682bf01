"""What bfloat16 costs: logits of whole models, and recurrent states kept in bfloat16 for a thousand steps.

Everything is compared with float32 at the same weights and inputs, which are random: it is about arithmetic, not about
answers. The error of a step is |difference| / |float32 value|, both Euclidean norms over the batch. A state in bfloat16
is computed in float32 and rounded once a step; nothing else is rounded.
Usage: python benchmarks/state_precision.py [--steps 1024] [--json]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from timetrial_plugins.models.hybrid_config import HybridConfig
from timetrial_plugins.models.interface import CausalModule
from timetrial_plugins.models.llama import Llama, LlamaConfig
from timetrial_plugins.models.llamba import Llamba
from timetrial_plugins.models.llamba_config import LlambaConfig
from timetrial_plugins.models.mamba_in_llama import MambaInLlama
from timetrial_plugins.models.scan.selective import SelectiveInputs, selective_step
from timetrial_plugins.models.scan.ssd import SSDInputs, ssd_step

BATCH, PROMPT, VOCABULARY = 4, 256, 4096
LLAMA = {
    "vocab_size": VOCABULARY,
    "hidden_size": 256,
    "intermediate_size": 1024,
    "num_hidden_layers": 8,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
}
HYBRID = LLAMA | {
    "model_type": "llama",
    "mamba_config": {"ssm_cfg": {"expand": 1}, "d_xb": 128, "attn_layers": [3, 7]},
}
LLAMBA = {
    "vocab_size": VOCABULARY,
    "d_model": 256,
    "n_layer": 8,
    "tie_embeddings": True,
    "mlp_cfg": {"intermediate_size": 1024},
    "ssm_cfg": {"d_state": 64, "n_v_heads": 4, "n_qk_heads": 4, "bias": True},
}
DECAYS = (0.5, 0.953, 0.9975, 0.9999)
"""Of Llamba; a trained one has heads of every kind."""
STEP_SIZES = (0.1, 0.01, 0.001)
"""Of Mamba-1, whose slowest channels then decay by exp(-step) a token."""
Step = Callable[[int, Tensor], tuple[Tensor, Tensor]]


def make_llamba(decay: float = 0.5, state_dtype: torch.dtype | None = None) -> Llamba:
    """Return a fresh Llamba whose heads decay by about `decay` a token."""
    module = Llamba(LlambaConfig.from_json(LLAMBA), state_dtype=state_dtype)
    module.initialise(torch.Generator().manual_seed(0))
    for block in module.backbone.blocks:
        with torch.no_grad():
            block.mixer.in_proj.bias[-4:] = torch.logit(torch.tensor(1 - decay))
    return module


def make_hybrid(state_dtype: torch.dtype | None = None) -> MambaInLlama:
    """Return a fresh Mamba-1 hybrid: step sizes from 0.001 to 0.1, two of eight layers with attention."""
    module = MambaInLlama(HybridConfig.from_json(HYBRID), state_dtype=state_dtype)
    module.initialise(torch.Generator().manual_seed(0))
    return module


def make_llama() -> Llama:
    module = Llama(LlamaConfig.from_json(LLAMA))
    module.initialise(torch.Generator().manual_seed(0))
    return module


def draw_tokens(length: int) -> Tensor:  # (B, T)
    return torch.randint(VOCABULARY, (BATCH, length), generator=torch.Generator().manual_seed(1))


def relative(rounded: Tensor, exact: Tensor) -> float:
    return float((rounded - exact).norm() / exact.norm())


def summary(what: str, errors: list[float]) -> dict[str, Any]:
    """Return mean and worst error over the steps, and the mean over the last of 16 parts: does it still grow?"""
    last = errors[-max(1, len(errors) // 16) :]
    return {"what": what, "mean": sum(errors) / len(errors), "max": max(errors), "last_16th": sum(last) / len(last)}


def logits_error(what: str, make: Callable[[], CausalModule[Any]]) -> dict[str, Any]:  # Any: each has its own state
    """Compare bfloat16 with float32 arithmetic, both with the weights that bfloat16 holds; a step is a position."""
    tokens, module = draw_tokens(PROMPT), make().to(torch.bfloat16)
    with torch.inference_mode():
        rounded = module.logits(tokens)
        exact = module.float().logits(tokens)
    row = summary(what, [relative(rounded[:, t], exact[:, t]) for t in range(PROMPT)])
    return row | {"same_token": float((rounded.argmax(-1) == exact.argmax(-1)).float().mean())}


def model_drift(what: str, make: Callable[..., CausalModule[Any]], steps: int) -> dict[str, Any]:  # Any: as above
    """Compare the logits of a model in float32 whose states are kept in bfloat16, fed the same tokens."""
    tokens, errors, num_same = draw_tokens(steps), [], 0.0
    modules = [make(state_dtype=dtype) for dtype in (None, torch.bfloat16)]
    with torch.inference_mode():
        states = [module.init_state(BATCH, steps) for module in modules]
        for module, state in zip(modules, states, strict=True):
            module.prefill(tokens[:, :1], state)
        for column in tokens[:, 1:].unbind(1):
            exact, rounded = (module.step(column, state) for module, state in zip(modules, states, strict=True))
            errors.append(relative(rounded, exact))
            num_same += float((rounded.argmax(-1) == exact.argmax(-1)).float().mean())
    return summary(what, errors) | {"same_token": num_same / len(errors)}


def drift(what: str, step: Step, state: Tensor, steps: int) -> dict[str, Any]:
    """Run a recurrence with both kinds of state and compare what is read from it."""
    exact, rounded, errors = state, state.bfloat16(), []
    with torch.inference_mode():
        for t in range(steps):
            y, exact = step(t, exact)
            y_rounded, after = step(t, rounded)
            rounded = after.bfloat16()
            errors.append(relative(y_rounded, y))
    return summary(what, errors)


def llamba_step(decay: float, t: int, state: Tensor) -> tuple[Tensor, Tensor]:
    """Step a layer of Llamba-1B's size with inputs that are a function of t."""
    heads, channels, size = state.shape[1:]
    normal = partial(torch.randn, generator=torch.Generator().manual_seed(t))
    log_decay = torch.full((1, heads), decay).log()
    return ssd_step(
        SSDInputs(normal(1, heads, channels), log_decay, normal(1, heads, size), normal(1, heads, size)), state
    )


def mamba_step(step_size: float, t: int, state: Tensor) -> tuple[Tensor, Tensor]:
    """Step a layer of MambaInLlama-3B's size; step sizes vary threefold around `step_size`."""
    heads, channels, size = state.shape[1:]
    normal = partial(torch.randn, generator=torch.Generator().manual_seed(t))
    delta = step_size * 3 ** (0.5 * normal(1, heads, channels))
    a = -torch.arange(1.0, size + 1).expand(heads, channels, size)
    inputs = SelectiveInputs(normal(1, heads, channels), delta, normal(1, heads, size), normal(1, heads, size))
    return selective_step(inputs, a, state)


def measure(steps: int) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the tables."""
    yield (
        "bfloat16 against float32: logits",
        [
            logits_error("Llama", make_llama),
            logits_error("MambaInLlama", make_hybrid),
            *(logits_error(f"Llamba, decay {decay}", partial(make_llamba, decay)) for decay in DECAYS),
        ],
    )
    llamba, mamba = torch.zeros(1, 32, 64, 64), torch.zeros(1, 192, 16, 16)
    yield (
        f"state in bfloat16 against float32, {steps:,} steps: what a layer reads, then logits of whole models",
        [
            *(drift(f"one layer of Llamba-1B, decay {d}", partial(llamba_step, d), llamba, steps) for d in DECAYS),
            *(
                drift(f"one selective scan of MambaInLlama-3B, step {s}", partial(mamba_step, s), mamba, steps)
                for s in STEP_SIZES
            ),
            *(model_drift(f"Llamba, decay {d}", partial(make_llamba, d), steps) for d in DECAYS),
            model_drift("MambaInLlama, fresh (the skip outweighs the state)", make_hybrid, steps),
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1024)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    tables = dict(measure(arguments.steps))
    if arguments.json:
        print(json.dumps(tables))
        return
    for title, rows in tables.items():
        show(title, rows)


def show(title: str, rows: list[dict[str, Any]]) -> None:
    """Print errors in per cent."""
    table = Table("", "mean", "max", "last 16th", "same likeliest token", title=title)
    for row in rows:
        errors = (f"{row[name]:.3%}" for name in ("mean", "max", "last_16th"))
        table.add_row(row["what"], *errors, f"{row['same_token']:.1%}" if "same_token" in row else "")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
