"""The plots of load tests: over time, and how latencies and pauses are spread."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec

from outlive.comparison.noisy.load import latencies
from outlive.pages.drawings.curves import Axis, Curve, curves
from outlive.pages.drawings.plots import Drawing
from outlive.records.load import LoadMeasurement, Sample, percentile
from outlive.wording import about, counted

MINUTES = 600.0
"""Seconds from which on a plot counts minutes."""
SPEED_OVER = 2.0
"""Fewest seconds between two speeds: answers are reported once a second, and memory looked at more often."""
SHARES = (Axis(label="ms", log=True), Axis(label="%"))
Points = Iterable[tuple[float, float]]
"""Pairs of a second and a number."""


class Shown(msgspec.Struct, frozen=True):
    """A load test in a plot, with its label."""

    label: str
    test: LoadMeasurement


def memory(tests: Sequence[Shown]) -> Iterator[Drawing]:
    """Yield the memory of all server processes over time."""
    title = "Memory of all server processes under load, MiB"
    lines = {each.label: [(s.seconds, (s.pss or s.rss) / 2**20) for s in each.test.samples] for each in tests}
    yield from _over_time("memory", title, "MiB", lines)


def course(tests: Sequence[Shown]) -> Iterator[Drawing]:
    """Yield what else a load test shows over time: latency, answers, wrong ones, collections and pauses."""
    latencies = {
        f"{name} {each.label}": [(s.seconds, 1e3 * getattr(s, name)) for s in each.test.samples if s.p99]
        for each in tests
        for name in ("p50", "p99")
    }
    yield from _over_time("latency-over-time", "Latency of the last second's answers, ms", "ms", latencies)
    speeds = {each.label: [*_speeds(each.test.samples)] for each in tests}
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
        lines = {each.label: [(s.seconds, value(s)) for s in each.test.samples] for each in tests}
        yield from _over_time(name, title, unit, lines)


def _speeds(samples: Sequence[Sample]) -> Points:
    last = None
    for s in samples:
        if last is None or s.seconds - last.seconds >= SPEED_OVER:
            if last is not None:
                yield s.seconds, (s.requests - last.requests) / (s.seconds - last.seconds)
            last = s


def latency(tests: Sequence[Shown]) -> Iterator[Drawing]:
    """Yield the share of answers that came within so many milliseconds."""
    title = "Latency: share of answers (%) within so many ms"
    spread = [(each, latencies(each.test)) for each in tests]
    said = (
        f"{each.label}: " + ", ".join(f"p{p} {about(1000 * percentile(found, p))} ms" for p in (50, 95, 99))
        for each, found in spread
    )
    yield from _spread("latency", title, spread, "; ".join(said))


def pauses(tests: Sequence[Shown]) -> Iterator[Drawing]:
    """Yield the share of the collector's pauses that took no more than so many milliseconds."""
    title = "Collector pauses: share (%) that took at most so many ms"
    spread = [(each, each.test.collections.histogram) for each in tests]
    said = (
        f"{each.label}: {counted(done.count, 'collection')}, longest {about(1000 * done.longest)} ms"
        for each in tests
        if (done := each.test.collections).count
    )
    yield from _spread("load-pauses", title, spread, "; ".join(said))


def _over_time(
    name: str, title: str, unit: str, found: Mapping[str, Sequence[tuple[float, float]]]
) -> Iterator[Drawing]:
    """Yield a plot of lines over the time of the tests; none where all are zero."""
    longest = max((points[-1][0] for points in found.values() if points), default=0.0)
    time, part = ("minutes", 60.0) if longest >= MINUTES else ("seconds", 1.0)
    lines = [
        Curve(label=label, style=at, points=tuple((second / part, value) for second, value in points))
        for at, (label, points) in enumerate(found.items())
        if any(value for _, value in points)
    ]
    if lines:
        ends = [(line.label, line.points[0][1], line.points[-1][1]) for line in lines]
        said = "; ".join(f"{label}: {about(first)} to {about(last)} {unit}" for label, first, last in ends)
        axes = (Axis(label=time), Axis(label=unit))
        yield Drawing(curves(name, f"{title}, over {time}", axes, lines, said), title, _legend(lines))


def _spread(
    name: str, title: str, found: Sequence[tuple[Shown, Sequence[tuple[float, int]]]], said: str
) -> Iterator[Drawing]:
    lines = [
        Curve(label=each.label, style=at, points=tuple(_cumulated(histogram)))
        for at, (each, histogram) in enumerate(found)
        if sum(count for _, count in histogram)
    ]
    if lines:
        yield Drawing(curves(name, title, SHARES, lines, said), title, _legend(lines))


def _legend(lines: Sequence[Curve]) -> tuple[tuple[int, str], ...]:
    return tuple((line.style, line.label) for line in lines)


def _cumulated(histogram: Sequence[tuple[float, int]]) -> Iterator[tuple[float, float]]:
    total = sum(count for _, count in histogram)
    seen = 0
    for bound, count in histogram:
        seen += count
        yield bound * 1000, 100 * seen / total
