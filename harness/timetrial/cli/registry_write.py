"""`timetrial registry publish`, `alias`, `tag`, `note` and `delete`: what changes the registry."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import click

from timetrial.catalog import open_catalog
from timetrial.cli.listing import json_option
from timetrial.cli.options import options, print_json, print_tables
from timetrial.cli.registry_views import day, say_how_it_is_kept, version_row
from timetrial.error import UsageError
from timetrial.progress import byte_bar, silent
from timetrial.registries import check_not_shipped, open_registries
from timetrial.report.table import Table
from timetrial_registry.contents import read_contents
from timetrial_registry.records import UNSET, AliasMove, Parent, Provenance, Role, Unset
from timetrial_registry.reference import is_reference, parse_reference
from timetrial_registry.registry import Registry

_by = click.option("--by", metavar="WHO", help="Who does this. [default: the user]")
_reason = click.option("--reason", metavar="TEXT", help="Why; it is logged.")
_NOWHERE = "nowhere"
_PARENTS: dict[Role, str] = {
    "teacher": "What it was distilled from",
    "init": "Where its first weights came from",
    "stage_parent": "What the stage before ended with",
    "data": "What it was trained on",
    "config": "The configuration it was trained with",
}
_parent_options = options(
    *(
        click.option(
            f"--{role.replace('_', '-')}", role, multiple=True, metavar="REF[#REVISION]",
            help=f"{about}: {'a version here, a Hub id or a folder' if number < 3 else 'a name or Hub id'}.",
        )
        for number, (role, about) in enumerate(_PARENTS.items())
    )
)  # fmt: skip


@click.command()
@click.argument("name")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@_parent_options
@click.option("--stage", help="The stage of a recipe that made it: mohawk-1, hybrid-kd, sft, ...")
@click.option("--tokens", type=int, help="How many it was trained on in this stage.")
@click.option("--seed", type=int)
@click.option("--licence", help="Its licence, as the Hub spells it: llama3.2, apache-2.0, ...")
@click.option(
    "--provenance", type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="All of these in a JSON file (docs/registry.md); flags win over it.",
)  # fmt: skip
@click.option("--description", help="Of the model NAME, replacing what it had.")
@click.option("--alias", "aliases", multiple=True, help="Then move this alias to the version.")
@_by
@json_option
@click.option("--quiet", "-q", is_flag=True, help="No progress bars.")
def publish(name: str, folder: Path, **flags: Any) -> None:  # Any: click passes every option by name
    """Publish the checkpoint in FOLDER as the next version of the model NAME.

    FOLDER holds config.json, safetensors weights and the tokenizer. Hidden files and pickles are left out; links that
    lead out, and pickles under another name, are refused. Publishing the same again gives the version that is there.
    """
    check_not_shipped(name, open_catalog())
    check_not_shipped(name, open_catalog())
    registry = Registry()
    provenance = _with_shipped_parents(_provenance(flags))
    for left_out in read_contents(folder).left_out:
        click.echo(f"left out: {left_out.path} ({left_out.reason})", err=True)
    known = {version.ref for version in registry.versions(name)} if name in registry.names() else set()
    version = registry.publish(
        name,
        folder,
        provenance,
        description=flags["description"],
        by=flags["by"],
        progress=silent if flags["quiet"] else byte_bar,
    )
    for alias_name in flags["aliases"]:
        registry.set_alias(name, alias_name, version.version, reason="published", by=flags["by"])
    version, is_new = registry.get(version), version.ref not in known
    say_how_it_is_kept(registry)
    if flags["as_json"]:
        print_json({**version_row(version, is_shipped=False), "is_new": is_new})
        return
    aliases = "".join(f", {name}@{alias_name}" for alias_name in version.aliases)
    click.echo(f"{version.ref}{aliases}{'' if is_new else ' was published before'}, sha256:{version.digest}")


@click.command()
@click.argument("name")
@click.argument("alias_name", metavar="[ALIAS]", required=False)
@click.argument("version", required=False)
@click.option("--remove", is_flag=True, help="Remove ALIAS.")
@click.option("--rollback", is_flag=True, help="Move ALIAS back to where it stood before its last move.")
@click.option(
    "--expected", metavar="VERSION", help=f"Refuse unless ALIAS stands there now, or '{_NOWHERE}': two cannot both win."
)
@_reason
@_by
@json_option
def alias(name: str, alias_name: str | None, version: str | None, **flags: Any) -> None:  # Any: click's values
    """Move ALIAS of the model NAME to VERSION (3, or another alias), or without VERSION show how its aliases moved."""
    registry = _changeable(name)
    changes = (version is not None) + flags["remove"] + flags["rollback"]
    if changes > 1 or (changes and alias_name is None):
        raise UsageError("give an ALIAS, and one of VERSION, --remove and --rollback")
    if not changes:
        _print_moves(registry.alias_log(name, alias_name), name, as_json=flags["as_json"])
        return
    assert alias_name is not None
    expected = _expected(flags["expected"])
    if flags["rollback"]:
        log = registry.alias_log(name, alias_name)
        if not log:
            raise UsageError(f"{name}@{alias_name} has never moved: there is nothing to go back to")
        target, expected = log[-1].old, log[-1].new if isinstance(expected, Unset) else expected
    else:
        target = None if version is None else registry.get(f"{name}@{version}").version
    reason = flags["reason"] or ("rollback" if flags["rollback"] else None)
    move = registry.set_alias(name, alias_name, target, expected=expected, reason=reason, by=flags["by"])
    if flags["as_json"]:
        print_json(dataclasses.asdict(move))
    else:
        click.echo(f"{name}@{alias_name}: {_shown(move.old)} -> {_shown(move.new)}")


@click.command()
@click.argument("ref")
@click.argument("tags", nargs=-1, required=True, metavar="KEY=VALUE...")
def tag(ref: str, tags: tuple[str, ...]) -> None:
    """Set tags of a version; KEY= removes one."""
    registry = _changeable(ref)
    pairs = [tag.partition("=") for tag in tags]
    if any(not separator for _, separator, _ in pairs):
        raise UsageError(f"{' '.join(tags)!r}: expected KEY=VALUE, or KEY= to remove a tag")
    for key, _, value in pairs:
        registry.tag(ref, key, value or None)


@click.command()
@click.argument("ref")
@click.argument("text")
@_by
def note(ref: str, text: str, by: str | None) -> None:
    """Append a note to a version."""
    _changeable(ref).note(ref, text, by=by)


@click.command()
@click.argument("ref")
@click.option("--force", is_flag=True, help="Though an alias leads to it, or a kept version was made from it.")
@_reason
@_by
def delete(ref: str, force: bool, reason: str | None, by: str | None) -> None:
    """Delete a version: its number and figures stay, its files go with the next `gc`.

    Until then, and later if the files are at hand, publishing them again brings it back.
    """
    version = _changeable(ref).delete(ref, force=force, reason=reason, by=by)
    click.echo(f"{version.ref} is deleted; `timetrial registry gc` frees {version.size:,} bytes at most")


def _changeable(ref: str) -> Registry:
    """Return the user's registry, unless the reference names what only plugins ship."""
    registries = open_registries(open_catalog())
    name = parse_reference(ref).name
    if name in registries.shipped.names() and name not in registries.own.names():
        raise UsageError(f"{ref!r} is shipped with a plugin: it can be shown and used, but not changed")
    return registries.own


def _with_shipped_parents(provenance: Provenance) -> Provenance:
    """Pin parents that plugins ship, which the user's registry does not know."""
    shipped = open_registries(open_catalog()).shipped
    parents = []
    for parent in provenance.parents:
        is_shipped = is_reference(parent.ref) and parse_reference(parent.ref).name in shipped.names()
        if is_shipped and parent.digest is None:
            version = shipped.get(parent.ref)
            parent = dataclasses.replace(parent, ref=version.ref, digest=version.digest)
        parents.append(parent)
    return dataclasses.replace(provenance, parents=tuple(parents))


def _provenance(flags: dict[str, Any]) -> Provenance:  # Any: click's values
    """Return what the flags say, on top of what the file says."""
    path = flags["provenance"]
    try:
        said = {} if path is None else json.loads(path.read_text(encoding="utf-8"))
    except ValueError as cause:
        raise UsageError(f"{path} is no JSON: {cause}") from cause
    provenance = Provenance.from_json(said)
    given = {name: flags[name] for name in ("stage", "tokens", "seed", "licence") if flags[name] is not None}
    parents = tuple(_parent(role, text) for role in _PARENTS for text in flags[role])
    return dataclasses.replace(provenance, parents=(*provenance.parents, *parents), **given)


def _parent(role: Role, text: str) -> Parent:
    ref, _, revision = text.partition("#")
    return Parent(role=role, ref=ref, revision=revision or None)


def _expected(text: str | None) -> int | None | Unset:
    if text is None:
        return UNSET
    if text == _NOWHERE:
        return None
    if not text.isdecimal():
        raise UsageError(f"--expected {text!r}: expected the number of a version, or {_NOWHERE!r}")
    return int(text)


def _print_moves(moves: tuple[AliasMove, ...], name: str, *, as_json: bool) -> None:
    if as_json:
        print_json([dataclasses.asdict(move) for move in moves])
        return
    rows = tuple(
        (day(move.at), move.alias, _shown(move.old), _shown(move.new), move.by, move.reason or "") for move in moves
    )
    columns = ("at", "alias", "from", "to", "by", "reason")
    print_tables([Table(title=f"Aliases of {name}", columns=columns, num_text_columns=len(columns), rows=rows)])


def _shown(number: int | None) -> str:
    return _NOWHERE if number is None else str(number)
