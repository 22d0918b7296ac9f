"""Compares remedies under load with the plain release, from rounds. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

import msgspec

from outlive.comparison.noisy.metrics import GROWTH, THROUGHPUT, latency, memory
from outlive.comparison.noisy.noise import Decided, Metric, Round, Samples, decide
from outlive.records.load import Traffic

CPU = latency("CPU per request")
"""Processor time of the server: noisy neighbours hardly change it, unlike the throughput."""
METRICS = (memory("peak RSS"), GROWTH, CPU, THROUGHPUT, latency("p99"))
"""The metrics by which remedies are judged, in this order."""
Seen = tuple[int, str | None, dict[Metric, float]]
"""The number of a round, the remedy whose turn it was (None: the plain release), and the values."""


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one arm: the means of each metric, and how they compare with the plain release.

    `means` and `plain`, those of the plain release in the same rounds, are by `Metric.name`, in bytes, bytes
    per request, seconds, or requests per second. `decided` is in the order of METRICS, and empty for the
    plain release.
    """

    policy: str
    traffic: Traffic
    rounds: int
    means: dict[str, float]
    plain: dict[str, float]
    decided: tuple[Decided, ...] = ()


def judged(
    policies: Mapping[str | None, str], traffic: Traffic, seen: Sequence[Seen]
) -> dict[str | None, Trial]:
    """Return the trials from the values of each turn, which are in their order.

    `policies` are the gc policies by the name of the remedy, or None for the plain release.
    """
    rounds = sorted({number for number, _, _ in seen})
    by_name: dict[str | None, list[dict[Metric, float]]] = {}
    for _, name, values in seen:
        by_name.setdefault(name, []).append(values)
    twice = by_name[None]  # two for each round; every other round runs backwards
    pairs = [
        (twice[2 * at], twice[2 * at + 1]) if number % 2 else (twice[2 * at + 1], twice[2 * at])
        for at, number in enumerate(rounds)
    ]
    means = _means(twice)
    trials: dict[str | None, Trial] = {
        None: Trial(policy=policies[None], traffic=traffic, rounds=len(rounds), means=means, plain=means)
    }
    for remedy in policies.keys() - {None}:
        mine = by_name[remedy]
        samples = [
            Samples(
                metric,
                tuple(
                    Round(before[metric], after[metric], again[metric])
                    for (before, again), after in zip(pairs, mine, strict=True)
                    if metric in before and metric in after and metric in again
                ),
            )
            for metric in METRICS
        ]
        trials[remedy] = Trial(
            policy=policies[remedy],
            traffic=traffic,
            rounds=len(rounds),
            means=_means(mine),
            plain=means,
            decided=decide(samples),
        )
    return trials


def _means(values: Sequence[dict[Metric, float]]) -> dict[str, float]:
    complete = [metric for metric in METRICS if all(metric in turn for turn in values)]
    return {metric.name: fmean(turn[metric] for turn in values) for metric in complete}
