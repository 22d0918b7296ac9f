"""Known faults planted in the served app: what a gate, or a comparison under load, must see.

Runs in the environment of the release: standard library only, Python 3.8 and newer, imports nothing of ours.
"""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

LEAK_EVERY = 100
"""Requests for each object that the planted leak keeps for ever."""
CYCLE_OBJECTS = 2
"""Objects of the cycle that each request leaves; only the garbage collector frees them."""


class PlantedLeak:
    """Is kept in a list that nobody empties. Slots: exactly one object that the collector tracks."""

    __slots__ = ("request",)


class PlantedCycle:
    """Refers to another one, which refers back."""

    __slots__ = ("other",)

    other: PlantedCycle


class Plant:
    """Leaves what `kinds` names, `leak` and `cycle`, at each request.

    `memory:N` holds N bytes from the start, `work:S` keeps the processor busy for S seconds at each request.
    """

    def __init__(self, kinds: Sequence[str]) -> None:
        amounts = {kind: float(amount) for kind, _, amount in (one.partition(":") for one in kinds) if amount}
        self.leaking = "leak" in kinds
        self.cycling = "cycle" in kinds
        self.work = amounts.get("work", 0.0)
        self.held = b"x" * int(amounts.get("memory", 0))
        self.requests = 0
        self.kept: list[PlantedLeak] = []

    def leave(self) -> None:
        """Count a request, and leave something behind."""
        self.requests += 1
        if self.leaking and self.requests % LEAK_EVERY == 0:
            self.kept.append(PlantedLeak())
        if self.cycling:
            one, other = PlantedCycle(), PlantedCycle()
            one.other, other.other = other, one
        if self.work:
            until = time.perf_counter() + self.work
            while time.perf_counter() < until:
                pass
