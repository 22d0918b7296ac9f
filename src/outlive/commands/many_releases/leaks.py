"""`outlive leaks`: show when each leak and ring of a framework appeared, changed and went."""

from __future__ import annotations

from pathlib import Path

import click

from outlive.commands.parts.own import AppOption, app_options
from outlive.commands.parts.writing import json_option, write_json
from outlive.errors import ExitCode, UsageError
from outlive.history import lifelines_text
from outlive.history.stored import lifelines
from outlive.project import Project
from outlive.tables import output


@click.command("leaks")
@click.argument("framework", required=False)
@app_options
@click.option("--python", metavar="X.Y", help="Only measurements on this Python.")
@click.option("--all", "everything", is_flag=True, help="Also show rings that are never the shortest.")
@json_option
def leaks_command(
    *,
    framework: str | None,
    app: AppOption | None,
    python: str | None,
    everything: bool,
    json_file: Path | None,
) -> int:
    """Show when each leak and ring appeared, changed and went.

    It reads stored measurements; `outlive sweep` makes them, on Python 3.11 or another.

    For your own application it shows the versions that you measured.

    \b
    outlive leaks aiohttp
    outlive leaks flask --python 3.13
    outlive leaks --app .
    """  # noqa: D301 - click's mark for lines that stay as they are
    if bool(framework) == bool(app):
        raise UsageError("name a framework, or your own application with --app")
    project = Project.find()
    if app:
        project, (stack, *_) = app.one(())
        framework = stack.framework
    document, problems = lifelines(project, framework or "", python)
    for problem in problems:
        click.echo(f"outlive: left out: {problem}", err=True)
    lifelines_text.show(document, output(), everything=everything)
    write_json(json_file, document)
    return ExitCode.FAULT if problems else ExitCode.FINE
