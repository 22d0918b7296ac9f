"""The plan of a load test: the stack, its deployment and the traffic."""

from __future__ import annotations

import msgspec

from outlive.errors import UnavailableError
from outlive.project import Project
from outlive.records.load import Deployment, Traffic
from outlive.records.measurement import Cell
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
    """Return the stack under which records of this test are stored; the bare one if it cannot be deployed."""
    worker = app.load(project, test.stack.release.framework).named(test.deployment.worker)
    try:
        return deployed(test.stack, worker)
    except UnavailableError:
        return test.stack


def predictions(project: Project, test: LoadTest) -> dict[str, float]:
    """Return the objects that one request of each scenario leaves in stored measurements of the exact replay.

    There are none unless gc is off, because only then do replay and load count the same objects. A worker
    that closes each connection after a request does so whatever its clients ask for.
    """
    if test.deployment.gc != "off":
        return {}
    worker = app.load(project, test.stack.release.framework).named(test.deployment.worker)
    connection = test.traffic.connection
    if connection not in worker.connections:
        connection = worker.connections[0]
    names = mix(project.loadtests, test.traffic.user, test.traffic.scenarios)
    cells = {Cell(name, connection, "off") for name in names}
    measurements = engine.known(project, recorded(project, test), test.deployment.worker)
    counts = {m.scenario: m.survivors_per_request for m in measurements if Cell.of(m) in cells}
    return {scenario: count for scenario, count in counts.items() if count is not None}
