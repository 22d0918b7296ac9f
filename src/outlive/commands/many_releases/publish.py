"""`outlive publish`: build the static site from everything that is stored."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from outlive.errors import ExitCode
from outlive.project import Project
from outlive.tables import output, whole
from outlive.wording import counted, one_line


@click.command("publish")
@click.argument("folder", required=False, type=click.Path(path_type=Path, file_okay=False))
def publish_command(folder: Path | None) -> int:
    """Build the site from everything that is stored.

    The site goes to FOLDER, by default .outlive/site.

    It has pages for each framework, report and leak, a feed of verdicts, a badge for each framework and, if
    Sphinx is installed (the extra `docs`), the documents. It needs no network and works on any file server.
    Run `asv publish` first to include asv's own pages.
    """
    from outlive.pages import site  # noqa: PLC0415 - templates take a tenth of a second to import

    project = Project.find()
    target = folder or project.work / "site"
    result = site.publish(project, target)
    console = output()
    removed = f", {result.removed} removed" if result.removed else ""
    changed = f"{result.written} of {counted(result.files, 'file')} written{removed}"
    whole(console, f"{target / 'index.html'}: {changed}")
    errors = Console(stderr=True)
    for problem in result.problems:
        whole(errors, f"left out: {one_line(problem)}")
    return ExitCode.FAULT if result.problems else ExitCode.FINE
