"""Life lines: in which release each leak and ring came, changed and went, over the measured history. Pure.

A fingerprint is gone from a release where some of the cells that had it last are known and none of them has
it; where none of them is known, the release says nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import msgspec

from outlive.documents import JsonDocument
from outlive.fingerprints import is_known
from outlive.measure import Cell
from outlive.measurement import SCHEMA_VERSION, Leak
from outlive.timeline import Moment, Timeline

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

    `absent` are the Pythons on which no measured release has it.
    """

    leak: Leak
    scenarios: tuple[str, ...]
    connections: tuple[str, ...]
    periods: tuple[Period, ...]
    absent: tuple[str, ...]

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
    found: dict[str, list[tuple[Period, list[Presence]]]] = {}
    for timeline in timelines:
        known = [(moment.release.version, _known(moment)) for moment in timeline.moments]
        for fingerprint in dict.fromkeys(_all_fingerprints(known)):
            found.setdefault(fingerprint, []).extend(_periods(timeline.python, known, fingerprint))
    pythons = [one.python for one in timelines if any(moment.measurements for moment in one.moments)]
    lines = [
        _line([period for period, _ in parts], [where for _, run in parts for where in run], pythons)
        for parts in found.values()
    ]
    return tuple(sorted(lines, key=lambda one: (not one.present, -one.objects, one.leak.fingerprint)))


Known = dict[Cell, dict[str, Leak]]


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
) -> Iterator[tuple[Period, list[Presence]]]:
    """Yield the periods in which releases have a fingerprint, each with where each of them has it."""
    before: str | None = None
    run: list[tuple[str, Presence]] = []
    for release, cells in known:
        here = {cell: leaks[fingerprint] for cell, leaks in cells.items() if fingerprint in leaks}
        if here:
            run.append((release, here))
        elif run and any(cell in cells for cell in run[-1][1]):
            yield _period(python, before, run, release), [presence for _, presence in run]
            run = []
            before = release
        elif not run and cells:
            before = release
    if run:
        yield _period(python, before, run, None), [presence for _, presence in run]


def _period(python: str, before: str | None, run: Sequence[tuple[str, Presence]], gone: str | None) -> Period:
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


def _line(periods: Sequence[Period], presences: Sequence[Presence], pythons: Sequence[str]) -> LifeLine:
    newest = presences[-1]
    leak = max(newest.values(), key=lambda leak: leak.objects_per_request)
    further = all(leak.further for presence in presences for leak in presence.values())
    cells = sorted({cell for presence in presences for cell in presence})
    return LifeLine(
        leak=msgspec.structs.replace(leak, further=further),
        scenarios=tuple(dict.fromkeys(cell.scenario for cell in cells)),
        connections=tuple(dict.fromkeys(cell.connection for cell in cells)),
        periods=tuple(periods),
        absent=tuple(python for python in pythons if python not in {period.python for period in periods}),
    )
