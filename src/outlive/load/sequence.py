"""The traffic of a load test replayed: the same mix over as many connections, one request at a time.

What that leaves says what a load test must leave if nothing depends on requests at the same time. It is more
than the sum of its scenarios, each replayed by itself: requests that share a connection share what it leaves.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterable, Sequence
from typing import Self

import msgspec

from outlive import replay
from outlive.load.traffic import Deck
from outlive.measurement import Connection
from outlive.scenarios import Scenario
from outlive.wire import Address, Wire

LENGTHS = (400, 1000)
"""Requests of two phases, each over new connections: their difference is what requests leave, the rest is
what came once with the connections."""
PATIENCE = 0.02
"""Seconds for which a client that leaves in the middle stays, so that the server is in the middle, too."""


class Left(msgspec.Struct, frozen=True):
    """Objects that requests left: so many each, and so many once, with the connections of all clients."""

    per_request: float
    once: float

    @classmethod
    def of(cls, counts: Sequence[int]) -> Left:
        """Return what the counts after the phases of LENGTHS say."""
        (a, b), (x, y) = LENGTHS, counts
        per_request = (y - x) / (b - a)
        return cls(per_request, y - per_request * b)

    def after(self, requests: int) -> float:
        """Return the objects for each of so many requests."""
        return self.per_request + self.once / requests


class Client:
    """One of a load test's clients: its ordinary requests share a connection, others have their own."""

    def __init__(self, address: Address, scenarios: Iterable[Scenario], connection: Connection) -> None:
        self._replays = {
            one.name: replay.Client(address, one, connection, lambda: time.sleep(PATIENCE))
            for one in scenarios
        }
        self._wire: Wire | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._replays.values():
            one.close()
        if self._wire is not None:
            self._wire.close()

    def send(self, name: str) -> None:
        """Send one request. Raises FaultError where the answer is not one that the scenario expects."""
        client = self._replays[name]
        if not client.scenario.ordinary:
            replay.check(client.scenario, client.send())
            return
        client.wire, self._wire = self._wire, None
        try:
            replay.check(client.scenario, client.send())
        finally:
            self._wire, client.wire = client.wire, None


def send(
    address: Address,
    scenarios: Sequence[Scenario],
    deck: Deck,
    *,
    requests: int,
    clients: int,
    connection: Connection,
) -> None:
    """Send what the deck deals, the clients taking turns, and close all connections.

    Raises FaultError where an answer is not one that its scenario expects.
    """
    with contextlib.ExitStack() as stack:
        all_clients = [stack.enter_context(Client(address, scenarios, connection)) for _ in range(clients)]
        for client in itertools.islice(itertools.cycle(all_clients), requests):
            client.send(deck.draw())
