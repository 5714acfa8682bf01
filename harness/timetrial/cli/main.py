"""The `timetrial` command: its sub-commands, those of plugins included, and how errors leave it."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

import click

from timetrial import __version__
from timetrial.error import PluginError, TimetrialError, closest_match
from timetrial.manager import PluginSettings

if TYPE_CHECKING:
    from timetrial.catalog import Offer
    from timetrial.spec import CommandSpec

_INTERRUPTED = "interrupted: everything finished so far is kept; run the same command again to continue"

# Sub-command -> (module, attribute, help line). Modules are imported when their command is used, so that
# `timetrial --help` stays instant.
BUILT_IN = {
    "demo": ("run", "demo", "The whole path on the shipped models: sample, grade, score, time, report."),
    "run": ("run", "run", "Sample, grade, score, time and report models on tasks."),
    "time": ("run", "time", "Time the decoding of models over a grid of batch sizes."),
    "roofline": ("roofline", "roofline", "The least time models could take on a machine, from data sheets alone."),
    "grade": ("grading", "grade", "Grade runs anew from their stored texts, without the model."),
    "score": ("score", "score", "Score stored runs with reward models, and time those."),
    "ablation": ("ablation", "ablation", "What other reductions and powers of the scores would be worth."),
    "report": ("results", "report", "Write the curves, figures, tables and page of runs again."),
    "leaderboard": ("results", "leaderboard", "Rank (model, samples, rule) at a budget in seconds."),
    "replay": ("replay", "replay", "Seconds by actual lengths, quality at deadlines, and their validation."),
    "compare": ("results", "compare", "Paired differences between two runs on their common problems."),
    "import-samples": ("importing", "import_samples", "Make a run of published completions or counts."),
    "registry": ("registry_group", "registry", "Checkpoints as versions: publish, find, trace, verify."),
    "models": ("models", "models", "The checkpoints known by name, and the model families; `models show NAME`."),
    "tasks": ("listing", "tasks", "The tasks there are."),
    "aggregators": ("listing", "aggregators", "The ways of choosing an answer, and the reward models."),
    "graders": ("listing", "graders", "The graders that can be asked for by name."),
    "engines": ("listing", "engines", "What can time models beside the families' own engines."),
    "plugins": ("listing", "plugins", "Every plugin: its origin, what it offers, its error if it has one."),
}


class TimetrialGroup(click.Group):
    """Sub-commands of the harness and of plugins, loaded on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the built-in commands, then those of plugins."""
        return [*BUILT_IN, *_plugin_commands()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a sub-command, or None if there is none of that name."""
        if cmd_name in BUILT_IN:
            module, attribute, _ = BUILT_IN[cmd_name]
            command = getattr(import_module(f"timetrial.cli.{module}"), attribute)
            assert isinstance(command, click.Command)
            return command
        from timetrial.blame import blaming

        offers = _plugin_commands()
        if cmd_name not in offers:
            return None
        with blaming(f"command {cmd_name!r}", offers[cmd_name].origin):
            return offers[cmd_name].spec.load()

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the sub-command; for an unknown one offer the closest."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            suggestion = closest_match(args[0], self.list_commands(ctx))
            hint = f"did you mean {suggestion!r}?" if suggestion else "see `timetrial --help`."
            raise click.UsageError(f"unknown command {args[0]!r}: {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, doc) for name, (_, _, doc) in BUILT_IN.items()])
        try:
            lines = [(name, offer.spec.doc) for name, offer in _plugin_commands().items()]
        except TimetrialError as error:  # help must still be there when a plugin is broken
            lines = [("(none)", str(error))]
        if lines:
            with formatter.section("Commands of plugins"):
                formatter.write_dl(lines)


def _plugin_commands() -> dict[str, Offer[CommandSpec]]:
    from timetrial.catalog import open_catalog

    offers = open_catalog().commands()
    for name in BUILT_IN:
        if name in offers:
            origin = offers[name].origin
            raise PluginError(
                f"plugin {origin.plugin!r} (distribution {origin.distribution} {origin.version}) offers the command "
                f"{name!r}, which timetrial has itself. TIMETRIAL_DISABLED_PLUGINS={origin.plugin} goes on without it."
            )
    return dict(sorted(offers.items()))


@click.group(cls=TimetrialGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="timetrial")
def cli() -> None:
    """Which model, how many samples and which way of choosing solve the most problems in T seconds?"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with a code that means something (see `timetrial.error`)."""
    sys.exit(run_command_line(arguments))


def run_command_line(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code; errors become a paragraph on stderr."""
    try:
        result = cli.main(args=None if arguments is None else list(arguments), standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except TimetrialError as error:
        if isinstance(error, PluginError) and PluginSettings.from_environment().is_traced:
            traceback.print_exception(error)
        click.echo(f"error: {error}", err=True)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort) as stop:
        said = str(stop.__cause__ or stop)  # click turns the one into the other
        click.echo(f"\n{said or _INTERRUPTED}", err=True)
        return 130
    except BrokenPipeError:
        # The reader of our output has left, as `head` does; keep the interpreter from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:  # whatever is left is a bug of ours: show everything
        traceback.print_exc()
        click.echo("error: this is a bug in timetrial; please report it with the lines above", err=True)
        return 70
