"""`timetrial registry export` and `import`: versions as folders, on the Hub and in MLflow."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from timetrial.catalog import open_catalog
from timetrial.cli.options import print_json
from timetrial.cli.registry_views import version_row
from timetrial.error import UsageError
from timetrial.progress import byte_bar, silent
from timetrial.registries import check_not_shipped, open_registries
from timetrial_registry.registry import Registry

if TYPE_CHECKING:
    from timetrial_registry.export import Export
    from timetrial_registry.joined import JoinedRegistry

Facts = dict[str, Any]  # Any: JSON-ready, or click's values
Say = Callable[[str], None]

_json = click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON on stdout.")
_quiet = click.option("--quiet", "-q", is_flag=True, help="No progress bars.")


@click.command("export")
@click.argument("ref")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--licence-file", type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The text of the Llama licence that applies, if no checkpoint here carries it.",
)  # fmt: skip
@click.option(
    "--benchmark", "benchmarks", multiple=True, metavar="DATA=OWNER/DATASET:TASK",
    help="The Hub's benchmark that figures on DATA are of: they enter .eval_results, for its leaderboard.",
)  # fmt: skip
@click.option("--push", "repository", metavar="ORG/NAME", help="Upload the folder to this repository of the Hub.")
@click.option("--public", is_flag=True, help="With --push: for everybody to see. [default: private]")
@click.option(
    "--allow-any-name", is_flag=True, help="With --public: though a model made with Llama must be named Llama-..."
)
@click.option(
    "--mlflow", "mlflow_uri", metavar="URI", help="Register the folder with MLflow, e.g. sqlite:///mlflow.db."
)
@click.option("--overwrite", is_flag=True, help="Replace FOLDER if it holds an earlier export.")
@_json
@_quiet
def export_(ref: str, folder: Path, **flags: Any) -> None:  # Any: click passes every option by name
    """Write a version into a new FOLDER that can be put on the Hub as it is.

    REF is NAME, NAME@ALIAS, NAME@3 or sha256:... The folder holds the files as published, a model card with the
    attached figures, lineage.json, and LICENSE and NOTICE where the licence of a Llama model asks for them.
    """
    from timetrial_registry.evaluation import parse_benchmarks
    from timetrial_registry.export import ExportOptions, export_version
    from timetrial_registry.mlflow_export import require_mlflow

    repository, is_quiet = flags["repository"], flags["quiet"]
    if repository is None and (flags["public"] or flags["allow_any_name"]):
        raise UsageError("--public and --allow-any-name say how to push: name the repository with --push ORG/NAME")
    if flags["mlflow_uri"] is not None:
        require_mlflow()
    options = ExportOptions(
        repository=repository,
        agreement=flags["licence_file"],
        benchmarks=parse_benchmarks(flags["benchmarks"]),
        overwrite=flags["overwrite"],
    )
    registry = open_registries(open_catalog())
    export = export_version(registry, ref, folder, options, silent if is_quiet else byte_bar)
    for warning in export.warnings:
        click.echo(f"warning: {warning}", err=True)
    say = _nothing if flags["as_json"] else click.echo
    say(f"{folder}: {export.version.ref}, {len(export.files)} files, sha256:{export.version.digest}")
    outcome = export.to_json()
    if repository is not None:
        outcome["pushed"] = _push(registry, export, flags, say)
    if flags["mlflow_uri"] is not None:
        outcome["mlflow"] = _register(export, flags["mlflow_uri"], say)
    if flags["as_json"]:
        print_json(outcome)


@click.command("import")
@click.argument("source")
@click.option("--name", help="What to call the model. [default: as it was called where it was exported]")
@click.option("--with-figures", is_flag=True, help="Attach the figures that were exported with it.")
@_json
@_quiet
def import_(source: str, name: str | None, with_figures: bool, as_json: bool, quiet: bool) -> None:
    """Publish SOURCE into the registry: an exported folder, any checkpoint folder, or a repository of the Hub.

    An exported folder is checked file by file, and becomes the version it was, with the same digest. A repository
    (ORG/NAME or ORG/NAME@REVISION) is pinned: the commit that the revision is now is recorded with the version.
    """
    from timetrial_registry.importing import import_checkpoint, look_at

    candidate = look_at(source)
    check_not_shipped(name or candidate.name or "", open_catalog())
    imported = import_checkpoint(
        Registry(), candidate, name, with_figures=with_figures, progress=silent if quiet else byte_bar
    )
    version, origin = imported.version, imported.source
    if as_json:
        print_json({
            **version_row(version, is_shipped=False),
            "exported_as": imported.exported_as,
            "source": None if origin is None else dataclasses.asdict(origin),
        })  # fmt: skip
    else:
        click.echo(f"{version.ref} from {origin or source}, sha256:{version.digest}")


def _push(registry: JoinedRegistry, export: Export, flags: Facts, say: Say) -> Facts:
    from timetrial_registry.pushing import push_export

    pushed = push_export(
        None if registry.is_shipped(export.version) else registry.own,
        export,
        flags["repository"],
        visibility="public" if flags["public"] else "private",
        allow_any_name=flags["allow_any_name"],
    )
    say(f"pushed to {pushed.repository} ({pushed.visibility}), commit {pushed.commit}")
    return dataclasses.asdict(pushed)


def _register(export: Export, uri: str, say: Say) -> Facts:
    from timetrial_registry.mlflow_export import register_with_mlflow

    entry = register_with_mlflow(export.version, export.folder, uri)
    say(f"{'registered' if entry.is_new else 'registered before'} with MLflow at {uri}: {entry.name} {entry.version}")
    return dataclasses.asdict(entry)


def _nothing(line: str) -> None:
    """Say nothing: the outcome is printed as JSON."""
