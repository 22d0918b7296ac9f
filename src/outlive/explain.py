"""Explaining: one cell in a fresh worker, a small sample of requests, and the graph of what survived them."""

from __future__ import annotations

from outlive.errors import FaultError
from outlive.graph import Graph, read
from outlive.measure import Cell, Subject
from outlive.replay import replay, verify
from outlive.scenarios import Scenario
from outlive.server import ProbeLine, Server

WARM_UP = (53, 31)
"""Requests before the sample, in turns with full collections: caches fill, thread pools grow."""
SAMPLE = {"close": (1,) * 11, "keep-alive": (7, 7, 7)}
"""Requests of each connection whose survivors are captured: enough to tell what each request leaves, or each
connection, from what comes once."""


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
        _send(server, line, scenario, cell, WARM_UP[0])
        line.begin("off")
        _send(server, line, scenario, cell, WARM_UP[1])
        line.count()
        for requests in SAMPLE[cell.connection]:
            _send(server, line, scenario, cell, requests)
        if not line.snapshot(sum(SAMPLE[cell.connection]), server.graph_path).idle:
            raise FaultError(f"{scenario.name}: the worker never came to rest, so it cannot be explained")
        return read(server.graph_path.read_bytes())


def _send(server: Server, line: ProbeLine, scenario: Scenario, cell: Cell, requests: int) -> None:
    replay(server.address, scenario, cell.connection, requests, line.rest)
