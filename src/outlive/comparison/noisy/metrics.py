"""The noisy metrics that are compared over rounds, and which changes of them matter.

Pure. `outlive.comparison.noisy.noise` decides them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import msgspec

from outlive.comparison.changes import HEAP_TOLD
from outlive.comparison.noisy.noise import Metric
from outlive.records.load import LoadMeasurement, percentile, summed
from outlive.retention.growth import LEAST_LEAK

MEMORY_TOLD = 0.01
"""Smallest change, as a fraction of peak memory, that is reported if it is certain. Peak RSS repeats so well
that one import more or less would show; that is no reason for or against a release."""
MEMORY_WANTED = 0.05
"""Change, as a fraction of peak memory, that a run must be able to see before it may say that nothing
changed."""
TIME_TOLD = 0.02
"""Smallest change, as a fraction of a latency or of the throughput, that is reported if it is certain. The
layout of code in memory changes them by as much from build to build."""
TIME_WANTED = 0.1
"""The same as MEMORY_WANTED for latency and throughput."""
GROWTH_TOLD = 64.0
"""The same as MEMORY_TOLD for bytes of growth per request: at 1,000 requests a second 230 MB an hour."""
GROWTH_WANTED = HEAP_TOLD
"""The same as MEMORY_WANTED for growth per request: at 1,000 requests a second these are 1.8 GB an hour."""
PAUSE_TOLD = 0.001
"""The same as MEMORY_TOLD for seconds of gc pause in 1,000 requests: 0.001 ms for each request."""
PAUSE_WANTED = 0.02
"""The same as MEMORY_WANTED for seconds of gc pause in 1,000 requests: 0.02 ms for each request."""
OBJECTS_TOLD = float(LEAST_LEAK)
"""The same as MEMORY_TOLD for objects left per request, as in an exact cell."""
OBJECTS_WANTED = 0.5
"""The same as MEMORY_WANTED for objects left per request: one for every request must be seen."""
LEAST_BEYOND = 10
"""Least number of requests beyond a percentile; with fewer it depends on single requests."""


_ratio = partial(Metric, scale="ratio", higher_is="worse")
_difference = partial(Metric, scale="difference", higher_is="worse")


def memory(name: str) -> Metric:
    """Return a metric of bytes that are always there, such as peak RSS; less is better."""
    return _ratio(name=name, unit="bytes", told=MEMORY_TOLD, wanted=MEMORY_WANTED)


def latency(name: str, scenario: str | None = None) -> Metric:
    """Return a metric of seconds that a request takes, for one scenario or for all."""
    return _ratio(name=name, unit="seconds", told=TIME_TOLD, wanted=TIME_WANTED, scenario=scenario)


THROUGHPUT = _ratio(
    name="throughput", unit="per second", higher_is="better", told=TIME_TOLD, wanted=TIME_WANTED
)
GROWTH = _difference(name="growth per request", unit="bytes", told=GROWTH_TOLD, wanted=GROWTH_WANTED)
PAUSES = _difference(name="gc pause per 1000 requests", unit="seconds", told=PAUSE_TOLD, wanted=PAUSE_WANTED)
SURVIVORS = _difference(
    name="objects left per request", unit="objects", told=OBJECTS_TOLD, wanted=OBJECTS_WANTED
)
LEAKED = msgspec.structs.replace(SURVIVORS, name="objects leaked per request")
PERCENTILES = {"p50": 50.0, "p95": 95.0, "p99": 99.0}
"""The percentiles of latency that are compared."""


def readings(measurement: LoadMeasurement) -> dict[Metric, float]:
    """Return the noisy numbers of one load test by metric, as far as it has them."""
    return dict(_readings(measurement))


def _readings(test: LoadMeasurement) -> Iterator[tuple[Metric, float]]:
    if test.peak_rss_bytes:
        yield memory("peak RSS"), float(test.peak_rss_bytes)
    if test.tree_peak_bytes:
        yield memory("peak of all processes"), float(test.tree_peak_bytes)
    if test.growth is not None:
        yield GROWTH, test.growth.bytes_per_request
    left = test.survivors_per_request if test.deployment.gc == "off" else test.leaked_per_request
    if left is not None:
        yield (SURVIVORS if test.deployment.gc == "off" else LEAKED), left
    yield THROUGHPUT, test.throughput
    histogram = summed(traffic.histogram for traffic in test.scenarios)
    yield from ((latency(name), percentile(histogram, percent)) for name, percent in PERCENTILES.items())
    if test.deployment.gc != "off" and test.requests:
        yield PAUSES, 1000 * test.collections.pause / test.requests
    for traffic in test.scenarios:
        for name, percent in PERCENTILES.items():
            if traffic.requests * (1 - percent / 100) >= LEAST_BEYOND:
                yield latency(name, traffic.scenario), percentile(traffic.histogram, percent)
