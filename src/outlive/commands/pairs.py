"""What `compare` and `report` have in common: two stacks, measured, as evidence."""

from __future__ import annotations

import webbrowser
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.text import Text

from outlive.commands.selection import Selection, measured
from outlive.comparison.cells import BASELINE
from outlive.comparison.pair import BothMeasurements, Side
from outlive.errors import UsageError
from outlive.leaks.growth import TO_COMPARE
from outlive.load import stored
from outlive.project import Project
from outlive.records.measurement import Cell, Measurement
from outlive.records.stack import Stack, is_stack
from outlive.replay import engine
from outlive.replay.store import provenance
from outlive.report import record
from outlive.report.costs import Rates
from outlive.report.record import Evidence, Report
from outlive.stacks.prepare import Pair, prepare_pair
from outlive.wording import one_line

open_option = click.option("--open", "opened", is_flag=True, help="Open the report's page in the browser.")


def two_stacks(words: Sequence[str]) -> tuple[Stack, Stack]:
    """Return the stacks that a command's words name. Raises UsageError."""
    if len(words) == 2 and all(map(is_stack, words)):
        return Stack.parse(words[0]), Stack.parse(words[1])
    if len(words) == 3 and not is_stack(words[0]):
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
    request = selection.request(project, always=(BASELINE,), sensitivity=TO_COMPARE)
    pair = prepare_pair(project, *two_stacks(words), python)
    asked = measured(project, (pair.before, pair.after), request)
    more = _stored(project, pair, selection.worker, frozenset(request.cells))
    all_known = (asked[0] + more[0], asked[1] + more[1])
    return _evidence(project, pair, asked[0], asked[1]), _evidence(project, pair, *all_known)


def stored_pair(project: Project, pair: Pair, worker: str | None) -> Evidence | None:
    """Return what both stacks have stored, None where no cell was measured on both."""
    before, after = _stored(project, pair, worker, frozenset())
    return _evidence(project, pair, before, after) if before else None


def write_report(project: Project, evidence: Evidence, rates: Rates) -> tuple[Report, Path]:
    """Write the page, the Markdown and the JSON of a report; return it and the path of the page.

    Stored results that had to be left out are named on standard error.
    """
    from outlive.pages import write  # noqa: PLC0415 - templates take a tenth of a second to import

    known = record.facts(project, evidence.after.stack.framework)
    errors = Console(stderr=True)
    for problem in (*known.timeline.problems, *known.reliefs.problems):
        errors.print(Text(f"left out: {one_line(problem)}"), soft_wrap=True)
    return write.write(project, evidence, known, rates)


def show_page(page: Path, console: Console, *, opened: bool) -> None:
    """Say where the page is, and open it if asked to."""
    here = Path.cwd()
    shown = page.relative_to(here) if page.is_relative_to(here) else page
    console.print(Text(f"report: {shown}"), soft_wrap=True)
    if opened:
        webbrowser.open(page.as_uri())


def _evidence(
    project: Project, pair: Pair, before: tuple[Measurement, ...], after: tuple[Measurement, ...]
) -> Evidence:
    records = (pair.before.record, pair.after.record)
    found = Evidence(
        provenance=provenance(records),
        before=Side(records[0], pair.before.release),
        after=Side(records[1], pair.after.release),
        differences=pair.differences,
        measurements=BothMeasurements(before=before, after=after),
    )
    return msgspec.structs.replace(found, loads=stored.gather(project, *records, record.name(found)))


def _stored(
    project: Project, pair: Pair, worker: str | None, apart: frozenset[Cell]
) -> tuple[tuple[Measurement, ...], tuple[Measurement, ...]]:
    """Return the measurements of all cells that both sides have stored, but for those `apart`."""
    known = [
        {Cell.of(m): m for m in engine.known(project, side, worker)} for side in (pair.before, pair.after)
    ]
    shared = sorted((known[0].keys() & known[1].keys()) - apart)
    return tuple(known[0][cell] for cell in shared), tuple(known[1][cell] for cell in shared)
