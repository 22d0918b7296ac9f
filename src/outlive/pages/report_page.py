"""A report as one HTML page: the verdict, the answers, then what they rest on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from outlive.comparison.cells import BASELINE, Row
from outlive.comparison.lines import (
    MARKS,
    Fact,
    Gap,
    dependencies,
    facts,
    gaps,
    open_files,
    sections,
    step_text,
)
from outlive.pages import bill_view, load_view, relief_view
from outlive.pages.bill_view import BillTable, RatesShown
from outlive.pages.drawings import plots
from outlive.pages.drawings.plots import Bar, Drawing
from outlive.pages.load_view import LoadView
from outlive.pages.page import ALONE, Frame, render
from outlive.pages.relief_view import ReliefView
from outlive.pages.tally import Tally, tallies
from outlive.records.measurement import CONNECTIONS, GC_POLICIES, Connection, Provenance
from outlive.reports.answers import Said
from outlive.reports.claims import Held, Seen
from outlive.reports.record import Report
from outlive.reports.verdict import OfPolicy, Verdict
from outlive.retention import changes_text
from outlive.retention.changes_text import ChangeLine
from outlive.wording import counted, listed, one_line

MOST_LINES = 5  # scenarios that one plot over the releases shows
MOST_CHARGES = 6  # lines of the bill that are not folded
SEEN_TONES: dict[Seen, str] = {
    "confirmed": "good",
    "partly": "setting",
    "not seen": "unknown",
    "contradicted": "hold",
}


class ScenarioLine(msgspec.Struct, frozen=True, kw_only=True):
    """One scenario of the table."""

    name: str
    summary: str
    verdict: Verdict
    cells: tuple[str, ...]


class ClaimLine(msgspec.Struct, frozen=True, kw_only=True):
    """One claim of a changelog beside what was measured."""

    release: str
    text: str
    issues: tuple[int, ...]
    seen: Seen
    tone: str
    span: str
    evidence: str
    measured: bool


class CellLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table of all cells."""

    mark: str
    scenario: str
    before: str
    after: str
    hourly: str
    note: str
    freed: str
    pauses: str


class CellSection(msgspec.Struct, frozen=True):
    """The cells of some connections and gc policies."""

    heading: str
    baseline: str
    burden: bool
    lines: tuple[CellLine, ...]


class StripLine(msgspec.Struct, frozen=True):
    """What the releases leave in one scenario, in words."""

    scenario: str
    connection: str
    runs: str


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """What the template shows."""

    name: str
    subject: str
    said: Said
    policies: tuple[OfPolicy, ...]
    tallies: tuple[Tally, ...]
    bars: tuple[Drawing, ...]
    heads: tuple[str, ...]
    changed: tuple[ScenarioLine, ...]
    unchanged: tuple[ScenarioLine, ...]
    rates: RatesShown
    bills: tuple[BillTable, ...]
    most_charges: int = MOST_CHARGES
    costs_note: str
    load: LoadView
    pauses: Drawing | None
    relief: ReliefView
    history: tuple[Drawing, ...]
    strips: tuple[StripLine, ...]
    no_history: str
    kept_alive: tuple[ChangeLine, ...]
    kept_summary: str
    claims: tuple[ClaimLine, ...]
    facts: tuple[Fact, ...]
    dependencies: tuple[str, ...]
    packages: str
    gaps: tuple[Gap, ...]
    files: tuple[str, ...]
    cells_title: str
    sections: tuple[CellSection, ...]
    provenance: Provenance
    data: Any


def html(report: Report, frame: Frame = ALONE) -> str:
    """Return the report as one HTML page that loads nothing."""
    page = view(report)
    policies = " and ".join(one.gc for one in page.policies)
    return render(
        "report.html.j2",
        frame,
        title=f"{page.subject}, gc {policies}: {page.said.verdict.lower()}",
        summary=one_line(report.comparison.headline),
        scripts=("costs.js",),
        page=page,
    )


def view(report: Report) -> Page:
    """Return what the page shows."""
    comparison = report.comparison
    columns = _columns(comparison.rows)
    scenarios = tuple(_scenarios(report, columns))
    changed = {row.scenario for row in comparison.rows if row.direction != "same"}
    changed |= {gap.scenario for gap in comparison.unmeasured if gap.gap != "unsupported"}
    return Page(
        name=report.name,
        subject=comparison.subject,
        said=report.said,
        policies=report.judgement.policies,
        tallies=tallies(comparison.rows),
        bars=tuple(_bars(comparison.rows)),
        heads=tuple(f"{connection}, gc {gc}" for connection, gc in columns),
        changed=tuple(one for one in scenarios if one.name in changed),
        unchanged=tuple(one for one in scenarios if one.name not in changed),
        rates=bill_view.rates(report.bill),
        bills=tuple(bill_view.tables(report.bill)),
        costs_note=bill_view.NOTE,
        load=load_view.view(report.loads),
        pauses=_pauses(comparison.rows),
        relief=relief_view.view(report),
        history=tuple(_history(report)),
        strips=tuple(
            StripLine(strip.scenario, strip.connection, plots.runs(strip)) for strip in report.history
        ),
        no_history=_no_history(report),
        kept_alive=changes_text.told(comparison.fingerprints, everything=True),
        kept_summary=changes_text.summary(comparison.fingerprints),
        claims=tuple(map(_claim, report.held)),
        facts=facts(comparison),
        dependencies=dependencies(comparison),
        packages=_packages(report),
        gaps=gaps(comparison),
        files=open_files(comparison),
        cells_title=f"All {counted(len(comparison.rows), 'cell')} as a table",
        sections=tuple(_sections(comparison.rows)),
        provenance=report.provenance,
        data=bill_view.data(report.bill),
    )


def _columns(rows: Sequence[Row]) -> tuple[tuple[Connection, str], ...]:
    policies = dict.fromkeys([*GC_POLICIES, *(row.gc for row in rows)])
    cells = {(row.connection, row.gc) for row in rows}
    return tuple(
        (connection, gc) for gc in policies for connection in CONNECTIONS if (connection, gc) in cells
    )


def _scenarios(report: Report, columns: Sequence[tuple[Connection, str]]) -> Iterator[ScenarioLine]:
    by_cell = {(row.scenario, row.connection, row.gc): row for row in report.comparison.rows}
    for one in report.judgement.scenarios:
        cells = []
        for connection, gc in columns:
            row = by_cell.get((one.scenario, connection, gc))
            cells.append(step_text(row) if row else "not compared")
        yield ScenarioLine(
            name=one.scenario,
            summary=report.scenarios.get(one.scenario, ""),
            verdict=one.judged.verdict,
            cells=tuple(cells),
        )


def _bars(rows: Sequence[Row]) -> Iterator[Drawing]:
    """Yield a plot for each kind of connection; one for both where they say the same."""
    drawn: dict[tuple[Bar, ...], list[Connection]] = {}
    for connection in CONNECTIONS:
        data = tuple(
            Bar(
                label=row.scenario,
                before=row.before.objects,
                after=row.after.objects,
                before_leaked=row.before.leaked,
                after_leaked=row.after.leaked,
            )
            for row in rows
            if row.gc == "off" and row.connection == connection and (row.before.objects or row.after.objects)
        )
        if data:
            drawn.setdefault(data, []).append(connection)
    most_first = sorted(drawn.items(), key=lambda one: -sum(bar.before != bar.after for bar in one[0]))
    for at, (data, connections) in enumerate(most_first):
        title = f"Objects that each request leaves with gc off, {listed(connections)}"
        leaked = any(bar.before_leaked or bar.after_leaked for bar in data)
        hatched = "; what no collection frees is hatched" if leaked else ""
        caption = f"{title}: before (grey) above after (blue){hatched}. The others leave nothing."
        yield Drawing(plots.bars(f"bars-{at}", title, "objects", data), caption)


def _pauses(rows: Sequence[Row]) -> Drawing | None:
    data = []
    for row in rows:
        pauses = (row.before.pause_ms_per_1000_requests, row.after.pause_ms_per_1000_requests)
        if row.gc == "on" and None not in pauses:
            label = f"{row.scenario}, {row.connection}"
            data.append(Bar(label=label, before=round(pauses[0] or 0, 2), after=round(pauses[1] or 0, 2)))
    data = sorted(data, key=lambda bar: -max(bar.before, bar.after))[:12]
    if not any(bar.before or bar.after for bar in data):
        return None
    title = "What the collector's pauses cost, in ms per 1,000 requests, gc on"
    caption = f"{title}: the largest ones, before (grey) above after (blue). Times are noisy."
    return Drawing(plots.bars("pauses", title, "ms per 1,000 requests", data), caption)


def _history(report: Report) -> Iterator[Drawing]:
    before, after = report.comparison.before.stack.release, report.comparison.after.stack.release
    for at, connection in enumerate(CONNECTIONS):
        strips = [strip for strip in report.history if strip.connection == connection]
        strips = [strip for strip in strips if strip.scenario != BASELINE] or strips
        strips.sort(key=lambda strip: -max((point.objects or 0 for point in strip.points), default=0))
        if strips:
            title = f"Objects left per request by release, gc off, {connection}"
            caption = (
                f"{title}; ✕ marks yanked releases. Each release ran with the dependencies of its time, "
                "on Python 3.11."
            )
            svg = plots.history(f"history-{at}", title, strips[:MOST_LINES], (before, after))
            yield Drawing(svg, caption, plots.legend(strips[:MOST_LINES]))


def _no_history(report: Report) -> str:
    if any(row.direction != "same" for row in report.comparison.rows):
        return "The releases around these were not measured: `outlive sweep` does that."
    return "No scenario changed between these two, so there is no change to place in the history."


def _claim(held: Held) -> ClaimLine:
    return ClaimLine(
        release=held.release,
        text=one_line(held.claim.text),
        issues=held.claim.issues,
        seen=held.seen,
        tone=SEEN_TONES[held.seen],
        span=held.span,
        evidence=held.evidence,
        measured=held.measured,
    )


def _packages(report: Report) -> str:
    before, after = (
        ", ".join(map(str, side.stack.packages))
        for side in (report.comparison.before, report.comparison.after)
    )
    return f"Before: {before}. After: {after}."


def _sections(rows: Sequence[Row]) -> Iterator[CellSection]:
    for section in sections(rows):
        yield CellSection(
            section.heading,
            section.baseline,
            bool(section.burden),
            tuple(
                CellLine(
                    mark=MARKS[line.direction],
                    scenario=line.scenario,
                    before=line.before,
                    after=line.after,
                    hourly=line.hourly,
                    note=line.note,
                    freed=line.freed,
                    pauses=line.pauses,
                )
                for line in section.lines
            ),
        )
