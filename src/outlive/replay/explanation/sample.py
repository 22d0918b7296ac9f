"""Takes a sample: a few more requests of a cell in a warm worker, and the graph of what survives them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from outlive.records.measurement import Cell
from outlive.replay.driver import Driver
from outlive.replay.subject import Subject
from outlive.retention.graph import Graph, read
from outlive.service.gunicorn import Server
from outlive.service.own import without_secrets
from outlive.service.scenarios import Scenario

SINGLY = (1,) * 11
SAMPLE = {"keep-alive": (5, 5, 5), "close": SINGLY, "client-close": SINGLY, "client-reset": SINGLY}
"""Requests of each connection of a sample: enough to distinguish what each request, or each connection,
leaves from what comes only once."""


def take(driver: Driver) -> Graph:
    """Return the graph of what a sample of requests left, captured with automatic collection off.

    The worker must be warm, and nothing can be counted in it afterwards. Raises FaultError if it does not
    answer as expected or never comes to rest.
    """
    driver.line.apply("off")
    sample, path = SAMPLE[driver.connection], driver.server.graph_path
    for requests in sample:
        driver.send(requests)
    driver.check_rest(idle=driver.line.snapshot(sum(sample), path).idle, so="explained")
    application = driver.server.app.own
    return read(path.read_bytes(), lambda key: without_secrets(application, key) if application else key)


WARM_UP = (53, 31)
"""Requests before the sample, each number followed by full collections: caches fill, thread pools grow."""


def sample(subject: Subject, scenario: Scenario, cell: Cell) -> Graph:
    """Return the graph of what a sample of requests of `cell` left, captured with automatic collection off.

    Raises FaultError if the server does not start, does not answer as expected, or never comes to rest.
    """
    with warm(subject, scenario, cell) as driver:
        return take(driver)


@contextmanager
def warm(subject: Subject, scenario: Scenario, cell: Cell, **variables: str) -> Iterator[Driver]:
    """Yield a driver of `cell` whose worker is warm and also has these environment variables."""
    worker = subject.serving(cell.connection).told(**variables)
    with Server(subject.environment, subject.app, worker, subject.folder) as server:
        driver = Driver(server, scenario, cell.connection)
        driver.verify()
        for requests in WARM_UP:
            driver.send(requests)
            driver.line.apply("off")
        yield driver
