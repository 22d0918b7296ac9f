"""What `compare` and `report` have in common: two stacks, measured, as evidence."""

from __future__ import annotations

import shlex
import webbrowser
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.text import Text

from outlive.commands.selection import Selection, measured
from outlive.comparison.cells import BASELINE, match
from outlive.comparison.pair import BothMeasurements, Side
from outlive.comparison.sizes import Rates
from outlive.errors import FaultError, UsageError
from outlive.leaks.growth import TO_COMPARE
from outlive.load import stored
from outlive.project import Project
from outlive.records.measurement import Cell, Measurement
from outlive.records.stack import Stack, is_stack
from outlive.replay import engine
from outlive.replay.store import provenance
from outlive.report import record
from outlive.report.record import Evidence, Report
from outlive.service.scenarios import load_set
from outlive.stacks import pythons
from outlive.stacks.prepare import Pair, prepare_pair
from outlive.wording import one_line, step

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
) -> Evidence:
    """Measure what is selected of both stacks, and nothing else: only what was asked for decides.

    Raises FaultError, with the reasons, if no cell could be measured on both sides.
    """
    request = selection.request(project, always=(BASELINE,), sensitivity=TO_COMPARE)
    stacks = two_stacks(words)
    pair = prepare_pair(project, *stacks, python)
    before, after = measured(project, (pair.before, pair.after), request)
    measurable, gaps = match(before, after)
    if not measurable:
        reasons = sorted({gap.reason for gap in gaps})
        raise FaultError(f"nothing could be measured on both sides: {'; '.join(reasons)}")
    options = [*(["--python", python] if python else []), *selection.words]
    found = _evidence(project, pair, before, after)
    return msgspec.structs.replace(
        found,
        command=shlex.join(["outlive", "report", *words, *options, "--fresh"]),
        python=_chosen(pair, stacks, python),
    )


def _chosen(pair: Pair, stacks: tuple[Stack, Stack], python: str | None) -> str:
    """Return in a sentence which Python the sides ran on, and why."""
    sides = (pair.before, pair.after)
    asked = any(stack.python or python for stack in stacks)
    minors = step(*(side.interpreter.minor for side in sides))
    return f"Python {minors}: {'as asked for' if asked else pythons.why([side.release for side in sides])}."


def stored_pair(project: Project, pair: Pair, worker: str | None) -> Evidence | None:
    """Return what both stacks have stored, None where no cell was measured on both."""
    before, after = _stored(project, pair, worker)
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
    project: Project, pair: Pair, worker: str | None
) -> tuple[tuple[Measurement, ...], tuple[Measurement, ...]]:
    """Return the measurements of all cells of the default set that both sides have stored."""
    names = {scenario.name for scenario in load_set(project.scenarios, "default")}
    known = [
        {Cell.of(m): m for m in engine.known(project, side, worker) if m.scenario in names}
        for side in (pair.before, pair.after)
    ]
    shared = sorted(known[0].keys() & known[1].keys())
    return tuple(known[0][cell] for cell in shared), tuple(known[1][cell] for cell in shared)
