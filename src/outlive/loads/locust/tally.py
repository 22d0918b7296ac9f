"""Counts answers: fine latency histograms of constant size that add up over processes.

locust rounds response times to two digits; here every bucket is half a percent wide.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping

import msgspec

from outlive.records.load import Histogram, ScenarioTraffic

FINEST = 1e-5
"""Seconds at or below which all latencies share one bucket."""
WIDTH = 1.005
"""Ratio of a bucket's upper to its lower bound: a percentile is at most half a percent too high."""
MOST_FAULTS = 20
"""Most different texts of unexpected answers kept; a broken server could produce any number of them."""


class ScenarioTally(msgspec.Struct):
    """The answers to one scenario: `buckets` counts latencies by bucket number, `total` is in seconds."""

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

    def merge(self, tally: ScenarioTally) -> None:
        """Add the counts of `tally`."""
        self.requests += tally.requests
        self.unexpected += tally.unexpected
        self.total += tally.total
        self.longest = max(self.longest, tally.longest)
        for bucket, count in tally.buckets.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + count

    def traffic(self, scenario: str) -> ScenarioTraffic:
        """Return the record of these answers to `scenario`; there must be at least one."""
        return ScenarioTraffic.of(
            scenario,
            requests=self.requests,
            unexpected=self.unexpected,
            total=self.total,
            longest=self.longest,
            histogram=self.histogram(),
        )

    def histogram(self) -> Histogram:
        """Return the non-empty buckets, the fastest first."""
        return tuple((FINEST * WIDTH**bucket, count) for bucket, count in sorted(self.buckets.items()))


class Sent(msgspec.Struct):
    """The results of one locust process so far.

    `seconds` is the time since the first request was due, and ends with the last answer. In that time the
    process ran for `busy` seconds and waited for a core for `waiting` seconds. It has one thread, so if busy
    + waiting is near `seconds`, it could not send more. The last answer came `quiet` seconds ago; `silence`
    is the longest time without an answer. `done`: it has nothing more to send; `unsent` requests were due.
    """

    seconds: float = 0.0
    busy: float = 0.0
    waiting: float = 0.0
    quiet: float = 0.0
    silence: float = 0.0
    done: bool = False
    unsent: int = 0
    scenarios: dict[str, ScenarioTally] = {}
    faults: dict[str, int] = {}

    def add(self, scenario: str, seconds: float, fault: str | None) -> None:
        """Count one answer to `scenario`; `fault` says what was wrong with it."""
        self.scenarios.setdefault(scenario, ScenarioTally()).add(seconds, fault is None)
        if fault is not None:
            self.blame(fault)

    def blame(self, fault: str) -> None:
        """Count a text that says what was wrong."""
        if fault in self.faults or len(self.faults) < MOST_FAULTS:
            self.faults[fault] = self.faults.get(fault, 0) + 1


UNWRITTEN = os.EX_IOERR
"""The status with which locust ends if its file cannot be written."""


class Result(msgspec.Struct, frozen=True):
    """The file that locust writes: the results of each sending process.

    `overhead` is the CPU time, in seconds, of the process that only coordinates. `final` is False while the
    test runs; `stopped` says why it ended early.
    """

    processes: tuple[Sent, ...]
    overhead: float = 0.0
    final: bool = False
    stopped: str | None = None


def merged(tallies: Iterable[Mapping[str, ScenarioTally]]) -> dict[str, ScenarioTally]:
    """Return the sum of the tallies by scenario."""
    sums: dict[str, ScenarioTally] = {}
    for by_scenario in tallies:
        for scenario, tally in by_scenario.items():
            sums.setdefault(scenario, ScenarioTally()).merge(tally)
    return sums
