"""Sweeps: measures the whole history of frameworks, release after release.

What is stored is not measured again, so an interrupted sweep continues where it stopped. The cells of several
releases share one pool, so that no server waits for the end of a release, and environments are built
meanwhile.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

import msgspec
from packaging.version import Version

from outlive.errors import OutliveError, UnavailableError, UsageError
from outlive.files import JsonDocument, check_writable, write_list
from outlive.project import Project
from outlive.records.measurement import Cell, Measurement
from outlive.records.release import Release
from outlive.records.stack import Stack
from outlive.releases.lineage import covered
from outlive.replay import engine, place
from outlive.replay.engine import CellRequest, Progress
from outlive.replay.place import Place
from outlive.replay.store import Keeper, Store
from outlive.replay.subject import Task, shown
from outlive.service import app as apps
from outlive.service import scenarios
from outlive.stacks import eras
from outlive.stacks.environments import Environment
from outlive.stacks.eras import Unavailable
from outlive.stacks.prepare import Prepared, prepare
from outlive.wording import counted, one_line

Keep = Callable[[Release, Sequence[Measurement]], None]
"""Called with each release and all its measurements once they are complete."""


class Outcome(JsonDocument, frozen=True):
    """The result of a sweep: how many cells it measured, how many of them failed, what is unavailable."""

    cells: int
    failed: int
    unavailable: tuple[Unavailable, ...]


class _Planned(msgspec.Struct, frozen=True):
    """A release of the sweep: its stack, the app that serves each scenario, the cells to measure."""

    stack: Prepared
    served: dict[str, engine.Served]
    missing: tuple[Cell, ...]


def releases(project: Project, frameworks: Sequence[str], since: str | None) -> tuple[Release, ...]:
    """Return the covered releases of `frameworks` (default: all) from version `since` on.

    Raises UsageError for an unknown framework, and if there is no such release.
    """
    try:
        first = Version(since) if since else None
    except ValueError:
        raise UsageError(
            f"--since takes a version, as in --since 3.11.0, not {one_line(str(since))!r}"
        ) from None
    swept = tuple(
        release
        for framework in dict.fromkeys(frameworks) or project.frameworks()
        for release in covered(project, framework)
        if first is None or release.parsed >= first
    )
    if not swept:
        raise UsageError(f"there is no release of {', '.join(frameworks)} from {since} on")
    return swept


def unavailable_path(project: Project) -> Path:
    """Return the path of the file that lists the releases or cells that sweeps could not measure, and why."""
    return project.measured / "unavailable.json"


def sweep(
    project: Project,
    swept: Sequence[Release],
    python: str,
    request: CellRequest,
    progress: Progress,
    *,
    keep: Keep,
) -> Outcome:
    """Measure and store the request's cells of each release on `python`; call `keep` with each release.

    If a release fails, the reason is recorded and the others go on. However the sweep ends, what was measured
    is stored. Raises FaultError if `python` is not installed or nothing can be stored, and as `place.at` and
    `Cluster.measure` do.
    """
    check_writable(project.measured)
    eras.read_list(unavailable_path(project))  # it is updated at the end
    run = _Sweep(project, python, request, progress, keep)
    try:
        return run.all(swept)
    finally:
        run.record(swept)


class _Sweep:
    def __init__(
        self, project: Project, python: str, request: CellRequest, progress: Progress, keep: Keep
    ) -> None:
        self.project = project
        self.python = python
        self.request = request
        self.progress = progress
        self.keep = keep
        self.scenarios = scenarios.load_set(project.scenarios, "all")
        self.failed = 0
        self.unavailable: list[Unavailable] = []

    def all(self, swept: Sequence[Release]) -> Outcome:
        planned = []
        for at, release in enumerate(swept, 1):
            self.progress.doing(f"locking {release}, {at} of {counted(len(swept), 'release')}")
            if plan := self._plan(release):
                planned.append(plan)
        todo = deque(plan for plan in planned if plan.missing)
        for plan in planned:
            if not plan.missing:
                self.keep(plan.stack.release, self._stored(plan))
        total = sum(len(plan.missing) for plan in todo)
        self.progress.start(total)
        if todo:
            self.progress.doing(f"installing {todo[0].stack.release}")
            request = self.request
            with place.at(request.scheduler, self.project, request.scenarios, request.jobs) as where:
                self._all(where, todo)
        return Outcome(total, self.failed, tuple(self.unavailable))

    def _all(self, where: Place, todo: deque[_Planned]) -> None:
        with ThreadPoolExecutor(1, thread_name_prefix="outlive-build") as builder:
            built = deque(
                builder.submit(where.install, plan.stack.lock, plan.stack.interpreter) for plan in todo
            )
            try:
                while todo:
                    ready = _window(built, where.window)
                    self._measure(where, [(todo.popleft(), future) for future in ready])
            except BaseException:
                builder.shutdown(wait=False, cancel_futures=True)
                raise

    def record(self, swept: Sequence[Release]) -> None:
        """Record what is unavailable, in place of earlier entries for the same releases."""
        path = unavailable_path(self.project)
        again = {(release.framework, release.version, self.python) for release in swept}
        entries = [
            entry
            for entry in eras.read_list(path)
            if (entry.framework, entry.release, entry.python) not in again
        ]
        write_list(path, sorted([*entries, *self.unavailable]))

    def _plan(self, release: Release) -> _Planned | None:
        if reason := eras.unavailable(self.project, release, self.python):
            self._lacks(release, reason)
            return None
        stack = Stack(release.framework, release.version, self.python)
        try:
            packages = apps.packages(self.project, stack.framework, self.request.worker)
            prepared = prepare(self.project, stack, packages=packages)
        except UnavailableError as error:
            self._lacks(release, str(error))
            return None
        served = engine.serving(self.project, release.framework, self.scenarios)
        plan = _Planned(prepared, served, ())
        stored = {Cell.of(m) for m in self._stored(plan)}
        if self.request.fresh:
            stored.clear()
        missing = tuple(c for c in self.request.cells if c.scenario in served and c not in stored)
        return msgspec.structs.replace(plan, missing=missing)

    def _stored(self, planned: _Planned) -> tuple[Measurement, ...]:
        store = Store(self.project, planned.stack.record)
        return engine.stored(store, planned.served, self.request)

    def _measure(self, where: Place, window: Sequence[tuple[_Planned, Future[Environment]]]) -> None:
        tasks: list[Task] = []
        measured: dict[tuple[str, str], tuple[_Planned, list[Measurement]]] = {}
        for planned, future in window:
            release = planned.stack.release
            try:
                environment = future.result()
                certain = shown(m for m in self._stored(planned) if Cell.of(m) not in planned.missing)
                tasks += engine.to_measure(
                    self.project, environment, planned.served, self.request, planned.missing, shown=certain
                )
                measured[release.framework, release.version] = planned, []
            except OutliveError as error:
                self.failed += len(planned.missing)
                self.progress.start(-len(planned.missing))
                self._lacks(release, str(error))
        finishing = threading.Lock()

        with Keeper() as keeper:

            def done(measurement: Measurement) -> None:
                planned, measurements = measured[measurement.framework, measurement.release]
                keeper.add(Store(self.project, planned.stack.record), measurement)
                self.progress.done(measurement)
                with finishing:
                    measurements.append(measurement)
                    if len(measurements) == len(planned.missing):
                        keeper.keep()
                        self._finish(planned, [m for m in measurements if m.status == "failed"])

            for _ in where.measure(tasks, done):
                pass  # `done` has seen it

    def _finish(self, planned: _Planned, failed: Sequence[Measurement]) -> None:
        """Record what failed in a measured release, and keep the release."""
        self.failed += len(failed)
        for reason in sorted({m.reason or "" for m in failed}):
            cells = [m for m in failed if m.reason == reason]
            self._lacks(planned.stack.release, f"{_cells(cells)}: {reason}")
        self.keep(planned.stack.release, [*self._stored(planned), *failed])

    def _lacks(self, release: Release, reason: str) -> None:
        self.unavailable.append(Unavailable(release.framework, release.version, self.python, reason))


def _window(built: deque[Future[Environment]], limit: int | None) -> Iterator[Future[Environment]]:
    """Yield the next environment once it is built, and those after it that are already built.

    Yields at most `limit` of them; if that is None, waits for all.
    """
    wait(built if limit is None else [built[0]])
    for _ in range(min(limit or len(built), len(built))):
        if not built[0].done():
            return
        yield built.popleft()


def _cells(failed: Sequence[Measurement]) -> str:
    if len(failed) > 3:
        return f"{len(failed)} cells"
    return ", ".join(f"{m.scenario} {m.connection} gc {m.gc}" for m in failed)
