"""The history of a framework as it was measured: what each release leaves, from the stored measurements.

A release stands in it with the dependencies of its time (its era lock) on one Python.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from outlive import engine, eras, locks, plausible
from outlive.apps import App
from outlive.errors import FaultError, OutliveError
from outlive.measurement import Connection, Growth, Measurement, StackRecord
from outlive.project import Project
from outlive.releases import Release
from outlive.rows import RANK, Row, judge, match
from outlive.scenarios import load_set
from outlive.stack import Package, python_minor
from outlive.store import Store
from outlive.wording import one_line


class Moment(msgspec.Struct, frozen=True):
    """One release of the history with all that was measured of it; nothing where it could not be had.

    `packages` are those that it was measured with, itself included.
    """

    release: Release
    measurements: tuple[Measurement, ...]
    packages: tuple[Package, ...] = ()


class Timeline(msgspec.Struct, frozen=True):
    """All covered releases of a framework, lowest version first. `problems` are files that were refused."""

    framework: str
    python: str
    moments: tuple[Moment, ...]
    problems: tuple[str, ...] = ()

    def step_to(self, version: str) -> tuple[str, tuple[Row, ...]] | None:
        """Return the measured release before `version` and the rows of the step, None where either lacks."""
        measured = [moment for moment in self.moments if moment.measurements]
        for early, late in itertools.pairwise(measured):
            if late.release.version == version:
                return early.release.version, judge(match(early.measurements, late.measurements)[0])
        return None


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """What one release leaves in one scenario: objects per request with gc off, None: not measured.

    `growth` is the worst with any gc policy.
    """

    release: str
    date: str
    yanked: bool
    objects: float | None
    leaked: float | None
    growth: Growth


class Strip(msgspec.Struct, frozen=True, kw_only=True):
    """One scenario on one kind of connection through all releases."""

    scenario: str
    connection: Connection
    points: tuple[Point, ...]


def load(project: Project, framework: str, python: str = eras.PYTHON) -> Timeline:
    """Return the measured history of `framework`; a file that cannot be read is a problem, not an error.

    Raises UsageError where it has no reference app.
    """
    served = engine.serving(project, framework, load_set(project.scenarios, "default"))
    moments: list[Moment] = []
    problems: list[str] = []
    for release in eras.covered(project, framework):
        measurements: tuple[Measurement, ...] = ()
        lock = locks.read_era_lock(project, release, python_minor(python))
        if lock is not None:
            record = StackRecord(
                framework=framework,
                release=release.version,
                python=python,
                lock=lock.digest,
                packages=lock.packages,
            )
            try:
                measurements = _whole(Store(project, record), served)
            except OutliveError as error:
                problems.append(str(error))
        moments.append(Moment(release, measurements, lock.packages if lock else ()))
    return Timeline(framework, python, tuple(moments), tuple(problems))


def _whole(store: Store, served: Mapping[str, App]) -> tuple[Measurement, ...]:
    """Return what is stored of a release by the default workers. Raises FaultError where that is damaged."""
    found = tuple(m for m in engine.stored(store, served, None) if m.status == "measured")
    for m in found:
        if m.growth is None or m.leaked_per_request is None:
            raise FaultError(f"{store.path} has no counts of {one_line(m.scenario)}: measure it again")
        for fault in plausible.faults(m):
            raise FaultError(f"{store.path} cannot be right: {fault}; remove it to measure again")
    match(found, found)  # a cell that is there twice is told
    return found


def strips(timeline: Timeline, scenarios: Iterable[str], connection: Connection) -> tuple[Strip, ...]:
    """Return one strip for each of the scenarios that any release was measured in."""
    found = []
    for scenario in scenarios:
        points = tuple(_point(moment, scenario, connection) for moment in timeline.moments)
        if any(point.objects is not None for point in points):
            found.append(Strip(scenario=scenario, connection=connection, points=points))
    return tuple(found)


def changes(strip: Strip) -> tuple[tuple[Point, Point], ...]:
    """Return the first and the last point of each run of releases that leave the same."""
    runs: list[tuple[Point, Point]] = []
    for point in strip.points:
        if runs and _same(runs[-1][1], point):
            runs[-1] = (runs[-1][0], point)
        else:
            runs.append((point, point))
    return tuple(runs)


def _same(one: Point, other: Point) -> bool:
    return (one.objects, one.leaked, one.growth) == (other.objects, other.leaked, other.growth)


def _point(moment: Moment, scenario: str, connection: Connection) -> Point:
    own = [m for m in moment.measurements if (m.scenario, m.connection) == (scenario, connection)]
    off = next((m for m in own if m.gc == "off"), None)
    return Point(
        release=moment.release.version,
        date=str(moment.release.date or ""),
        yanked=moment.release.yanked,
        objects=off.survivors_per_request if off else None,
        leaked=off.leaked_per_request if off else None,
        growth=worst([m.growth for m in own if m.growth]),
    )


def worst(growths: Sequence[Growth]) -> Growth:
    """Return the gravest of several verdicts on growth."""
    return max(growths, key=lambda growth: RANK[growth], default="none")
