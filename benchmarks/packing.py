"""Preparing training data and planning its rows: what the tokenizer costs alone, and what everything else adds.

Preparation (reading JSON lines, rendering each chat up to its answer and whole, encoding both, writing shards) takes
turns in one process with the same tokenizer on the finished texts of the same documents, nothing else. Rows are read
from the prepared data. Plans are made of lengths drawn evenly from 20 to 900 tokens; they need no tokens.
Usage: OMP_NUM_THREADS=1 python benchmarks/packing.py [--documents 4000] [--repeats 3] [--planned 1000000] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import transformers
from rich.console import Console
from rich.table import Table

import timetrial_plugins.nutshell
from timetrial.clock import MonotonicClock
from timetrial_distillation.data.encoding import DocumentEncoder
from timetrial_distillation.data.files import open_files
from timetrial_distillation.data.packed import PackedRows, make_plan, summarise_packing
from timetrial_distillation.data.pipeline import BATCH, Pipeline
from timetrial_distillation.data.plan import MODES, Lengths, PlanConfig
from timetrial_distillation.data.prepare import PrepareConfig, prepare
from timetrial_distillation.data.prepared import PreparedData
from timetrial_plugins.nutshell.generator import training_problem

TOKENIZER = Path(timetrial_plugins.nutshell.__file__).parent / "llama"
ROW_LENGTHS = (2048, 8192)
NUM_ROWS = 200
"""Rows that are read to be timed."""
CLOCK = MonotonicClock()


def seconds(function: Any, *arguments: Any) -> float:  # Any: whatever is timed
    start_s = CLOCK.now()
    function(*arguments)
    return CLOCK.now() - start_s


def preparation(folder: Path, num_documents: int, repeats: int) -> list[dict[str, Any]]:
    problems = [training_problem(0, index) for index in range(num_documents)]
    records = [{"problem": problem.text, "generated_solution": problem.solution} for problem in problems]
    source = folder / "problems.jsonl"
    source.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    pipeline = Pipeline(source=open_files([str(source)]), encoder=DocumentEncoder(TOKENIZER))
    config = PrepareConfig(tokenizer="nutshell-llama")
    texts = rendered(records)
    prepared_s, encoded_s = [], []
    for number in range(repeats):
        prepared_s.append(seconds(prepare, pipeline, config, folder / str(number)))
        encoded_s.append(seconds(encode, texts))
    data = PreparedData(folder / "0")
    ratios = [alone / whole for alone, whole in zip(encoded_s, prepared_s, strict=True)]
    return [
        {"what": "tokenizer alone, tokens/s", "value": data.index.num_tokens / statistics.median(encoded_s)},
        {"what": "prepare, tokens/s", "value": data.index.num_tokens / statistics.median(prepared_s)},
        {"what": "prepare, documents/s", "value": num_documents / statistics.median(prepared_s)},
        {"what": "prepare / tokenizer alone, median of the repeats", "value": statistics.median(ratios)},
        *(reading(data, PlanConfig(length=length, mode=mode)) for length in ROW_LENGTHS for mode in MODES),
    ]


def rendered(records: list[dict[str, str]]) -> list[str]:
    tokenizer = transformers.AutoTokenizer.from_pretrained(TOKENIZER)
    turns = [
        [{"role": "user", "content": r["problem"]}, {"role": "assistant", "content": r["generated_solution"]}]
        for r in records
    ]
    texts: list[str] = tokenizer.apply_chat_template(turns, tokenize=False)
    return texts


def encode(texts: list[str]) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(TOKENIZER)
    for start in range(0, len(texts), BATCH):
        tokenizer(texts[start : start + BATCH], add_special_tokens=False, return_attention_mask=False)


def reading(data: PreparedData, config: PlanConfig) -> dict[str, Any]:
    rows = PackedRows(data, config)
    spent_s = seconds(rows.rows, 0, NUM_ROWS)
    return {"what": f"rows of {config.length}, {config.mode}, tokens/s", "value": NUM_ROWS * config.length / spent_s}


def planning(num_documents: int) -> list[dict[str, Any]]:
    """Time the rows of a whole epoch, and the first row after a resumption in its middle."""
    lengths = np.random.default_rng(0).integers(20, 901, num_documents).astype(np.int32)
    rows = []
    for config in (PlanConfig(length=length, mode=mode) for length in ROW_LENGTHS for mode in MODES):
        plan, num_rows, start_s = make_plan(lengths, config), 0, CLOCK.now()
        while plan.epoch(num_rows) == 0:
            plan.row(num_rows)
            num_rows += 1
        spent_s = CLOCK.now() - start_s
        what = f"plan of {num_documents:,} documents, rows of {config.length}, {config.mode}"
        rows += [
            {"what": f"{what}: seconds an epoch", "value": spent_s},
            {"what": f"{what}: rows/s", "value": num_rows / spent_s},
            {"what": f"{what}: seconds to resume halfway", "value": seconds(resume, lengths, config, num_rows // 2)},
            {"what": f"{what}: fill", "value": summarise_packing(lengths, config).fill},
        ]
    return rows


def resume(lengths: Lengths, config: PlanConfig, position: int) -> None:
    make_plan(lengths, config).row(position)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--planned", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = preparation(Path(folder), options.documents, options.repeats)
    rows += planning(options.planned)
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    table = Table("What", "Value")
    for row in rows:
        table.add_row(row["what"], f"{row['value']:,.3f}" if row["value"] < 100 else f"{row['value']:,.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
