"""The plan of a load test: the stack, its deployment and the traffic."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from outlive.errors import UnavailableError
from outlive.project import Project
from outlive.records.load import Deployment, Traffic
from outlive.records.measurement import Cell, Measurement
from outlive.replay import engine
from outlive.service import app
from outlive.service.app import Worker
from outlive.service.users import mix
from outlive.stacks import locks
from outlive.stacks.prepare import Prepared


class LoadTest(msgspec.Struct, frozen=True):
    """A load test to run: a stack, its deployment and the traffic."""

    stack: Prepared
    deployment: Deployment
    traffic: Traffic


def deployed(stack: Prepared, worker: Worker) -> Prepared:
    """Return a stack whose lock includes the packages that a gunicorn worker needs.

    Raises UnavailableError if they do not exist for this release and Python.
    """
    if set(worker.packages) <= set(stack.extras):
        return stack
    lock = locks.with_packages(stack.lock, stack.release, worker.packages)
    return msgspec.structs.replace(stack, lock=lock, extras=(*stack.extras, *worker.packages))


def recorded(project: Project, test: LoadTest) -> Prepared:
    """Return the stack under which records of this test are stored; as it is if it cannot be deployed."""
    worker = app.load(project, test.stack.release.framework).named(test.deployment.worker)
    try:
        return deployed(test.stack, worker)
    except UnavailableError:
        return test.stack


def cells(project: Project, test: LoadTest) -> tuple[Cell, ...]:
    """Return the cells of the exact replay from which the survivors of this test can be predicted.

    There are none unless gc is off: only then do replay and load count the same objects. A worker that closes
    each connection after a request does so whatever its clients ask for.
    """
    worker = app.load(project, test.stack.release.framework).named(test.deployment.worker)
    if test.deployment.gc != "off":
        return ()
    asked = test.traffic.connection
    connection = asked if asked in worker.connections else worker.connections[0]
    names = mix(project.loadtests, test.traffic.user, test.traffic.scenarios)
    return tuple(Cell(name, connection, "off") for name in names)


def stored(project: Project, test: LoadTest) -> tuple[Measurement, ...]:
    """Return the stored measurements of these cells."""
    wanted = set(cells(project, test))
    measurements = engine.known(project, recorded(project, test), test.deployment.worker)
    return tuple(measurement for measurement in measurements if Cell.of(measurement) in wanted)


def predictions(measurements: Sequence[Measurement]) -> dict[str, float]:
    """Return the objects that one request of each scenario leaves in replay with gc off."""
    counts = {measurement.scenario: measurement.survivors_per_request for measurement in measurements}
    return {scenario: count for scenario, count in counts.items() if count is not None}
