"""Noise: from the rounds of noisy metrics to decisions. Pure.

A round is three runs: `before`, `after` and `before` once more, called `again`. In each round `after` is held
against the mean of the other two (the A/B), and those against each other (the A/A, which knows no change). On
logarithms, where a change is a ratio. The rule:

- The spread of a run is the larger one of what the A/B and the A/A show, each with what differs from round to
  round taken out. An interval around the mean A/B comes from it and Student's t, wide enough for all metrics
  of the comparison at once.
- `changed`: the interval is off zero, the change is as much as is told of this metric, and the A/A is not
  changed by the same rule.
- `no change seen`: not so, and a change that matters would have been seen with the chance POWER.
- `inconclusive`: anything else.

Why this interval, and how often it is wrong: docs/how-we-decide.md.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from statistics import fmean, variance
from typing import Literal

import msgspec

FALSE_ALARM = 0.01
"""Chance that a comparison of a stack with itself says `changed` of any metric. With 0.05, one in twenty such
runs would, and nobody believes the next; much less, and a change needs more rounds than anybody waits for."""
OVERALL = 0.5
"""Part of FALSE_ALARM that the metrics of all scenarios together share; those of single scenarios share the
rest. There are many of those, and they would take the edge off the few that matter most."""
POWER = 0.9
"""Chance with which the smallest change that a run `could have seen` is called `changed`."""
ROUNDS = 8
"""Rounds without --rounds. A change of 10 % is then found with 9 in 10 where runs differ by up to 3 %."""
LEAST_ROUNDS = 4
"""Fewer leave the interval wider than any change of interest, and it takes an even number for the order to be
balanced."""
MOST_ROUNDS = 40
"""More are never advised: where they do not suffice, the machine is the thing to change."""

Decision = Literal["changed", "no change seen", "inconclusive"]
Scale = Literal["ratio", "difference"]
Unit = Literal["bytes", "seconds", "per second", "objects"]

AB = 3 / 2
"""Variance of one round's A/B, `after` less the mean of two, in those of a run."""
AA = 2
"""Variance of one round's A/A, in those of a run."""


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """What is compared. `scenario` is None for all of them together; `unit` is that of the values.

    On the scale `ratio` values are above zero, and changes are parts of the value before: 0.05 is 5 % more.
    On `difference` changes are in the unit. A change of less than `told` is not told; a run that could not
    see one of `wanted` may not say that there is none.
    """

    name: str
    unit: Unit
    scale: Scale
    higher_is: Literal["better", "worse"]
    told: float
    wanted: float
    scenario: str | None = None


class Round(msgspec.Struct, frozen=True):
    """A metric's values in the three runs of one round."""

    before: float
    after: float
    again: float


class Samples(msgspec.Struct, frozen=True):
    """A metric in all rounds."""

    metric: Metric
    rounds: tuple[Round, ...]


class Interval(msgspec.Struct, frozen=True):
    """A change on the metric's scale, with the bounds that hold for all metrics of its family at once."""

    change: float
    low: float
    high: float


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """What the rounds say of one metric.

    `before` (both runs of it) and `after` are means, geometric ones on the scale `ratio`. `control` is the
    A/A.
    `smallest_seen` is the smallest change that this run would have called `changed` with the chance POWER.
    `reason` says why it is inconclusive. Numbers are None where there is none to give.
    """

    metric: Metric
    decision: Decision
    rounds: int
    before: float | None = None
    after: float | None = None
    change: Interval | None = None
    control: Interval | None = None
    smallest_seen: float | None = None
    reason: str | None = None

    @property
    def direction(self) -> Literal["better", "worse", "same"]:
        """Which way it changed, if it did."""
        if self.decision != "changed" or self.change is None:
            return "same"
        higher, lower = ("better", "worse") if self.metric.higher_is == "better" else ("worse", "better")
        return higher if self.change.change > 0 else lower  # type: ignore[return-value]


def decide(samples: Sequence[Samples]) -> tuple[Decided, ...]:
    """Return what the rounds say of each metric of one comparison, in their order."""
    family = Counter(one.metric.scenario is None for one in samples)
    share = {True: OVERALL, False: 1 - OVERALL}
    return tuple(
        _decided(one, FALSE_ALARM * share[overall] / family[overall])
        for one in samples
        for overall in (one.metric.scenario is None,)
    )


def rounds_needed(spread: float, metric: Metric, alarm: float) -> int | None:
    """Return the rounds, an even number, after which a change of `metric.wanted` would be seen.

    `spread` is the standard deviation of a run on the metric's scale, `alarm` the chance of a false one that
    the metric may have. None: it takes more than MOST_ROUNDS.
    """
    wanted = math.log1p(metric.wanted) if metric.scale == "ratio" else metric.wanted
    for rounds in range(LEAST_ROUNDS, MOST_ROUNDS + 1, 2):
        if _smallest(spread, rounds, metric, alarm) <= wanted:
            return rounds
    return None


def _decided(samples: Samples, alarm: float) -> Decided:
    metric, rounds = samples.metric, len(samples.rounds)
    unfit = _unfit(samples)
    if unfit:
        return Decided(metric=metric, decision="inconclusive", rounds=rounds, reason=unfit)
    scaled = [_scaled(one, metric) for one in samples.rounds]
    before = fmean(value for one in scaled for value in (one.before, one.again))
    versus = [one.after - (one.before + one.again) / 2 for one in scaled]
    control = [one.again - one.before for one in scaled]
    spread = math.sqrt(max(variance(versus) / AB, variance(control) / AA))
    change, same = fmean(versus), fmean(control)
    margins = [_margin(spread, variances, rounds, alarm) for variances in (AB, AA)]
    smallest = _back(_smallest(spread, rounds, metric, alarm), metric)
    decision, reason = _decision(
        metric,
        changed=_changed(change, margins[0], metric),
        control_changed=_changed(same, margins[1], metric),
        smallest=smallest,
    )
    if decision == "inconclusive" and reason is None:
        needed = rounds_needed(spread, metric, alarm)
        reason = f"{needed} rounds would do" if needed else "its runs differ too much: use a machine at rest"
    return Decided(
        metric=metric,
        decision=decision,
        rounds=rounds,
        before=math.exp(before) if metric.scale == "ratio" else before,
        after=math.exp(before + change) if metric.scale == "ratio" else before + change,
        change=_interval(change, margins[0], metric),
        control=_interval(same, margins[1], metric),
        smallest_seen=smallest,
        reason=reason,
    )


def _decision(
    metric: Metric, *, changed: bool, control_changed: bool, smallest: float
) -> tuple[Decision, str | None]:
    if control_changed:
        return "inconclusive", "the same stack differs from itself"
    if changed:
        return "changed", None
    return ("no change seen" if smallest <= metric.wanted else "inconclusive"), None


def _unfit(samples: Samples) -> str | None:
    """Return why nothing can be said of the numbers, or None."""
    values = [value for one in samples.rounds for value in (one.before, one.after, one.again)]
    if len(samples.rounds) < LEAST_ROUNDS:
        return f"fewer than {LEAST_ROUNDS} rounds"
    if not all(map(math.isfinite, values)):
        return "a run gave no number"
    if samples.metric.scale == "ratio" and min(values) <= 0:
        return "a run gave nothing above zero"
    return None


def _scaled(one: Round, metric: Metric) -> Round:
    if metric.scale == "difference":
        return one
    return Round(math.log(one.before), math.log(one.after), math.log(one.again))


@lru_cache(maxsize=1024)
def _quantile(rounds: int, chance: float) -> float:
    """Return Student's t that is exceeded with this chance.

    The degrees of freedom are those of two comparisons within each round, the A/B and the A/A.
    """
    from scipy.special import stdtrit  # noqa: PLC0415 - an extra, and not quick to import

    return float(stdtrit(2 * (rounds - 1), 1 - chance))


def _error(spread: float, variances: float, rounds: int) -> float:
    return spread * math.sqrt(variances / rounds)


def _margin(spread: float, variances: float, rounds: int, alarm: float) -> float:
    """Return the half-width of the interval."""
    return _quantile(rounds, alarm / 2) * _error(spread, variances, rounds)


def _smallest(spread: float, rounds: int, metric: Metric, alarm: float) -> float:
    """Return the smallest true change, on the scale that is computed in, that would be seen."""
    told = math.log1p(metric.told) if metric.scale == "ratio" else metric.told
    beyond = _quantile(rounds, 1 - POWER) * _error(spread, AB, rounds)
    return max(_margin(spread, AB, rounds, alarm), told) + beyond


def _changed(change: float, margin: float, metric: Metric) -> bool:
    return abs(change) > margin and abs(_back(change, metric)) >= metric.told


def _back(value: float, metric: Metric) -> float:
    return math.expm1(value) if metric.scale == "ratio" else value


def _interval(change: float, margin: float, metric: Metric) -> Interval:
    return Interval(*(_back(value, metric) for value in (change, change - margin, change + margin)))
