"""How often the rule of `noisy.noise` is wrong, by simulation: false alarms, and changes that it finds.

Run by hand: `python benchmarks/by_hand/decision_rates.py [COMPARISONS]`. Writes results/decision-rates.json,
which docs/how-we-decide.md quotes. Seeded: the same numbers come out again. A comparison
has the metrics of a real one, each with noise of its own; a false alarm is one `changed` of any of them.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from outlive.comparison.noisy import metrics, noise
from outlive.comparison.noisy.noise import Metric, Samples, decide
from outlive.comparison.noisy.rounds import order, samples
from outlive.files import write_text

COMPARISONS = 4000
SEED = 20_26
ROUNDS = (4, 6, 8, 12)
SPREADS = (0.01, 0.03, 0.05)
CHANGES = (0.05, 0.10)
FILE = Path(__file__).parents[2] / "results" / "decision-rates.json"
OVERALL: tuple[Metric, ...] = (
    metrics.memory("peak RSS"),
    metrics.memory("another that is like it"),
    metrics.THROUGHPUT,
    *(metrics.latency(name) for name in ("mean", "p50", "p95", "p99")),
)

Noise = Callable[[random.Random, float, int], list[float]]
"""Returns what is added to the logarithm of each run, in the order of time, of about this spread."""


def normal(chance: random.Random, spread: float, runs: int) -> list[float]:
    """Add noise whose logarithm is normal."""
    return [chance.gauss(0, spread) for _ in range(runs)]


def skewed(chance: random.Random, spread: float, runs: int) -> list[float]:
    """Add noise that is never less than a base, and at times much more."""
    return [chance.expovariate(1 / spread) for _ in range(runs)]


def hiccups(chance: random.Random, spread: float, runs: int) -> list[float]:
    """Add normal noise, and to one run in twenty up to half as much again."""
    return [
        chance.gauss(0, spread) + (math.log(1.5) * chance.random() if chance.random() < 0.05 else 0)
        for _ in range(runs)
    ]


def drift(chance: random.Random, spread: float, runs: int) -> list[float]:
    """Add normal noise on a machine that becomes slower."""
    return [chance.gauss(0, spread) + 0.1 * run / runs for run in range(runs)]


def wandering(chance: random.Random, spread: float, runs: int) -> list[float]:
    """Add noise that goes on from where it was: a random walk."""
    found, at = [], 0.0
    for _ in range(runs):
        at += chance.gauss(0, spread)
        found.append(at)
    return found


NOISE: dict[str, tuple[str, Noise]] = {
    "normal": ("the logarithms are normal", normal),
    "skewed": ("exponential: never less than a base, at times much more", skewed),
    "hiccups": ("one run in twenty takes up to half as much again", hiccups),
    "drift": ("the machine becomes 10 % slower over the comparison", drift),
    "wandering": ("each run begins where the last one ended: a random walk", wandering),
    "one side noisier": ("normal; the side after has twice the spread", normal),
}


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """How comparisons end under one kind of noise.

    `alarms` is the part of comparisons of a stack with itself that say `changed` of any metric, `calm` the
    part of their metrics of which they say `no change seen`; `found` is the part of metrics whose change is
    found, by its size.
    """

    noise: str
    what: str
    rounds: int
    spread: float
    alarms: float
    calm: float
    found: dict[str, float]


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """What was simulated, and with which constants."""

    comparisons: int
    seed: int
    metrics: int
    constants: dict[str, float]
    rates: tuple[Rate, ...]


def constants() -> dict[str, float]:
    """Return what the rates depend on."""
    of_noise = {name: getattr(noise, name) for name in ("FALSE_ALARM", "OVERALL", "POWER", "AB", "AA")}
    told = {name: getattr(metrics, name) for name in ("MEMORY_TOLD", "TIME_TOLD")}
    return {name: float(value) for name, value in (of_noise | told).items()}


def made(chance: random.Random, kind: str, spread: float, rounds: int, change: float) -> tuple[Samples, ...]:
    """Return the samples of one comparison whose every metric changes by `change`."""
    turns = order(rounds)
    values: list[dict[Metric, float]] = [{} for _ in turns]
    for metric in OVERALL:
        found = NOISE[kind][1](chance, spread, len(turns))
        if kind == "one side noisier":
            found = [one * (1 + (turn.arm == "after")) for one, turn in zip(found, turns, strict=True)]
        for run, turn in enumerate(turns):
            shift = math.log1p(change) if turn.arm == "after" else 0.0
            values[run][metric] = 100 * math.exp(found[run] + shift)
    return samples(list(zip(turns, values, strict=True)))


def rate(kind: str, spread: float, rounds: int, comparisons: int) -> Rate:
    """Return the rates of one kind of noise."""
    chance = random.Random(f"{SEED} {kind} {spread} {rounds}")  # noqa: S311 - made up, not secret
    decisions = [
        [one.decision for one in decide(made(chance, kind, spread, rounds, 0))] for _ in range(comparisons)
    ]
    power = comparisons // len(OVERALL)  # each comparison tells of all metrics
    found = {
        f"{change:g}": sum(
            one.decision == "changed" and one.direction == one.metric.higher_is
            for _ in range(power)
            for one in decide(made(chance, kind, spread, rounds, change))
        )
        / (power * len(OVERALL))
        for change in CHANGES
    }
    return Rate(
        noise=kind,
        what=NOISE[kind][0],
        rounds=rounds,
        spread=spread,
        alarms=sum("changed" in one for one in decisions) / comparisons,
        calm=sum(one.count("no change seen") for one in decisions) / comparisons / len(OVERALL),
        found=found,
    )


def rates(comparisons: int) -> Iterator[Rate]:
    """Yield all rates: rounds and spreads with normal noise, the other kinds of noise at the default."""
    for rounds in ROUNDS:
        for spread in SPREADS:
            yield rate("normal", spread, rounds, comparisons)
    for kind in NOISE:
        if kind != "normal":
            yield rate(kind, 0.03, noise.ROUNDS, comparisons)


def main() -> None:
    """Simulate, print and write the rates."""
    comparisons = int(sys.argv[1]) if sys.argv[1:] else COMPARISONS
    found = []
    for one in rates(comparisons):
        power = ", ".join(f"+{float(change):.0%} {part:.1%}" for change, part in one.found.items())
        print(
            f"{one.noise:17} {one.rounds:2} rounds, spread {one.spread:.0%}: "
            f"alarms {one.alarms:.2%}, calm {one.calm:.1%}, {power}",
            flush=True,
        )
        found.append(one)
    document = Rates(
        comparisons=comparisons,
        seed=SEED,
        metrics=len(OVERALL),
        constants=constants(),
        rates=tuple(found),
    )
    write_text(FILE, msgspec.json.format(msgspec.json.encode(document), indent=1).decode() + "\n")


if __name__ == "__main__":
    main()
