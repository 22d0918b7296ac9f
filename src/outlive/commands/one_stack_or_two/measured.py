"""`outlive measured`: what you measured, and forgetting it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from outlive.api.kept import Kept, KeptDocument, forget, kept
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
    found = kept(project, what)
    console = output()
    write_json(json_file, KeptDocument(folder=project.measured, files=found))
    if not found:
        whole(console, f"no measurements in {project.measured} yet")
        return ExitCode.FINE
    _show(found, console)
    if forgotten:
        forget(project, found)
    verb = "removed from" if forgotten else "in"
    total = size(sum(one.size for one in found))
    whole(console, f"{counted(len(found), 'file')}, {total} {verb} {project.measured}")
    return ExitCode.FINE


def _show(found: Sequence[Kept], console: Console) -> None:
    """Print a line for each release on each Python and for each report."""
    lines: dict[tuple[str, ...], list[Kept]] = {}
    for one in found:
        name = f"report {one.release}" if one.kind == "reports" else one.release
        lines.setdefault((one.framework, name, one.python), []).append(one)
    table = columns("bold", "", "Python", "what", "changed")
    for column in table.columns:
        column.no_wrap = column.header != "what"
    for (framework, name, python), files in sorted(lines.items()):
        changed = max(one.changed for one in files).date()
        table.add_row(*map(Text, (f"{framework} {name}", python, _what(files), str(changed))))
    console.print(table)


def _what(files: Sequence[Kept]) -> str:
    cells = sum(one.cells for one in files if not one.remedy)
    tests = sum(one.kind == "loads" for one in files)
    parts = [counted(cells, "cell")] if cells else []
    parts += [counted(tests, "load test")] if tests else []
    parts += sorted({one.remedy for one in files if one.remedy})
    return listed(parts or sorted({one.path.suffix[1:] for one in files}))
