"""From what a user asks for to measurements: choose the Python, lock, reuse what is stored, measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from outlive import apps, controlled, environments, frameworks, locks, pythons
from outlive.controlled import Difference
from outlive.environments import Environment
from outlive.errors import UnavailableError, UsageError
from outlive.locks import Lock
from outlive.measure import Cell, Subject, Task, measure
from outlive.measurement import GC_POLICIES, USUAL_CONNECTIONS, Connection, Measurement, StackRecord
from outlive.project import Project
from outlive.pythons import Interpreter
from outlive.releases import Catalogue, Release
from outlive.remedies import Remedy
from outlive.scenarios import Scenario, load_set
from outlive.stack import Package, Stack
from outlive.store import Store

Identity = tuple[str, str, str, str, str | None]


class Prepared(msgspec.Struct, frozen=True):
    """A stack with everything chosen: release, Python, lock. Its environment is built when it is needed.

    `remedy` is what is done to its app, None for the app as it is.
    """

    release: Release
    interpreter: Interpreter
    lock: Lock
    remedy: Remedy | None = None

    @property
    def remedy_name(self) -> str | None:
        """The name of its remedy, None for the release as it is."""
        return self.remedy.name if self.remedy else None

    @property
    def identity(self) -> Identity:
        """What tells it from others that are measured with it."""
        release, lock = self.release, self.lock
        return release.framework, release.version, lock.python, lock.digest, self.remedy_name

    @property
    def record(self) -> StackRecord:
        """The stack as results name it."""
        return StackRecord(
            framework=self.release.framework,
            release=self.release.version,
            python=self.lock.python,
            lock=self.lock.digest,
            packages=self.lock.packages,
            interpreters=(self.interpreter.record,),
        )


class Pair(msgspec.Struct, frozen=True):
    """Both sides of a comparison and what beside the framework could not be held equal."""

    before: Prepared
    after: Prepared
    differences: tuple[Difference, ...]


def find_release(project: Project, stack: Stack) -> Release:
    """Return the catalogued release of `stack`; UsageError names the nearest where there is none."""
    return Catalogue.load(project, stack.framework).find(stack.release)


def prepare(
    project: Project, stack: Stack, python: str | None = None, remedy: Remedy | None = None
) -> Prepared:
    """Return `stack` with its era lock on the Python it names, or `python`, or the one that suits it best.

    What a `remedy` needs beside the release is locked with it, unless it does not apply to the release.
    Raises as `pythons.choose` and `locks.era` do.
    """
    release = find_release(project, stack)
    interpreter = pythons.choose([release], stack.python or python)
    lock = _era(project, release, interpreter, stack.pins)
    if remedy and not remedy.against(release.version):
        lock = locks.with_packages(lock, release, remedy.packages)
    return Prepared(release, interpreter, lock, remedy)


def prepare_each(
    project: Project, before: Stack, after: Stack, python: str | None = None
) -> tuple[Prepared, Prepared]:
    """Return two stacks, each with its era lock, on one Python unless a stack names its own.

    Raises as `pythons.choose` and `locks.era` do, UsageError for two frameworks.
    """
    releases = _releases(project, before, after)
    first, second = (
        Prepared(release, interpreter, _era(project, release, interpreter, stack.pins))
        for stack, release, interpreter in zip(
            (before, after), releases, _interpreters((before, after), releases, python), strict=True
        )
    )
    return first, second


def prepare_pair(project: Project, before: Stack, after: Stack, python: str | None = None) -> Pair:
    """Return two stacks with controlled locks, on one Python unless a stack names its own.

    Raises as `pythons.choose` and `controlled.locks` do, UsageError for two frameworks.
    """
    releases = _releases(project, before, after)
    interpreters = _interpreters((before, after), releases, python)
    by_minor = {interpreter.minor: interpreter for interpreter in interpreters}

    modules = frameworks.load(project, before.framework).modules

    def works(lock: Lock) -> bool:
        environment = environments.ensure(lock, by_minor[lock.python])
        return environments.import_error(environment, modules) is None

    found = controlled.locks(project, before, after, (interpreters[0].minor, interpreters[1].minor), works)
    return Pair(
        Prepared(releases[0], interpreters[0], interpreters[0].locked(found.before)),
        Prepared(releases[1], interpreters[1], interpreters[1].locked(found.after)),
        found.differences,
    )


def _era(project: Project, release: Release, interpreter: Interpreter, pins: tuple[Package, ...]) -> Lock:
    return interpreter.locked(locks.era(project, release, interpreter.minor, pins))


def _releases(project: Project, before: Stack, after: Stack) -> list[Release]:
    if before.framework != after.framework:
        raise UsageError(
            f"{before.framework} and {after.framework} are two frameworks: "
            "compare two stacks of the same one, as in flask==2.3.3 flask==3.1.3"
        )
    return [find_release(project, stack) for stack in (before, after)]


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

    Where none are selected these are the usual connections, and on and off. A scenario has no cell of a kind
    of connection that makes no difference to it.
    """
    return tuple(
        Cell(scenario.name, connection, policy)
        for scenario in scenarios
        for connection in connections or USUAL_CONNECTIONS
        if scenario.over(connection)
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

    A stack has only cells of scenarios that are about its framework; UsageError where there are none. Raises
    as `environments.ensure` does; what fails while measuring is recorded, not raised.
    """
    stores = {stack.identity: Store(project, stack.record, stack.remedy) for stack in stacks}
    wanted = [_about(stack.release.framework, request) for stack in stacks]
    known: list[dict[Cell, Measurement]] = []
    tasks: list[Task] = []
    for stack, cells in zip(stacks, wanted, strict=True):
        store = stores[stack.identity]
        served = serving(project, stack.release.framework, request.scenarios)
        have = {} if request.fresh else {Cell.of(m): m for m in stored(store, served, request.worker)}
        known.append({cell: have[cell] for cell in cells if cell in have})
        missing = tuple(cell for cell in cells if cell not in have)
        if missing:
            environment = environments.ensure(stack.lock, stack.interpreter)
            tasks += to_measure(project, environment, served, request.worker, missing, remedy=stack.remedy)
    progress.start(sum(len(task.cells) for task in tasks))

    def done(measurement: Measurement) -> None:
        stores[_identity(measurement)].add([measurement])  # at once, so that an interruption loses little
        progress.done(measurement)

    measured = measure(tasks, request.scenarios, request.jobs, done) if tasks else []
    for stack, found in zip(stacks, known, strict=True):
        mine = (m for m in measured if _identity(m) == stack.identity)
        found.update({Cell.of(m): m for m in mine})
    return [tuple(found[cell] for cell in cells) for found, cells in zip(known, wanted, strict=True)]


def _about(framework: str, request: Request) -> tuple[Cell, ...]:
    """Return the cells whose scenarios are about `framework`; UsageError where none is."""
    names = {scenario.name for scenario in request.scenarios if scenario.about(framework)}
    found = tuple(cell for cell in request.cells if cell.scenario in names)
    if request.cells and not found:
        raise UsageError(
            f"{', '.join(dict.fromkeys(c.scenario for c in request.cells))}: not about {framework}"
        )
    return found


def _identity(of: Measurement) -> Identity:
    return of.framework, of.release, of.python, of.lock, of.remedy


def serving(project: Project, framework: str, scenarios: Sequence[Scenario]) -> dict[str, apps.App]:
    """Return the reference app that serves each of those `scenarios` that are about `framework`, by name.

    Raises UsageError as `apps.load` does.
    """
    mine = [scenario for scenario in scenarios if scenario.about(framework)]
    by_name = {name: apps.load(project, framework, name) for name in {scenario.app for scenario in mine}}
    return {scenario.name: by_name[scenario.app] for scenario in mine}


def to_measure(
    project: Project,
    environment: Environment,
    served: Mapping[str, apps.App],
    worker: str | None,
    cells: Sequence[Cell],
    *,
    remedy: Remedy | None = None,
) -> list[Task]:
    """Return what is to be measured of an installed stack: a task for each app that serves some cells."""
    by_app: dict[apps.App, list[Cell]] = {}
    for cell in cells:
        by_app.setdefault(served[cell.scenario], []).append(cell)
    return [
        Task(Subject(environment, app, project.apps / app.framework, worker, remedy), tuple(mine))
        for app, mine in by_app.items()
    ]


def stored(store: Store, served: Mapping[str, apps.App], selected: str | None) -> tuple[Measurement, ...]:
    """Return what is stored, and explained, by the apps and workers that would serve the stack now."""
    return tuple(
        m
        for m in store.load()
        if (app := served.get(m.scenario))
        and m.app_version == app.app_version
        and m.explained
        and (worker := app.worker(m.connection, selected))
        and worker.name == m.worker
    )


def known(project: Project, stack: Prepared, selected: str | None) -> tuple[Measurement, ...]:
    """Return what is stored of a stack, of all scenarios, as `stored` does."""
    every = load_set(project.scenarios, "all")
    return stored(Store(project, stack.record), serving(project, stack.release.framework, every), selected)


def check_withdrawn(release: Release) -> None:
    """Raise UnavailableError if the release was withdrawn from the index."""
    if release.yanked:
        raise UnavailableError(f"{release} is yanked: {release.yanked_reason or 'no reason given'}")
