"""Metrics: what is noisy and compared over rounds, and which changes of it matter.

Pure. How they are judged is in `outlive.noise`.
"""

from __future__ import annotations

from outlive.growth import HEAP_LEAK, LEAST_LEAK
from outlive.noise import Metric
from outlive.rows import HEAP_NOTED

MEMORY_TOLD = 0.01
"""Part of peak memory from which on a sure change is told. Peak RSS repeats so well that one import more or
less would show; that is no reason for or against a release."""
MEMORY_WANTED = 0.05
"""Part of peak memory that a run must be able to see before it may say that nothing changed."""
TIME_TOLD = 0.02
"""Part of a latency or of the throughput from which on a sure change is told. The layout of code in memory
moves them by as much from build to build."""
TIME_WANTED = 0.1
"""The same as MEMORY_WANTED for latency and throughput."""
GROWTH_TOLD = HEAP_LEAK
"""Bytes of growth per request, as for the C heap of an exact cell."""
GROWTH_WANTED = HEAP_NOTED
"""Bytes of growth per request that a run must be able to see: at 1,000 requests a second 1.8 GB an hour."""
PAUSE_TOLD = 0.001
"""Seconds of gc pause in 1,000 requests: a thousandth of a millisecond for each."""
PAUSE_WANTED = 0.02
"""Seconds of gc pause in 1,000 requests that a run must be able to see: 0.02 ms for each request."""
OBJECTS_TOLD = float(LEAST_LEAK)
"""Objects per request that are left once the connections are closed, as in an exact cell."""
OBJECTS_WANTED = 0.5
"""Half an object per request, so that one for every request is seen."""
LEAST_BEYOND = 10
"""Requests that must lie beyond a percentile; with fewer it is the luck of single requests."""


def memory(name: str) -> Metric:
    """Return a metric of bytes that are always there, such as peak RSS; less is better."""
    return Metric(
        name=name,
        unit="bytes",
        scale="ratio",
        higher_is="worse",
        told=MEMORY_TOLD,
        wanted=MEMORY_WANTED,
    )


def latency(name: str, scenario: str | None = None) -> Metric:
    """Return a metric of seconds that each request takes, of one scenario or all."""
    return Metric(
        name=name,
        unit="seconds",
        scale="ratio",
        higher_is="worse",
        told=TIME_TOLD,
        wanted=TIME_WANTED,
        scenario=scenario,
    )


THROUGHPUT = Metric(
    name="throughput",
    unit="per second",
    scale="ratio",
    higher_is="better",
    told=TIME_TOLD,
    wanted=TIME_WANTED,
)
GROWTH = Metric(
    name="growth per request",
    unit="bytes",
    scale="difference",
    higher_is="worse",
    told=GROWTH_TOLD,
    wanted=GROWTH_WANTED,
)
PAUSES = Metric(
    name="gc pause per 1000 requests",
    unit="seconds",
    scale="difference",
    higher_is="worse",
    told=PAUSE_TOLD,
    wanted=PAUSE_WANTED,
)
SURVIVORS = Metric(
    name="objects left per request",
    unit="objects",
    scale="difference",
    higher_is="worse",
    told=OBJECTS_TOLD,
    wanted=OBJECTS_WANTED,
)
