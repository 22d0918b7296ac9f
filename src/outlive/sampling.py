"""The sample: a few more requests of a cell in a warm worker, and the graph of what survived them."""

from __future__ import annotations

from outlive.driver import Driver
from outlive.errors import FaultError
from outlive.graph import Graph, read
from outlive.server import ProbeLine

OWN = (1,) * 11
SAMPLE = {"keep-alive": (5, 5, 5), "close": OWN, "client-close": OWN, "client-reset": OWN}
"""Requests of each connection whose survivors are captured: enough to tell what each request leaves, or each
connection, from what comes once."""


def take(line: ProbeLine, driver: Driver) -> Graph:
    """Return the graph of what a sample of requests left, captured with automatic collection off.

    The worker must be warm, and nothing can be counted in it afterwards. Raises FaultError where it does not
    answer as expected or never comes to rest.
    """
    line.begin("off")
    sample, path = SAMPLE[driver.connection], driver.server.graph_path
    for requests in sample:
        driver.send(requests)
    if not line.snapshot(sum(sample), path).idle:
        raise FaultError(f"{driver.scenario.name}: the worker never came to rest, so it cannot be explained")
    return read(path.read_bytes())
