"""`outlive steps`: list the releases where memory left by requests changed."""

from __future__ import annotations

from pathlib import Path

import click

from outlive.commands.parts.writing import write_json, writing_options
from outlive.errors import ExitCode, UsageError
from outlive.files import write_text
from outlive.history import steps
from outlive.history import steps_text as report
from outlive.history.steps import StepsDocument
from outlive.history.stored import fullest, load
from outlive.project import Project
from outlive.releases import claims
from outlive.tables import output
from outlive.wording import one_line


@click.command("steps")
@click.argument("frameworks", nargs=-1, metavar="[FRAMEWORK…]")
@click.option(
    "--python",
    metavar="X.Y",
    help="Python of the results. [default: the one with the most results, for each framework]",
)
@writing_options
def steps_command(
    *, frameworks: tuple[str, ...], python: str | None, json_file: Path | None, markdown_file: Path | None
) -> int:
    """List the releases where memory left by requests changed.

    It reads what `outlive sweep` has stored.

    \b
    outlive steps aiohttp
    outlive steps --markdown docs/history.md
    """  # noqa: D301 - click's mark for lines that stay as they are
    project = Project.find()
    timelines = [
        load(project, framework, python) if python else fullest(project, framework)
        for framework in dict.fromkeys(frameworks) or project.frameworks()
    ]
    problems = [problem for timeline in timelines for problem in timeline.problems]
    for problem in problems:
        click.echo(f"outlive: left out: {one_line(problem)}", err=True)
    histories = [steps.find(timeline, claims.load(project, timeline.framework)) for timeline in timelines]
    if not any(history.measured for history in histories):
        if problems:
            return ExitCode.FAULT
        where = f" on Python {python}" if python else ""
        raise UsageError(f"nothing has been measured{where} yet: run `outlive sweep`")
    write_json(json_file, StepsDocument(histories=tuple(histories)))
    if markdown_file:
        write_text(markdown_file, report.markdown(histories))
    report.show(histories, output())
    return ExitCode.FAULT if problems else ExitCode.FINE
