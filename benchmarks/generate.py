"""Tokens per second of the engine against transformers.generate: same weights, prompt, batch, lengths and sampling.

Both sample at temperature 1 from all tokens and ignore the end of sequence. A repeat is the whole call, the reading
of the prompt included; both sides take turns, and medians are compared.
Usage: python benchmarks/generate.py [--batches 1,16,64,256] [--new-tokens 100] [--repeats 3] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from rich.console import Console
from rich.table import Table
from safetensors.torch import save_file

from timetrial.clock import MonotonicClock
from timetrial.protocol import Request, Sampling
from timetrial.record import Message, Prompt
from timetrial_plugins.engine.model import EngineModel, LoadedCheckpoint
from timetrial_plugins.models.llama import Llama, LlamaConfig
from timetrial_plugins.models.loading import load_weights
from timetrial_plugins.models.tokenizer import ChatTokenizer
from timetrial_plugins.nutshell.generator import test_problems
from timetrial_plugins.nutshell.tokenizer import write_tokenizer

SIZE = {
    "hidden_size": 192,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
}


def make_checkpoint(folder: Path) -> None:
    """Write a random Llama of the nutshell's size; how fast it is does not depend on what it has learnt."""
    write_tokenizer(folder)
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    config = LlamaConfig.from_json(SIZE | {"vocab_size": len(vocabulary)})
    module = Llama(config)
    module.initialise(torch.Generator().manual_seed(0))
    (folder / "config.json").write_text(json.dumps(config.to_json()))
    save_file(module.state_dict(), folder / "model.safetensors", metadata={"format": "pt"})


def load_ours(folder: Path) -> EngineModel:
    """Load the engine's model without an end-of-sequence token."""
    with torch.device("meta"):
        module = Llama(LlamaConfig.from_json(json.loads((folder / "config.json").read_text())))
    device, dtype = torch.device("cpu"), torch.float32
    load_weights(module, folder, device=device, dtype=dtype)
    return EngineModel(
        LoadedCheckpoint(
            family="llama",
            folder=folder,
            module=module.eval(),
            tokenizer=ChatTokenizer(folder),
            eos_ids=frozenset(),
            device=device,
            dtype=dtype,
        )
    )


def run_ours(model: EngineModel, prompt: Prompt, batch: int, new_tokens: int) -> int:
    """Generate; return the number of new tokens."""
    requests = [Request(prompt=prompt, sample=sample) for sample in range(batch)]
    sampling = Sampling(temperature=1.0, max_tokens=new_tokens)
    return sum(generation.num_tokens for generation in model.generate(requests, sampling, batch_size=batch))


def run_theirs(model: Any, tokens: list[int], batch: int, new_tokens: int) -> int:  # Any: a transformers model
    """Generate; return the number of new tokens."""
    prompt = torch.tensor([tokens]).expand(batch, -1)
    output = model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        max_new_tokens=new_tokens,
        min_new_tokens=new_tokens,
        eos_token_id=None,
    )
    return int(output[:, prompt.shape[1] :].numel())


def measure(ours: Callable[[], int], theirs: Callable[[], int], repeats: int) -> dict[str, float]:
    """Return both medians of tokens per second and their ratio, after one warm-up each."""
    clock = MonotonicClock()
    rates: dict[str, list[float]] = {"timetrial": [], "transformers": []}
    for repeat in range(repeats + 1):
        for side, run in zip(rates.values(), (ours, theirs), strict=True):
            start = clock.now()
            num_tokens = run()
            elapsed_s = clock.now() - start
            if repeat:
                side.append(num_tokens / elapsed_s)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    return medians | {"ratio": medians["timetrial"] / medians["transformers"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", default="1,16,64,256")
    parser.add_argument("--new-tokens", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    problem = test_problems()[100]
    prompt = Prompt(problem=problem.id, messages=(Message("user", problem.text),))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_checkpoint(folder)
        ours = load_ours(folder)
        theirs = transformers.LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokens = ours.tokenizer.encode(ours.tokenizer.render(prompt))
    new_tokens = arguments.new_tokens
    rows = [
        {"batch": batch}
        | measure(
            partial(run_ours, ours, prompt, batch, new_tokens),
            partial(run_theirs, theirs, tokens, batch, new_tokens),
            arguments.repeats,
        )
        for batch in map(int, arguments.batches.split(","))
    ]
    facts = {"prompt_tokens": len(tokens), "new_tokens": new_tokens, "threads": torch.get_num_threads()}
    if arguments.json:
        print(json.dumps(facts | {"tokens_per_second": rows}))
    else:
        show(rows, facts)


def show(rows: list[dict[str, float]], facts: dict[str, int]) -> None:
    """Print the rates as a table."""
    table = Table(*rows[0], title="tokens per second", caption=", ".join(f"{k}: {v}" for k, v in facts.items()))
    for row in rows:
        table.add_row(*(f"{value:,.2f}" if name == "ratio" else f"{value:,.0f}" for name, value in row.items()))
    Console().print(table)


if __name__ == "__main__":
    main()
