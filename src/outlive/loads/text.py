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
        _show_one(measurements[0], console)
    else:
        _show_several(measurements, console)


def title(test: LoadMeasurement) -> str:
    """Return the release under load and its deployment."""
    deployment = test.deployment
    workers = counted(deployment.workers, f"{deployment.worker} worker")
    deployed = [workers, f"gc {deployment.gc}", *_options(deployment)]
    return f"{_release(test)} · {', '.join(deployed)}"


def _release(test: LoadMeasurement) -> str:
    return f"{test.framework} {test.release}, Python {test.python}"


def _options(deployment: Deployment) -> list[str]:
    preload = ["--preload"] if deployment.preload else []
    if not deployment.max_requests:
        return preload
    timeout = deployment.graceful_timeout
    timeouts = [f"--graceful-timeout {timeout}"] if timeout != GRACEFUL_TIMEOUT else []
    return [*preload, f"--max-requests {deployment.max_requests}", *timeouts]


def traffic(test: LoadMeasurement) -> str:
    """Return the traffic in one line."""
    load = test.traffic
    rate = f" at {number(load.rate)}/s" if load.rate else ""
    answered = f"{counted(test.requests, 'request')} in {test.seconds:.1f} s"
    return f"{load.user}: {answered}{rate} from {counted(load.clients, 'client')}, {load.connection}"


def facts(test: LoadMeasurement) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each result."""
    yield "peak RSS", f"{_size(test.peak_rss_bytes)} in the largest worker"
    yield "peak in all", f"{_size(test.tree_peak_bytes)} ({test.tree_peak_source})"
    yield "grows", rate(test.growth)
    yield "left/request", left(test)
    if test.deployment.gc == "off" and test.survivors_per_request is not None:
        yield "in replay", replayed(test)
    yield "collections", collections(test)
    yield "throughput", f"{test.throughput:.0f} requests/s"
    yield "processor", processor(test)
    if test.seconds >= SOAK and test.samples[-1].harness:
        halfway, end = test.samples[len(test.samples) // 2].harness, test.samples[-1].harness
        yield "harness", f"{size(halfway)} halfway, {size(end)} in the end, locust included"
    if test.restarts:
        silence = "" if test.silence is None else f"; longest time without an answer {test.silence:.1f} s"
        yield "replaced", f"{counted(test.restarts, 'worker')}{silence}"


def rate(growth: Rate | None) -> str:
    """Return how fast memory grew; `?` if the test was too short for a rate."""
    if growth is None:
        return f"{UNKNOWN}, too short for a rate"
    if not growth.hourly:
        return f"{_signed(growth.bytes_per_request)}/request; too short for a rate per hour"
    interval = f"{_signed(growth.low)} to {_signed(growth.high)}"
    return f"{_signed(growth.bytes_per_request)}/request, {_signed(growth.bytes_per_hour)}/h ({interval})"


def left(test: LoadMeasurement) -> str:
    """Return the objects left per request."""
    if test.survivors_per_request is None or test.leaked_per_request is None:
        return f"{UNKNOWN}, counted where the same workers serve from start to end"
    if test.deployment.gc != "off":
        return counted(_objects(test.leaked_per_request), "leaked object")
    objects = counted(_objects(test.survivors_per_request), "object")
    return f"{objects}, {_objects(test.leaked_per_request)} leaked"


def replayed(test: LoadMeasurement) -> str:
    """Return the objects per request in replay: of the same mix, and of its scenarios one by one."""
    mix, alone = test.replayed_per_request, test.predicted_per_request
    texts = ["same mix: see --predict" if mix is None else f"same mix {_objects(mix)}{_apart(test, mix)}"]
    texts += [] if alone is None else [f"sum of its scenarios {_objects(alone)}{_apart(test, alone)}"]
    return ", ".join(texts)


def processor(test: LoadMeasurement) -> str:
    """Return the cores that server and locust used, and how busy the busiest process of each was."""
    server = f"server {test.server_cores:.2f} cores (busiest worker {100 * test.server_busiest:.0f} %)"
    return f"{server}, locust {test.generator_cores:.2f} ({100 * test.generator_busiest:.0f} %)"


def collections(test: LoadMeasurement) -> str:
    """Return the collector's work in one line."""
    work = test.collections
    if not work.count:
        return "none"
    pauses = f"paused {work.pause * 1e3:.0f} ms, p99 {work.p99 * 1e3:.1f}, longest {work.longest * 1e3:.1f}"
    return f"{work.count}, freeing {counted(work.freed, 'object')}; {pauses}"


def warnings(test: LoadMeasurement) -> Iterator[str]:
    """Yield reasons for caution about the numbers."""
    if test.status != "measured":
        yield f"{test.status}: {one_line(test.reason or '')}"
    if test.unexpected:
        yield f"{counted(test.unexpected, 'unexpected answer')}:"
    elif test.faults:
        yield "not all that was to be sent was sent:"
    for text, count in test.faults[:MOST_FAULTS]:
        yield f"    {counted(count, 'time')}: {one_line(text)}"
    if test.unsent:
        yield f"{counted(test.unsent, 'request')} came due while no client was free: raise --clients"
    if test.generator_saturated:
        yield "locust was the bottleneck, and latencies include its delays: see --processes and --rate"
    if test.server_waiting >= SHORT_OF_CORES:
        part = f"{100 * test.server_waiting:.0f} %"
        yield f"a worker waited for a core {part} of the time, which latencies include"
    elif _could_do_more(test):
        yield "no worker was busy all the time: more --clients would raise throughput"
    if len(test.segments) > 1:
        yield f"continued {counted(len(test.segments) - 1, 'time')}; growth: the longest stretch"


def _could_do_more(test: LoadMeasurement) -> bool:
    idle = 0 < test.server_busiest < SATURATED and not test.generator_saturated
    return idle and test.status == "measured" and test.traffic.rate is None


def _show_one(test: LoadMeasurement, console: Console) -> None:
    say(console, title(test), "bold")
    if test.samples:
        say(console, traffic(test))
        console.print()
        console.print(_table((), ((Text(name, style="dim"), Text(text)) for name, text in facts(test))))
        console.print()
        console.print(_table(LATENCIES, by_scenario(test)))
    for line in warnings(test):
        say(console, f"! {line}" if not line.startswith(" ") else line, "yellow")


def by_scenario(test: LoadMeasurement) -> Iterator[tuple[str, ...]]:
    """Yield the cells of LATENCIES for each scenario."""
    for row in test.scenarios:
        times = (f"{1e3 * value:.1f}" for value in (row.p50, row.p95, row.p99, row.longest))
        yield row.scenario, str(row.requests), *times, str(row.unexpected or "")


def _show_several(measurements: Sequence[LoadMeasurement], console: Console) -> None:
    say(console, subject(measurements), "bold")
    if line := sent(measurements):
        say(console, line)
    console.print()
    console.print(_table((_row_head(measurements), *COLUMNS), _rows(measurements)))
    console.print()
    for note in NOTES:
        say(console, note, "dim")
    for line in _replays(measurements):
        say(console, line)
    for test in measurements:
        for line in warnings(test):
            indented = line.startswith(" ")
            say(console, line if indented else f"! {_row_name(test, measurements)}: {line}", "yellow")


def _replays(measurements: Sequence[LoadMeasurement]) -> Iterator[str]:
    """Yield a line for each test whose mix was replayed."""
    for test in measurements:
        if test.replayed_per_request is not None:
            yield f"{_row_name(test, measurements)}, left in replay: {replayed(test)}"


def subject(measurements: Sequence[LoadMeasurement]) -> str:
    """Return the release under load and what its deployments have in common."""
    first = measurements[0]
    deployment = first.deployment
    same = len({test.deployment.worker for test in measurements}) == 1
    workers = counted(deployment.workers, f"{deployment.worker} worker" if same else "worker")
    return f"{_release(first)} · {', '.join([workers, *_options(deployment)])}"


def sent(measurements: Sequence[LoadMeasurement]) -> str | None:
    """Return the traffic of each test, or None if nothing was sent."""
    first = next((test for test in measurements if test.samples), None)
    return traffic(first).replace(f" in {first.seconds:.1f} s", "") if first else None


def render(measurements: Sequence[LoadMeasurement]) -> str:
    """Return load tests as Markdown ending in a newline: a table of all, then the latencies of each."""
    return "\n".join(_render(measurements)) + "\n"


def _render(measurements: Sequence[LoadMeasurement]) -> Iterator[str]:
    yield f"### outlive load: {escape(subject(measurements))}"
    yield ""
    if line := sent(measurements):
        yield from (escape(line), "")
    header = (_row_head(measurements), *MARKDOWN_COLUMNS)
    yield from table(header, _rows(measurements), right=len(MARKDOWN_COLUMNS))
    yield from ("", MARKDOWN_NOTE)
    for line in _replays(measurements):
        yield from ("", escape(line))
    lines = [
        f"- {escape(f'{_row_name(test, measurements)}: {line.strip()}')}"
        for test in measurements
        for line in warnings(test)
    ]
    if lines:
        yield from ("", *lines)
    for test in measurements:
        if test.scenarios:
            yield from details(
                f"Latencies, {escape(_row_name(test, measurements))}",
                table(LATENCIES, by_scenario(test), right=len(LATENCIES) - 1),
            )


def _rows(measurements: Sequence[LoadMeasurement]) -> Iterator[tuple[str, ...]]:
    """Yield the name of each test's row and its cells."""
    for test in measurements:
        yield _row_name(test, measurements), *_cells(test)


def _cells(test: LoadMeasurement) -> list[str]:
    if not test.samples:
        return [test.status, *[""] * 7]
    left = test.survivors_per_request if test.deployment.gc == "off" else test.leaked_per_request
    p99 = soak.merged(test.scenarios).p99 if test.scenarios else 0.0
    return [
        _size(test.peak_rss_bytes),
        _signed(test.growth.bytes_per_request) if test.growth else UNKNOWN,
        _objects(left) if left is not None else UNKNOWN,
        f"{test.throughput:.0f}",
        f"{1e3 * p99:.0f}",
        str(test.collections.count),
        f"{1e3 * test.collections.pause:.0f}",
        f"{1e3 * test.collections.longest:.1f}",
    ]


def _row_head(measurements: Sequence[LoadMeasurement]) -> str:
    return "worker, gc" if len({test.deployment.worker for test in measurements}) > 1 else "gc"


def _row_name(test: LoadMeasurement, measurements: Sequence[LoadMeasurement]) -> str:
    policy = test.deployment.gc
    return policy if _row_head(measurements) == "gc" else f"{test.deployment.worker}, {policy}"


def _apart(test: LoadMeasurement, expected: float) -> str:
    count = test.survivors_per_request
    return f" ({100 * (count / expected - 1):+.1f} %)" if count and expected else ""


def _objects(value: float) -> str:
    """Return objects per request, rounded to the digits that repeat with many clients.

    A count below zero is shown as zero: objects made during the start can be freed later.
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
