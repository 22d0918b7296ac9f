"""Draws load tests on a terminal, one in full or several side by side, and as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from outlive.loads import soak
from outlive.markdown import details, escape, table
from outlive.records.load import GRACEFUL_TIMEOUT, SATURATED, Deployment, LoadMeasurement, Rate
from outlive.tables import columns, say
from outlive.wording import counted, number, one_line, size

UNKNOWN = "?"
MOST_FAULTS = 5
"""Most texts of unexpected answers shown."""
SHORT_OF_CORES = 0.1
"""Least fraction of the time that a worker waits for a core for a warning."""
SOAK = 600.0
"""Shortest test, in seconds, that shows whether the harness's own memory grew."""
COLUMNS = ("peak RSS", "growth", "left", "req/s", "p99", "gc", "paused", "longest")
NOTES = (
    "growth and left: per request; left counts all objects with gc off, else leaked ones.",
    "gc: collections; p99 of the latency and pauses in ms.",
)
MARKDOWN_COLUMNS = (*COLUMNS[:3], "requests/s", "p99, ms", "collections", "paused, ms", "longest, ms")
MARKDOWN_NOTE = (
    "Growth and left: per request; left counts all objects with gc off, else leaked ones. p99: latency."
)
LATENCIES = ("latency, ms", "requests", "p50", "p95", "p99", "longest", "wrong")


def show(measurements: Sequence[LoadMeasurement], console: Console) -> None:
    """Print one load test in full, or several in one table with their warnings."""
    if len(measurements) == 1:
        _one(measurements[0], console)
    else:
        _several(measurements, console)


def title(m: LoadMeasurement) -> str:
    """Return the release under load and its deployment."""
    d = m.deployment
    deployed = [counted(d.workers, f"{d.worker} worker"), f"gc {d.gc}", *_options(d)]
    return f"{_release(m)} · {', '.join(deployed)}"


def _release(m: LoadMeasurement) -> str:
    return f"{m.framework} {m.release}, Python {m.python}"


def _options(d: Deployment) -> list[str]:
    preload = ["--preload"] if d.preload else []
    if not d.max_requests:
        return preload
    timeout = d.graceful_timeout
    timeouts = [f"--graceful-timeout {timeout}"] if timeout != GRACEFUL_TIMEOUT else []
    return [*preload, f"--max-requests {d.max_requests}", *timeouts]


def traffic(m: LoadMeasurement) -> str:
    """Return the traffic in one line."""
    t = m.traffic
    rate = f" at {number(t.rate)}/s" if t.rate else ""
    answered = f"{counted(m.requests, 'request')} in {m.seconds:.1f} s"
    return f"{t.user}: {answered}{rate} from {counted(t.clients, 'client')}, {t.connection}"


def facts(m: LoadMeasurement) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each result."""
    yield "peak RSS", f"{_size(m.peak_rss_bytes)} in the largest worker"
    yield "peak in all", f"{_size(m.tree_peak_bytes)} ({m.tree_peak_source})"
    yield "grows", rate(m.growth)
    yield "left/request", left(m)
    if m.deployment.gc == "off" and m.survivors_per_request is not None:
        yield "in replay", replayed(m)
    yield "collections", collections(m)
    yield "throughput", f"{m.throughput:.0f} requests/s"
    yield "processor", processor(m)
    if m.seconds >= SOAK and m.samples[-1].harness:
        halfway, end = m.samples[len(m.samples) // 2].harness, m.samples[-1].harness
        yield "harness", f"{size(halfway)} halfway, {size(end)} in the end, locust included"
    if m.restarts:
        silence = "" if m.silence is None else f"; longest time without an answer {m.silence:.1f} s"
        yield "replaced", f"{counted(m.restarts, 'worker')}{silence}"


def rate(growth: Rate | None) -> str:
    """Return how fast memory grew, `?` if the test was too short for a rate."""
    if growth is None:
        return f"{UNKNOWN}, too short for a rate"
    if not growth.hourly:
        return f"{_signed(growth.bytes_per_request)}/request; too short for a rate per hour"
    interval = f"{_signed(growth.low)} to {_signed(growth.high)}"
    return f"{_signed(growth.bytes_per_request)}/request, {_signed(growth.bytes_per_hour)}/h ({interval})"


def left(m: LoadMeasurement) -> str:
    """Return the objects left per request."""
    if m.survivors_per_request is None or m.leaked_per_request is None:
        return f"{UNKNOWN}, counted where the same workers serve from start to end"
    if m.deployment.gc != "off":
        return f"{_objects(m.leaked_per_request)} leaked objects"
    return f"{_objects(m.survivors_per_request)} objects, {_objects(m.leaked_per_request)} leaked"


def replayed(m: LoadMeasurement) -> str:
    """Return the objects per request in replay: of the same mix, and of its scenarios one by one."""
    mix, alone = m.replayed_per_request, m.predicted_per_request
    texts = ["same mix: see --predict" if mix is None else f"same mix {_objects(mix)}{_apart(m, mix)}"]
    texts += [] if alone is None else [f"sum of its scenarios {_objects(alone)}{_apart(m, alone)}"]
    return ", ".join(texts)


def processor(m: LoadMeasurement) -> str:
    """Return the cores that server and locust used, and how busy the busiest process of each was."""
    server = f"server {m.server_cores:.2f} cores (busiest worker {100 * m.server_busiest:.0f} %)"
    return f"{server}, locust {m.generator_cores:.2f} ({100 * m.generator_busiest:.0f} %)"


def collections(m: LoadMeasurement) -> str:
    """Return the collector's work in one line."""
    c = m.collections
    if not c.count:
        return "none"
    pauses = f"paused {c.pause * 1e3:.0f} ms, p99 {c.p99 * 1e3:.1f}, longest {c.longest * 1e3:.1f}"
    return f"{c.count}, freeing {counted(c.freed, 'object')}; {pauses}"


def warnings(m: LoadMeasurement) -> Iterator[str]:
    """Yield reasons for caution about the numbers."""
    if m.status != "measured":
        yield f"{m.status}: {one_line(m.reason or '')}"
    if m.unexpected:
        yield f"{counted(m.unexpected, 'unexpected answer')}:"
        for text, count in m.faults[:MOST_FAULTS]:
            yield f"    {count} times: {one_line(text)}"
    if m.unsent:
        yield f"{counted(m.unsent, 'request')} came due while no client was free: raise --clients"
    if m.generator_saturated:
        yield "locust was the bottleneck, and latencies include its delays: see --processes and --rate"
    if m.server_waiting >= SHORT_OF_CORES:
        yield (
            f"a worker waited for a core {100 * m.server_waiting:.0f} % of the time, which latencies include"
        )
    elif _could_do_more(m):
        yield "no worker was busy all the time: more --clients would raise throughput"
    if len(m.segments) > 1:
        yield f"continued {counted(len(m.segments) - 1, 'time')}; growth: the longest stretch"


def _could_do_more(m: LoadMeasurement) -> bool:
    idle = 0 < m.server_busiest < SATURATED and not m.generator_saturated
    return idle and m.status == "measured" and m.traffic.rate is None


def _one(m: LoadMeasurement, console: Console) -> None:
    say(console, title(m), "bold")
    if m.samples:
        say(console, traffic(m))
        console.print()
        console.print(_table((), ((Text(name, style="dim"), Text(text)) for name, text in facts(m))))
        console.print()
        console.print(_table(LATENCIES, by_scenario(m)))
    for line in warnings(m):
        say(console, f"! {line}" if not line.startswith(" ") else line, "yellow")


def by_scenario(m: LoadMeasurement) -> Iterator[tuple[str, ...]]:
    """Yield the cells of LATENCIES for each scenario."""
    for s in m.scenarios:
        times = (f"{1e3 * value:.1f}" for value in (s.p50, s.p95, s.p99, s.longest))
        yield s.scenario, str(s.requests), *times, str(s.unexpected or "")


def _several(measurements: Sequence[LoadMeasurement], console: Console) -> None:
    say(console, subject(measurements), "bold")
    if line := sent(measurements):
        say(console, line)
    console.print()
    console.print(_table((_what(measurements), *COLUMNS), _rows(measurements)))
    console.print()
    for note in NOTES:
        say(console, note, "dim")
    for line in _replays(measurements):
        say(console, line)
    for m in measurements:
        for line in warnings(m):
            indented = line.startswith(" ")
            say(console, line if indented else f"! {_row_name(m, measurements)}: {line}", "yellow")


def _replays(measurements: Sequence[LoadMeasurement]) -> Iterator[str]:
    """Yield a line for each test whose mix was replayed."""
    for m in measurements:
        if m.replayed_per_request is not None:
            yield f"{_row_name(m, measurements)}, left in replay: {replayed(m)}"


def subject(measurements: Sequence[LoadMeasurement]) -> str:
    """Return the release under load and what its deployments have in common."""
    first = measurements[0]
    deployment = first.deployment
    same = len({m.deployment.worker for m in measurements}) == 1
    workers = counted(deployment.workers, f"{deployment.worker} worker" if same else "worker")
    return f"{_release(first)} · {', '.join([workers, *_options(deployment)])}"


def sent(measurements: Sequence[LoadMeasurement]) -> str | None:
    """Return the traffic of each test; None if nothing was sent."""
    first = next((m for m in measurements if m.samples), None)
    return traffic(first).replace(f" in {first.seconds:.1f} s", "") if first else None


def render(measurements: Sequence[LoadMeasurement]) -> str:
    """Return load tests as Markdown ending in a newline: a table of all, then the latencies of each."""
    return "\n".join(_render(measurements)) + "\n"


def _render(measurements: Sequence[LoadMeasurement]) -> Iterator[str]:
    yield f"### outlive load: {escape(subject(measurements))}"
    yield ""
    if line := sent(measurements):
        yield from (escape(line), "")
    header = (_what(measurements), *MARKDOWN_COLUMNS)
    yield from table(header, _rows(measurements), right=len(MARKDOWN_COLUMNS))
    yield from ("", MARKDOWN_NOTE)
    for line in _replays(measurements):
        yield from ("", escape(line))
    lines = [
        f"- {escape(f'{_row_name(m, measurements)}: {line.strip()}')}"
        for m in measurements
        for line in warnings(m)
    ]
    if lines:
        yield from ("", *lines)
    for m in measurements:
        if m.scenarios:
            yield from details(
                f"Latencies, {escape(_row_name(m, measurements))}",
                table(LATENCIES, by_scenario(m), right=len(LATENCIES) - 1),
            )


def _rows(measurements: Sequence[LoadMeasurement]) -> Iterator[tuple[str, ...]]:
    """Yield the name of each test's row and its cells."""
    for m in measurements:
        yield _row_name(m, measurements), *_cells(m)


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


def _apart(m: LoadMeasurement, expected: float) -> str:
    count = m.survivors_per_request
    return f" ({100 * (count / expected - 1):+.1f} %)" if count and expected else ""


def _objects(value: float) -> str:
    """Return objects per request, rounded to the digits that repeat with many clients.

    A count below zero is shown as zero: objects made during the start may be freed later.
    """
    return number(max(0.0, round(value, 2)))


def _signed(value: float) -> str:
    return f"+{size(value)}" if round(value) > 0 else size(value)


def _size(value: int | None) -> str:
    return UNKNOWN if value is None else size(value)


def _table(names: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> Table:
    table = columns("dim")
    table.show_header = bool(names)
    for at, name in enumerate(names):
        table.add_column(
            name, justify="right" if at else "left", no_wrap=bool(at), overflow="fold", min_width=len(name)
        )
    for row in rows:
        table.add_row(*row)
    return table
