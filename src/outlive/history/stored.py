"""Reads the measured history of a framework from the stored results."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec
from packaging.version import Version

from outlive.comparison.cells import by_cell
from outlive.errors import FaultError, OutliveError, UsageError
from outlive.history.lifelines import LifeLinesDocument, Measured, life_lines
from outlive.history.residues import residues
from outlive.history.timeline import Moment, Timeline
from outlive.project import Project
from outlive.records.measurement import Measurement, StackRecord
from outlive.records.release import Release
from outlive.records.stack import KNOWN, PYTHON_NAME, Package, python_minor
from outlive.releases import frameworks
from outlive.releases.lineage import PYTHON, covered
from outlive.replay import engine
from outlive.replay.store import Store, of_framework, read_in_place
from outlive.service.scenarios import Scenario, load_set
from outlive.stacks import locks
from outlive.wording import listed, one_line

MOST_PACKAGES = 3
"""Most packages that tell two states of the same code apart by name."""


class Stored:
    """A `History` that reads only what is asked for; its problems are those of all that was read."""

    def __init__(self, project: Project, framework: str) -> None:
        self.project = project
        self.framework = framework
        self.problems: tuple[str, ...] = ()

    def of(self, scenarios: Collection[str], releases: Collection[str] | None = None) -> Timeline:
        """Return the timeline of these scenarios; with `releases`, the others have no measurements.

        Raises UsageError if the framework has no reference app.
        """
        default = load_set(self.project.scenarios, "default")
        asked = [scenario for scenario in default if scenario.name in scenarios]
        timeline = load(self.project, self.framework, scenarios=asked, releases=releases)
        self.problems = tuple(dict.fromkeys((*self.problems, *timeline.problems)))
        return timeline


def load(
    project: Project,
    framework: str,
    python: str = PYTHON,
    scenarios: Sequence[Scenario] | None = None,
    releases: Collection[str] | None = None,
) -> Timeline:
    """Return the measured history of `framework`; its problems name the files that cannot be read.

    It has the scenarios of the default set, or those that are given; with `releases`, the others have no
    measurements. Raises UsageError if the framework has no reference app, or `python` is not a version.
    """
    if scenarios is None:
        scenarios = load_set(project.scenarios, "default")
    _check_name(python)
    served = engine.serving(project, framework, scenarios)
    moments: list[Moment] = []
    problems: list[str] = []
    for release in covered(project, framework):
        measurements: tuple[Measurement, ...] = ()
        asked = releases is None or release.version in releases
        lock = locks.read_era_lock(project, release, python_minor(python)) if asked else None
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


def fullest(project: Project, framework: str) -> Timeline:
    """Return the history on the Python on which most releases are measured. Raises UsageError as `load` does.

    Newer releases may not run on PYTHON, on which histories are measured otherwise.
    """
    pythons = (PYTHON, *(python for python in KNOWN if python != PYTHON))
    return max(
        (load(project, framework, python) for python in pythons), key=lambda timeline: timeline.measured
    )


def states(project: Project, application: str, python: str = PYTHON) -> Timeline:
    """Return the measured states of an application of a user's own; its problems name unreadable files.

    States of its code are in the order in which they were measured. Those of the same code are told apart by
    their packages, and in the order of their versions.
    """
    _check_name(python)
    served = engine.serving(project, application, load_set(project.scenarios, "default"))
    stored: list[tuple[str, StackRecord, tuple[Measurement, ...]]] = []
    problems: list[str] = []
    for path in of_framework(project.measured, application).glob(f"*/py{python_minor(python)}-*.json"):
        try:
            made = read_in_place(path).provenance
            (stack,) = made.stacks
            if measurements := _whole(Store(project, stack), served):
                stored.append((made.created, stack, measurements))
        except (OutliveError, ValueError) as error:
            problems.append(str(error))
    moments: list[Moment] = []
    for code in dict.fromkeys(stack.release for _, stack, _ in sorted(stored, key=lambda state: state[0])):
        alike = [(stack, measurements) for _, stack, measurements in stored if stack.release == code]
        shared = set.intersection(*(set(stack.packages) for stack, _ in alike))
        named = [
            (tuple(package for package in stack.packages if package not in shared), measurements)
            for stack, measurements in alike
        ]
        for packages, measurements in sorted(named, key=lambda state: _versions(state[0])):
            words = listed([f"{package.name} {package.version}" for package in packages], MOST_PACKAGES)
            name = " with ".join(filter(None, [code, words]))
            moments.append(Moment(Release.of_none(application, name), measurements))
    return Timeline(application, python, tuple(moments), tuple(problems))


def _check_name(python: str) -> None:
    """Raise UsageError if it is not the name of a Python: it becomes part of file names and patterns."""
    if not PYTHON_NAME.fullmatch(python):
        raise UsageError(f"--python takes a version, as in 3.11 or 3.12.1, not {python!r}")


def _versions(packages: Iterable[Package]) -> list[tuple[str, Version]]:
    return [(package.name, Version(package.version)) for package in packages]


def _whole(store: Store, served: Mapping[str, engine.Served]) -> tuple[Measurement, ...]:
    """Return a release's stored measurements with the default workers. Raises FaultError if damaged."""
    measured = tuple(
        measurement
        for measurement in engine.stored(store, served, engine.of_any())
        if measurement.status == "measured"
    )
    for measurement in measured:
        if measurement.growth is None or measurement.leaked_per_request is None:
            raise FaultError(
                f"{store.path} has no counts for {one_line(measurement.scenario)}: measure it again"
            )
    by_cell(measured)  # raises for a cell that is stored twice
    return measured


def lifelines(
    project: Project, framework: str, python: str | None
) -> tuple[LifeLinesDocument, tuple[str, ...]]:
    """Return the life lines of a framework from the stored measurements, and the problems of its files.

    Raises UsageError if nothing is measured, and FaultError if all of that is unreadable.
    """
    own = bool(frameworks.load(project, framework).application)
    read = states if own else load
    timelines = [read(project, framework, minor) for minor in ((python,) if python else KNOWN)]
    measured = tuple(part for timeline in timelines if (part := _measured(timeline)).releases)
    if own:  # of which nothing is published
        measured = tuple(msgspec.structs.replace(part, origin="") for part in measured)
    problems = tuple(problem for timeline in timelines for problem in timeline.problems)
    if not measured and problems:
        raise FaultError(f"no measurement of {framework} can be read: {problems[0]}")
    if not measured:
        where = f" on Python {python}" if python else ""
        verb = "measure" if own else "sweep"
        raise UsageError(f"no measurement of {framework}{where} yet: run `outlive {verb}`")
    document = LifeLinesDocument(
        framework=framework,
        noun="state" if own else "release",
        measured=measured,
        lines=life_lines(timelines),
        residues=residues(timelines),
    )
    return document, problems


def _measured(timeline: Timeline) -> Measured:
    releases = tuple(moment.release.version for moment in timeline.moments if moment.measurements)
    return Measured(timeline.python, releases, timeline.origin)
