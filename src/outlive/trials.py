"""Trials: the release as it is and with each remedy take turns under the same load.

A round is: the release as it is, each remedy, the release as it is once more; every other round runs
backwards. So an A/A stands beside every A/B, as in `outlive.rounds`, and one of them serves all remedies.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from statistics import fmean

import msgspec

from outlive.engine import Prepared
from outlive.errors import FaultError
from outlive.load.generator import Generated
from outlive.load.plan import LoadTest
from outlive.load.record import Deployment
from outlive.load.traffic import Traffic
from outlive.metrics import GROWTH, THROUGHPUT, latency, memory, readings
from outlive.noise import Decided, Metric, Round, Samples, decide
from outlive.project import Project

CPU = latency("CPU per request")
"""Processor time of the server: noisy neighbours hardly change it, unlike the throughput."""
METRICS = (memory("peak RSS"), GROWTH, CPU, THROUGHPUT, latency("p99"))
"""What remedies are judged by, in this order."""


class Arm(msgspec.Struct, frozen=True):
    """One that takes its turn: a stack, with a remedy or without, and its gc policy."""

    stack: Prepared
    policy: str

    @property
    def name(self) -> str | None:
        """The remedy's name, None for the release as it is."""
        return self.stack.remedy_name


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What the rounds gave of one arm: the means of each metric, and how they compare with the plain release.

    `means` are its own, `plain` those of the release as it is in the same rounds, by `Metric.name`; in bytes,
    bytes per request, seconds, requests per second. `decided` is in the order of METRICS, and empty for the
    release as it is.
    """

    policy: str
    traffic: Traffic
    rounds: int
    means: dict[str, float]
    plain: dict[str, float]
    decided: tuple[Decided, ...] = ()


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """The load that arms are put under: gunicorn's worker, what is sent, and how often."""

    worker: str
    traffic: Traffic
    rounds: int


Seen = tuple[int, str | None, dict[Metric, float]]
"""The number of a round, whose turn it was, and what it gave."""
Watch = Callable[[int, Arm, Generated], object]
"""Is told of the round, whose turn it is, and what was sent so far."""


def run(
    project: Project, plain: Arm, arms: Sequence[Arm], load: Load, watch: Watch
) -> dict[str | None, Trial]:
    """Return what the rounds gave, by the name of the remedy; that of the plain release is None.

    Raises FaultError where a load test fails, and UsageError for traffic that does not exist.
    """
    from outlive.load.run import run as load_test  # noqa: PLC0415 - what it needs comes with an extra

    seen: list[Seen] = []
    for number, arm in order(plain, arms, load.rounds):
        deployment = Deployment(worker=load.worker, gc=arm.policy, remedy=arm.name)
        test = LoadTest(arm.stack, deployment, load.traffic)
        measured = load_test(project, test, watch=functools.partial(watch, number, arm))
        if measured.status != "measured":
            name = arm.name or "the release as it is"
            raise FaultError(f"round {number}, {name}, gc {arm.policy}: {measured.status}: {measured.reason}")
        found = readings(measured)
        if measured.server_cores:
            found[CPU] = measured.server_cores * measured.seconds / measured.requests
        seen.append((number, arm.name, found))
    return judged(plain, arms, load.traffic, seen)


def order(plain: Arm, arms: Sequence[Arm], rounds: int) -> Iterator[tuple[int, Arm]]:
    """Yield the number of the round, from 1, and whose turn it is."""
    whole = [plain, *arms, plain]
    for number in range(1, rounds + 1):
        for arm in whole if number % 2 else whole[::-1]:
            yield number, arm


def judged(
    plain: Arm, arms: Sequence[Arm], traffic: Traffic, seen: Sequence[Seen]
) -> dict[str | None, Trial]:
    """Return the trials from what each turn gave, in the order of the turns."""
    rounds = sorted({number for number, _, _ in seen})
    by_name: dict[str | None, list[dict[Metric, float]]] = {}
    for _, name, values in seen:
        by_name.setdefault(name, []).append(values)
    twice = by_name[None]  # two for each round; in every other one the second is the first
    pairs = [
        (twice[2 * at], twice[2 * at + 1]) if number % 2 else (twice[2 * at + 1], twice[2 * at])
        for at, number in enumerate(rounds)
    ]
    means = _means(twice)
    trials: dict[str | None, Trial] = {
        None: Trial(policy=plain.policy, traffic=traffic, rounds=len(rounds), means=means, plain=means)
    }
    for arm in arms:
        mine = by_name[arm.name]
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
        trials[arm.name] = Trial(
            policy=arm.policy,
            traffic=traffic,
            rounds=len(rounds),
            means=_means(mine),
            plain=means,
            decided=decide(samples),
        )
    return trials


def _means(values: Sequence[dict[Metric, float]]) -> dict[str, float]:
    whole = [metric for metric in METRICS if all(metric in one for one in values)]
    return {metric.name: fmean(one[metric] for one in values) for metric in whole}
