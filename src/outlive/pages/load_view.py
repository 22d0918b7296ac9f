"""What a report shows of both sides under load: memory over time, latencies, and what the rounds decided."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec

from outlive.comparison.noisy import load_text
from outlive.comparison.noisy.load import Loads, latencies, said
from outlive.pages.drawings.curves import Axis, Curve, curves
from outlive.pages.drawings.plots import Drawing
from outlive.records.load import Collections, LoadMeasurement, percentile
from outlive.wording import about, capital, counted, number, size, step

MOST_TESTS = 3  # kinds of load test, mostly gc policies, that one plot shows: two lines each

LEGEND = f"A/A: the stack before against itself. {load_text.RULE.replace('*', '')}"

ONE_RUN = "One run each, which decides nothing."

SHARES = (Axis(label="ms", log=True), Axis(label="%"))


class Decisions(msgspec.Struct, frozen=True):
    """What the rounds under one gc policy decided: of all scenarios, and of `single` ones that changed."""

    gc: str
    title: str
    said: str
    lines: tuple[load_text.Line, ...]
    single: tuple[load_text.Line, ...]
    unsure: tuple[str, ...]
    warnings: tuple[str, ...]
    rest: str


class Test(msgspec.Struct, frozen=True):
    """One number of single load tests, before and after, for each kind."""

    name: str
    values: tuple[str, ...]


class LoadView(msgspec.Struct, frozen=True, kw_only=True):
    """What the page shows; all empty where nothing is stored."""

    decisions: tuple[Decisions, ...]
    plots: tuple[Drawing, ...]
    kinds: tuple[str, ...]
    tests: tuple[Test, ...]
    traffic: str
    legend: str = LEGEND

    @property
    def known(self) -> bool:
        """Whether there is anything to show."""
        return bool(self.decisions or self.tests)


def view(loads: Loads) -> LoadView:
    """Return what is shown of load tests."""
    pairs = tuple(zip(loads.before, loads.after, strict=True))
    return LoadView(
        decisions=tuple(_decisions(loads)),
        plots=tuple(_plots(pairs[:MOST_TESTS])),
        kinds=tuple(kind(after) for _, after in pairs),
        tests=tuple(_tests(pairs)),
        traffic="; ".join(dict.fromkeys(_traffic(after) for _, after in pairs)),
    )


def kind(test: LoadMeasurement) -> str:
    """Return what sets a load test apart from others of a stack: `gc off`, `gc on, 2 workers`."""
    d = test.deployment
    parts = [f"gc {d.gc}"]
    parts += [counted(d.workers, "worker")] if d.workers > 1 else []
    parts += ["preload"] if d.preload else []
    parts += [f"max_requests {d.max_requests}"] if d.max_requests else []
    return ", ".join(parts)


def _decisions(loads: Loads) -> Iterator[Decisions]:
    for one in loads.comparisons:
        overall, changed, quiet = load_text.split(one)
        yield Decisions(
            one.deployment.gc,
            load_text.traffic(one),
            capital(said(one)),
            load_text.lines(overall),
            load_text.lines(changed),
            load_text.reasons(overall),
            tuple(load_text.warnings(one)),
            load_text.hidden(quiet),
        )


def _plots(pairs: Sequence[tuple[LoadMeasurement, LoadMeasurement]]) -> Iterator[Drawing]:
    memory = [
        Curve(label=label, style=style, points=points)
        for style, label, test in _sides(pairs)
        if (points := tuple((sample.seconds, sample.rss / 2**20) for sample in test.samples))
    ]
    if memory:
        title = "Memory of all server processes under load, MiB over seconds"
        ends = "; ".join(
            f"{line.label}: {about(line.points[0][1])} to {about(line.points[-1][1])} MiB" for line in memory
        )
        axes = (Axis(label="seconds"), Axis(label="MiB"))
        yield Drawing(curves("memory", title, axes, memory, ends), f"{title}. {ONE_RUN}")
    spread = [
        Curve(label=label, style=style, points=points)
        for style, label, test in _sides(pairs)
        if (points := tuple(_cumulated(latencies(test))))
    ]
    if spread:
        title = "Latency: the share of answers (%) that came within so many ms"
        words = "; ".join(f"{label}: {_percentiles(test)}" for _, label, test in _sides(pairs))
        yield Drawing(curves("latency", title, SHARES, spread, words), f"{title}. {ONE_RUN}")
    stopped = [
        (style, label, test)
        for style, label, test in _sides(pairs)
        if sum(count for _, count in test.collections.histogram)
    ]
    if stopped:
        title = "Pauses of the collector: the share of them (%) that took no more than so many ms"
        words = "; ".join(f"{label}: {_pauses(test.collections)}" for _, label, test in stopped)
        pauses = [
            Curve(label=label, style=style, points=tuple(_cumulated(test.collections.histogram)))
            for style, label, test in stopped
        ]
        yield Drawing(curves("load-pauses", title, SHARES, pauses, words), f"{title}. {ONE_RUN}")


def _sides(
    pairs: Sequence[tuple[LoadMeasurement, LoadMeasurement]],
) -> Iterator[tuple[int, str, LoadMeasurement]]:
    for at, (before, after) in enumerate(pairs):
        yield 2 * at, f"{before.release}, {kind(before)}", before
        yield 2 * at + 1, f"{after.release}, {kind(after)}", after


def _cumulated(histogram: Sequence[tuple[float, int]]) -> Iterator[tuple[float, float]]:
    total = sum(count for _, count in histogram)
    seen = 0
    for bound, count in histogram:
        seen += count
        yield bound * 1000, 100 * seen / total


def _percentiles(test: LoadMeasurement) -> str:
    histogram = latencies(test)
    return ", ".join(f"p{p} {about(1000 * percentile(histogram, p))} ms" for p in (50, 95, 99))


def _pauses(done: Collections) -> str:
    return f"{counted(done.count, 'collection')}, longest {about(1000 * done.longest)} ms"


def _tests(pairs: Sequence[tuple[LoadMeasurement, LoadMeasurement]]) -> Iterator[Test]:
    rows: tuple[tuple[str, Callable[[LoadMeasurement], str]], ...] = (
        (
            "peak RSS of a worker",
            lambda test: "?" if test.peak_rss_bytes is None else size(test.peak_rss_bytes),
        ),
        ("growth per hour", lambda test: "?" if test.growth is None else size(test.growth.bytes_per_hour)),
        ("latency p50, ms", lambda test: about(1000 * percentile(latencies(test), 50))),
        ("latency p95, ms", lambda test: about(1000 * percentile(latencies(test), 95))),
        ("latency p99, ms", lambda test: about(1000 * percentile(latencies(test), 99))),
        ("requests per second", lambda test: number(round(test.throughput))),
        ("collections", lambda test: number(test.collections.count)),
        ("longest gc pause, ms", lambda test: about(1000 * test.collections.longest)),
        ("gc pauses in all, ms", lambda test: about(1000 * test.collections.pause)),
        ("unexpected answers", lambda test: number(test.unexpected)),
    )
    if pairs:
        for name, tell in rows:
            yield Test(name, tuple(step(tell(before), tell(after)) for before, after in pairs))


def _traffic(test: LoadMeasurement) -> str:
    sent = test.traffic
    rate = f" at {number(sent.rate)} a second" if sent.rate else ""
    clients = counted(sent.clients, "client")
    return f"{number(test.requests)} requests of {sent.user}{rate} from {clients}, {sent.connection}"
