"""Questions and tokens per second under lm-eval: timetrial's model against lm-eval's own `hf`, taking turns in one run.

Both sides load the same checkpoint, a random Llama of about 5 million parameters in the layers, and get the same
requests and the same batch size. The cases are lm-eval's usual shapes over the nutshell's problems: "arc" asks for four
answers of five words without examples, "mmlu" for one of four letters behind five worked examples that all questions
share, "writing" generates greedily after prompts of mixed lengths. A repeat is the whole call, tokenisation included;
medians are compared. "difference" is the largest between two log-likelihoods, or the number of texts that differ.
Usage: python benchmarks/general.py [--vocabularies 583,32000] [--batches 16,64] [--documents 64] [--new-tokens 64]
       [--repeats 3] [--json]
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from rich.console import Console
from rich.table import Table

from timetrial.clock import MonotonicClock
from timetrial.progress import silent
from timetrial_plugins.general.model import TimetrialLM
from timetrial_plugins.models.llama import Llama, LlamaConfig
from timetrial_plugins.models.saving import save_weights
from timetrial_plugins.nutshell.generator import test_problems
from timetrial_plugins.nutshell.tokenizer import write_tokenizer

LLAMA = {
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": True,
}
EXAMPLES = 5


class Case(NamedTuple):
    """Requests of one kind."""

    name: str
    method: str
    """Of lm-eval's model interface."""
    requests: list[Instance]


def cases(documents: int, new_tokens: int) -> Iterator[Case]:
    """Yield the cases over so many problems."""
    problems = test_problems()
    chosen = [problems[place * len(problems) // documents] for place in range(documents)]
    answers = [f" {' '.join(problem.steps[0].text.split()[:5])}" for problem in problems]
    arc = [
        Instance("loglikelihood", {}, (f"Question: {problem.text}\nAnswer:", answers[number - 50 * choice]), choice)
        for number, problem in enumerate(chosen)
        for choice in range(4)
    ]
    yield Case("arc", "loglikelihood", arc)
    examples = "".join(f"{problem.text}\nAnswer: {'ABCD'[n % 4]}\n\n" for n, problem in enumerate(problems[:EXAMPLES]))
    mmlu = [
        Instance("loglikelihood", {}, (f"{examples}{problem.text}\nAnswer:", f" {letter}"), number)
        for problem in chosen
        for number, letter in enumerate("ABCD")
    ]
    yield Case("mmlu", "loglikelihood", mmlu)
    arguments = {"until": [], "do_sample": False, "max_gen_toks": new_tokens}
    writing = [Instance("generate_until", {}, (problem.text, dict(arguments)), 0) for problem in chosen]
    yield Case("writing", "generate_until", writing)


def write_checkpoint(folder: Path, vocabulary: int) -> None:
    """Write a random Llama whose output head has so many rows; the tokenizer uses the first of them."""
    module = Llama(LlamaConfig(vocab_size=vocabulary, **LLAMA))
    module.initialise(torch.Generator().manual_seed(0), std=0.05)
    save_weights(module, folder)
    write_tokenizer(folder)


def measured(vocabulary: int, batch: int, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield a row for each case."""
    with tempfile.TemporaryDirectory() as name:
        write_checkpoint(Path(name), vocabulary)
        theirs = HFLM(pretrained=name, device="cpu", dtype="float32", batch_size=batch)
        ours = TimetrialLM(name, device="cpu", dtype="float32", batch_size=batch)
        ours.progress = silent
        for case in cases(arguments.documents, arguments.new_tokens):
            yield {"vocabulary": vocabulary, "batch": batch, **compared(case, theirs, ours, arguments.repeats)}


def compared(case: Case, theirs: HFLM, ours: TimetrialLM, repeats: int) -> dict[str, Any]:
    """Time both sides in turn, after one untimed call of each."""
    clock = MonotonicClock()
    answers: dict[str, Sequence[Any]] = {}
    seconds: dict[str, list[float]] = {"hf": [], "timetrial": []}
    for repeat in range(repeats + 1):
        for name, side in (("hf", theirs), ("timetrial", ours)):
            start = clock.now()
            answers[name] = getattr(side, case.method)(case.requests, disable_tqdm=True)
            if repeat:
                seconds[name].append(clock.now() - start)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "case": case.name,
        "requests": len(case.requests),
        **{name: len(case.requests) / value for name, value in medians.items()},
        "ratio": medians["hf"] / medians["timetrial"],
        "difference": difference(answers["hf"], answers["timetrial"]),
    }


def difference(theirs: Sequence[Any], ours: Sequence[Any]) -> float:
    """Return the largest difference of log-likelihoods, or how many texts differ."""
    pairs = list(zip(theirs, ours, strict=True))
    if isinstance(theirs[0], str):
        return sum(one != two for one, two in pairs)
    return max(abs(one[0] - two[0]) for one, two in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocabularies", default="583,32000")
    parser.add_argument("--batches", default="16,64")
    parser.add_argument("--documents", type=int, default=64)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    rows = [
        row
        for vocabulary in map(int, arguments.vocabularies.split(","))
        for batch in map(int, arguments.batches.split(","))
        for row in measured(vocabulary, batch, arguments)
    ]
    facts = {"threads": torch.get_num_threads(), "load": os.getloadavg()[0]}
    if arguments.json:
        print(json.dumps({"arguments": vars(arguments), **facts, "rows": rows}))
        return
    forms = {"vocabulary": ",", "batch": "", "case": "", "requests": "", "hf": ",.0f", "timetrial": ",.0f"}
    forms |= {"ratio": ".2f", "difference": ".2g"}
    table = Table(*forms, title="requests per second", caption=f"{facts['threads']} threads, load {facts['load']:.1f}")
    for row in rows:
        table.add_row(*(format(row[name], form) for name, form in forms.items()))
    Console().print(table)


if __name__ == "__main__":
    main()
