"""Life lines: in which release each leak and ring came, changed and went, over the measured history. Pure.

A fingerprint is gone from a release where some of the cells that had it last are known and none of them has
it; where none of them is known, the release says nothing.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from outlive.files import SCHEMA_VERSION, JsonDocument
from outlive.history.timeline import Moment, Timeline
from outlive.leaks.fingerprints import is_known
from outlive.records.measurement import Cell, Connection, Leak

Presence = dict[Cell, Leak]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A release that keeps another number of objects; the numbers are of a cell with most of them."""

    release: str
    scenario: str
    before: float
    after: float


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """From one release to another a Python has it.

    `since` is the first measured release that has it, `after` the last one before that has it not (None: all
    since the first measured one have it). `until` is the last that has it, `gone` the first after that has it
    not (None: the newest measured one has it). `objects` is the most per request that it keeps in `until`.
    """

    python: str
    after: str | None
    since: str
    until: str
    gone: str | None
    objects: float
    steps: tuple[Step, ...]


class LifeLine(msgspec.Struct, frozen=True, kw_only=True):
    """One fingerprint: as the newest release has it, where it was seen, and all its periods.

    `absent` are the Pythons on which a release that has it elsewhere was measured, and none has it;
    `unmeasured` those on which no such release was.
    """

    leak: Leak
    scenarios: tuple[str, ...]
    connections: tuple[str, ...]
    periods: tuple[Period, ...]
    absent: tuple[str, ...]
    unmeasured: tuple[str, ...]

    @property
    def present(self) -> bool:
        """Whether the newest measured release has it, on some Python."""
        return any(period.gone is None for period in self.periods)

    @property
    def objects(self) -> float:
        """The most objects per request that it keeps in the last release that has it."""
        return max(period.objects for period in self.periods)


class Measured(msgspec.Struct, frozen=True):
    """The releases that life lines on one Python are made from."""

    python: str
    releases: tuple[str, ...]


class LifeLinesDocument(JsonDocument, frozen=True, kw_only=True):
    """The life lines of a framework as JSON."""

    schema_version: int = SCHEMA_VERSION
    framework: str
    measured: tuple[Measured, ...]
    lines: tuple[LifeLine, ...]


def life_lines(timelines: Sequence[Timeline]) -> tuple[LifeLine, ...]:
    """Return a life line for each fingerprint: those still present first, then by objects, most first."""
    history = {
        timeline.python: [(moment.release.version, _known(moment)) for moment in timeline.moments]
        for timeline in timelines
    }
    found: dict[str, list[tuple[Period, Run]]] = {}
    for python, known in history.items():
        for fingerprint in dict.fromkeys(_all_fingerprints(known)):
            found.setdefault(fingerprint, []).extend(_periods(python, known, fingerprint))
    cells = {
        python: {(release, cell) for release, known in releases for cell in known}
        for python, releases in history.items()
    }
    lines = [_line(parts, cells) for parts in found.values()]
    return tuple(sorted(lines, key=lambda one: (not one.present, -one.objects, one.leak.fingerprint)))


Known = dict[Cell, dict[str, Leak]]
Run = list[tuple[str, Presence]]
Cells = set[tuple[str, Cell]]


def _known(moment: Moment) -> Known:
    return {
        Cell.of(one): {leak.fingerprint: leak for leak in one.leaks}
        for one in moment.measurements
        if is_known(one)
    }


def _all_fingerprints(known: Sequence[tuple[str, Known]]) -> Iterator[str]:
    for _, cells in known:
        for leaks in cells.values():
            yield from leaks


def _periods(
    python: str, known: Sequence[tuple[str, Known]], fingerprint: str
) -> Iterator[tuple[Period, Run]]:
    """Yield the periods in which releases have a fingerprint, each with where each of them has it."""
    before: str | None = None
    run: Run = []
    for release, cells in known:
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
    steps = []
    for (_, early), (release, late) in itertools.pairwise(run):
        differing = [
            (early[cell].objects_per_request, late[cell].objects_per_request, cell)
            for cell in early
            if cell in late and early[cell].objects_per_request != late[cell].objects_per_request
        ]
        if differing:
            old, new, cell = max(differing, key=lambda one: (max(one[:2]), one[2]))
            steps.append(Step(release=release, scenario=cell.scenario, before=old, after=new))
    return Period(
        python=python,
        after=before,
        since=run[0][0],
        until=run[-1][0],
        gone=gone,
        objects=max(leak.objects_per_request for leak in run[-1][1].values()),
        steps=tuple(steps),
    )


def _line(parts: Sequence[tuple[Period, Run]], measured: Mapping[str, Cells]) -> LifeLine:
    """Return a life line; `measured` are the releases and cells that are known on each Python."""
    seen = [(release, presence) for _, run in parts for release, presence in run]
    leak = max(seen[-1][1].values(), key=lambda leak: leak.objects_per_request)
    further = all(leak.further for _, presence in seen for leak in presence.values())
    where = {(release, cell) for release, presence in seen for cell in presence}
    cells = sorted({cell for _, cell in where})
    periods = tuple(period for period, _ in parts)
    lacking = {python: known for python, known in measured.items() if known}
    for period in periods:
        lacking.pop(period.python, None)
    return LifeLine(
        leak=msgspec.structs.replace(leak, further=further),
        scenarios=tuple(dict.fromkeys(cell.scenario for cell in cells)),
        connections=tuple(dict.fromkeys(cell.connection for cell in cells)),
        periods=periods,
        absent=tuple(python for python, known in lacking.items() if known & where),
        unmeasured=tuple(python for python, known in lacking.items() if not known & where),
    )


FINGERPRINT = re.compile(r"[0-9a-f]{12}")


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """One release that has a fingerprint. `objects` are the most that it keeps in any cell.

    `scenario`, `connection` and `gc` are those of that cell, `scenarios` are all that have it.
    """

    framework: str
    release: str
    objects: float
    scenario: str
    connection: Connection
    gc: str
    scenarios: tuple[str, ...]


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """One fingerprint with the releases that have it, lowest version first.

    `leak` is as the newest of them has it, where it keeps most. `newest` are the frameworks whose newest
    measured release has it.
    """

    leak: Leak
    sightings: tuple[Sighting, ...]
    newest: tuple[str, ...]


def collect(timelines: Iterable[Timeline]) -> tuple[Kept, ...]:
    """Return every fingerprint that keeps objects of its own, what is in the newest releases first."""
    seen: dict[str, list[tuple[Leak, Sighting]]] = {}
    newest: dict[str, list[str]] = {}
    for timeline in timelines:
        measured = [moment for moment in timeline.moments if moment.measurements]
        for moment in measured:
            for fingerprint, found in _of_release(timeline.framework, moment).items():
                seen.setdefault(fingerprint, []).append(found)
                if moment is measured[-1]:
                    newest.setdefault(fingerprint, []).append(timeline.framework)
    kept = [
        Kept(
            leak=found[-1][0],
            sightings=tuple(sighting for _, sighting in found),
            newest=tuple(newest.get(fingerprint, ())),
        )
        for fingerprint, found in seen.items()
    ]
    return tuple(
        sorted(kept, key=lambda one: (not one.newest, -one.sightings[-1].objects, one.leak.fingerprint))
    )


def _of_release(framework: str, moment: Moment) -> dict[str, tuple[Leak, Sighting]]:
    """Return each fingerprint of a release in the cell where it keeps most.

    One that is nowhere the shortest ring is left out: another tells of the same objects.
    """
    cells: dict[str, list[tuple[Leak, Sighting]]] = {}
    for m in moment.measurements:
        for leak in m.leaks:
            if not FINGERPRINT.fullmatch(leak.fingerprint):
                continue  # it would name a file of the site
            sighting = Sighting(
                framework=framework,
                release=moment.release.version,
                objects=leak.objects_per_request,
                scenario=m.scenario,
                connection=m.connection,
                gc=m.gc,
                scenarios=(m.scenario,),
            )
            cells.setdefault(leak.fingerprint, []).append((leak, sighting))
    found = {}
    for fingerprint, own in cells.items():
        if all(leak.further for leak, _ in own):
            continue
        leak, most = max(own, key=lambda pair: (not pair[0].further, pair[1].objects))
        scenarios = tuple(dict.fromkeys(sighting.scenario for _, sighting in own))
        found[fingerprint] = (leak, msgspec.structs.replace(most, scenarios=scenarios))
    return found
