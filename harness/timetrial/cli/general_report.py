"""`timetrial report --general`: reasoning against general benchmarks, from the figures in the registry."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from timetrial.catalog import open_catalog
from timetrial.cli.options import NAMES, options, print_json, print_tables
from timetrial.error import RunError, UsageError
from timetrial.general_stages import GeneralReport, general_report
from timetrial.registries import open_registries
from timetrial.report.canvas import Picture
from timetrial.report.general_figure import draw_general
from timetrial.report.general_tables import general_tables
from timetrial.report.table import to_markdown

DEFAULT_FOLDER = Path("results/general-report")
_OF_GENERAL = {"benchmarks": "--benchmark", "out": "--out"}
_OF_RUNS = {"register_metrics": "--register-metrics", "reduction": "--reduction", "gamma": "--gamma"}

general_options = options(
    click.option("--general", "is_general", is_flag=True, help="Report reasoning against general benchmarks."),
    click.option(
        "--benchmark", "benchmarks", type=NAMES, multiple=True,
        help="With --general: only these of lm-eval's tasks. [default: all; the groups, if there are many]",
    ),
    click.option(
        "--out", type=click.Path(path_type=Path),
        help=f"With --general: the folder to write. [default: {DEFAULT_FOLDER}]",
    ),
)  # fmt: skip


def check_general_flags(flags: Mapping[str, Any]) -> None:  # Any: click's values
    """Refuse flags of `timetrial report` that would mean nothing with, or without, --general.

    Raises:
        UsageError: names them.
    """
    unused = _OF_RUNS if flags["is_general"] else _OF_GENERAL
    given = [flag for name, flag in unused.items() if not (flags[name] is False or flags[name] in (None, ()))]
    if given:
        how = "are not for" if flags["is_general"] else "need"
        raise UsageError(f"these flags {how} --general: {', '.join(given)}")


def report_general(refs: tuple[str, ...], benchmarks: tuple[str, ...], out: Path | None, *, as_json: bool) -> None:
    """Print the tables, and write them and the figures into a folder."""
    report = general_report(open_registries(open_catalog()), refs, benchmarks)
    written = write_general(report, draw_general(report), out or DEFAULT_FOLDER)
    if as_json:
        print_json({"report": _to_json(report), "files": [str(path) for path in written]})
        return
    print_tables(general_tables(report))
    for path in written:
        click.echo(path)


def write_general(report: GeneralReport, pictures: Iterable[Picture], folder: Path) -> list[Path]:
    """Write the tables as Markdown and the figures as PNG and SVG; the same figures give the same bytes.

    Raises:
        RunError: the folder cannot be written.
    """
    contents = {"general.md": "\n".join(map(to_markdown, general_tables(report))).encode("utf-8", "backslashreplace")}
    for picture in pictures:
        contents |= {f"{picture.name}.png": picture.png, f"{picture.name}.svg": picture.svg.encode()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            (folder / name).write_bytes(content)
    except OSError as cause:
        raise RunError(f"cannot write the report into {folder}: {cause.strerror or cause}") from cause
    return [folder / name for name in contents]


def _to_json(report: GeneralReport) -> dict[str, Any]:  # Any: JSON values
    pairs = [
        {
            **dataclasses.asdict(pair),
            "correlation": {name: estimate._asdict() for name, estimate in pair.correlation._asdict().items()},
        }
        for pair in report.pairs
    ]
    return {**dataclasses.asdict(report), "pairs": pairs}
