"""How fast memory grew under load, what requests left, and what the exact replay predicts. Pure."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from scipy.stats import theilslopes

from outlive.loads.server import Counted
from outlive.records.load import Rate, Sample, ScenarioTraffic

LEAST_SAMPLES = 10
"""Fewest samples that give a rate."""
SETTLING = 0.2
"""Fraction of a segment ignored at its start, while caches fill and allocators reserve memory."""
CONFIDENCE = 0.95
LEAST_TYPE = 0.005
"""Fewest objects per request for which a type is recorded."""


def rate(samples: Sequence[Sample]) -> Rate | None:
    """Return how all processes' memory grew in the longest uninterrupted segment, None if it is too short.

    The rate is the median slope between all pairs of samples (Theil-Sen), which a few outliers do not move.
    Memory is proportional (PSS), or resident (RSS) on systems without PSS.
    """
    segment = _longest(samples)
    start = segment[0].seconds + SETTLING * _length(segment) if segment else 0.0
    settled = [sample for sample in segment if sample.seconds >= start]
    if len(settled) < LEAST_SAMPLES or settled[0].requests == settled[-1].requests:
        return None
    memory = [sample.pss or sample.rss for sample in settled]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # samples without a request in between
        per_second = theilslopes(memory, [sample.seconds for sample in settled], alpha=CONFIDENCE)
        per_request = theilslopes(memory, [sample.requests for sample in settled])
    return Rate(
        bytes_per_hour=float(per_second.slope) * 3600,
        low=float(per_second.low_slope) * 3600,
        high=float(per_second.high_slope) * 3600,
        bytes_per_request=float(per_request.slope),
        seconds=_length(settled),
    )


def left(counts: Sequence[Counted], requests: int, *, collecting: bool) -> dict[str, Any]:
    """Return what the workers counted per request, as fields of a record; empty without requests.

    The types are those of leaked objects if a collector runs, else of all survivors, most frequent first.
    """
    if not requests:
        return {}
    types: Counter[str] = Counter()
    for count in counts:
        types.update(count.types_kept if collecting else count.types)
    per_request = {name: number / requests for name, number in types.most_common()}
    return {
        "survivors_per_request": sum(count.survivors for count in counts) / requests,
        "leaked_per_request": sum(count.leaked for count in counts) / requests,
        "types": {name: count for name, count in per_request.items() if abs(count) >= LEAST_TYPE},
    }


def predicted(
    scenarios: Sequence[ScenarioTraffic], survivors_per_request: Mapping[str, float]
) -> float | None:
    """Return the objects per request that replay predicts for this mix, None if it lacks a scenario."""
    requests = sum(traffic.requests for traffic in scenarios)
    if not requests or any(traffic.scenario not in survivors_per_request for traffic in scenarios):
        return None
    return sum(traffic.requests * survivors_per_request[traffic.scenario] for traffic in scenarios) / requests


def _longest(samples: Sequence[Sample]) -> list[Sample]:
    by_segment: dict[int, list[Sample]] = {}
    for sample in samples:
        by_segment.setdefault(sample.segment, []).append(sample)
    return max(by_segment.values(), key=_length, default=[])


def _length(samples: Sequence[Sample]) -> float:
    return samples[-1].seconds - samples[0].seconds if samples else 0.0
