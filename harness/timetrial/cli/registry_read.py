"""`timetrial registry list`, `show` and `lineage`: what there is, what it is, and where it comes from."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import click

from timetrial.catalog import open_catalog
from timetrial.cli.listing import json_option
from timetrial.cli.options import print_json, print_tables
from timetrial.cli.registry_views import (
    Row,
    day,
    metric_table,
    model_table,
    readable_bytes,
    say_how_it_is_kept,
    version_row,
    version_table,
)
from timetrial.registries import open_registries
from timetrial.report.table import Table
from timetrial_registry.joined import JoinedRegistry
from timetrial_registry.lineage import to_json, to_mermaid, to_text
from timetrial_registry.records import Version


@click.command("list")
@click.argument("name", required=False)
@click.option("--all", "-a", "every", is_flag=True, help="Every version of every model, not only the latest.")
@click.option("--deleted", is_flag=True, help="With NAME or --all: deleted versions too.")
@json_option
def list_(name: str | None, every: bool, deleted: bool, as_json: bool) -> None:
    """List the models, or the versions of the model NAME."""
    registry = open_registries(open_catalog())
    say_how_it_is_kept(registry.own)
    is_overview = name is None and not every
    if deleted and is_overview:
        raise click.UsageError("--deleted goes with NAME or --all: a model is listed by its latest version")
    versions = _versions(registry, name, deleted=deleted)
    shipped = {version.ref for version in registry.shipped.versions()}
    if is_overview:
        _list_models(registry, versions, shipped, as_json=as_json)
    elif as_json:
        print_json([version_row(version, is_shipped=version.ref in shipped) for version in versions])
    else:
        print_tables([version_table(versions, name or f"All versions in {registry.own.path}")])


@click.command()
@click.argument("ref")
@json_option
def show(ref: str, as_json: bool) -> None:
    """Show all that is known of a version: identity, files, parents, figures, tags, notes and events."""
    registry = open_registries(open_catalog())
    version = registry.get(ref)
    facts = _facts(registry, version)
    if as_json:
        print_json(facts)
        return
    metrics = [metric for _, metric in registry.metrics(version)]
    figures = [metric_table(metrics, "Figures")] if metrics else []
    print_tables([_identity(facts), _files(version), *figures, *_remarks(facts)])


@click.command()
@click.argument("ref")
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "mermaid"]), default="text", show_default=True,
    help="A tree, JSON, or a flow chart that Markdown pages draw.",
)  # fmt: skip
@click.option("--descendants", is_flag=True, help="What was made from it, instead of what it was made from.")
def lineage(ref: str, form: str, descendants: bool) -> None:
    """Trace what a version was made from: teacher, initial weights, earlier stages, data and configuration."""
    registry = open_registries(open_catalog())
    node = registry.descendants(ref) if descendants else registry.lineage(ref)
    if form == "json":
        print_json(to_json(node))
    else:
        click.echo(to_text(node) if form == "text" else to_mermaid(node, downwards=descendants))


def _versions(registry: JoinedRegistry, name: str | None, *, deleted: bool) -> tuple[Version, ...]:
    if not deleted:
        return registry.versions(name)
    if name in registry.shipped.names():
        return registry.shipped.versions(name)
    shipped = registry.shipped.versions() if name is None else ()
    return (*registry.own.versions(name, deleted=True), *shipped)


def _list_models(registry: JoinedRegistry, versions: tuple[Version, ...], shipped: set[str], *, as_json: bool) -> None:
    groups = []
    for name, group in groupby(versions, key=lambda version: version.name):
        of_model = list(group)
        groups.append((of_model[-1], len(of_model), registry.description(name), of_model[-1].ref in shipped))
    if as_json:
        print_json([
            {"name": latest.name, "description": about, "num_versions": number,
             "latest": version_row(latest, is_shipped=is_shipped)}
            for latest, number, about, is_shipped in groups
        ])  # fmt: skip
    elif groups:
        print_tables([model_table(groups, f"Models in {registry.own.path}, and shipped ones")])
    else:
        click.echo(f"{registry.own.path} holds no versions yet: `timetrial registry publish NAME FOLDER` adds one")


def _facts(registry: JoinedRegistry, version: Version) -> Row:
    is_shipped = registry.is_shipped(version)
    events = () if is_shipped else registry.own.events(version)
    return {
        **version_row(version, is_shipped=is_shipped),
        "description": registry.description(version.name),
        "manifest": dataclasses.asdict(version.manifest),
        "metrics": [dataclasses.asdict(metric) for _, metric in registry.metrics(version)],
        "tags": dict(registry.tags(version)),
        "notes": [dataclasses.asdict(note) for note in registry.notes(version)],
        "events": [dataclasses.asdict(event) for event in events],
    }


def _identity(facts: Row) -> Table:
    rows = [(name, str(value)) for name, value in _identity_rows(facts) if value not in (None, "", {})]
    return Table(title=facts["ref"], columns=("", ""), num_text_columns=2, rows=tuple(rows))


def _identity_rows(facts: Row) -> Iterator[tuple[str, Any]]:  # Any: whatever has a str
    provenance = facts["manifest"]["provenance"]
    yield "about", facts["description"]
    yield "aliases", ", ".join(facts["aliases"])
    yield "state", f"{facts['state']}, shipped" if facts["is_shipped"] else facts["state"]
    yield "digest", f"sha256:{facts['digest']}"
    yield "tensors", f"sha256:{facts['tensor_digest']}"
    yield "size", f"{readable_bytes(facts['size'])} in {len(facts['manifest']['files'])} files"
    yield "created", f"{day(facts['created_at'])} UTC by {facts['created_by']}"
    yield "architecture", facts["manifest"]["config"].get("model_type")
    for name in ("kind", "stage", "tokens", "seed", "licence"):
        yield name, provenance[name]
    for parent in provenance["parents"]:
        pinned = parent["revision"] or (parent["digest"] or "")[:12]
        yield parent["role"], f"{parent['ref']}{f' at {pinned}' if pinned else ''}"
    yield "made with", ", ".join(f"{name} {number}" for name, number in sorted(provenance["versions"].items()))
    for name, value in (provenance["recipe"] or {}).items():
        yield f"recipe: {name}", value


def _files(version: Version) -> Table:
    rows = tuple(
        (file.path, file.sha256[:12], file.media_type, readable_bytes(file.size)) for file in version.manifest.files
    )
    return Table(title="Files", columns=("file", "sha256", "type", "size"), num_text_columns=3, rows=rows)


def _remarks(facts: Row) -> Iterator[Table]:
    tags = tuple((key, value) for key, value in facts["tags"].items())
    notes = tuple((day(note["at"]), note["by"], note["text"]) for note in facts["notes"])
    events = tuple((day(event["at"]), event["by"], event["kind"], event["detail"]) for event in facts["events"])
    for title, columns, rows in (
        ("Tags", ("tag", "value"), tags),
        ("Notes", ("at", "by", "note"), notes),
        ("Events", ("at", "by", "event", "detail"), events),
    ):
        if rows:
            yield Table(title=title, columns=columns, num_text_columns=len(columns), rows=rows)
