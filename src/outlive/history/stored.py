"""Reads the measured history of a framework from the stored results."""

from __future__ import annotations

from collections.abc import Mapping

from outlive.comparison.cells import match
from outlive.errors import FaultError, OutliveError, UsageError
from outlive.history.lifelines import LifeLinesDocument, Measured, life_lines
from outlive.history.residues import residues
from outlive.history.timeline import Moment, Timeline
from outlive.project import Project
from outlive.records import plausible
from outlive.records.measurement import Measurement, StackRecord
from outlive.records.stack import KNOWN, PYTHON_NAME, python_minor
from outlive.releases.lineage import PYTHON, covered
from outlive.replay import engine
from outlive.replay.store import Store
from outlive.service.app import App
from outlive.service.scenarios import load_set
from outlive.stacks import locks
from outlive.wording import one_line


def load(project: Project, framework: str, python: str = PYTHON) -> Timeline:
    """Return the measured history of `framework`; its problems name the files that cannot be read.

    Raises UsageError if the framework has no reference app.
    """
    served = engine.serving(project, framework, load_set(project.scenarios, "default"))
    moments: list[Moment] = []
    problems: list[str] = []
    for release in covered(project, framework):
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
    """Return a release's stored measurements with the default workers. Raises FaultError if damaged."""
    measured = tuple(m for m in engine.stored(store, served, engine.of_any()) if m.status == "measured")
    for m in measured:
        if m.growth is None or m.leaked_per_request is None:
            raise FaultError(f"{store.path} has no counts of {one_line(m.scenario)}: measure it again")
        for fault in plausible.faults(m):
            raise FaultError(f"{store.path} cannot be right: {fault}; remove it to measure again")
    match(measured, measured)  # raises for a cell that is stored twice
    return measured


def lifelines(
    project: Project, framework: str, python: str | None
) -> tuple[LifeLinesDocument, tuple[str, ...]]:
    """Return the life lines of a framework from the stored measurements, and the problems of its files.

    Raises UsageError if nothing is measured.
    """
    if python and not PYTHON_NAME.fullmatch(python):
        raise UsageError(f"--python takes a version, as in 3.11 or 3.12.1, not {python!r}")
    timelines = [load(project, framework, minor) for minor in ((python,) if python else KNOWN)]
    measured = tuple(part for timeline in timelines if (part := _measured(timeline)).releases)
    if not measured:
        where = f" on Python {python}" if python else ""
        raise UsageError(f"nothing of {framework} has been measured{where} yet; `outlive sweep` does it")
    document = LifeLinesDocument(
        framework=framework, measured=measured, lines=life_lines(timelines), residues=residues(timelines)
    )
    return document, tuple(problem for timeline in timelines for problem in timeline.problems)


def _measured(timeline: Timeline) -> Measured:
    releases = tuple(moment.release.version for moment in timeline.moments if moment.measurements)
    return Measured(timeline.python, releases, timeline.origin)
