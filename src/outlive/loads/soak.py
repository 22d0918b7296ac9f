"""Combines the runs of a load test that was continued. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import msgspec

from outlive.records.load import Generated, LoadMeasurement, ScenarioTraffic, Traffic, summed


def remaining(traffic: Traffic, earlier: LoadMeasurement | None) -> Traffic:
    """Return the rest of `traffic` to send, at least one second or request."""
    if earlier is None:
        return traffic
    seconds, requests = traffic.seconds, traffic.requests
    return msgspec.structs.replace(
        traffic,
        seconds=None if seconds is None else max(math.ceil(seconds - earlier.seconds), 1),
        requests=None if requests is None else max(requests - earlier.requests, 1),
    )


def together(earlier: LoadMeasurement | None, later: Generated) -> Generated:
    """Return the traffic of all runs together."""
    if earlier is None:
        return later
    seconds = earlier.seconds + later.seconds
    requests = earlier.requests + later.requests
    faults = Counter(dict(earlier.faults)) + Counter(dict(later.faults))
    cores = earlier.generator_cores * earlier.seconds + later.cores * later.seconds
    return msgspec.structs.replace(
        later,
        seconds=seconds,
        requests=requests,
        unexpected=earlier.unexpected + later.unexpected,
        unsent=earlier.unsent + later.unsent,
        silence=max((gap for gap in (earlier.silence, later.silence) if gap is not None), default=None),
        throughput=requests / seconds if seconds else 0.0,
        scenarios=_scenarios([*earlier.scenarios, *later.scenarios]),
        cores=cores / seconds if seconds else 0.0,
        busiest=max(earlier.generator_busiest, later.busiest),
        faults=tuple(faults.most_common()),
    )


def _scenarios(parts: Sequence[ScenarioTraffic]) -> tuple[ScenarioTraffic, ...]:
    by_name: dict[str, list[ScenarioTraffic]] = {}
    for part in parts:
        by_name.setdefault(part.scenario, []).append(part)
    return tuple(merged(by_name[name]) for name in sorted(by_name))


def merged(parts: Sequence[ScenarioTraffic]) -> ScenarioTraffic:
    """Return the sum of `parts`, under the name of the first."""
    return ScenarioTraffic.of(
        parts[0].scenario,
        requests=sum(part.requests for part in parts),
        unexpected=sum(part.unexpected for part in parts),
        total=sum(part.mean * part.requests for part in parts),
        longest=max(part.longest for part in parts),
        histogram=summed(part.histogram for part in parts),
    )
