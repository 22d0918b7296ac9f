"""Drives the exact load of one cell: numbers its requests, and waits until the server has handled them."""

from __future__ import annotations

import itertools

from outlive.records.measurement import Connection
from outlive.replay.client import replay, verify
from outlive.service.gunicorn import Server
from outlive.service.login import logged_in
from outlive.service.scenarios import Answer, Scenario


class Driver:
    """Sends the requests of one scenario over one kind of connection to a fresh worker of a server.

    `line` is that to the worker's probe. Raises as `Server.fresh_worker` does.
    """

    def __init__(self, server: Server, scenario: Scenario, connection: Connection) -> None:
        self.line = server.fresh_worker()
        self.server = server
        self.scenario = scenario
        self.connection = connection
        self._numbers = itertools.count()

    def verify(self) -> Answer:
        """Send one request and return its answer. Raises FaultError if it is not an expected one."""
        server = self.server
        return verify(server.address, self._logged_in(), self.connection, server.rest, numbers=self._numbers)

    def send(self, requests: int, over: Connection | None = None) -> int:
        """Send that many requests; return the number of connections used.

        `over` replaces the driver's kind of connection. Raises FaultError at the first unexpected answer.
        """
        server, kind = self.server, over or self.connection
        connections = replay(
            server.address, self._logged_in(), kind, requests, server.rest, numbers=self._numbers
        )
        server.settle()
        return connections

    def _logged_in(self) -> Scenario:
        """Return the scenario; its client logs in before the first request."""
        self.scenario = logged_in(self.scenario, self.server.address)
        return self.scenario
