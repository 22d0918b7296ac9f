"""Decides noisy metrics from rounds of runs. Pure.

A round has three runs: `before`, `after`, and `before` once more, called `again`. In each round `after` is
compared with the mean of the other two (the A/B), and these with each other (the A/A, in which nothing
changes), on logarithms if a change is a ratio. The rule:

- The spread of a run is the larger of the spreads that the A/B and the A/A show; differences between rounds
  cancel out in both. With Student's t it gives an interval around the mean A/B that is wide enough for all
  metrics of the comparison at once.
- `changed`: the interval does not contain zero, the change is large enough to report for this metric, and the
  A/A has not changed by the same rule.
- `no change seen`: it is not `changed`, and a change that matters would be seen with probability POWER.
- `inconclusive`: everything else.

docs/how-we-decide.md explains why this interval was chosen and how often it is wrong.
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
"""Probability that a comparison of a stack with itself calls any metric `changed`. With 0.05, one in twenty
would, and nobody would believe the next; with much less, a change would need more rounds than anybody waits
for."""
OVERALL = 0.5
"""Fraction of FALSE_ALARM for the metrics of all scenarios together; those of single scenarios share the
rest. There are many of the latter, and they would make the few that matter most less sensitive."""
POWER = 0.9
"""Probability that the smallest change that a run `could have seen` is called `changed`."""
ROUNDS = 8
"""Default number of rounds: a change of 10 % is then found 9 times in 10 if runs differ by up to 3 %."""
LEAST_ROUNDS = 4
"""With fewer rounds the interval is wider than any change of interest. The number must be even, so that the
order is balanced."""
MOST_ROUNDS = 40
"""Most rounds that are ever advised: if they do not suffice, use another machine."""

Decision = Literal["changed", "no change seen", "inconclusive"]
Scale = Literal["ratio", "difference"]
Unit = Literal["bytes", "seconds", "per second", "objects"]

AB = 3 / 2
"""Variance of one round's A/B (`after` less the mean of the others) as a multiple of a run's variance."""
AA = 2
"""Variance of one round's A/A as a multiple of a run's variance."""


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """What is compared; `scenario` is None for all scenarios together, `unit` is the unit of the values.

    On the scale `ratio` values are above zero, and changes are fractions of the value before: 0.05 is 5 %
    more. On the scale `difference` changes are in `unit`. A change below `told` is not reported; a run that
    could not have seen a change of `wanted` may not say that there is none.
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
    """The values of a metric in all rounds."""

    metric: Metric
    rounds: tuple[Round, ...]


class Interval(msgspec.Struct, frozen=True):
    """A change on the metric's scale, with bounds that hold for all metrics of its family at once."""

    change: float
    low: float
    high: float


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """The decision on one metric.

    `before` (of both its runs) and `after` are means, geometric ones on the scale `ratio`; `change` is the
    A/B, `control` the A/A. `smallest_seen` is the smallest change that would have been called `changed` with
    probability POWER. `reason` says why the metric is inconclusive. Numbers are None if they are unknown.
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
        """The direction in which it changed, or `same`."""
        if self.decision != "changed" or self.change is None:
            return "same"
        higher = self.change.change > 0
        return "better" if higher == (self.metric.higher_is == "better") else "worse"


def decide(samples: Sequence[Samples]) -> tuple[Decided, ...]:
    """Return the decision on each metric of one comparison, in their order."""
    family = Counter(group.metric.scenario is None for group in samples)
    share = {True: OVERALL, False: 1 - OVERALL}
    return tuple(
        _decided(group, FALSE_ALARM * share[overall] / family[overall])
        for group in samples
        for overall in (group.metric.scenario is None,)
    )


def rounds_needed(spread: float, metric: Metric, alarm: float) -> int | None:
    """Return the even number of rounds after which a change of `metric.wanted` would be seen.

    `spread` is the standard deviation of a run on the metric's scale, `alarm` the probability of a false
    alarm that the metric may have. None means that it takes more than MOST_ROUNDS.
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
    scaled = [_scaled(round_, metric) for round_ in samples.rounds]
    before = fmean(value for round_ in scaled for value in (round_.before, round_.again))
    versus = [round_.after - (round_.before + round_.again) / 2 for round_ in scaled]
    control = [round_.again - round_.before for round_ in scaled]
    spread = math.sqrt(max(variance(versus) / AB, variance(control) / AA))
    change, same = fmean(versus), fmean(control)
    margins = [_margin(spread, variances, rounds, alarm) for variances in (AB, AA)]
    smallest = _back(_smallest(spread, rounds, metric, alarm), metric)
    decision: Decision = "inconclusive"
    reason = None
    if _changed(same, margins[1], metric):
        reason = "the same stack differs from itself"
    elif _changed(change, margins[0], metric):
        decision = "changed"
    elif smallest <= metric.wanted:
        decision = "no change seen"
    elif needed := rounds_needed(spread, metric, alarm):
        reason = f"{needed} rounds would do"
    else:
        reason = "the runs differ too much: use an idle machine"
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


def _unfit(samples: Samples) -> str | None:
    """Return why the numbers do not allow a decision, or None if they do."""
    values = [value for round_ in samples.rounds for value in (round_.before, round_.after, round_.again)]
    if len(samples.rounds) < LEAST_ROUNDS:
        return f"fewer than {LEAST_ROUNDS} rounds"
    if not all(map(math.isfinite, values)):
        return "a run gave no number"
    if samples.metric.scale == "ratio" and min(values) <= 0:
        return "a run gave nothing above zero"
    return None


def _scaled(round_: Round, metric: Metric) -> Round:
    if metric.scale == "difference":
        return round_
    return Round(math.log(round_.before), math.log(round_.after), math.log(round_.again))


@lru_cache(maxsize=1024)
def _quantile(rounds: int, chance: float) -> float:
    """Return the value of Student's t that is exceeded with probability `chance`.

    The degrees of freedom are those of two comparisons in each round, the A/B and the A/A.
    """
    from scipy.special import stdtrit  # noqa: PLC0415 - an extra, and not quick to import

    return float(stdtrit(2 * (rounds - 1), 1 - chance))


def _error(spread: float, variances: float, rounds: int) -> float:
    return spread * math.sqrt(variances / rounds)


def _margin(spread: float, variances: float, rounds: int, alarm: float) -> float:
    """Return the half-width of the interval."""
    return _quantile(rounds, alarm / 2) * _error(spread, variances, rounds)


def _smallest(spread: float, rounds: int, metric: Metric, alarm: float) -> float:
    """Return the smallest true change that would be seen, on the scale of the computation."""
    least = math.log1p(metric.told) if metric.scale == "ratio" else metric.told
    beyond = _quantile(rounds, 1 - POWER) * _error(spread, AB, rounds)
    return max(_margin(spread, AB, rounds, alarm), least) + beyond


def _changed(change: float, margin: float, metric: Metric) -> bool:
    return abs(change) > margin and abs(_back(change, metric)) >= metric.told


def _back(value: float, metric: Metric) -> float:
    return math.expm1(value) if metric.scale == "ratio" else value


def _interval(change: float, margin: float, metric: Metric) -> Interval:
    return Interval(*(_back(value, metric) for value in (change, change - margin, change + margin)))
