"""`outlive watch`: compare unreleased code with the last release, and show and write the changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from outlive.api import watch
from outlive.api.selection import Selection
from outlive.commands.parts.pairs import show_page
from outlive.commands.parts.progress import progress
from outlive.commands.parts.selection import measuring_options
from outlive.commands.parts.writing import json_option, write_json
from outlive.errors import ExitCode, UsageError
from outlive.project import Project
from outlive.reports import terminal
from outlive.tables import output, say, whole
from outlive.wording import counted

GRAVEST = (ExitCode.REGRESSION, ExitCode.FAULT)


@click.command("watch")
@click.argument("framework")
@click.option(
    "--repo",
    "repository",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Checkout of the framework, on the branch to watch.",
)
@click.option("--pre", is_flag=True, help="Watch the pre-releases after the last release.")
@measuring_options
@json_option
def watch_command(
    framework: str,
    *,
    repository: Path | None,
    pre: bool,
    python: str | None,
    json_file: Path | None,
    **selected: Any,
) -> int:
    """Compare unreleased code with the last release.

    If anything changed, it writes a report to .outlive/results/reports, and beside it a reproducer: a script
    that needs only the framework and was run to be sure.

    \b
    outlive watch flask --repo ../flask
    outlive watch aiohttp --pre --python 3.13

    Exit codes: 0 nothing got worse, 1 something did, 2 usage, 4 fault.
    """  # noqa: D301 - click's mark for lines that stay as they are
    if not repository and not pre:
        raise UsageError("say what to watch: --repo PATH, --pre, or both")
    project = Project.find()
    console = output()
    watched: list[watch.Watched] = []
    for candidate in watch.candidates(project, framework, repository, pre=pre):
        with progress() as callbacks:
            result = watch.watch(project, candidate, python, Selection(**selected), callbacks)
        watched.append(result)
        if not result.page:
            rows = counted(len(result.report.comparison.rows), "cell")
            say(console, f"{result.report.comparison.subject}: nothing changed in {rows}")
            continue
        terminal.head(result.report, console)
        show_page(result.page, console, opened=False)
        whole(console, f"reproducer: {result.script or result.lacking}")
    write_json(json_file, watch.WatchedDocument(watched=tuple(watched)))
    if not watched:
        say(console, f"{framework} has no pre-release after its last release")
    codes = {result.code for result in watched}
    return next((code for code in GRAVEST if code in codes), ExitCode.FINE)
