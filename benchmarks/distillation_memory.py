"""Peak memory of the distillation losses against the plain way of computing them: each side in a process of its own.

tokens     the divergence over a vocabulary, forward and backward, head trained: `dense_loss` on whole logits against
           `chunked_loss` (hidden states are given; the heads and the student's gradients count on both sides)
matrices   a step of matrix orientation, layers of Llama-3.2-1B and Llamba-1B's shape and one sequence: all attentions
           and mixing matrices with one backward pass against `MatrixOrientation`

Memory is the largest peak of the resident size over the repeats, minus that before the loss. Sides take turns, each
repeat is a new process, which pays for its memory's first touch, and the median time is given.
Usage: python benchmarks/distillation_memory.py [--tokens 2048] [--vocabulary 128256] [--width 2048] [--context 2048]
       [--layers 1,2] [--repeats 3] [--json]
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.table import Table

from timetrial.clock import MonotonicClock
from timetrial_distillation.data.rows import Rows
from timetrial_distillation.objectives.chunked import ChunkPlan, Projection, chunked_loss
from timetrial_distillation.objectives.orientation import MatrixOrientation
from timetrial_distillation.objectives.parameters import freeze_others
from timetrial_distillation.objectives.token_loss import TokenLoss, dense_loss
from timetrial_plugins.models.configurations import named_configurations
from timetrial_plugins.models.llama import Llama, LlamaConfig
from timetrial_plugins.models.llamba import Llamba
from timetrial_plugins.models.llamba_config import LlambaConfig
from timetrial_plugins.models.scan.ssd import ssd_matrix
from timetrial_plugins.models.students import initialise_llamba

GB, WHOLE_LAYERS = 1e9, 16
LEAST_RATIO = 4.0
"""How much less the chunked loss has to need."""


class Measured(NamedTuple):
    """What one process says of one repeat."""

    peak_bytes: int
    seconds: float
    loss: float


def peak_bytes() -> int:
    """Return the most memory this process has had so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def draw(seed: int, *shape: int, dtype: torch.dtype, std: float = 1.0) -> torch.Tensor:
    """Return normal numbers without a temporary, which would count as a peak."""
    return torch.empty(shape, dtype=dtype).normal_(std=std, generator=torch.Generator().manual_seed(seed))


def token_loss(options: argparse.Namespace, side: str) -> Callable[[], float]:
    """Make hidden states and heads; return what computes loss and gradients."""
    dtype, width = getattr(torch, options.dtype), options.width
    student, teacher = (
        Projection(
            draw(seed, options.tokens, width, dtype=dtype),
            draw(seed + 1, options.vocabulary, width, dtype=dtype, std=0.02),
            None,
        )
        for seed in (0, 2)
    )
    student.hidden.requires_grad_()
    student.weight.requires_grad_()
    config = TokenLoss(divergence=options.divergence)

    def chunked() -> float:
        loss = chunked_loss(student, teacher, None, ChunkPlan(config, options.vocabulary)).loss
        loss.backward()
        return float(loss)

    def dense() -> float:
        ours = (student.hidden @ student.weight.T).float()
        with torch.no_grad():
            theirs = (teacher.hidden @ teacher.weight.T).float()
        loss = dense_loss(config, ours, theirs, None).loss
        loss.backward()
        return float(loss)

    return chunked if side == "ours" else dense


def orientation(options: argparse.Namespace, side: str) -> Callable[[], float]:
    """Make a teacher, a student and a row; return what computes loss and gradients."""
    configs = {named.name: named.config for named in named_configurations()}
    cut = {"vocab_size": 256, "num_hidden_layers": options.layers, "n_layer": options.layers}
    teacher = Llama(LlamaConfig.from_json({**configs["llama-3.2-1b"], **cut}))
    teacher.initialise(torch.Generator().manual_seed(0))
    student = Llamba(LlambaConfig.from_json({**configs["llamba-1b"], **cut}))
    initialise_llamba(student, teacher, torch.Generator().manual_seed(1))
    objective = MatrixOrientation(teacher=teacher)
    freeze_others(student, objective.trained(student))
    tokens = torch.randint(256, (1, options.context), generator=torch.Generator().manual_seed(2))
    rows = Rows(tokens, tokens, torch.zeros_like(tokens), options.context, options.context)

    def dense() -> float:
        loss = dense_orientation(student, teacher, rows)
        loss.backward()
        return float(loss)

    return (lambda: float(objective.backward(student, rows, 1.0).loss_sum)) if side == "ours" else dense


def dense_orientation(student: Llamba, teacher: Llama, rows: Rows) -> torch.Tensor:
    """Return the loss by its definition: first all attentions, then all matrices."""
    attentions, states = [], []
    with torch.no_grad():
        hidden, view = teacher.model.embed_tokens(rows.tokens), teacher.view(rows.tokens, rows.doc_ids)
        for layer in teacher.anatomy.layers:
            query, key, _ = layer.self_attn._heads(layer.input_layernorm(hidden), view.tables)
            key = key.repeat_interleave(query.shape[1] // key.shape[1], dim=1)
            scores = (query @ key.mT * query.shape[-1] ** -0.5).masked_fill(~view.mask, -torch.inf)
            attentions.append(scores.softmax(-1))
            states.append(hidden)
            hidden, _ = layer(hidden, view)
    losses = []
    for block, attention, state in zip(student.backbone.blocks, attentions, states, strict=True):
        mixing = block.mixing(state, rows.doc_ids)
        matrix = ssd_matrix(mixing.log_decay, mixing.b, mixing.c, rows.doc_ids)
        matrix = matrix + torch.diag_embed(mixing.skip[:, None].expand(-1, matrix.shape[-1]))
        squares = (matrix - attention).square().sum((-1, -2))  # matrix_norm is off by 1e-4 in float32 on a CPU
        losses.append(squares.sqrt().mean(1).sum())
    return torch.stack(losses).sum()


CASES: dict[str, Callable[[argparse.Namespace, str], Callable[[], float]]] = {
    "tokens": token_loss,
    "matrices": orientation,
}


def measure_here(options: argparse.Namespace) -> Measured:
    """Measure one side once, in this process."""
    compute, clock = CASES[options.case](options, options.side), MonotonicClock()
    before, start_s = peak_bytes(), clock.now()
    loss = compute()
    return Measured(peak_bytes() - before, clock.now() - start_s, loss)


def measure(arguments: list[str], repeats: int) -> dict[str, Any]:
    """Measure both sides by turns, each repeat in a new process; return a row."""
    found: dict[str, list[Measured]] = {"dense": [], "ours": []}
    for _ in range(repeats):
        for side, its in found.items():
            command = [sys.executable, __file__, *arguments, "--side", side]
            run = subprocess.run(command, capture_output=True, text=True)
            if run.returncode:
                raise SystemExit(f"{side} side failed ({run.returncode}, killed for memory if -9):\n{run.stderr}")
            its.append(Measured(*json.loads(run.stdout)))
    peaks = {side: max(one.peak_bytes for one in its) for side, its in found.items()}
    times = {side: statistics.median(one.seconds for one in its) for side, its in found.items()}
    losses = {side: its[0].loss for side, its in found.items()}
    return {
        "dense_bytes": peaks["dense"],
        "bytes": peaks["ours"],
        "memory_ratio": peaks["dense"] / peaks["ours"],
        "dense_s": times["dense"],
        "seconds": times["ours"],
        "time_ratio": times["ours"] / times["dense"],
        "loss_difference": abs(losses["ours"] / losses["dense"] - 1),
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("tokens", 2048), ("vocabulary", 128256), ("width", 2048), ("context", 2048), ("repeats", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--layers", default="1,2", help="numbers of layers for the matrices")
    parser.add_argument("--case", choices=CASES, help="only this one")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), help="only this one")
    parser.add_argument("--divergence", choices=("reverse", "forward", "jsd"), default="reverse")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--side", choices=("ours", "dense"), help=argparse.SUPPRESS)
    return parser.parse_args()


def cases(options: argparse.Namespace) -> list[tuple[str, list[str]]]:
    """Return what is measured: a title, and the arguments that ask a process for it."""
    sizes = [
        f"--{name}={getattr(options, name)}" for name in ("tokens", "vocabulary", "width", "context", "divergence")
    ]
    found = []
    if options.case in (None, "tokens"):
        for dtype in (options.dtype,) if options.dtype else ("float32", "bfloat16"):
            title = f"{options.divergence} divergence, {options.tokens:,} x {options.vocabulary:,}, {dtype}"
            found.append((title, [*sizes, "--case=tokens", f"--dtype={dtype}"]))
    if options.case in (None, "matrices"):
        for layers in options.layers.split(","):
            title = f"matrix orientation, context {options.context:,}, layers: {layers}"
            found.append((title, [*sizes, "--case=matrices", f"--layers={layers}"]))
    return found


def main() -> None:
    options = parse()
    if options.side:
        options.layers = int(options.layers) if options.case == "matrices" else 0
        print(json.dumps(measure_here(options)))
        return
    rows = {title: measure(arguments, options.repeats) for title, arguments in cases(options)}
    whole = whole_model([row for title, row in rows.items() if title.startswith("matrix")], options.layers)
    if options.json:
        print(json.dumps({"rows": rows, "whole_model": whole}))
    else:
        show(rows)
        if whole:
            print(
                f"All {WHOLE_LAYERS} layers would need {whole['dense_bytes'] / GB:.0f} GB dense and "
                f"{whole['bytes'] / GB:.1f} GB here, by the slope between the smallest and the largest cut."
            )
    short = [title for title, row in rows.items() if "divergence" in title and row["memory_ratio"] < LEAST_RATIO]
    if short:
        raise SystemExit(f"less than {LEAST_RATIO:g} times below dense: {'; '.join(short)}")


def whole_model(rows: list[dict[str, Any]], layers: str) -> dict[str, float]:
    """Return what a step of the uncut model would need on both sides, on the line through the outermost cuts."""
    counts = [int(count) for count in layers.split(",")]
    if len(rows) < 2 or counts[0] == counts[-1]:
        return {}
    first, last, more = rows[0], rows[-1], (WHOLE_LAYERS - counts[-1]) / (counts[-1] - counts[0])
    return {name: last[name] + more * (last[name] - first[name]) for name in ("dense_bytes", "bytes")}


def show(rows: dict[str, dict[str, Any]]) -> None:
    table = Table("", "dense", "here", "times less", "dense", "here", "times as long", "loss differs by")
    for title, row in rows.items():
        table.add_row(
            title,
            *(f"{row[name] / GB:.2f} GB" for name in ("dense_bytes", "bytes")),
            f"{row['memory_ratio']:.1f}",
            *(f"{row[name]:.1f} s" for name in ("dense_s", "seconds")),
            f"{row['time_ratio']:.2f}",
            f"{row['loss_difference']:.0e}",
        )
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
