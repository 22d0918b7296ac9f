"""Schedules the requests of a load test: an exact number, a constant rate, or both."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator

import msgspec

NAP = 0.1
"""Seconds between two checks by a waiting client whether the test is over."""


class Share(msgspec.Struct, frozen=True):
    """The part of a load test that one locust process sends.

    `requests` is the number of requests (None: no limit), `rate` their number per second (None: as fast as
    they are answered). The first is due `first` seconds after the start, so that processes take turns.
    """

    requests: int | None = None
    rate: float | None = None
    first: float = 0.0


NOTHING = Share(requests=0)


def shares(requests: int | None, rate: float | None, processes: int) -> tuple[Share, ...]:
    """Return the parts of `processes` locust processes, which together send `requests` at `rate`."""
    return tuple(
        Share(
            None if requests is None else requests // processes + (index < requests % processes),
            None if rate is None else rate / processes,
            0.0 if rate is None else index / rate,
        )
        for index in range(processes)
    )


class Arrivals:
    """The requests of one process as they come due; its clients take them one by one.

    A request is due at its time whether or not a client is free. If all are busy because the server stalls,
    requests are sent late and their latency counts from when they were due: leaving them out ("coordinated
    omission") would hide the stall. `unsent` counts those still waiting for a client at the end.
    """

    def __init__(
        self,
        share: Share,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.share = share
        self.closed = False
        self.pending = 0
        self.unsent = 0
        self.began: float | None = None
        self._taken = 0
        self._clock = clock
        self._sleep = sleep

    @property
    def over(self) -> bool:
        """Whether no more requests come and all taken requests are finished."""
        return (self.closed or self._taken == self.share.requests) and not self.pending

    def close(self) -> None:
        """Begin no more requests; requests under way finish."""
        if not self.closed and self.began is not None and self.share.rate is not None:
            due = math.ceil((self._clock() - self.began - self.share.first) * self.share.rate)
            self.unsent = max(0, min(due, self.share.requests or due) - self._taken)
        self.closed = True

    @contextlib.contextmanager
    def take(self) -> Iterator[float | None]:
        """Wait for the next request and yield the time when it was due, or None if there are no more."""
        if self.closed or self._taken == self.share.requests:
            yield None
            return
        number = self._taken
        self._taken += 1
        self.pending += 1
        try:
            yield self._wait(number)
        finally:
            self.pending -= 1

    def _wait(self, number: int) -> float | None:
        now = self._clock()
        if self.began is None:
            self.began = now
        if self.share.rate is None:
            return now
        due = self.began + self.share.first + number / self.share.rate
        while not self.closed and (left := due - self._clock()) > 0:
            self._sleep(min(left, NAP))
        return None if self.closed else due
