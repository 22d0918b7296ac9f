"""Explaining: one cell in a fresh worker, warmed up, and a sample of what outlives its requests."""

from __future__ import annotations

from outlive import sampling
from outlive.errors import FaultError
from outlive.graph import Graph
from outlive.measure import Cell, Subject
from outlive.replay import replay, verify
from outlive.scenarios import Scenario
from outlive.server import Server

WARM_UP = (53, 31)
"""Requests before the sample, in turns with full collections: caches fill, thread pools grow."""


def sample(subject: Subject, scenario: Scenario, cell: Cell) -> Graph:
    """Return the graph of what a sample of requests of `cell` left, captured with automatic collection off.

    Raises FaultError where the server does not start, does not answer as expected, or never comes to rest.
    """
    worker = subject.app.worker(cell.connection, subject.worker)
    if worker is None:
        raise FaultError(f"gunicorn's {subject.worker} worker cannot serve {cell.connection} connections")
    with Server(subject.environment, subject.app, worker, subject.folder) as server:
        line = server.fresh_worker()
        verify(server.address, scenario, cell.connection, line.rest)
        for requests in WARM_UP:
            replay(server.address, scenario, cell.connection, requests, line.rest)
            line.begin("off")
        return sampling.take(server, line, scenario, cell.connection)
