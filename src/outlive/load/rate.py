"""How memory grew under load, and what the exact replay predicts that requests leave. Pure."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

from scipy.stats import theilslopes

from outlive.records.load import Rate, Sample, ScenarioTraffic

LEAST_SAMPLES = 10
"""Samples that a rate needs; a shorter test has none."""
SETTLING = 0.2
"""Part of a segment, from its start, that is left out: caches fill, allocators take what they keep."""
CONFIDENCE = 0.95


def rate(samples: Sequence[Sample]) -> Rate | None:
    """Return how the memory of all processes grew in the longest uninterrupted stretch.

    None if that is too short. It is the median slope between all pairs of samples (Theil-Sen): a few samples
    in the middle of something do not move it. Memory is proportional, or resident where the system does not
    tell the former.
    """
    found = _longest(samples)
    settled = [one for one in found if one.seconds >= found[0].seconds + SETTLING * _length(found)]
    if len(settled) < LEAST_SAMPLES or settled[0].requests == settled[-1].requests:
        return None
    memory = [one.pss or one.rss for one in settled]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # samples without a request in between
        per_second = theilslopes(memory, [one.seconds for one in settled], alpha=CONFIDENCE)
        per_request = theilslopes(memory, [one.requests for one in settled])
    return Rate(
        bytes_per_hour=float(per_second.slope) * 3600,
        low=float(per_second.low_slope) * 3600,
        high=float(per_second.high_slope) * 3600,
        bytes_per_request=float(per_request.slope),
        seconds=_length(settled),
    )


def predicted(
    scenarios: Sequence[ScenarioTraffic], survivors_per_request: Mapping[str, float]
) -> float | None:
    """Return the objects that a request leaves on average, from what one of each scenario leaves in replay.

    None where a scenario that was sent is not among them.
    """
    requests = sum(one.requests for one in scenarios)
    if not requests or any(one.scenario not in survivors_per_request for one in scenarios):
        return None
    return sum(one.requests * survivors_per_request[one.scenario] for one in scenarios) / requests


def _longest(samples: Sequence[Sample]) -> list[Sample]:
    by_segment: dict[int, list[Sample]] = {}
    for one in samples:
        by_segment.setdefault(one.segment, []).append(one)
    return max(by_segment.values(), key=_length, default=[])


def _length(samples: Sequence[Sample]) -> float:
    return samples[-1].seconds - samples[0].seconds if samples else 0.0
