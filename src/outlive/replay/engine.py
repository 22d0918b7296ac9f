"""Turns prepared stacks and a request into measurements: reuses what is stored and measures the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from outlive.errors import UsageError
from outlive.files import check_writable
from outlive.project import Project
from outlive.records.measurement import GC_POLICIES, USUAL_CONNECTIONS, Cell, Connection, Measurement
from outlive.records.remedy import Remedy
from outlive.replay import place
from outlive.replay.store import Keeper, Store
from outlive.replay.subject import Shown, Subject, Task, shown
from outlive.retention.growth import SENSITIVITY
from outlive.service import app as apps
from outlive.service.scenarios import Scenario, load_set
from outlive.stacks.environments import Environment
from outlive.stacks.prepare import Identity, Prepared


def cells(
    scenarios: Sequence[Scenario], connections: Sequence[Connection], policies: Sequence[str]
) -> tuple[Cell, ...]:
    """Return the cells of these scenarios, connections and gc policies.

    By default these are the usual connections and the policies on and off. A scenario has cells only over
    connections that make sense for it.
    """
    every = (
        Cell(scenario.name, connection, policy)
        for scenario in scenarios
        for connection in connections or USUAL_CONNECTIONS
        if scenario.over(connection)
        for policy in policies or GC_POLICIES
    )
    return tuple(dict.fromkeys(every))  # an option may be given twice


class CellRequest(msgspec.Struct, frozen=True):
    """What to measure of each stack, and how. `fresh`: reuse no stored result. `jobs`: servers at once."""

    scenarios: tuple[Scenario, ...]
    cells: tuple[Cell, ...]
    worker: str | None = None
    fresh: bool = False
    jobs: int = 2
    sensitivity: int = SENSITIVITY
    scheduler: str | None = None
    """Dask scheduler whose workers measure, as in `place.at`; None: this process does."""


def _nothing(_: object) -> None:
    """Show nothing."""


class Progress(msgspec.Struct, frozen=True):
    """Callbacks: `start` gets the number of cells that must be measured, `done` each result.

    If that number changes, `start` is called again with the difference, which can be negative. `doing` gets a
    text that describes the work before and between cells.
    """

    start: Callable[[int], object] = _nothing
    done: Callable[[Measurement], object] = _nothing
    doing: Callable[[str], object] = _nothing


SILENT = Progress()


def run(
    project: Project, stacks: Sequence[Prepared], request: CellRequest, progress: Progress
) -> list[tuple[Measurement, ...]]:
    """Return the measurements of each stack in the order of the request's cells; store new ones.

    If a stack is named twice, stored results serve the first and the second is measured anew. A stack has
    only the cells whose scenarios make sense for its framework; UsageError if there are none. Raises as
    `environments.ensure` does; what fails while measuring is recorded, not raised.
    """
    stores = {stack.identity: Store(project, stack.record, stack.remedy) for stack in stacks}
    all_served = [serving(project, stack.release.framework, request.scenarios) for stack in stacks]
    wanted = [
        _about(served, stack.release.framework, request)
        for stack, served in zip(stacks, all_served, strict=True)
    ]
    results: list[dict[Cell, Measurement]] = []
    lacking: list[tuple[Prepared, dict[str, Served], tuple[Cell, ...], tuple[Shown, ...]]] = []
    for at, (stack, served, cells) in enumerate(zip(stacks, all_served, wanted, strict=True)):
        again = request.fresh or stack.identity in {earlier.identity for earlier in stacks[:at]}
        reusable = () if again else stored(stores[stack.identity], served, request)
        by_cell = {Cell.of(measurement): measurement for measurement in reusable}
        results.append({cell: by_cell[cell] for cell in cells if cell in by_cell})
        missing = tuple(cell for cell in cells if cell not in by_cell)
        if missing:
            lacking.append((stack, served, missing, shown(by_cell.values())))
    progress.start(sum(len(missing) for _, _, missing, _ in lacking))

    measured: list[Measurement] = []
    if lacking:
        check_writable(project.measured)
        with (
            place.at(request.scheduler, project, request.scenarios, request.jobs) as where,
            Keeper() as keeper,
        ):
            tasks: list[Task] = []
            for stack, served, missing, certain in lacking:
                progress.doing(f"installing {stack.release}")
                environment = where.install(stack.lock, stack.interpreter)
                tasks += to_measure(
                    project, environment, served, request, missing, shown=certain, remedy=stack.remedy
                )

            def done(measurement: Measurement) -> None:
                keeper.add(stores[_identity(measurement)], measurement)
                progress.done(measurement)

            measured += where.measure(tasks, done)
    for stack, result, cells in zip(stacks, results, wanted, strict=True):
        for m in tuple(measured):
            cell = Cell.of(m)
            if _identity(m) == stack.identity and cell in cells and cell not in result:
                result[cell] = msgspec.structs.replace(m, published=project.publishes)
                measured.remove(m)  # each measurement belongs to one side only
    return [tuple(result[cell] for cell in cells) for result, cells in zip(results, wanted, strict=True)]


def _about(served: Mapping[str, Served], framework: str, request: CellRequest) -> tuple[Cell, ...]:
    """Return the cells whose scenarios `framework` serves. Raises UsageError if there are none."""
    cells = tuple(cell for cell in request.cells if cell.scenario in served)
    if request.cells and not cells:
        raise UsageError(
            f"{', '.join(dict.fromkeys(c.scenario for c in request.cells))}: not about {framework}"
        )
    return cells


def _identity(m: Measurement) -> Identity:
    return m.framework, m.release, m.python, m.lock, m.remedy


class Served(msgspec.Struct, frozen=True):
    """A scenario, the reference app that serves it, and what `App.sent` returns for both."""

    scenario: Scenario
    app: apps.App
    sent: str


def serving(project: Project, framework: str, scenarios: Sequence[Scenario]) -> dict[str, Served]:
    """Return each scenario with the reference app that serves it, by the scenario's name.

    Scenarios that no app of `framework` serves are left out. Raises UsageError as `apps.load` does.
    """
    main = apps.load(project, framework)
    served = [scenario for scenario in scenarios if main.serves(scenario)]
    by_name = {name: apps.load(project, framework, name) for name in {scenario.app for scenario in served}}
    apps_served = ((scenario, by_name[scenario.app]) for scenario in served)
    return {scenario.name: Served(scenario, app, app.sent(scenario)) for scenario, app in apps_served}


def to_measure(
    project: Project,
    environment: Environment,
    served: Mapping[str, Served],
    request: CellRequest,
    cells: Sequence[Cell],
    *,
    shown: tuple[Shown, ...] = (),
    remedy: Remedy | None = None,
) -> list[Task]:
    """Return the tasks that measure `cells` of an installed stack, one for each app that serves some of them.

    `shown` is what cells that are not measured again have already shown.
    """
    by_app: dict[apps.App, list[Cell]] = {}
    for cell in cells:
        by_app.setdefault(served[cell.scenario].app, []).append(cell)
    return [
        Task(
            Subject(environment, app, project.apps / app.framework, request.worker, remedy),
            tuple(app_cells),
            request.sensitivity,
            shown,
        )
        for app, app_cells in by_app.items()
    ]


def stored(store: Store, served: Mapping[str, Served], request: CellRequest) -> tuple[Measurement, ...]:
    """Return the stored measurements that answer the request.

    They were made with the current apps, the requested worker and what the scenario sends today. They are
    explained, and at least as sensitive as requested.
    """
    return tuple(
        m
        for m in store.load(served.keys())
        if (current := served.get(m.scenario))
        and m.app_version == current.app.app_version
        and m.sent in (None, current.sent)
        and current.scenario.over(m.connection)
        and m.explained
        and m.sensitivity >= request.sensitivity
        and (worker := current.app.worker(m.connection, request.worker))
        and worker.name == m.worker
    )


def known(project: Project, stack: Prepared, selected: str | None) -> tuple[Measurement, ...]:
    """Return the stored measurements of a stack for all scenarios; `selected` names a worker."""
    served = serving(project, stack.release.framework, load_set(project.scenarios, "all"))
    return stored(Store(project, stack.record, stack.remedy), served, of_any(selected))


def of_any(worker: str | None = None) -> CellRequest:
    """Return a request that any stored measurement with `worker` answers, whatever its sensitivity."""
    return CellRequest((), (), worker=worker, sensitivity=0)
