"""`outlive leaks`: in which release each leak and ring of a framework came, changed and went."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from outlive.errors import ExitCode, UsageError
from outlive.files import write_text
from outlive.history import lifelines_text
from outlive.history.lifelines import LifeLinesDocument, Measured, life_lines
from outlive.history.stored import load
from outlive.history.timeline import Timeline
from outlive.project import Project
from outlive.records.stack import KNOWN, PYTHON_NAME


@click.command("leaks")
@click.argument("framework")
@click.option("--python", metavar="X.Y", help="Only what was measured on this Python.")
@click.option("--all", "everything", is_flag=True, help="Show rings that are nowhere the shortest, too.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), metavar="FILE", help="Also write JSON.")
def leaks_command(framework: str, python: str | None, everything: bool, json_file: Path | None) -> int:
    """Say in which release each leak and ring came, changed and went.

    It reads the stored measurements.

    Nothing is measured: `outlive sweep` does that, on Python 3.11 or another.

    \b
    outlive leaks aiohttp
    outlive leaks flask --python 3.13
    """  # noqa: D301 - click's mark for lines that stay as they are
    project = Project.find()
    if python and not PYTHON_NAME.fullmatch(python):
        raise UsageError(f"--python takes a version, as in 3.11 or 3.12.1, not {python!r}")
    minors = (python,) if python else tuple(KNOWN)
    timelines = [load(project, framework, minor) for minor in minors]
    problems = [problem for one in timelines for problem in one.problems]
    for problem in problems:
        click.echo(f"outlive: left out: {problem}", err=True)
    measured = tuple(one for each in timelines if (one := _measured(each)).releases)
    if not measured:
        where = f" on Python {python}" if python else ""
        raise UsageError(f"nothing of {framework} is measured{where} yet; `outlive sweep` does it")
    lines = life_lines(timelines)
    lifelines_text.show(framework, measured, lines, Console(), everything=everything)
    if json_file:
        document = LifeLinesDocument(framework=framework, measured=measured, lines=lines)
        write_text(json_file, document.to_json())
    return ExitCode.FAULT if problems else ExitCode.FINE


def _measured(one: Timeline) -> Measured:
    return Measured(one.python, tuple(m.release.version for m in one.moments if m.measurements))
