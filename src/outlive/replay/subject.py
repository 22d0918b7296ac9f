"""A subject: an installed stack with the app and the worker that serve it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from outlive.errors import FaultError
from outlive.records.measurement import Cell, Connection, Measurement
from outlive.records.remedy import Remedy
from outlive.retention.confirmation import shows
from outlive.retention.growth import SENSITIVITY
from outlive.service import remedies
from outlive.service.app import App, Worker
from outlive.service.scenarios import Scenario
from outlive.stacks.environments import Environment


class Subject(msgspec.Struct, frozen=True):
    """What is measured: an environment, the reference app in `folder`, its worker, and a remedy or None."""

    environment: Environment
    app: App
    folder: Path
    worker: str | None = None
    """The name of the gunicorn worker; None means the app's default for each connection."""
    remedy: Remedy | None = None

    def gunicorn(self, connection: Connection) -> Worker | str:
        """Return the worker, with the remedy, that serves such connections, or the reason why none does."""
        app = remedies.served(self.app, self.remedy) if self.remedy else self.app
        reason = self.remedy.against(self.environment.lock.release) if self.remedy else None
        worker = app.worker(connection, self.worker)
        if worker is None:
            chosen = app.named(self.worker) if self.worker else app.workers[0]
            return chosen.why_not(connection) or "only workers that --worker names can serve it"
        return reason or worker.lacks(self.environment.lock.versions) or worker

    def serving(self, connection: Connection) -> Worker:
        """Return the worker that serves such connections. Raises FaultError if none does."""
        worker = self.gunicorn(connection)
        if isinstance(worker, str):
            raise FaultError(worker)
        return worker

    def lacks(self, scenario: Scenario, cell: Cell) -> str | None:
        """Return why `cell`, a cell of `scenario`, cannot be measured, or None if it can."""
        worker, lock = self.gunicorn(cell.connection), self.environment.lock
        if isinstance(worker, str):
            return worker
        return scenario.lacks(lock.framework, lock.release, lock.versions)

    def describe(self, cell: Cell, worker: Worker | None, **fields: object) -> Measurement:
        """Return a measurement of `cell` on this stack with the other `fields`."""
        lock = self.environment.lock
        return Measurement(
            framework=lock.framework,
            release=lock.release,
            python=lock.python,
            app_version=self.app.app_version,
            scenario=cell.scenario,
            connection=cell.connection,
            gc=cell.gc,
            worker=worker.name if worker else self.worker or "",
            lock=lock.digest,
            remedy=self.remedy.name if self.remedy else None,
            **fields,  # type: ignore[arg-type]
        )


class Shown(msgspec.Struct, frozen=True):
    """A cell with gc off that has shown exactly what a collection leaves: `objects` per request."""

    cell: Cell
    objects: int


def shown(measurements: Iterable[Measurement]) -> tuple[Shown, ...]:
    """Return what the measurements that leave no doubt have shown."""
    stays = ((Cell.of(m), shows(m)) for m in measurements)
    return tuple(Shown(cell, objects) for cell, objects in stays if objects is not None)


class Task(msgspec.Struct, frozen=True):
    """A subject and the cells to measure, with their sensitivity.

    `shown` is what other cells have already shown, at this or a finer sensitivity.
    """

    subject: Subject
    cells: tuple[Cell, ...]
    sensitivity: int = SENSITIVITY
    shown: tuple[Shown, ...] = ()
