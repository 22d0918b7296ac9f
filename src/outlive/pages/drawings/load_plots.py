"""The plots of load tests: values over time, and the distributions of latencies and pauses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from outlive.comparison.noisy.load import latencies
from outlive.pages.drawings.curves import Axis, Curve, curves
from outlive.pages.drawings.plots import Drawing
from outlive.records.load import LoadMeasurement, Sample, percentile
from outlive.wording import about, counted

MINUTES = 600.0
"""A test of at least this many seconds is plotted in minutes."""
SPEED_OVER = 2.0
"""Fewest seconds between two speeds: answers are reported once a second, memory more often."""
SHARES = (Axis(label="ms", log=True), Axis(label="%"))
Points = Iterable[tuple[float, float]]
"""Pairs of seconds and a value."""
Tests = Sequence[tuple[str, LoadMeasurement]]
"""Load tests, each with its label in a plot."""


def memory(tests: Tests) -> Iterator[Drawing]:
    """Yield the memory of all server processes over time."""
    title = "Memory of all server processes under load, MiB"
    lines = {label: [(s.seconds, (s.pss or s.rss) / 2**20) for s in test.samples] for label, test in tests}
    yield from _over_time("memory", title, "MiB", lines)


def course(tests: Tests) -> Iterator[Drawing]:
    """Yield latency, speed, wrong answers, collections and pauses over time."""
    latencies = {
        f"{name} {label}": [(s.seconds, 1e3 * getattr(s, name)) for s in test.samples if s.p99]
        for label, test in tests
        for name in ("p50", "p99")
    }
    yield from _over_time("latency-over-time", "Latency of the last second's answers, ms", "ms", latencies)
    speeds = {label: [*_speeds(test.samples)] for label, test in tests}
    yield from _over_time("speed", "Answers a second", "a second", speeds)
    wholes: tuple[tuple[str, str, str, Callable[[Sample], float]], ...] = (
        ("wrong", "Wrong answers so far", "answers", lambda s: s.unexpected),
        ("collections", "Collections so far", "collections", lambda s: s.collections),
        (
            "paused",
            "Time that collections have paused the workers so far, ms",
            "ms",
            lambda s: 1e3 * s.paused,
        ),
    )
    for name, title, unit, value in wholes:
        lines = {label: [(s.seconds, value(s)) for s in test.samples] for label, test in tests}
        yield from _over_time(name, title, unit, lines)


def _speeds(samples: Sequence[Sample]) -> Points:
    last = None
    for s in samples:
        if last is None or s.seconds - last.seconds >= SPEED_OVER:
            if last is not None:
                yield s.seconds, (s.requests - last.requests) / (s.seconds - last.seconds)
            last = s


def latency(tests: Tests) -> Iterator[Drawing]:
    """Yield the cumulative distribution of latencies in ms."""
    title = "Latency: share of answers (%) within so many ms"
    spread = [(label, latencies(test)) for label, test in tests]
    parts = (
        f"{label}: " + ", ".join(f"p{p} {about(1000 * percentile(histogram, p))} ms" for p in (50, 95, 99))
        for label, histogram in spread
    )
    yield from _spread("latency", title, spread, "; ".join(parts))


def pauses(tests: Tests) -> Iterator[Drawing]:
    """Yield the cumulative distribution of the collector's pauses in ms."""
    title = "Collector pauses: share (%) that took at most so many ms"
    spread = [(label, test.collections.histogram) for label, test in tests]
    parts = (
        f"{label}: {counted(test.collections.count, 'collection')}, "
        f"longest {about(1000 * test.collections.longest)} ms"
        for label, test in tests
        if test.collections.count
    )
    yield from _spread("load-pauses", title, spread, "; ".join(parts))


def _over_time(
    name: str, title: str, unit: str, series: Mapping[str, Sequence[tuple[float, float]]]
) -> Iterator[Drawing]:
    """Yield a plot of lines over the time of the tests, unless every value is zero."""
    longest = max((points[-1][0] for points in series.values() if points), default=0.0)
    time, unit_seconds = ("minutes", 60.0) if longest >= MINUTES else ("seconds", 1.0)
    lines = [
        Curve(label=label, style=at, points=tuple((second / unit_seconds, value) for second, value in points))
        for at, (label, points) in enumerate(series.items())
        if any(value for _, value in points)
    ]
    if lines:
        ends = [(line.label, line.points[0][1], line.points[-1][1]) for line in lines]
        desc = "; ".join(f"{label}: {about(first)} to {about(last)} {unit}" for label, first, last in ends)
        axes = (Axis(label=time), Axis(label=unit))
        yield Drawing(curves(name, f"{title}, over {time}", axes, lines, desc), title, _legend(lines))


def _spread(
    name: str, title: str, spread: Sequence[tuple[str, Sequence[tuple[float, int]]]], desc: str
) -> Iterator[Drawing]:
    lines = [
        Curve(label=label, style=at, points=tuple(_cumulated(histogram)))
        for at, (label, histogram) in enumerate(spread)
        if sum(count for _, count in histogram)
    ]
    if lines:
        yield Drawing(curves(name, title, SHARES, lines, desc), title, _legend(lines))


def _legend(lines: Sequence[Curve]) -> tuple[tuple[int, str], ...]:
    return tuple((line.style, line.label) for line in lines)


def _cumulated(histogram: Sequence[tuple[float, int]]) -> Iterator[tuple[float, float]]:
    total = sum(count for _, count in histogram)
    seen = 0
    for bound, count in histogram:
        seen += count
        yield bound * 1000, 100 * seen / total
