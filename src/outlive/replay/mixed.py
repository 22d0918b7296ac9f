"""Replays the traffic of a load test: the same mix over as many connections, but one request at a time.

What that leaves, a load test leaves too unless something depends on simultaneous requests. It differs from
the sum of the scenarios replayed one by one: requests that share a connection share what it leaves.
"""

from __future__ import annotations

import contextlib
import itertools
import select
import time
from collections.abc import Iterable, Sequence
from typing import Self

import msgspec

from outlive.records.measurement import Connection
from outlive.replay import client as replay
from outlive.service.login import logged_in
from outlive.service.scenarios import Scenario
from outlive.service.seal import Address
from outlive.service.users import Deck
from outlive.service.wire import Wire

LENGTHS = (400, 1000)
"""Requests of two phases, each over new connections: the difference is what requests leave; the rest came
once, with the connections."""
LOOK = 1
"""Milliseconds after each request in which the server may close the connection."""
PATIENCE = 0.02
"""Seconds that a client waits before it leaves midway, so that the server is midway as well."""


class MixResidue(msgspec.Struct, frozen=True):
    """Objects left `per_request`, and `once`, with the connections of all clients."""

    per_request: float
    once: float

    @classmethod
    def of(cls, counts: Sequence[int]) -> MixResidue:
        """Return what the counts after phases of LENGTHS requests imply."""
        (a, b), (x, y) = LENGTHS, counts
        per_request = (y - x) / (b - a)
        return cls(per_request, y - per_request * b)

    def after(self, requests: int) -> float:
        """Return the objects left per request after that many requests."""
        return self.per_request + self.once / requests


class MixClient:
    """One of a load test's clients: its ordinary requests share a connection, others use their own."""

    def __init__(self, address: Address, scenarios: Iterable[Scenario], connection: Connection) -> None:
        self._replays = {
            scenario.name: replay.Client(
                address, logged_in(scenario, address), connection, lambda: time.sleep(PATIENCE)
            )
            for scenario in scenarios
        }
        self.idle: Wire | None = None
        """The open connection of its ordinary requests, or None."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._replays.values():
            client.close()
        self.hang_up()

    def hang_up(self) -> None:
        """Close the connection that is idle."""
        if self.idle is not None:
            self.idle.close()
            self.idle = None

    def send(self, name: str) -> None:
        """Send one request of the named scenario. Raises FaultError if its answer is not expected."""
        client = self._replays[name]
        if not client.scenario.ordinary:
            client.ask()
            return
        client.wire, self.idle = self.idle, None
        try:
            client.ask()
        finally:
            self.idle, client.wire = client.wire, None


def send(
    address: Address,
    scenarios: Sequence[Scenario],
    deck: Deck,
    *,
    requests: int,
    clients: int,
    connection: Connection,
) -> None:
    """Send what the deck deals, with the clients taking turns, then close all connections.

    Raises FaultError at the first answer that its scenario does not expect.
    """
    with contextlib.ExitStack() as stack:
        all_clients = [stack.enter_context(MixClient(address, scenarios, connection)) for _ in range(clients)]
        for client in itertools.islice(itertools.cycle(all_clients), requests):
            client.send(deck.draw())
            _hang_up_closed(all_clients)


def _hang_up_closed(clients: Iterable[MixClient]) -> None:
    """Close the connections that the server has closed, as busy clients do.

    gunicorn waits up to 2 s for that, in the thread that served the connection, which can be its only one.
    """
    poll = select.poll()
    by_file = {client.idle.socket.fileno(): client for client in clients if client.idle is not None}
    for file in by_file:
        poll.register(file, select.POLLIN)
    for file, _ in poll.poll(LOOK):
        by_file[file].hang_up()
