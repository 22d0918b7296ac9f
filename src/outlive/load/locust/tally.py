"""What came back, counted: fine histograms of latency that add up over processes, at a constant size.

locust rounds response times to two digits; here a bucket is half a percent wide at every size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import msgspec

FINEST = 1e-5
"""Seconds below which latencies are not told apart."""
WIDTH = 1.005
"""Upper bound of a bucket over its lower bound: a percentile is at most half a percent too high."""
MOST_FAULTS = 20
"""Different texts of unexpected answers that are kept; a server gone wrong could give endless ones."""


class Tally(msgspec.Struct):
    """The answers to one scenario; `buckets` counts latencies by bucket number, `total` sums up seconds."""

    requests: int = 0
    unexpected: int = 0
    total: float = 0.0
    longest: float = 0.0
    buckets: dict[int, int] = {}

    def add(self, seconds: float, expected: bool) -> None:
        """Count one answer."""
        self.requests += 1
        self.unexpected += not expected
        self.total += seconds
        self.longest = max(self.longest, seconds)
        bucket = math.ceil(math.log(seconds / FINEST, WIDTH)) if seconds > FINEST else 0
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1

    def merge(self, other: Tally) -> None:
        """Count what `other` has counted, too."""
        self.requests += other.requests
        self.unexpected += other.unexpected
        self.total += other.total
        self.longest = max(self.longest, other.longest)
        for bucket, count in other.buckets.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + count

    def percentile(self, percent: float) -> float:
        """Return the seconds within which `percent` of 100 answers came; 0 where there are none."""
        missing = math.ceil(self.requests * percent / 100)
        for bucket, count in sorted(self.buckets.items()):
            missing -= count
            if missing <= 0:
                return min(bound(bucket), self.longest)
        return 0.0

    def histogram(self) -> tuple[tuple[float, int], ...]:
        """Return (upper bound in seconds, answers) of each bucket that is not empty, the fastest first."""
        return tuple((bound(bucket), count) for bucket, count in sorted(self.buckets.items()))


def bound(bucket: int) -> float:
    """Return the longest latency, in seconds, that belongs into the bucket."""
    return float(FINEST * WIDTH**bucket)


class Sent(msgspec.Struct):
    """What one locust process has sent and seen so far.

    `started` is when the first request was due, in seconds since the epoch, `seconds` the time since then, in
    the end until the last answer. In it, the process ran for `busy` and was kept `waiting` for a core; it is
    one thread, so that busy + waiting near `seconds` means that it could not send more. `quiet` is how many
    seconds ago the last answer came; `done`: it has nothing more to send, though `unsent` were due.
    """

    started: float = 0.0
    seconds: float = 0.0
    busy: float = 0.0
    waiting: float = 0.0
    quiet: float = 0.0
    done: bool = False
    unsent: int = 0
    scenarios: dict[str, Tally] = {}
    faults: dict[str, int] = {}

    def add(self, scenario: str, seconds: float, fault: str | None) -> None:
        """Count one answer to `scenario`; `fault` says what was wrong with it."""
        self.scenarios.setdefault(scenario, Tally()).add(seconds, fault is None)
        if fault is not None and (fault in self.faults or len(self.faults) < MOST_FAULTS):
            self.faults[fault] = self.faults.get(fault, 0) + 1


class Result(msgspec.Struct, frozen=True):
    """What a load test's locust writes: what each process that sends has seen.

    `overhead` is the CPU time, in seconds, of the process that only coordinates. `final` is False as long as
    it runs; `stopped` says why it ended early.
    """

    processes: tuple[Sent, ...]
    overhead: float = 0.0
    final: bool = False
    stopped: str | None = None


def merged(tallies: Iterable[Mapping[str, Tally]]) -> dict[str, Tally]:
    """Return the sum of the tallies by scenario."""
    found: dict[str, Tally] = {}
    for one in tallies:
        for scenario, tally in one.items():
            found.setdefault(scenario, Tally()).merge(tally)
    return found
