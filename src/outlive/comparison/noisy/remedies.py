"""Compares remedies under load with the plain release, from rounds. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

import msgspec

from outlive.comparison.noisy.metrics import GROWTH, THROUGHPUT, latency, memory
from outlive.comparison.noisy.noise import Decided, Metric, decide
from outlive.comparison.noisy.rounds import order, samples
from outlive.records.load import Traffic

CPU = latency("CPU per request")
"""Processor time of the server: noisy neighbours hardly change it, unlike the throughput."""
METRICS = (memory("peak RSS"), GROWTH, CPU, THROUGHPUT, latency("p99"))
"""The metrics by which remedies are judged, in this order."""
TrialRound = tuple[int, str | None, dict[Metric, float]]
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
    policies: Mapping[str | None, str], traffic: Traffic, seen: Sequence[TrialRound]
) -> dict[str | None, Trial]:
    """Return the trials from the values of each turn, which are in their order.

    `policies` are the gc policies by the name of the remedy, or None for the plain release.
    """
    rounds = max(number for number, _, _ in seen)
    means = {name: _means([values for _, whose, values in seen if whose == name]) for name in policies}

    def decided(remedy: str) -> tuple[Decided, ...]:
        turns = [values for _, whose, values in seen if whose in (None, remedy)]  # as those of two stacks
        return decide(samples(list(zip(order(rounds), turns, strict=True)), METRICS))

    return {
        name: Trial(
            policy=policy,
            traffic=traffic,
            rounds=rounds,
            means=means[name],
            plain=means[None],
            decided=() if name is None else decided(name),
        )
        for name, policy in policies.items()
    }


def _means(values: Sequence[dict[Metric, float]]) -> dict[str, float]:
    complete = [metric for metric in METRICS if all(metric in turn for turn in values)]
    return {metric.name: fmean(turn[metric] for turn in values) for metric in complete}
