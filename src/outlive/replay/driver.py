"""Drives the exact load of one cell: numbers its requests, and waits until the server has handled them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

from outlive.errors import FaultError
from outlive.records.measurement import Connection
from outlive.replay.client import Client, SilentError
from outlive.service.gunicorn import Server
from outlive.service.login import logged_in
from outlive.service.scenarios import Answer, Scenario


class Driver:
    """Sends the requests of one scenario over one kind of connection to a fresh worker of a server.

    `line` leads to the worker's probe. Raises as `Server.fresh_worker` does.
    """

    def __init__(self, server: Server, scenario: Scenario, connection: Connection) -> None:
        self.line = server.fresh_worker()
        self.server = server
        self.scenario = scenario
        self.connection = connection
        self._numbers = itertools.count()

    def verify(self) -> Answer:
        """Send one request and return its answer. Raises FaultError if it is unexpected."""
        with self._client(self.connection) as client:
            return client.ask()

    def send(self, requests: int, over: Connection | None = None) -> int:
        """Send that many requests; return the number of connections used.

        `over` replaces the driver's kind of connection. Raises FaultError at the first unexpected answer.
        """
        with self._client(over or self.connection) as client:
            connections = client.replay(requests)
        self.server.settle()
        return connections

    def check_rest(self, *, idle: bool, so: str) -> None:
        """Raise FaultError, which says `so`, unless the worker was `idle` when it was asked."""
        if not idle:
            never = f"{self.scenario.name}: the worker never came to rest, so it cannot be {so}"
            raise FaultError(f"{never}{self.server.where()}")

    @contextmanager
    def _client(self, connection: Connection) -> Iterator[Client]:
        """Yield a client, which is closed afterwards; it logs in before its first request."""
        server = self.server
        self.scenario = logged_in(self.scenario, server.address)
        try:
            with Client(
                server.address, self.scenario, connection, server.rest, numbers=self._numbers
            ) as client:
                yield client
        except SilentError as error:
            raise FaultError(f"{error}{server.where()}") from None
