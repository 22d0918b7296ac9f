"""What `compare` and `report` have in common: two stacks, measured, as evidence."""

from __future__ import annotations

import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.text import Text

from outlive import engine
from outlive.commands.selection import Selection, measured
from outlive.comparison import BothMeasurements, Side
from outlive.costs import Rates
from outlive.engine import Prepared
from outlive.errors import UsageError
from outlive.measure import Cell
from outlive.measurement import Measurement
from outlive.project import Project
from outlive.reports import Evidence
from outlive.rows import BASELINE
from outlive.stack import Stack
from outlive.store import provenance

if TYPE_CHECKING:
    from outlive.reports import Report

open_option = click.option("--open", "opened", is_flag=True, help="Open the report's page in the browser.")


def two_stacks(words: Sequence[str]) -> tuple[Stack, Stack]:
    """Return the stacks that a command's words name. Raises UsageError."""
    if len(words) == 2 and all("==" in word for word in words):
        return Stack.parse(words[0]), Stack.parse(words[1])
    if len(words) == 3 and "==" not in words[0]:
        framework, before, after = words
        return Stack.parse(f"{framework}=={before}"), Stack.parse(f"{framework}=={after}")
    raise UsageError(
        "two releases are a framework and two versions (aiohttp 3.11.13 3.11.14) "
        "or two stacks (flask==3.1.3,python==3.11 flask==3.1.3,python==3.13)"
    )


def measured_pair(
    project: Project, words: Sequence[str], python: str | None, selection: Selection
) -> tuple[Evidence, Evidence]:
    """Measure what is selected of both stacks. Return that, and that with all else that both have stored."""
    before, after = two_stacks(words)
    request = selection.request(project, always=(BASELINE,))
    pair = engine.prepare_pair(project, before, after, python)
    sides = (pair.before, pair.after)
    asked = measured(project, sides, request)
    known = [_known(project, side, selection.worker) for side in sides]
    shared = known[0].keys() & known[1].keys() - set(request.cells)
    more = [tuple(known[at][cell] for cell in sorted(shared)) for at in range(2)]
    made = provenance([side.record for side in sides])

    def evidence(first: tuple[Measurement, ...], second: tuple[Measurement, ...]) -> Evidence:
        return Evidence(
            provenance=made,
            before=Side(pair.before.record, pair.before.release),
            after=Side(pair.after.record, pair.after.release),
            differences=pair.differences,
            measurements=BothMeasurements(before=first, after=second),
        )

    return evidence(asked[0], asked[1]), evidence(asked[0] + more[0], asked[1] + more[1])


def write_report(project: Project, evidence: Evidence, rates: Rates) -> tuple[Report, Path]:
    """Write the page, the Markdown and the JSON of a report; return it and the path of the page."""
    from outlive import publishing, reports  # noqa: PLC0415 - templates take a tenth of a second to import

    known = reports.facts(project, evidence.after.stack.framework)
    return publishing.write(project, evidence, known, rates)


def show_page(page: Path, console: Console, *, opened: bool) -> None:
    """Say where the page is, and open it if asked to."""
    here = Path.cwd()
    shown = page.relative_to(here) if page.is_relative_to(here) else page
    console.print(Text(f"report: {shown}"), soft_wrap=True)
    if opened:
        webbrowser.open(page.as_uri())


def _known(project: Project, side: Prepared, worker: str | None) -> dict[Cell, Measurement]:
    return {Cell.of(m): m for m in engine.known(project, side, worker)}
