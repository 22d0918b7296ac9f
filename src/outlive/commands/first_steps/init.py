"""`outlive init`: write a first `outlive.toml` for your own application."""

from __future__ import annotations

from pathlib import Path

import click

from outlive.applications.guess import guess
from outlive.applications.settings import FILE
from outlive.errors import ExitCode, UsageError
from outlive.files import write_text
from outlive.project import Project
from outlive.tables import output, say, whole


@click.command("init")
@click.argument("folder", default=".", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def init_command(*, folder: Path, force: bool) -> int:
    """Write a first outlive.toml for your own application.

    It reads the code without running it. The app, its packages and its routes are guesses, marked as such.

    \b
    outlive init
    outlive init services/shop
    """  # noqa: D301 - click's mark for lines that stay as they are
    path = folder / FILE
    if path.exists() and not force:
        raise UsageError(f"{path} already exists: --force overwrites it")
    first = guess(folder.resolve(), Project.find())
    write_text(path, first.text)
    console = output()
    whole(console, f"{path} written. What was guessed:")
    for line in first.notes:
        say(console, f"  {line}")
    whole(console, f"Check it, then: outlive measure --app {folder}")
    return ExitCode.FINE
