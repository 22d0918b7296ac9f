"""From what a user asks for to measurements: choose the Python, lock, reuse what is stored, measure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from outlive import apps, controlled, environments, locks, pythons
from outlive.controlled import Difference
from outlive.errors import UnavailableError, UsageError
from outlive.locks import Lock
from outlive.measure import Cell, Subject, Task, measure
from outlive.measurement import CONNECTIONS, GC_POLICIES, Connection, Measurement, StackRecord
from outlive.project import Project
from outlive.pythons import Interpreter
from outlive.releases import Catalogue, Release
from outlive.scenarios import Scenario
from outlive.stack import Stack
from outlive.store import Store


class Prepared(msgspec.Struct, frozen=True):
    """A stack with everything chosen: release, Python, lock. Its environment is built when it is needed."""

    release: Release
    interpreter: Interpreter
    lock: Lock

    @property
    def record(self) -> StackRecord:
        """The stack as results name it."""
        return StackRecord(
            framework=self.release.framework,
            release=self.release.version,
            python=self.lock.python,
            lock=self.lock.digest,
            packages=self.lock.packages,
        )


class Pair(msgspec.Struct, frozen=True):
    """Both sides of a comparison and what beside the framework could not be held equal."""

    before: Prepared
    after: Prepared
    differences: tuple[Difference, ...]


def find_release(project: Project, stack: Stack) -> Release:
    """Return the catalogued release of `stack`; UsageError names the nearest where there is none."""
    return Catalogue.load(project, stack.framework).find(stack.release)


def prepare(project: Project, stack: Stack, python: str | None = None) -> Prepared:
    """Return `stack` with its era lock on the Python it names, or `python`, or the one that suits it best.

    Raises as `pythons.choose` and `locks.era` do.
    """
    release = find_release(project, stack)
    interpreter = pythons.choose([release], stack.python or python)
    return Prepared(release, interpreter, locks.era(project, release, interpreter.minor, stack.pins))


def prepare_pair(project: Project, before: Stack, after: Stack, python: str | None = None) -> Pair:
    """Return two stacks with controlled locks, on one Python unless a stack names its own.

    Raises as `pythons.choose` and `controlled.locks` do, UsageError for two frameworks.
    """
    if before.framework != after.framework:
        raise UsageError(
            f"{before.framework} and {after.framework} are two frameworks: "
            "compare two stacks of the same one, as in flask==2.3.3 flask==3.1.3"
        )
    releases = [find_release(project, stack) for stack in (before, after)]
    interpreters = _interpreters((before, after), releases, python)
    by_minor = {interpreter.minor: interpreter for interpreter in interpreters}

    def works(lock: Lock) -> bool:
        environment = environments.ensure(lock, by_minor[lock.python])
        return environments.import_error(environment) is None

    found = controlled.locks(project, before, after, (interpreters[0].minor, interpreters[1].minor), works)
    return Pair(
        Prepared(releases[0], interpreters[0], found.before),
        Prepared(releases[1], interpreters[1], found.after),
        found.differences,
    )


def _interpreters(
    stacks: Sequence[Stack], releases: Sequence[Release], python: str | None
) -> tuple[Interpreter, Interpreter]:
    """Return the interpreters of two stacks: their own where named, else one that both releases support."""
    before, after = (stack.python for stack in stacks)
    if before is None and after is None:
        shared = pythons.choose(releases, python)
        return shared, shared
    named = before or after
    return (
        pythons.choose(releases[:1], before or python or named),
        pythons.choose(releases[1:], after or python or named),
    )


def cells(
    scenarios: Sequence[Scenario], connections: Sequence[Connection], policies: Sequence[str]
) -> tuple[Cell, ...]:
    """Return the cells of these scenarios, connections and gc policies.

    Where none are selected these are all connections, and on and off.
    """
    return tuple(
        Cell(scenario.name, connection, policy)
        for scenario in scenarios
        for connection in connections or CONNECTIONS
        for policy in policies or GC_POLICIES
    )


class Request(msgspec.Struct, frozen=True):
    """What is to be measured of each stack, and how."""

    scenarios: tuple[Scenario, ...]
    cells: tuple[Cell, ...]
    worker: str | None = None
    fresh: bool = False
    jobs: int = 2


class Progress(msgspec.Struct, frozen=True):
    """Callbacks: `start` with the number of cells that must be measured, `done` with each result."""

    start: Callable[[int], None]
    done: Callable[[Measurement], None]


def run(
    project: Project, stacks: Sequence[Prepared], request: Request, progress: Progress
) -> list[tuple[Measurement, ...]]:
    """Return the measurements of each stack, in the order of the request's cells; new ones are stored.

    Raises as `environments.ensure` does; what fails while measuring is recorded, not raised.
    """
    stores = [Store(project, stack.record) for stack in stacks]
    known: list[dict[Cell, Measurement]] = []
    tasks: list[Task] = []
    for stack, store in zip(stacks, stores, strict=True):
        app = apps.load(project, stack.release.framework)
        have = {} if request.fresh else {Cell.of(m): m for m in stored(store, app, request.worker)}
        known.append({cell: have[cell] for cell in request.cells if cell in have})
        missing = tuple(cell for cell in request.cells if cell not in have)
        if missing:
            environment = environments.ensure(stack.lock, stack.interpreter)
            folder = project.apps / app.framework
            tasks.append(Task(Subject(environment, app, folder, request.worker), missing))
    progress.start(sum(len(task.cells) for task in tasks))
    keepers = {_identity(store.stack): store for store in stores}

    def done(measurement: Measurement) -> None:
        keepers[_identity(measurement)].add([measurement])  # at once, so that an interruption loses little
        progress.done(measurement)

    measured = measure(tasks, request.scenarios, request.jobs, done) if tasks else []
    for store, found in zip(stores, known, strict=True):
        mine = (m for m in measured if _identity(m) == _identity(store.stack))
        found.update({Cell.of(m): m for m in mine})
    return [tuple(found[cell] for cell in request.cells) for found in known]


def _identity(of: Measurement | StackRecord) -> tuple[str, str, str, str]:
    return of.framework, of.release, of.python, of.lock


def stored(store: Store, app: apps.App, selected: str | None) -> tuple[Measurement, ...]:
    """Return what is stored of a stack by the app and the workers that would serve it now."""
    return tuple(
        m
        for m in store.load()
        if m.app_version == app.app_version
        and (worker := app.worker(m.connection, selected))
        and worker.name == m.worker
    )


def check_withdrawn(release: Release) -> None:
    """Raise UnavailableError if the release was withdrawn from the index."""
    if release.yanked:
        raise UnavailableError(f"{release} is yanked: {release.yanked_reason or 'no reason given'}")
