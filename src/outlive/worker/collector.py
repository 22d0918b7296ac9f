"""Sums up a process's automatic collections: their number, what they freed, how long they paused it."""

from __future__ import annotations

import gc
import math
from time import perf_counter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FINEST = 1e-6
"""Seconds at or below which all pauses share one bucket."""
WIDTH = 1.02
"""Ratio of a bucket's upper to its lower bound: a percentile is at most 2 percent too high."""
OLDEST = 2
"""The oldest generation: a collection of it is a full one."""
LONGEST = 1200
"""Number of buckets; the last holds all pauses from six hours on."""


class CollectorLog:
    """Sums up the automatic collections; ignores those that the probe runs itself, while `own` is True."""

    def __init__(self) -> None:
        self.own = False
        self.clear()

    def clear(self) -> None:
        """Start from zero."""
        self.collections = self.full = self.freed = 0
        self.pause = self.longest = self.started = 0.0

    def __call__(self, phase: str, info: dict[str, int]) -> None:
        """Record the start or the end of a collection, as a callback in `gc.callbacks`."""
        if self.own:
            return
        if phase == "start":
            self.started = perf_counter()
            return
        self.add(perf_counter() - self.started)
        self.full += info["generation"] == OLDEST
        self.freed += info["collected"]

    def add(self, pause: float) -> None:
        """Add a collection that took `pause` seconds."""
        self.collections += 1
        self.pause += pause
        self.longest = max(self.longest, pause)

    def sums(self) -> dict[str, Any]:
        """Return the sums since the last `clear`; `pause` (the total) and `longest` are seconds."""
        return {
            "collections": self.collections,
            "full": self.full,
            "freed": self.freed,
            "pause": self.pause,
            "longest": self.longest,
        }

    def take(self) -> dict[str, Any]:
        """Return the sums and start again from zero."""
        sums = self.sums()
        self.clear()
        return sums


class Pauses(CollectorLog):
    """Also keeps a histogram of the pauses by length, in constant space."""

    def clear(self) -> None:
        """Start from zero."""
        super().clear()
        self.buckets = [0] * LONGEST

    def add(self, pause: float) -> None:
        """Add a collection that took `pause` seconds."""
        super().add(pause)
        bucket = math.ceil(math.log(pause / FINEST, WIDTH)) if pause > FINEST else 0
        self.buckets[min(bucket, LONGEST - 1)] += 1

    def sums(self) -> dict[str, Any]:
        """Return the sums since the last `clear`; `pauses` are (upper bound in seconds, count)."""
        enabled = gc.isenabled()
        gc.disable()  # making the list would start a collection that the sums have and the list has not
        pauses = [(FINEST * WIDTH**at, count) for at, count in enumerate(self.buckets) if count]
        sums = {**super().sums(), "pauses": pauses}
        if enabled:
            gc.enable()
        return sums
