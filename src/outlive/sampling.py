"""The sample: a few more requests of a cell in a warm worker, and the graph of what survived them."""

from __future__ import annotations

from outlive.errors import FaultError
from outlive.graph import Graph, read
from outlive.measurement import Connection
from outlive.replay import replay
from outlive.scenarios import Scenario
from outlive.server import ProbeLine, Server

SAMPLE = {"close": (1,) * 11, "keep-alive": (5, 5, 5)}
"""Requests of each connection whose survivors are captured: enough to tell what each request leaves, or each
connection, from what comes once."""


def take(server: Server, line: ProbeLine, scenario: Scenario, connection: Connection) -> Graph:
    """Return the graph of what a sample of requests left, captured with automatic collection off.

    The worker must be warm, and nothing can be counted in it afterwards. Raises FaultError where it does not
    answer as expected or never comes to rest.
    """
    line.begin("off")
    for requests in SAMPLE[connection]:
        replay(server.address, scenario, connection, requests, line.rest)
    if not line.snapshot(sum(SAMPLE[connection]), server.graph_path).idle:
        raise FaultError(f"{scenario.name}: the worker never came to rest, so it cannot be explained")
    return read(server.graph_path.read_bytes())
