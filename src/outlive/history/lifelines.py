"""Life lines: the releases in which each leak and ring appeared, changed and disappeared. Pure.

A fingerprint is gone in a release if some of the cells that had it last are explained there and none of them
shows it. If none of them is explained, the release does not count.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from outlive.files import JsonDocument
from outlive.history.residues import ResidueHistory
from outlive.history.timeline import Moment, Timeline
from outlive.records.measurement import Cell, Connection, Leak, Measurement
from outlive.retention.error import errors
from outlive.retention.fingerprints import is_known


class Occurrence(NamedTuple):
    """A leak as a cell shows it, and the error of the cell's count."""

    leak: Leak
    error: float


Presence = dict[Cell, Occurrence]


class Shift(msgspec.Struct, frozen=True, kw_only=True):
    """A release that keeps a different number of objects in the cell of its period."""

    release: str
    before: float
    after: float


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """Consecutive releases that show a fingerprint on one Python.

    `since` and `until` are the first and the last measured one of them. `after` is the last release before
    them, None if `since` is the first measured one. `gone` is the first release after them, None if `until`
    is the newest measured one. `objects` is the most objects per request that it keeps in `until`. `steps`
    are the changes in one `cell`: of those that most of the releases show, the one that keeps most at last.
    """

    python: str
    after: str | None
    since: str
    until: str
    gone: str | None
    objects: float
    cell: Cell
    steps: tuple[Shift, ...]


class LifeLine(msgspec.Struct, frozen=True, kw_only=True):
    """One fingerprint: its leak in the newest release that shows it, where it was seen, and its periods.

    It is `present` unless a later release than the last that shows it was measured, on any Python, and does
    not: an old Python on which only an old release was measured says nothing of today's.
    The releases that show it were also measured on the Pythons `absent`, without showing it there; on the
    Pythons `unmeasured` they were not measured.
    """

    leak: Leak
    scenarios: tuple[str, ...]
    connections: tuple[str, ...]
    periods: tuple[Period, ...]
    absent: tuple[str, ...]
    unmeasured: tuple[str, ...]
    present: bool

    @property
    def objects(self) -> float:
        """The most objects per request that it keeps in the last release that shows it."""
        return max(period.objects for period in self.periods)


class Measured(msgspec.Struct, frozen=True):
    """The releases that were measured on one Python; `origin` is as in `Timeline`."""

    python: str
    releases: tuple[str, ...]
    origin: str = ""


class LifeLinesDocument(JsonDocument, frozen=True, kw_only=True):
    """The life lines of a framework, and what its connections leave, as JSON.

    `framework` may be an application of a user's own, whose `noun` for a release is a state.
    """

    framework: str
    noun: str = "release"
    measured: tuple[Measured, ...]
    lines: tuple[LifeLine, ...]
    residues: tuple[ResidueHistory, ...] = ()


def life_lines(timelines: Sequence[Timeline]) -> tuple[LifeLine, ...]:
    """Return the life line of each fingerprint: those still present first, then those with most objects."""
    history = {
        timeline.python: [(moment.release.version, _known(moment)) for moment in timeline.moments]
        for timeline in timelines
    }
    periods: dict[str, list[tuple[Period, Run]]] = {}
    for python, releases in history.items():
        shown = (fingerprint for _, cells in releases for leaks in cells.values() for fingerprint in leaks)
        for fingerprint in dict.fromkeys(shown):
            periods.setdefault(fingerprint, []).extend(_periods(python, releases, fingerprint))
    cells = {
        python: {(release, cell) for release, by_cell in releases for cell in by_cell}
        for python, releases in history.items()
    }
    orders = {tuple(release for release, _ in releases) for releases in history.values()}
    order = orders.pop() if len(orders) == 1 else ()  # states of an application have an order on each Python
    lines = [_line(parts, cells, order) for parts in periods.values()]
    return tuple(sorted(lines, key=lambda line: (not line.present, -line.objects, line.leak.fingerprint)))


Known = dict[Cell, dict[str, Occurrence]]
Run = list[tuple[str, Presence]]
Cells = set[tuple[str, Cell]]


def _known(moment: Moment) -> Known:
    return {
        Cell.of(measurement): {
            leak.fingerprint: Occurrence(leak, sum(errors(measurement))) for leak in measurement.leaks
        }
        for measurement in moment.measurements
        if is_known(measurement)
    }


def _periods(
    python: str, releases: Sequence[tuple[str, Known]], fingerprint: str
) -> Iterator[tuple[Period, Run]]:
    """Yield the periods of a fingerprint, each with the cells of each release that show it."""
    before: str | None = None
    run: Run = []
    for release, cells in releases:
        here = {cell: leaks[fingerprint] for cell, leaks in cells.items() if fingerprint in leaks}
        if here:
            run.append((release, here))
        elif run and any(cell in cells for cell in run[-1][1]):
            yield _period(python, before, run, release), run
            run = []
            before = release
        elif not run and cells:
            before = release
    if run:
        yield _period(python, before, run, None), run


def _period(python: str, before: str | None, run: Run, gone: str | None) -> Period:
    shown: dict[Cell, list[tuple[str, Occurrence]]] = defaultdict(list)
    for release, presence in run:
        for cell, occurrence in presence.items():
            shown[cell].append((release, occurrence))
    cell = max(shown, key=lambda cell: (len(shown[cell]), shown[cell][-1][1].leak.objects_per_request, cell))
    return Period(
        python=python,
        after=before,
        since=run[0][0],
        until=run[-1][0],
        gone=gone,
        objects=max(seen.leak.objects_per_request for seen in run[-1][1].values()),
        cell=cell,
        steps=tuple(_steps(shown[cell])),
    )


def _steps(course: Sequence[tuple[str, Occurrence]]) -> Iterator[Shift]:
    """Yield the changes in one cell; each starts where the one before ended."""
    (_, told), *later = course
    for release, occurrence in later:
        before, after = told.leak.objects_per_request, occurrence.leak.objects_per_request
        if abs(after - before) > told.error + occurrence.error:
            yield Shift(release=release, before=before, after=after)
            told = occurrence


def _present(periods: Sequence[Period], order: Sequence[str]) -> bool:
    """Return whether the last release that starts or ends a period shows it; without an order, any may."""
    places = [order.index(period.gone or period.until) if order else 0 for period in periods]
    return any(
        period.gone is None and place == max(places) for period, place in zip(periods, places, strict=True)
    )


def _line(
    parts: Sequence[tuple[Period, Run]], measured: Mapping[str, Cells], order: Sequence[str]
) -> LifeLine:
    """Return a life line; `measured` are the explained releases and cells on each Python."""
    seen = [(release, presence) for _, run in parts for release, presence in run]
    leak = max((newest.leak for newest in seen[-1][1].values()), key=lambda leak: leak.objects_per_request)
    further = all(each.leak.further for _, presence in seen for each in presence.values())
    where = {(release, cell) for release, presence in seen for cell in presence}
    cells = sorted({cell for _, cell in where})
    periods = tuple(period for period, _ in parts)
    lacking = {python: places for python, places in measured.items() if places}
    for period in periods:
        lacking.pop(period.python, None)
    return LifeLine(
        leak=msgspec.structs.replace(leak, further=further),
        scenarios=tuple(dict.fromkeys(cell.scenario for cell in cells)),
        connections=tuple(dict.fromkeys(cell.connection for cell in cells)),
        periods=periods,
        present=_present(periods, order),
        absent=tuple(python for python, places in lacking.items() if places & where),
        unmeasured=tuple(python for python, places in lacking.items() if not places & where),
    )


FINGERPRINT = re.compile(r"[0-9a-f]{12}")


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """One release that shows a fingerprint; `objects` is the most per request that it keeps in any cell.

    `scenario`, `connection` and `gc` name that cell; `scenarios` are all scenarios that show it.
    """

    framework: str
    release: str
    objects: float
    scenario: str
    connection: Connection
    gc: str
    scenarios: tuple[str, ...]


class Fingerprint(msgspec.Struct, frozen=True, kw_only=True):
    """One fingerprint with the releases that show it, lowest version first.

    `leak` is from the newest of them, in the cell where it keeps most objects. `newest` are the frameworks
    whose newest measured release shows it.
    """

    leak: Leak
    sightings: tuple[Sighting, ...]
    newest: tuple[str, ...]


def collect(timelines: Iterable[Timeline]) -> tuple[Fingerprint, ...]:
    """Return every fingerprint that is the shortest ring somewhere, those in the newest releases first."""
    seen: dict[str, list[tuple[Leak, Sighting]]] = defaultdict(list)
    newest: dict[str, list[str]] = defaultdict(list)
    for timeline in timelines:
        measured = [moment for moment in timeline.moments if moment.measurements]
        for moment in measured:
            for fingerprint, sighting in _of_release(timeline.framework, moment).items():
                seen[fingerprint].append(sighting)
                if moment is measured[-1]:
                    newest[fingerprint].append(timeline.framework)
    rings = [
        Fingerprint(
            leak=sightings[-1][0],
            sightings=tuple(sighting for _, sighting in sightings),
            newest=tuple(newest[fingerprint]),
        )
        for fingerprint, sightings in seen.items()
    ]
    return tuple(
        sorted(rings, key=lambda ring: (not ring.newest, -ring.sightings[-1].objects, ring.leak.fingerprint))
    )


def _of_release(framework: str, moment: Moment) -> dict[str, tuple[Leak, Sighting]]:
    """Return each fingerprint of a release, in the cell where it keeps most objects.

    A ring that is nowhere the shortest one is left out: another one holds the same objects.
    """
    cells: dict[str, list[tuple[Leak, Measurement]]] = defaultdict(list)
    for measurement in moment.measurements:
        for leak in measurement.leaks:
            if FINGERPRINT.fullmatch(leak.fingerprint):  # it will be the name of a file in the site
                cells[leak.fingerprint].append((leak, measurement))
    sightings = {}
    for fingerprint, own in cells.items():
        leak, most = max(own, key=lambda pair: (not pair[0].further, pair[0].objects_per_request))
        if not leak.further:
            sightings[fingerprint] = (
                leak,
                Sighting(
                    framework=framework,
                    release=moment.release.version,
                    objects=leak.objects_per_request,
                    scenario=most.scenario,
                    connection=most.connection,
                    gc=most.gc,
                    scenarios=tuple(dict.fromkeys(measurement.scenario for _, measurement in own)),
                ),
            )
    return sightings
