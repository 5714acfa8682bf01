"""Tokens per second of the engine against transformers.generate, in one run, both sides taking turns.

Fixed length: random models of about 5 million parameters sample a fixed number of tokens at temperature 1 and ignore
the end of sequence. The Llama meets the same weights in transformers; the others meet transformers' own Mamba-2 of the
same size, for scale. End to end: 64 completions of each of some problems end where they end, or at four times the fixed
length; only tokens up to the end count. The random Llama ends by chance (four of its tokens do), so that lengths spread
as those of real models do; the completions of a problem by the shipped model have nearly the same length. A repeat is
the whole call, the reading of the prompt included; medians are compared. "outside" is the share of the engine's seconds
that are not spent on prompts and steps, which draw the tokens. "step" is the median of the engine's decode steps as
`timetrial time` measures them, each sequence with a copy of the prompt, and "floor" how much of it the floor is, by the
bytes and operations of a step at the higher of the rates measured just before and after it (docs/timing.md).
Usage: python benchmarks/generate.py [--families llama,llamba,mamba_in_llama] [--batches 1,16,64,256]
       [--prompt-tokens 128] [--new-tokens 128] [--problems 4] [--repeats 3] [--dtype float32] [--compile]
       [--kernels auto] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from overhead import Stopwatch, watched_steps
from rich.console import Console
from rich.table import Table

import timetrial_plugins
from timetrial.clock import MonotonicClock
from timetrial.floor import decode_cost
from timetrial.protocol import Request, Sampling
from timetrial.rates import MachineRates
from timetrial.record import Message, Prompt
from timetrial.spec import LoadOptions
from timetrial_plugins.engine.loading import load_model
from timetrial_plugins.engine.model import EngineModel
from timetrial_plugins.engine.roofline import measure_rates
from timetrial_plugins.models.families import BUILDERS
from timetrial_plugins.models.saving import save_weights
from timetrial_plugins.nutshell.generator import test_problems
from timetrial_plugins.nutshell.tokenizer import write_tokenizer

LLAMA = {
    "model_type": "llama",
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 1024,
    "tie_word_embeddings": True,
}
HYBRID = LLAMA | {
    "mamba_config": {"ssm_cfg": {"expand": 1}, "d_xb": 64, "intermediate_size": 768, "attn_layers": [2, 5]}
}
LLAMBA = {
    "d_model": 256,
    "n_layer": 6,
    "tie_embeddings": True,
    "mlp_cfg": {"intermediate_size": 704},
    "ssm_cfg": {"d_state": 32, "n_v_heads": 8, "n_qk_heads": 8},
}
SIZES = {"llama": LLAMA, "llamba": LLAMBA, "mamba_in_llama": HYBRID}
MAMBA2 = {"hidden_size": 256, "num_hidden_layers": 10, "num_heads": 8, "head_dim": 64, "n_groups": 1, "state_size": 64}
MOST_MAMBA2_ROWS = 16  # on a CPU transformers' Mamba-2 gets no faster with more, and takes minutes
SHIPPED = Path(timetrial_plugins.__file__).parent / "nutshell" / "llama"
COMPLETIONS, ENDS = 64, frozenset(range(100, 104))  # end to end; any four of the random model's 583 tokens end it


class Side(NamedTuple):
    """What the engine is compared with: `run` generates and returns the number of new tokens."""

    name: str
    run: Callable[[], int]


Compare = Callable[[Callable[[], int], Side | None], dict[str, Any]]
"""`compare` with all but the two sides given."""


def random_model(family: str, folder: Path, options: LoadOptions, ends: frozenset[int] = frozenset()) -> EngineModel:
    """Write a random model that tokens `ends` end, and load it; speed does not depend on what it has learnt."""
    write_tokenizer(folder)
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    module: Any = BUILDERS[family](SIZES[family] | {"vocab_size": len(vocabulary)})  # Any: each family's own state
    module.initialise(torch.Generator().manual_seed(0))
    save_weights(module, folder)
    model = load_model(folder, options, family=family, build=BUILDERS[family])
    return EngineModel(replace(model._checkpoint, eos_ids=ends))


def run_ours(model: EngineModel, prompts: list[Prompt], batch: int, sampling: Sampling) -> int:
    """Generate `batch` completions of each prompt; return the number of new tokens."""
    requests = [Request(prompt=prompt, sample=sample) for prompt in prompts for sample in range(batch)]
    return sum(generation.num_tokens for generation in model.generate(requests, sampling, batch_size=batch))


def run_theirs(
    model: Any, prompts: list[list[int]], batch: int, sampling: Sampling, ends: list[int] | None = None
) -> int:  # Any: a transformers model
    """Do the same, one prompt after the other."""
    num_tokens = 0
    for tokens in prompts:
        prompt = torch.tensor([tokens]).expand(batch, -1)
        output = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=True,
            temperature=sampling.temperature,
            top_k=0,
            top_p=1.0,
            max_new_tokens=sampling.max_tokens,
            eos_token_id=ends,
            pad_token_id=0,
        )
        is_end = torch.isin(output[:, prompt.shape[1] :], torch.tensor(ends or [-1]))
        num_tokens += int((is_end.cumsum(dim=1) - is_end.long() == 0).sum())
    return num_tokens


def compare(timed: Stopwatch, repeats: int, ours: Callable[[], int], theirs: Side | None) -> dict[str, Any]:
    """Return medians of tokens per second, and their ratio, after one warm-up each."""
    clock = MonotonicClock()
    sides = {"timetrial": ours} | ({"peer": theirs.run} if theirs else {})
    rates: dict[str, list[float]] = {side: [] for side in sides}
    outside = []
    for repeat in range(repeats + 1):
        for side, run in sides.items():
            timed.seconds, start = 0.0, clock.now()
            num_tokens = run()
            elapsed_s = clock.now() - start
            if repeat:
                rates[side].append(num_tokens / elapsed_s)
                outside += [1 - timed.seconds / elapsed_s] if side == "timetrial" else []
    medians = {side: statistics.median(values) for side, values in rates.items()}
    row = {"timetrial": medians["timetrial"], "outside": statistics.median(outside)}
    if theirs is None:
        return row
    return row | {"peer": medians["peer"], "ratio": medians["timetrial"] / medians["peer"], "against": theirs.name}


def decode_steps(model: EngineModel, batch: int, arguments: argparse.Namespace) -> dict[str, float]:
    """Return the median milliseconds of a decode step, and the share of it that is its floor."""
    clock, shape = MonotonicClock(), (batch, arguments.prompt_tokens, arguments.new_tokens)
    before = measure_rates(options_of(arguments), clock)
    times = [model.decode_timing(*shape, clock=clock, seed=0).decode_s for _ in range(arguments.repeats + 1)][1:]
    floor_s = decode_cost(model, *shape, better(before, measure_rates(options_of(arguments), clock))).floor_s
    assert floor_s is not None
    return {
        "step_ms": 1e3 * statistics.median(times) / arguments.new_tokens,
        "floor": floor_s / statistics.median(times),
    }


def better(before: MachineRates, after: MachineRates) -> MachineRates:
    """Return the higher of rates that were measured twice: what a machine gives may change within minutes."""
    pairs = zip(before.bandwidths, after.bandwidths, strict=True)
    bandwidths = tuple((size, max(rate, other)) for (size, rate), (_, other) in pairs)
    return replace(after, bandwidths=bandwidths, flops_per_s=max(before.flops_per_s, after.flops_per_s))


def fixed_length(arguments: argparse.Namespace, compared: Compare) -> Iterator[dict[str, Any]]:
    """Yield a row for each family and batch."""
    sampling = Sampling(temperature=1.0, max_tokens=arguments.new_tokens)
    options = options_of(arguments)
    for family in arguments.families.split(","):
        with tempfile.TemporaryDirectory() as name:
            model = random_model(family, Path(name), options)
            if family == "llama":
                peer = transformers.LlamaForCausalLM.from_pretrained(name, dtype=torch.float32).eval()
            else:
                config = transformers.Mamba2Config(vocab_size=model._module.vocab_size, **MAMBA2)
                peer = transformers.Mamba2ForCausalLM(config).eval()
        prompt, tokens = prompt_of(model, arguments.prompt_tokens)
        for batch in map(int, arguments.batches.split(",")):
            ours = partial(run_ours, model, [prompt], batch, sampling)
            theirs = Side(type(peer).__name__, partial(run_theirs, peer, [tokens], batch, sampling))
            is_slow = family != "llama" and batch > MOST_MAMBA2_ROWS
            rate = compared(ours, None if is_slow else theirs)
            yield {"case": family, "batch": batch} | rate | decode_steps(model, batch, arguments)


def end_to_end(arguments: argparse.Namespace, compared: Compare) -> Iterator[dict[str, Any]]:
    """Yield a row for the random Llama, whose lengths spread widely, and one for the shipped model, whose do not."""
    sampling = Sampling(temperature=1.0, max_tokens=4 * arguments.new_tokens)
    with tempfile.TemporaryDirectory() as name:
        model = random_model("llama", Path(name), options_of(arguments), ENDS)
        sides = both_sides(model, name, sorted(ENDS), sampling, arguments)
        yield {"case": "ends by chance", "batch": COMPLETIONS} | compared(*sides)
    model = load_model(SHIPPED, options_of(arguments), family="llama", build=BUILDERS["llama"])
    sides = both_sides(model, SHIPPED, [5], replace(sampling, temperature=0.8), arguments)
    yield {"case": "shipped model", "batch": COMPLETIONS} | compared(*sides)


def both_sides(
    model: EngineModel, folder: Path | str, ends: list[int], sampling: Sampling, arguments: argparse.Namespace
) -> tuple[Callable[[], int], Side]:
    """Return what samples 64 completions of each problem until they end: the engine, and transformers."""
    peer = transformers.LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    problems = test_problems()
    some = [problems[index * len(problems) // arguments.problems] for index in range(arguments.problems)]
    prompts = [Prompt(problem=problem.id, messages=(Message("user", problem.text),)) for problem in some]
    tokens = [model.tokenizer.encode(model.tokenizer.render(prompt)) for prompt in prompts]
    ours = partial(run_ours, model, prompts, COMPLETIONS, sampling)
    return ours, Side(type(peer).__name__, partial(run_theirs, peer, tokens, COMPLETIONS, sampling, ends))


def options_of(arguments: argparse.Namespace) -> LoadOptions:
    """Return how the engine loads its models."""
    return LoadOptions(device="cpu", dtype=arguments.dtype, compile=arguments.compile, kernels=arguments.kernels)


def prompt_of(model: EngineModel, num_tokens: int) -> tuple[Prompt, list[int]]:
    """Return a prompt of about that many tokens, and its tokens."""
    problem, text = test_problems()[100], ""
    while True:
        text += f"{problem.text} "
        prompt = Prompt(problem=problem.id, messages=(Message("user", text),))
        tokens = model.tokenizer.encode(model.tokenizer.render(prompt))
        if len(tokens) >= num_tokens:
            return prompt, tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", default=",".join(SIZES))
    parser.add_argument("--batches", default="1,16,64,256")
    parser.add_argument("--prompt-tokens", type=int, default=128)
    parser.add_argument("--new-tokens", type=int, default=128)
    parser.add_argument("--problems", type=int, default=4, help="of the end-to-end case; 0 leaves it out")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dtype", default="float32", help="of the engine; the peer stays in float32")
    parser.add_argument("--compile", action="store_true", help="of the engine")
    parser.add_argument("--kernels", default="auto", help="of the engine: auto, native or eager")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    compared = partial(compare, watched_steps(), arguments.repeats)
    rows = list(fixed_length(arguments, compared)) if arguments.families else []
    if arguments.problems:
        rows += end_to_end(arguments, compared)
    threads = torch.get_num_threads()
    if arguments.json:
        print(json.dumps({"arguments": vars(arguments), "threads": threads, "rows": rows}))
    else:
        show(rows, threads)


def show(rows: list[dict[str, Any]], threads: int) -> None:
    """Print the rates as a table."""
    forms = {
        "case": "",
        "batch": "",
        "timetrial": ",.0f",
        "peer": ",.0f",
        "ratio": ".2f",
        "outside": ".1%",
        "step_ms": ".2f",
        "floor": ".0%",
        "against": "",
    }
    table = Table(*forms, title="tokens per second", caption=f"{threads} threads")
    for row in rows:
        table.add_row(*(format(row[name], form) if name in row else "-" for name, form in forms.items()))
    Console().print(table)


if __name__ == "__main__":
    main()
