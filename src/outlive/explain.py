"""Explaining: one cell in a fresh worker, warmed up, and a sample of what outlives its requests."""

from __future__ import annotations

from outlive import sampling
from outlive.driver import Driver
from outlive.graph import Graph
from outlive.measure import Cell, Subject
from outlive.scenarios import Scenario
from outlive.server import Server

WARM_UP = (53, 31)
"""Requests before the sample, in turns with full collections: caches fill, thread pools grow."""


def sample(subject: Subject, scenario: Scenario, cell: Cell) -> Graph:
    """Return the graph of what a sample of requests of `cell` left, captured with automatic collection off.

    Raises FaultError where the server does not start, does not answer as expected, or never comes to rest.
    """
    worker = subject.serving(cell.connection)
    with Server(subject.environment, subject.app, worker, subject.folder) as server:
        line = server.fresh_worker()
        driver = Driver(server, scenario, cell.connection)
        driver.verify()
        for requests in WARM_UP:
            driver.send(requests)
            line.begin("off")
        return sampling.take(line, driver)
