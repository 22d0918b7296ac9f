"""The measured history of a framework: the stored measurements of each release.

Each release was measured with the dependencies of its time (its era lock) on one Python.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

import msgspec

from outlive.comparison.cells import Row, judge, match
from outlive.comparison.changes import RANK
from outlive.records.measurement import Connection, Growth, Measurement
from outlive.records.release import Release
from outlive.records.stack import Package
from outlive.releases import lineage
from outlive.retention.error import errors
from outlive.wording import listed

MOST_OWN = 6
"""Most releases that are named as measured here."""


Stepped = tuple[str, tuple[Row, ...]]
"""The release before, and the rows of the step from it."""


class Moment(msgspec.Struct, frozen=True):
    """One release of the history with its measurements; there are none if it was not available.

    `packages` are the packages with which it was measured, including itself.
    """

    release: Release
    measurements: tuple[Measurement, ...]
    packages: tuple[Package, ...] = ()


class History(Protocol):
    """What is measured of all covered releases of a framework; `problems` are about unreadable files."""

    @property
    def problems(self) -> Sequence[str]:
        """A line for each file that could not be read."""

    def of(self, scenarios: Collection[str], releases: Collection[str] | None = None) -> Timeline:
        """Return the timeline with at least these scenarios, of at least these releases, or of all."""


class Timeline(msgspec.Struct, frozen=True):
    """All covered releases of a framework, lowest version first; `problems` are about unreadable files."""

    framework: str
    python: str
    moments: tuple[Moment, ...]
    problems: tuple[str, ...] = ()

    def of(
        self,
        scenarios: Collection[str],  # noqa: ARG002 - it has them all
        releases: Collection[str] | None = None,  # noqa: ARG002
    ) -> Timeline:
        """Return the timeline itself, a `History` that has been read."""
        return self

    @property
    def measured(self) -> int:
        """How many releases were measured."""
        return sum(bool(moment.measurements) for moment in self.moments)

    @property
    def own(self) -> tuple[str, ...]:
        """The versions of which something was measured here; the others are only published."""
        return tuple(
            moment.release.version
            for moment in self.moments
            if any(not measurement.published for measurement in moment.measurements)
        )

    @property
    def origin(self) -> str:
        """A sentence that names the releases measured here; empty if everything is published."""
        return f"Measured here, not published: {listed(self.own, MOST_OWN)}." if self.own else ""

    def before(self, moment: Moment) -> Moment | None:
        """Return the nearest measured release before a release, by lineage; None if there is none."""
        moments = {each.release: each for each in self.moments}
        release = lineage.before(moment.release, moments)
        while release is not None and not moments[release].measurements:
            release = lineage.before(release, moments)
        return None if release is None else moments[release]

    def steps_to(self, versions: Collection[str]) -> tuple[tuple[Moment, Moment], ...]:
        """Return (the measured release before, the release) for those of `versions` that have both."""
        late = (moment for moment in self.moments if moment.release.version in versions)
        return tuple(
            (early, moment) for moment in late if moment.measurements and (early := self.before(moment))
        )

    def step_to(self, version: str) -> Stepped | None:
        """Return the measured release before `version` and the rows of the step; None if one is missing."""
        for early, late in self.steps_to((version,)):
            return early.release.version, judge(match(early.measurements, late.measurements)[0])
        return None


class Point(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The objects per request that one release leaves in one scenario with gc off; None if not measured.

    `error` is the error of these numbers. `growth` is the worst under any gc policy.
    """

    release: str
    date: str
    yanked: bool
    objects: float | None
    leaked: float | None
    growth: Growth
    error: float = 0.0


class Strip(msgspec.Struct, frozen=True, kw_only=True):
    """One scenario over one kind of connection in all releases."""

    scenario: str
    connection: Connection
    points: tuple[Point, ...]

    @property
    def measured(self) -> int:
        """How many releases were measured."""
        return sum(point.objects is not None for point in self.points)


def strips(timeline: Timeline, scenarios: Iterable[str], connection: Connection) -> tuple[Strip, ...]:
    """Return a strip for each scenario in which any release was measured."""
    cells: dict[tuple[int, str], list[Measurement]] = defaultdict(list)
    for at, moment in enumerate(timeline.moments):
        for measurement in moment.measurements:
            if measurement.connection == connection:
                cells[at, measurement.scenario].append(measurement)
    drawn = []
    for scenario in scenarios:
        points = tuple(
            _point(moment.release, cells[at, scenario]) for at, moment in enumerate(timeline.moments)
        )
        if any(point.objects is not None for point in points):
            drawn.append(Strip(scenario=scenario, connection=connection, points=points))
    return tuple(drawn)


def changes(strip: Strip) -> tuple[tuple[Point, Point], ...]:
    """Return (first point, last point) of each run of releases that leave the same."""
    runs: list[tuple[Point, Point]] = []
    for point in strip.points:
        if runs and _same(runs[-1][1], point):
            runs[-1] = (runs[-1][0], point)
        else:
            runs.append((point, point))
    return tuple(runs)


def _same(point: Point, other: Point) -> bool:
    return point.growth == other.growth and all(
        a is b or (a is not None and b is not None and abs(a - b) <= point.error + other.error)
        for a, b in ((point.objects, other.objects), (point.leaked, other.leaked))
    )


def _point(release: Release, own: Sequence[Measurement]) -> Point:
    off = next((measurement for measurement in own if measurement.gc == "off"), None)
    return Point(
        release=release.version,
        date=str(release.date or ""),
        yanked=release.yanked,
        objects=off.survivors_per_request if off else None,
        leaked=off.leaked_per_request if off else None,
        growth=worst([measurement.growth for measurement in own if measurement.growth]),
        error=sum(errors(off)) if off else 0.0,
    )


def worst(growths: Sequence[Growth]) -> Growth:
    """Return the worst of several growth verdicts, `none` if there are none."""
    return max(growths, key=lambda growth: RANK[growth], default="none")
