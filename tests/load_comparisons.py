"""Load comparisons, made up, for tests that measure nothing."""

from __future__ import annotations

import math
import random
from typing import Any

import msgspec

from comparisons import side
from outlive.comparison.noisy.load import LoadComparison, Run, compare
from outlive.comparison.noisy.rounds import Turn, order
from outlive.records.load import Collections, Deployment, LoadMeasurement, Rate, ScenarioTraffic, Traffic

SCENARIOS = {
    "ok": (2000, 0.004),
    "not-found": (400, 0.006),
    "upload": (1000, 0.009),
    "stream-error": (50, 0.02),
}
SIDES = (side("flask", "3.1.2"), side("flask", "3.1.3"))


def histogram(seconds: float, requests: int, chance: random.Random) -> tuple[tuple[float, int], ...]:
    """Return latencies of which half are below `seconds`, and a few far above."""
    found: dict[float, int] = {}
    for number in range(requests):
        at = (number + 0.5) / requests
        bound = round(seconds * (0.5 + at + at**20 * 2) * math.exp(chance.gauss(0, 0.002)), 6)
        found[bound] = found.get(bound, 0) + 1
    return tuple(sorted(found.items()))


def measured(
    *,
    memory: float = 1,
    latency: float = 1,
    seed: object = 0,
    noise: float = 0.01,
    gc: str = "off",
    **fields: Any,
) -> LoadMeasurement:
    chance = random.Random(str(seed))

    def about(amount: float, spread: float = noise) -> float:
        return amount * math.exp(chance.gauss(0, spread))

    speed = about(latency)
    scenarios = tuple(
        ScenarioTraffic(
            name,
            requests,
            0,
            seconds,
            seconds,
            seconds,
            seconds,
            seconds,
            histogram(seconds * speed, requests, chance),
        )
        for name, (requests, seconds) in SCENARIOS.items()
    )
    values: dict[str, object] = {
        "framework": "flask",
        "release": "3.1.3",
        "python": "3.13",
        "lock": "0" * 12,
        "app_version": 1,
        "deployment": Deployment(worker="gthread", gc=gc),
        "traffic": Traffic(requests=3450),
        "status": "measured",
        "requests": 3450,
        "throughput": about(800 / latency),
        "scenarios": scenarios,
        "peak_rss_bytes": int(about(64e6 * memory, noise / 2)),
        "tree_peak_bytes": int(about(90e6 * memory, noise / 2)),
        "growth": Rate(bytes_per_hour=0, low=0, high=0, bytes_per_request=about(4000, 0.004), seconds=5),
        "survivors_per_request": 31.25,
        "leaked_per_request": 0.0,
        "collections": Collections(count=9, pause=about(0.04)),
    }
    return msgspec.convert(values | fields, LoadMeasurement, from_attributes=True)


def runs(
    rounds: int = 8, *, memory: float = 1, latency: float = 1, noise: float = 0.01, **fields: Any
) -> list[Run]:
    """Return the runs of a comparison whose second side needs so many times the memory and the time."""
    return [
        Run(
            turn,
            measured(
                memory=memory if turn.arm == "after" else 1,
                latency=latency if turn.arm == "after" else 1,
                seed=turn,
                noise=noise,
                **fields,
            ),
        )
        for turn in order(rounds)
    ]


def worse() -> LoadComparison:
    return compare(*SIDES, runs(memory=1.05, latency=1.1))


def same() -> LoadComparison:
    return compare(*SIDES, runs())


def noisy() -> LoadComparison:
    found = runs(noise=0.12, gc="on", generator_saturated=True, unexpected=2)
    return compare(
        *SIDES, found[:-2], stopped="the server stopped answering: no request was answered for 10 s"
    )


__all__ = ["Turn", "measured", "noisy", "runs", "same", "worse"]
