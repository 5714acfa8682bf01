"""`timetrial distill prepare`: records to tokens on disk, on the command line."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from timetrial.cli.options import INTEGERS, print_json, print_tables
from timetrial.clock import MonotonicClock
from timetrial.error import UsageError
from timetrial.progress import ProgressFactory, bar, silent
from timetrial.report.table import Table

if TYPE_CHECKING:
    from timetrial_distillation.data.packed import PackingSummary
    from timetrial_distillation.data.pipeline import Pipeline
    from timetrial_distillation.data.prepare import PrepareProgress
    from timetrial_distillation.data.prepared import PreparedData
    from timetrial_distillation.data.records import RecordSource

PACKED_LENGTHS = (2048, 8192)
"""Context lengths of the paper's recipes: Llamba's stages, and MambaInLlama."""


@click.command()
@click.option(
    "--source",
    "sources",
    multiple=True,
    required=True,
    metavar="FILE|PATTERN|HUB-ID",
    help="Parquet or JSON files, a quoted pattern of files, or a Hub data set (org/name), which is streamed. Repeatable"
    " for files, which are read in this order.",
)
@click.option(
    "--tokenizer",
    required=True,
    metavar="REF",
    help="Whose tokenizer and chat template: a name of `timetrial models`, a folder, or a Hub id.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder for the data. The same command again goes on with it, or verifies it if it is finished.",
)
@click.option(
    "--adapter",
    default="auto",
    show_default=True,
    help="How records are read: problem-solution, conversations, messages, prompt-response or text; auto: by columns.",
)
@click.option("--split", help="Split of a Hub data set. [default: train]")
@click.option("--config", help="Configuration of a Hub data set, like finemath-4plus.")
@click.option("--revision", help="Branch, tag or commit of a Hub data set. The commit is recorded. [default: main]")
@click.option("--rename", multiple=True, metavar="FOUND=EXPECTED", help="Read a column under another name. Repeatable.")
@click.option(
    "--where",
    multiple=True,
    metavar="COLUMN=VALUE",
    help="Take only records with this value. Repeatable: any of a column's values, and all of the columns.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Documents after which to stop.")
@click.option("--drop-duplicates", is_flag=True, help="Leave out documents equal to an earlier one, token by token.")
@click.option(
    "--drop-unfit", is_flag=True, help="Leave out and count malformed records instead of stopping at the first."
)
@click.option(
    "--decontaminate",
    "problem_files",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="File of test problems: documents that share a run of words with one are left out, and recorded. Repeatable.",
)
@click.option("--run-words", type=click.IntRange(min=4), help="Length of such a run, in words. [default: 13]")
@click.option(
    "--keep-overlaps", is_flag=True, help="Keep documents that overlap with test problems, and only record them."
)
@click.option("--licence", help="Licence of the data, to be recorded. [default: what the Hub says]")
@click.option("--shard-tokens", type=click.IntRange(min=1), help="Tokens a shard. [default: 67108864]")
@click.option(
    "--lengths",
    type=INTEGERS,
    default=PACKED_LENGTHS,
    show_default="2048,8192",
    help="Row lengths to report the packing for; nothing else depends on them.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON on stdout.")
@click.option("--quiet", "-q", is_flag=True, help="No progress bars.")
def prepare(**flags: Any) -> None:  # Any: click passes every option by name
    """Tokenise training data once, into shards that training reads in any order.

    Chats are rendered by the tokenizer's template with a fixed date; what the assistant says is marked as learned. A
    run that was killed goes on behind its last finished shard, and ends with the same files.
    """
    from timetrial_distillation.data.prepare import SHARD_TOKENS, PrepareConfig
    from timetrial_distillation.data.prepare import prepare as run_preparation
    from timetrial_distillation.data.prepared import PreparedData

    config = PrepareConfig(
        tokenizer=flags["tokenizer"],
        limit=flags["limit"],
        drop_duplicates=flags["drop_duplicates"],
        drop_unfit=flags["drop_unfit"],
        shard_tokens=flags["shard_tokens"] or SHARD_TOKENS,
        licence=flags["licence"],
    )
    progress = silent if flags["quiet"] else bar
    pipeline = _make_pipeline(flags, progress)
    with _reporting(pipeline, config.limit, is_quiet=flags["quiet"]) as report:
        run_preparation(pipeline, config, flags["out"], progress=progress, report=report)
    data = PreparedData(flags["out"])
    packing = _packing(data, flags["lengths"])
    if flags["as_json"]:
        print_json(_outcome(data, packing))
    else:
        print_tables(_tables(data, packing))


def _reporting(
    pipeline: Pipeline, limit: int | None, *, is_quiet: bool
) -> AbstractContextManager[Callable[[PrepareProgress], None]]:
    from timetrial_distillation.data.bar import preparing_bar

    if is_quiet:
        return nullcontext(lambda progress: None)
    return preparing_bar(MonotonicClock(), limit, pipeline.source.num_records())


def _make_pipeline(flags: dict[str, Any], progress: ProgressFactory) -> Pipeline:  # Any: options by name
    from timetrial_distillation.data.encoding import DocumentEncoder
    from timetrial_distillation.data.overlap import DEFAULT_RUN, read_test_problems
    from timetrial_distillation.data.pipeline import Pipeline, Selection

    for name in ("run_words", "keep_overlaps"):
        if flags[name] and not flags["problem_files"]:
            raise UsageError(f"--{name.replace('_', '-')} has no effect without --decontaminate FILE")
    files = flags["problem_files"]
    encoder = DocumentEncoder(_tokenizer_folder(flags["tokenizer"]))  # first, because digests of files take a while
    return Pipeline(
        source=_open_source(flags, progress),
        encoder=encoder,
        selection=Selection(
            adapter=flags["adapter"],
            rename=_pairs("--rename", flags["rename"]),
            where=_pairs("--where", flags["where"]),
            keep_overlaps=flags["keep_overlaps"],
        ),
        problems=read_test_problems(files, flags["run_words"] or DEFAULT_RUN) if files else None,
    )


def _open_source(flags: dict[str, Any], progress: ProgressFactory) -> RecordSource:  # Any: options by name
    """Open files or one Hub data set: what is no file and no pattern, and has the form org/name, is a Hub id."""
    from timetrial_distillation.data.files import open_files
    from timetrial_distillation.data.hub import is_hub_id, open_dataset

    sources = flags["sources"]
    if any(is_hub_id(source) for source in sources):
        if len(sources) > 1:
            raise UsageError(
                "a Hub data set is the only source of a folder: prepare each by itself, and mix the folders"
            )
        return open_dataset(sources[0], flags["config"], flags["split"] or "train", flags["revision"])
    for name in ("split", "config", "revision"):
        if flags[name] is not None:
            raise UsageError(f"--{name} is for data sets on the Hub, and {sources[0]!r} is a file")
    return open_files(sources, progress)


def _tokenizer_folder(ref: str) -> Path:
    """Return the folder of a tokenizer, fetching no weights from the Hub."""
    from timetrial.catalog import open_catalog
    from timetrial.loading import known_checkpoint, locate_model
    from timetrial.registries import may_be_registered
    from timetrial_registry.checkpoint import has_tokenizer, resolve_tokenizer

    catalog = open_catalog()
    if may_be_registered(ref, catalog):
        version = locate_model(ref, catalog)
        return resolve_tokenizer(
            version.folder if has_tokenizer(version.folder) else version.tokenizer or version.folder
        )
    known = known_checkpoint(ref, catalog)
    return resolve_tokenizer(ref if known is None else known.tokenizer or known.location or ref)


def _pairs(option: str, values: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    pairs = []
    for value in values:
        name, equals, other = value.partition("=")
        if not name or not equals:
            raise UsageError(f"{option} {value!r}: expected two parts joined by =")
        pairs.append((name, other))
    return tuple(pairs)


def _packing(data: PreparedData, lengths: tuple[int, ...]) -> list[PackingSummary]:
    from timetrial_distillation.data.packed import summarise_packing
    from timetrial_distillation.data.plan import MODES, PlanConfig

    shortest = int(data.lengths.min())
    return [
        summarise_packing(data.lengths, PlanConfig(length=length, mode=mode))
        for length in lengths
        for mode in MODES
        if mode == "concat" or shortest <= length
    ]


def _outcome(data: PreparedData, packing: list[PackingSummary]) -> dict[str, Any]:  # Any: JSON
    index = {name: value for name, value in data.index.to_json().items() if name not in ("shards", "overlaps")}
    counts = {"num_shards": len(data.index.shards), "num_overlaps": len(data.index.overlaps)}
    return {"folder": str(data.folder), **index, **counts, "packing": [asdict(row) for row in packing]}


def _tables(data: PreparedData, packing: list[PackingSummary]) -> list[Table]:
    index = data.index
    rows = [
        ("adapter", index.request["adapter"]),
        ("records read", f"{index.num_records:,}"),
        *((f"left out: {reason}", f"{number:,}") for reason, number in index.left_out.items()),
        (
            "overlaps with test problems",
            f"{len(index.overlaps):,}" if index.request["test_problems"] else "not checked",
        ),
        ("documents", f"{index.num_documents:,}"),
        ("tokens", f"{index.num_tokens:,}"),
        ("supervised tokens", f"{index.num_supervised:,} ({index.num_supervised / index.num_tokens:.1%})"),
        ("shards", f"{len(index.shards):,}"),
        ("licence", index.licence or "not stated"),
        ("digest", index.digest[:12]),
    ]
    packed = [
        (
            f"{row.length:,}",
            row.mode,
            f"{row.num_rows:,}",
            f"{row.fill:.1%}",
            f"{row.documents_left_out:,}",
            f"{row.tokens_left_out / index.num_tokens:.1%}",
        )
        for row in packing
    ]
    heads = ("Row length", "Mode", "Rows an epoch", "Fill", "Documents too long", "Their tokens")
    return [
        Table(title="Prepared data", columns=("Folder", str(data.folder)), rows=tuple(rows)),
        Table(
            title="Packed into rows",
            columns=heads,
            rows=tuple(packed),
            num_text_columns=2,
            note="bfd: whole documents, too long ones left out; concat: cut where a row ends, nothing left out",
        ),
    ]
