"""What a load test is to be, before anything is started: the stack, how it is deployed, what is sent."""

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
    """What to run: a stack, how it is deployed, what is sent."""

    stack: Prepared
    deployment: Deployment
    traffic: Traffic


def deployed(stack: Prepared, worker: Worker) -> Prepared:
    """Return a stack with what a gunicorn worker needs beside it in its lock.

    Raises UnavailableError where that cannot be had for this release and Python.
    """
    lock = locks.with_packages(stack.lock, stack.release, worker.packages)
    return msgspec.structs.replace(stack, lock=lock)


def recorded(project: Project, test: LoadTest) -> Prepared:
    """Return the stack under which records of this test are kept: as it is where it cannot be deployed."""
    worker = app.load(project, test.stack.release.framework).named(test.deployment.worker)
    try:
        return deployed(test.stack, worker)
    except UnavailableError:
        return test.stack


def cells(project: Project, test: LoadTest) -> tuple[Cell, ...]:
    """Return the cells of the exact replay from which the survivors of this test can be predicted.

    None but with gc off: nothing else survives in both. A worker that closes each connection after a request
    does so whatever the clients want.
    """
    worker = app.load(project, test.stack.release.framework).named(test.deployment.worker)
    if test.deployment.gc != "off" or worker.packages:
        return ()
    asked = test.traffic.connection
    connection = asked if asked in worker.connections else worker.connections[0]
    names = mix(project.loadtests, test.traffic.user, test.traffic.scenarios)
    return tuple(Cell(name, connection, "off") for name in names)


def stored(project: Project, test: LoadTest) -> tuple[Measurement, ...]:
    """Return those of the cells that are stored."""
    wanted = set(cells(project, test))
    known = engine.known(project, test.stack, test.deployment.worker)
    return tuple(one for one in known if Cell.of(one) in wanted)


def predictions(measurements: Sequence[Measurement]) -> dict[str, float]:
    """Return what one request of each scenario leaves in replay, with automatic collection off."""
    return {
        one.scenario: one.survivors_per_request
        for one in measurements
        if one.survivors_per_request is not None
    }
