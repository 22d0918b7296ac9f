"""Why `noisy.noise` uses its interval and no other: false alarms and changes found by each, by simulation.

Run by hand: `python benchmarks/by_hand/interval_choice.py`. Writes results/interval-choice.json, which
docs/how-we-decide.md quotes. One metric of seven, ROUNDS rounds, runs that differ by 3 %,
a change of 10 %. Alarms are in multiples of what the metric may have: 1.0 is what is promised.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
from scipy.special import stdtrit

from outlive.comparison.noisy.noise import AA, AB, FALSE_ALARM, OVERALL, ROUNDS
from outlive.files import write_text

COMPARISONS = 200_000
FEW = 4_000
"""Comparisons of the bootstrap, which takes RESAMPLES times as long."""
RESAMPLES = 4_000
METRICS = 7
ALARM = FALSE_ALARM * OVERALL / METRICS
SPREAD = 0.03
CHANGE = 0.1

FILE = Path(__file__).parents[2] / "results" / "interval-choice.json"

Array = np.ndarray
chance = np.random.default_rng(2026)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A method under one kind of noise: false alarms in multiples of ALARM, part of the changes found."""

    noise: str
    method: str
    alarms: float
    found: float


class Choice(msgspec.Struct, frozen=True):
    """What was simulated, and with which constants."""

    constants: dict[str, float]
    rows: tuple[Row, ...]


def constants() -> dict[str, float]:
    """Return what the rows depend on."""
    return {"ALARM": ALARM, "ROUNDS": float(ROUNDS), "AB": AB, "AA": float(AA)}


def quantile(freedom: float | Array) -> Array:
    """Return Student's t for the alarm on two sides."""
    return np.asarray(stdtrit(freedom, 1 - ALARM / 2))


def contrasts(runs: Array) -> tuple[Array, Array]:
    """Return A/B and A/A of each round; the last axis of `runs` is before, after, again."""
    return runs[..., 1] - (runs[..., 0] + runs[..., 2]) / 2, runs[..., 2] - runs[..., 0]


def beyond(effects: Array, limits: Array) -> Array:
    """Tell where effects in either direction are larger than the limits."""
    return np.asarray(np.abs(effects) > limits)


def ours(runs: Array) -> Array:
    """Tell where the larger of the two spreads says `changed`."""
    versus, control = contrasts(runs)
    spread = np.maximum(versus.var(1, ddof=1) / AB, control.var(1, ddof=1) / AA)
    return beyond(versus.mean(1), quantile(2 * ROUNDS - 2) * np.sqrt(spread * AB / ROUNDS))


def pooled(runs: Array) -> Array:
    """Tell where the mean of the two spreads does: an analysis of variance of rounds and sides."""
    versus, control = contrasts(runs)
    spread = (versus.var(1, ddof=1) / AB + control.var(1, ddof=1) / AA) / 2
    return beyond(versus.mean(1), quantile(2 * ROUNDS - 2) * np.sqrt(spread * AB / ROUNDS))


def paired(runs: Array) -> Array:
    """Tell where a paired t of the A/B alone does."""
    versus, _ = contrasts(runs)
    return beyond(versus.mean(1), quantile(ROUNDS - 1) * versus.std(1, ddof=1) / np.sqrt(ROUNDS))


def trimmed(runs: Array) -> Array:
    """Tell where Yuen's mean does, without the lowest and the highest A/B."""
    versus = np.sort(contrasts(runs)[0], 1)
    kept = ROUNDS - 2
    winsorized = np.clip(versus, versus[:, 1:2], versus[:, -2:-1]).var(1, ddof=1)
    error = np.sqrt(winsorized * (ROUNDS - 1) / (kept * (kept - 1)))
    return beyond(versus[:, 1:-1].mean(1), quantile(kept - 1) * error)


def welch(runs: Array) -> Array:
    """Tell where Welch's t does, which knows nothing of rounds."""
    one, other = np.concatenate([runs[..., 0], runs[..., 2]], 1), runs[..., 1]
    a, b = (side.var(1, ddof=1) / side.shape[1] for side in (one, other))
    freedom = (a + b) ** 2 / (a**2 / (one.shape[1] - 1) + b**2 / (other.shape[1] - 1))
    return beyond(other.mean(1) - one.mean(1), quantile(freedom) * np.sqrt(a + b))


def bootstrap(runs: Array) -> Array:
    """Tell where the percentiles of resampled rounds do."""
    versus = contrasts(runs[:FEW])[0]
    picks = chance.integers(0, ROUNDS, (RESAMPLES, ROUNDS))
    found = np.empty(len(versus), dtype=bool)
    for at, one in enumerate(versus):
        low, high = np.quantile(one[picks].mean(1), [ALARM / 2, 1 - ALARM / 2])
        found[at] = low > 0 or high < 0
    return found


METHODS: dict[str, Callable[[Array], Array]] = {
    "ours": ours,
    "pooled": pooled,
    "paired t": paired,
    "trimmed": trimmed,
    "Welch": welch,
    "bootstrap": bootstrap,
}


def noises() -> dict[str, Array]:
    """Return what is added to the logarithm of each run, by kind of noise, in the order of time."""
    shape = (COMPARISONS, 3 * ROUNDS)
    normal = chance.normal(0, SPREAD, shape)
    hiccup = (chance.random(shape) < 1 / 20) * np.log(1.5) * chance.random(shape)
    return {
        "normal": normal,
        "skewed": chance.exponential(SPREAD, shape),
        "hiccups": normal + hiccup,
        "drift": normal + np.linspace(0, 0.1, shape[1]),
        "wandering": np.cumsum(chance.normal(0, SPREAD, shape), axis=1),
        "one side noisier": normal,
    }


def main() -> None:
    """Simulate, print and write."""
    shift = np.array([0, np.log1p(CHANGE), 0])
    rows = []
    for kind, noise in noises().items():
        runs = noise.reshape(COMPARISONS, ROUNDS, 3)
        runs[:, 1::2] = runs[:, 1::2, ::-1]  # every other round ran backwards
        if kind == "one side noisier":
            runs = runs * np.array([1, 2, 1])
        for name, method in METHODS.items():
            alarms, found = method(runs).mean() / ALARM, method(runs + shift).mean()
            row = Row(noise=kind, method=name, alarms=round(float(alarms), 2), found=round(float(found), 3))
            print(row, flush=True)
            rows.append(row)
    document = Choice(constants=constants(), rows=tuple(rows))
    write_text(FILE, msgspec.json.format(msgspec.json.encode(document), indent=1).decode() + "\n")


if __name__ == "__main__":
    main()
