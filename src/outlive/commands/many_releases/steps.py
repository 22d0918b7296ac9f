"""`outlive steps`: the releases at which what requests leave in memory changed."""

from __future__ import annotations

from pathlib import Path

import click

from outlive.errors import ExitCode, UsageError
from outlive.files import write_text
from outlive.history import steps
from outlive.history import steps_text as report
from outlive.history.steps import Steps
from outlive.history.stored import load
from outlive.history.timeline import Timeline
from outlive.project import Project
from outlive.releases import claims
from outlive.releases.lineage import PYTHON
from outlive.tables import output
from outlive.wording import one_line


@click.command("steps")
@click.argument("frameworks", nargs=-1, metavar="[FRAMEWORK…]")
@click.option("--python", metavar="X.Y", default=PYTHON, show_default=True, help="Python of the results.")
@click.option(
    "--markdown", type=click.Path(path_type=Path, dir_okay=False), help="Write a page to this file."
)
def steps_command(frameworks: tuple[str, ...], python: str, markdown: Path | None) -> int:
    """Say at which releases what requests leave in memory changed.

    It reads what a sweep has stored.

    \b
    outlive steps aiohttp
    outlive steps --markdown docs/history.md
    """  # noqa: D301 - click's mark for lines that stay as they are
    project = Project.find()
    timelines = [load(project, framework, python) for framework in frameworks or project.frameworks()]
    problems = [problem for timeline in timelines for problem in timeline.problems]
    for problem in problems:
        click.echo(f"outlive: left out: {one_line(problem)}", err=True)
    found = [_steps(project, timeline) for timeline in timelines]
    if not any(one.measured for one in found):
        raise UsageError(f"nothing is measured on Python {python} yet; `outlive sweep` does it")
    if markdown:
        write_text(markdown, report.markdown(found))
    else:
        report.show(found, output())
    return ExitCode.FAULT if problems else ExitCode.FINE


def _steps(project: Project, timeline: Timeline) -> Steps:
    return steps.find(timeline, claims.load(project, timeline.framework))
