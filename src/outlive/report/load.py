"""The report of load tests for a terminal or a pipe: one in full, several side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from outlive.load import soak
from outlive.load.record import LoadMeasurement, Rate
from outlive.wording import counted, number, one_line, size

UNKNOWN = "?"
MOST_FAULTS = 5
"""Texts of unexpected answers that are shown."""


def show(measurements: Sequence[LoadMeasurement], console: Console) -> None:
    """Print the one load test, or all of them in one table with what each has to be said of."""
    if len(measurements) == 1:
        _one(measurements[0], console)
    else:
        _several(measurements, console)


def title(m: LoadMeasurement) -> str:
    """Return what was under load, and how it was deployed."""
    d = m.deployment
    options = [counted(d.workers, f"{d.worker} worker"), f"gc {d.gc}"]
    options += ["--preload"] if d.preload else []
    options += [f"--max-requests {d.max_requests}"] if d.max_requests else []
    return f"{m.framework} {m.release}, Python {m.python} · {', '.join(options)}"


def traffic(m: LoadMeasurement) -> str:
    """Return what was sent."""
    t = m.traffic
    rate = f" at {number(t.rate)}/s" if t.rate else ""
    answered = f"{counted(m.requests, 'request')} in {m.seconds:.1f} s"
    return f"{t.user}: {answered}{rate} from {counted(t.clients, 'client')}, {t.connection}"


def facts(m: LoadMeasurement) -> Iterator[tuple[str, str]]:
    """Yield what the server took for it: each fact with its name."""
    yield "peak RSS", f"{_size(m.peak_rss_bytes)} in the largest worker"
    yield "peak in all", f"{_size(m.tree_peak_bytes)} ({m.tree_peak_source})"
    yield "grows", rate(m.growth)
    yield "left/request", left(m)
    yield "collections", collections(m)
    yield "throughput", f"{m.throughput:.0f} requests/s"
    yield "processor", f"server {m.server_cores:.2f} cores, locust {m.generator_cores:.2f}"
    if m.restarts:
        yield "replaced", counted(m.restarts, "worker")


def rate(growth: Rate | None) -> str:
    """Return how memory grew, `?` where the test was too short for that."""
    if growth is None:
        return f"{UNKNOWN}, too short for a rate"
    interval = f"{_signed(growth.low)} to {_signed(growth.high)}"
    return f"{_signed(growth.bytes_per_request)}/request, {_signed(growth.bytes_per_hour)}/h ({interval})"


def left(m: LoadMeasurement) -> str:
    """Return the objects that a request left, and what the exact replay predicts."""
    if m.survivors_per_request is None or m.leaked_per_request is None:
        return f"{UNKNOWN}, counted where the same workers serve from start to end"
    if m.deployment.gc != "off":
        return f"{_objects(m.leaked_per_request)} leaked objects"
    said = f"{_objects(m.survivors_per_request)} objects, {_objects(m.leaked_per_request)} leaked"
    if m.predicted_per_request is None:
        return f"{said}; see --predict"
    return f"{said}; replay predicts {_objects(m.predicted_per_request)}{_apart(m)}"


def collections(m: LoadMeasurement) -> str:
    """Return what the collector did."""
    c = m.collections
    if not c.count:
        return "none"
    pauses = f"paused {c.pause * 1e3:.0f} ms, p99 {c.p99 * 1e3:.1f}, longest {c.longest * 1e3:.1f}"
    return f"{c.count}, they freed {counted(c.freed, 'object')}; {pauses}"


def warnings(m: LoadMeasurement) -> Iterator[str]:
    """Yield what a reader must know before believing the numbers."""
    if m.status != "measured":
        yield f"{m.status}: {one_line(m.reason or '')}"
    if m.unexpected:
        yield f"{counted(m.unexpected, 'unexpected answer')}:"
        for text, count in m.faults[:MOST_FAULTS]:
            yield f"    {count} times: {one_line(text)}"
    if m.unsent:
        yield f"{counted(m.unsent, 'request')} due at the rate, but no client was free: more --clients"
    if m.generator_saturated:
        yield "locust was the bottleneck: latencies hold its own delays, see --processes and --rate"
    if len(m.segments) > 1:
        yield f"continued {counted(len(m.segments) - 1, 'time')}; growth is of the longest stretch"


def _one(m: LoadMeasurement, console: Console) -> None:
    _say(console, title(m), "bold")
    if m.samples:
        _say(console, traffic(m))
        table = _table()
        for name, text in facts(m):
            table.add_row(Text(name, style="dim"), Text(text))
        console.print()
        console.print(table)
        console.print()
        console.print(_latencies(m))
    for line in warnings(m):
        _say(console, f"! {line}" if not line.startswith(" ") else line, "yellow")


def _latencies(m: LoadMeasurement) -> Table:
    table = _table("latency, ms", "requests", "p50", "p95", "p99", "longest", "wrong")
    for one in m.scenarios:
        times = (one.p50, one.p95, one.p99, one.longest)
        cells = [str(one.requests), *(f"{1e3 * value:.1f}" for value in times), str(one.unexpected or "")]
        table.add_row(one.scenario, *cells)
    return table


def _several(measurements: Sequence[LoadMeasurement], console: Console) -> None:
    _say(console, title(measurements[0]).partition(" · ")[0], "bold")
    sent = next((m for m in measurements if m.samples), None)
    if sent is not None:
        _say(console, traffic(sent).replace(f" in {sent.seconds:.1f} s", ""))
    names = ("peak RSS", "growth", "left", "req/s", "p99", "gc", "paused", "longest")
    table = _table(_what(measurements), *names)
    for m in measurements:
        table.add_row(_row_name(m, measurements), *_cells(m))
    console.print()
    console.print(table)
    console.print()
    _say(console, "growth, left: per request; left are objects with gc off, else leaked ones.", "dim")
    _say(console, "gc: collections; p99 of the latency and pauses in ms.", "dim")
    for m in measurements:
        for line in warnings(m):
            indented = line.startswith(" ")
            _say(console, line if indented else f"! {_row_name(m, measurements)}: {line}", "yellow")


def _cells(m: LoadMeasurement) -> list[str]:
    if not m.samples:
        return [m.status, *[""] * 7]
    left = m.survivors_per_request if m.deployment.gc == "off" else m.leaked_per_request
    p99 = soak.merged(m.scenarios).p99 if m.scenarios else 0.0
    return [
        _size(m.peak_rss_bytes),
        _signed(m.growth.bytes_per_request) if m.growth else UNKNOWN,
        _objects(left) if left is not None else UNKNOWN,
        f"{m.throughput:.0f}",
        f"{1e3 * p99:.0f}",
        str(m.collections.count),
        f"{1e3 * m.collections.pause:.0f}",
        f"{1e3 * m.collections.longest:.1f}",
    ]


def _what(measurements: Sequence[LoadMeasurement]) -> str:
    return "worker, gc" if len({m.deployment.worker for m in measurements}) > 1 else "gc"


def _row_name(m: LoadMeasurement, measurements: Sequence[LoadMeasurement]) -> str:
    policy = m.deployment.gc
    return policy if _what(measurements) == "gc" else f"{m.deployment.worker}, {policy}"


def _apart(m: LoadMeasurement) -> str:
    seen, expected = m.survivors_per_request, m.predicted_per_request
    if not seen or not expected:
        return ""
    return f" ({100 * (seen / expected - 1):+.1f} %)"


def _objects(value: float) -> str:
    """Return objects per request with no more digits than many clients at once leave exact.

    Where requests leave nothing there can be fewer in the end: what the start had made and no one needs.
    """
    return number(max(0.0, round(value, 2)))


def _signed(value: float) -> str:
    return f"+{size(value)}" if round(value) > 0 else size(value)


def _size(value: int | None) -> str:
    return UNKNOWN if value is None else size(value)


def _table(*columns: str) -> Table:
    table = Table(
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        header_style="dim",
        show_header=bool(columns),
    )
    for at, name in enumerate(columns):
        table.add_column(
            name, justify="right" if at else "left", no_wrap=bool(at), overflow="fold", min_width=len(name)
        )
    return table


def _say(console: Console, text: str, style: str = "") -> None:
    console.print(Text(text, style=style))
