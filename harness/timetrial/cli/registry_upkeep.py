"""`timetrial registry verify` and `gc`: whether all is as published, and what can go."""

from __future__ import annotations

import dataclasses

import click

from timetrial.catalog import open_catalog
from timetrial.cli.listing import json_option
from timetrial.cli.options import print_json, print_tables
from timetrial.cli.registry_views import finding_table, readable_bytes, say_how_it_is_kept
from timetrial.progress import byte_bar, silent
from timetrial.registries import open_registries
from timetrial.report.table import Table
from timetrial_registry.registry import GRACE_S, Registry


@click.command()
@click.option("--repair", is_flag=True, help="Put damaged files aside, mend what can be mended.")
@json_option
@click.option("--quiet", "-q", is_flag=True, help="No progress bars.")
@click.pass_context
def verify(ctx: click.Context, repair: bool, as_json: bool, quiet: bool) -> None:
    """Check the database and every byte of every version, shipped ones too.

    Exits with 1 if something published is lost or wrong. Notes are no errors: what a killed process left, what was put
    aside, a file system whose locks cannot be trusted.
    """
    registry = open_registries(open_catalog())
    progress = silent if quiet else byte_bar
    findings = (*registry.own.verify(repair=repair, progress=progress), *registry.shipped.verify(progress=progress))
    if as_json:
        print_json([dataclasses.asdict(finding) for finding in findings])
    elif findings:
        print_tables([finding_table(findings, f"Findings in {registry.own.path}")])
    else:
        click.echo(f"{registry.own.path}: {len(registry.versions())} versions, all as they were published")
    if any(finding.severity == "error" for finding in findings):
        ctx.exit(1)


@click.command()
@click.option("--delete", "is_real", is_flag=True, help="Remove what is listed. [default: only list it]")
@click.option(
    "--grace", "grace_h", type=click.FloatRange(min=0), default=GRACE_S / 3600, show_default=True, metavar="HOURS",
    help="Keep what was deleted or left behind within so many hours.",
)  # fmt: skip
@click.option("--prune-lineage", is_flag=True, help="Remove deleted versions that a kept one was made from, too.")
@json_option
def gc(is_real: bool, grace_h: float, prune_lineage: bool, as_json: bool) -> None:
    """List, and with --delete remove, what no version needs: deleted versions, and what killed processes left."""
    registry = Registry()
    say_how_it_is_kept(registry)
    found = registry.collect(dry_run=not is_real, grace_s=grace_h * 3600, prune_lineage=prune_lineage)
    if as_json:
        print_json({**dataclasses.asdict(found), "size": found.size})
        return
    rows = tuple(
        (verdict, item.kind, item.subject, item.reason, readable_bytes(item.size) if item.size else "")
        for verdict, items in (("remove" if found.is_dry_run else "removed", found.removed), ("keep", found.kept))
        for item in items
    )
    if rows:
        columns = ("", "kind", "subject", "because", "size")
        print_tables([Table(title=str(registry.path), columns=columns, num_text_columns=4, rows=rows)])
    freed = f"{len(found.removed)} things, {readable_bytes(found.size)}"
    hint = "; `timetrial registry gc --delete` removes them" if found.removed else ""
    click.echo(f"would remove {freed}{hint}" if found.is_dry_run else f"removed {freed}")
