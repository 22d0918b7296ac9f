"""What remedies do, as a report shows it to those who cannot upgrade."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from outlive.reports import remedies_text as lines
from outlive.reports.record import Report
from outlive.reports.remedies import Relief
from outlive.reports.remedies_text import LEGEND, LOAD_LEGEND, PLAIN, POLICIES, caption, missing, notes
from outlive.wording import one_line


class ReliefLine(msgspec.Struct, frozen=True, kw_only=True):
    """One remedy: what requests leave with it. `practice` is no remedy, but what services do anyway."""

    name: str
    summary: str
    practice: bool
    taken: bool
    left: str
    leaked: str
    clean: str
    most: str


class LoadLine(msgspec.Struct, frozen=True):
    """One remedy under load: growth, peak memory, CPU, throughput, p99."""

    name: str
    cells: tuple[str, ...]


class LoadTable(msgspec.Struct, frozen=True):
    """What load tests of remedies gave with one gc policy."""

    title: str
    lines: tuple[LoadLine, ...]


class ReliefView(msgspec.Struct, frozen=True, kw_only=True):
    """What the page shows; `lines` and all below are empty where nothing is stored."""

    said: str
    measure: str
    release: str = ""
    caption: str = ""
    legend: str = LEGEND
    load_legend: str = LOAD_LEGEND
    taking: str = ""
    reasons: tuple[str, ...] = ()
    lines: tuple[ReliefLine, ...] = ()
    loads: tuple[LoadTable, ...] = ()
    notes: tuple[str, ...] = ()


def view(report: Report) -> ReliefView:
    """Return what is shown of remedies."""
    measure = missing(report)
    if report.relief is None:
        return ReliefView(said=report.said.stay, measure=measure)
    relief = report.relief.relief
    also = ": whether they do as much for the release before is not known" if measure else ""
    return ReliefView(
        said=report.said.stay,
        measure=measure,
        release=one_line(relief.release),
        caption=f"{caption(relief)}{also}",
        taking=lines.taking(relief),
        reasons=tuple(map(one_line, relief.advice.reasons)),
        lines=tuple(_lines(relief)),
        loads=tuple(_loads(relief)),
        notes=notes(relief),
    )


def _lines(relief: Relief) -> Iterator[ReliefLine]:
    for row in relief.rows:
        name, left, leaked, clean, most = lines.left_cells(row)
        yield ReliefLine(
            name=one_line(name),
            summary=one_line(row.summary),
            practice=row.kind == "practice",
            taken=row.remedy is not None and row.remedy == relief.advice.remedy,
            left=left,
            leaked=leaked,
            clean=clean,
            most=one_line(most) if row.left else "",
        )


def _loads(relief: Relief) -> Iterator[LoadTable]:
    for policy in POLICIES:
        tried = [(row, found) for row in relief.rows if (found := lines.trial(row, policy))]
        if tried:
            yield LoadTable(
                lines.load_title(relief.rows, policy),
                tuple(
                    LoadLine(one_line(row.remedy or PLAIN), lines.load_cells(found)) for row, found in tried
                ),
            )
