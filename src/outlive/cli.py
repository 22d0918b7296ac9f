"""Defines the command line and its verbs; `ending` decides how a command ends."""

from __future__ import annotations

import gc
import importlib
import itertools
import os
import re
from pathlib import Path
from typing import NoReturn

import click

from outlive import __version__, ending
from outlive.errors import FaultError
from outlive.wording import nearest, one_line

RESULTS = "OUTLIVE_RESULTS"
YOUNG = 50_000
"""New objects between our own collections. Most stay: with Python's 700, a stored comparison takes longer."""
VERBS = {
    "First steps": {
        "doctor": "Check whether this machine can measure.",
        "compare": "Compare two releases of a framework, or two stacks.",
        "explain": "Explain which references keep objects alive after a request.",
        "gate": "Check releases of a framework against its reviewed limits.",
        "init": "Write a first outlive.toml for your own application.",
    },
    "One stack or two": {
        "measure": "Measure what stacks leave in memory per request.",
        "load": "Load-test a release with many clients and many errors.",
        "serve": "Serve a reference app until Ctrl-C.",
        "report": "Write a report on an upgrade as HTML, Markdown and JSON.",
        "attribute": "Find the package, or the Python, that causes a difference.",
        "remedies": "Show what each remedy does for a release, and what it costs.",
        "measured": "List your measurements, or remove them.",
    },
    "Many releases": {
        "releases": "List the releases of a framework, or update the list.",
        "sweep": "Measure every release of a framework.",
        "steps": "List the releases where memory left by requests changed.",
        "watch": "Compare unreleased code with the last release.",
        "bisect": "Find the commit that changed what requests leave.",
        "leaks": "Show when each leak and ring appeared, changed and went.",
        "publish": "Build the site from everything that is stored.",
    },
}
"""What each verb does, under the headings of the first screen; `commands` has a folder for each heading.

This repeats the help of the verbs, so that the first screen loads none of them; a test keeps both equal."""
STORELESS = frozenset({"doctor", "explain", "gate", "init", "releases"})
"""Verbs that neither store nor read results."""


def _set_results(context: click.Context, _: click.Parameter, folder: str | None) -> None:
    """Set OUTLIVE_RESULTS until the command ends."""
    if folder is None:
        return
    before = os.environ.get(RESULTS)

    def restore() -> None:
        if before is None:
            os.environ.pop(RESULTS, None)
        else:
            os.environ[RESULTS] = before

    os.environ[RESULTS] = folder
    context.call_on_close(restore)


class Verbs(click.Group):
    """The verbs; the module of each is loaded when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names of all verbs, in the order of the first screen."""
        return [name for verbs in VERBS.values() for name in verbs]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return the verb of that name, or None."""
        heading = next((heading for heading, verbs in VERBS.items() if cmd_name in verbs), None)
        if heading is None:
            return None
        room = heading.lower().replace(" ", "_")
        module = importlib.import_module(f"outlive.commands.{room}.{cmd_name}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        if cmd_name not in STORELESS and not any(option.name == "results" for option in command.params):
            command.params.append(
                click.Option(
                    ["--results"],
                    metavar="DIR",
                    callback=_set_results,
                    expose_value=False,
                    help="Folder for your measurements. [default: .outlive/results]",
                )
            )
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the words. Raises UsageError for an empty one: probably a shell variable that is not set."""
        for before, word in itertools.pairwise(["outlive", *args]):
            if not word.strip() or re.fullmatch(r"--[a-z-]+=\s*", word):
                place = one_line(word.strip() or before)
                raise click.UsageError(f"the argument after {place!r} is empty: is a variable unset?", ctx)
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the verb that the words begin with. Raises UsageError if there is none."""
        try:
            Path.cwd()
        except FileNotFoundError:
            raise FaultError("the current folder no longer exists: change to another") from None
        if args and self.get_command(ctx, args[0]) is None:
            verbs = nearest(args[0], self.list_commands(ctx))
            raise click.UsageError(f"No such command {one_line(args[0])!r}; try {verbs}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the verbs under their headings."""
        for heading, verbs in VERBS.items():
            with formatter.section(heading):
                formatter.write_dl([*verbs.items()])


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="outlive")
def cli() -> None:
    """Measure what framework releases leave in memory after failed requests.

    Exit: 0 fine, 1 regression, 2 usage, 3 inconclusive, 4 fault, 5 withdrawn.
    """


def main() -> NoReturn:
    """Run the command line and exit with an `ExitCode`; errors are one line on standard error."""
    gc.set_threshold(YOUNG)
    ending.run(lambda: cli(standalone_mode=False))
