"""`outlive measured`: list your measurements, or remove them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from outlive.api.kept import StoredFile, StoredFiles, forget, kept
from outlive.commands.parts.writing import json_option, write_json
from outlive.errors import ExitCode
from outlive.project import Project
from outlive.tables import columns, output, whole
from outlive.wording import counted, listed, size


@click.command("measured")
@click.argument("what", nargs=-1, metavar="[FRAMEWORK|FRAMEWORK==VERSION|REPORT…]")
@click.option("--forget", "forgotten", is_flag=True, help="Remove the listed measurements.")
@json_option
def measured_command(what: tuple[str, ...], *, forgotten: bool, json_file: Path | None) -> int:
    """List your measurements, or remove them.

    It neither lists nor removes published results.

    \b
    outlive measured
    outlive measured aiohttp==3.11.13
    outlive measured aiohttp==3.11.13 --forget
    """  # noqa: D301 - click's mark for lines that stay as they are
    project = Project.find()
    files = kept(project, what)
    console = output()
    write_json(json_file, StoredFiles(folder=project.measured, files=files))
    if not files:
        whole(console, f"no measurements in {project.measured} yet")
        return ExitCode.FINE
    _show(files, console)
    if forgotten:
        forget(project, files)
    verb = "removed from" if forgotten else "in"
    total = size(sum(file.size for file in files))
    whole(console, f"{counted(len(files), 'file')}, {total} {verb} {project.measured}")
    return ExitCode.FINE


def _show(files: Sequence[StoredFile], console: Console) -> None:
    """Print a line for each release on each Python and for each report."""
    lines: dict[tuple[str, ...], list[StoredFile]] = {}
    for file in files:
        name = f"report {file.release}" if file.kind == "reports" else file.release
        lines.setdefault((file.framework, name, file.python), []).append(file)
    table = columns("bold", "", "Python", "what", "changed")
    for column in table.columns:
        column.no_wrap = column.header != "what"
    for (framework, name, python), group in sorted(lines.items()):
        changed = max(file.changed for file in group).date()
        table.add_row(*map(Text, (f"{framework} {name}", python, _contents(group), str(changed))))
    console.print(table)


def _contents(files: Sequence[StoredFile]) -> str:
    cells = sum(file.cells for file in files if not file.remedy)
    tests = sum(file.kind == "loads" for file in files)
    parts = [counted(cells, "cell")] if cells else []
    parts += [counted(tests, "load test")] if tests else []
    parts += sorted({file.remedy for file in files if file.remedy})
    return listed(parts or sorted({file.path.suffix[1:] for file in files}))
