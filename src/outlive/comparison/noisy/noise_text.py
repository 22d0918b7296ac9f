"""Writes values and changes of noisy metrics: small pure functions, one decision each."""

from __future__ import annotations

from outlive.comparison.noisy.noise import Decided, Interval, Metric
from outlive.wording import number, size


def title(metric: Metric) -> str:
    """Return the metric's name, with its scenario if it has one."""
    return metric.name if metric.scenario is None else f"{metric.name} of {metric.scenario}"


def value(metric: Metric, amount: float) -> str:
    """Return a value of the metric with its unit."""
    match metric.unit:
        case "bytes":
            return size(amount)
        case "seconds":
            return f"{number(1000 * amount)} ms"
        case "per second":
            return f"{number(round(amount) if amount >= 100 else round(amount, 1))}/s"
    return number(round(amount, 3))


def difference(metric: Metric, amount: float) -> str:
    """Return a change of the metric with its sign: in percent if it is a ratio, else with its unit."""
    if metric.scale == "ratio":
        percent = f"{100 * amount:+.{1 if abs(amount) < 1 else 0}f} %"
        return "0 %" if percent[1:] == "0.0 %" else percent
    sign = "+" if amount > 0 else ""
    return f"{sign}{value(metric, amount)}"


def bounds(metric: Metric, interval: Interval) -> str:
    """Return the bounds of a change, as in `+3.9 to +6.3 %`."""
    low, high = (difference(metric, amount) for amount in (interval.low, interval.high))
    unit = low.rpartition(" ")[2]
    return f"{low.removesuffix(f' {unit}') if high.endswith(f' {unit}') else low} to {high}"


def changed_by(decided: Decided) -> str:
    """Return by how much it changed, or `?` without a number."""
    return "?" if decided.change is None else difference(decided.metric, decided.change.change)


def seen(decided: Decided) -> str:
    """Return the smallest change that the run could have seen, or `?` if it is unknown."""
    if decided.smallest_seen is None:
        return "?"
    return difference(decided.metric, decided.smallest_seen).removeprefix("+")
