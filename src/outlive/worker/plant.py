"""Known faults planted in the served app, which a gate or a comparison under load must detect."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

LEAK_EVERY = 100
"""The planted leak keeps one object for ever in this many requests."""
CYCLE_OBJECTS = 2
"""Objects in the cycle that each request leaves; only the garbage collector frees them."""


class PlantedLeak:
    """One object in a list that nobody empties. With slots it has no dictionary, which would count too."""

    __slots__ = ("request",)


class PlantedCycle:
    """One of two objects that refer to each other."""

    __slots__ = ("other",)

    other: PlantedCycle


class Plant:
    """Plants the faults that `kinds` names: `leak` and `cycle` leave objects behind at each request.

    `memory:N` holds N bytes from the start; `work:S` burns S seconds of CPU time at each request.
    """

    def __init__(self, kinds: Sequence[str]) -> None:
        amounts = {name: float(number) for name, _, number in (k.partition(":") for k in kinds) if number}
        self.leaking = "leak" in kinds
        self.cycling = "cycle" in kinds
        self.work = amounts.get("work", 0.0)
        self.held = b"x" * int(amounts.get("memory", 0))
        self.requests = 0
        self.kept: list[PlantedLeak] = []

    def leave(self) -> None:
        """Count a request, and leave behind what is planted."""
        self.requests += 1
        if self.leaking and self.requests % LEAK_EVERY == 0:
            self.kept.append(PlantedLeak())
        if self.cycling:
            left, right = PlantedCycle(), PlantedCycle()
            left.other, right.other = right, left
        if self.work:
            until = time.perf_counter() + self.work
            while time.perf_counter() < until:
                pass
