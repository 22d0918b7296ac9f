"""What pages show of load tests: the two sides of a report, and tests on a page by themselves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import msgspec

from outlive.comparison.noisy import load_text
from outlive.comparison.noisy.load import Loads, latencies
from outlive.loads import text
from outlive.pages.drawings import load_plots
from outlive.pages.drawings.plots import Drawing
from outlive.pages.page import ALONE, render
from outlive.records.load import LoadMeasurement, percentile
from outlive.wording import about, counted, number, size, step

MOST_TESTS = 3  # kinds of load test (mostly gc policies) in one plot, with two lines each

LEGEND = f"A/A: the stack before against itself. {load_text.RULE.replace('*', '')}"

ONE_RUN = "One run each, so no verdict."


def single(loads: Loads) -> dict[str, object]:
    """Return the values that a report's template shows of single load tests, before beside after."""
    pairs = tuple(zip(loads.before, loads.after, strict=True))
    return {
        "plots": list(_plots(pairs[:MOST_TESTS])),
        "kinds": [kind(after) for _, after in pairs],
        "numbers": [
            (name, [step(tell(before), tell(after)) for before, after in pairs]) for name, tell in NUMBERS
        ],
        "traffic": "; ".join(dict.fromkeys(_traffic(after) for _, after in pairs)),
    }


def kind(test: LoadMeasurement) -> str:
    """Return what distinguishes a load test from others of its stack: `gc off`, `gc on, 2 workers`."""
    deployment = test.deployment
    parts = [f"gc {deployment.gc}"]
    parts += [counted(deployment.workers, "worker")] if deployment.workers > 1 else []
    parts += ["preload"] if deployment.preload else []
    parts += [f"max_requests {deployment.max_requests}"] if deployment.max_requests else []
    return ", ".join(parts)


def _plots(pairs: Sequence[tuple[LoadMeasurement, LoadMeasurement]]) -> Iterator[Drawing]:
    sides = [(f"{side.release}, {kind(side)}", side) for pair in pairs for side in pair]
    for plots in (load_plots.memory, load_plots.latency, load_plots.pauses):
        for drawing in plots(sides):
            yield msgspec.structs.replace(drawing, caption=f"{drawing.caption}. {ONE_RUN}")


def _latency(percent: float) -> Callable[[LoadMeasurement], str]:
    return lambda test: about(1000 * percentile(latencies(test), percent))


NUMBERS: tuple[tuple[str, Callable[[LoadMeasurement], str]], ...] = (
    ("peak RSS of a worker", lambda test: "?" if test.peak_rss_bytes is None else size(test.peak_rss_bytes)),
    ("growth per request", lambda test: "?" if test.growth is None else size(test.growth.bytes_per_request)),
    (
        "growth per hour",
        lambda test: size(test.growth.bytes_per_hour) if test.growth and test.growth.hourly else "?",
    ),
    *((f"latency p{percent}, ms", _latency(percent)) for percent in (50, 95, 99)),
    ("requests per second", lambda test: number(round(test.throughput))),
    ("collections", lambda test: number(test.collections.count)),
    ("longest gc pause, ms", lambda test: about(1000 * test.collections.longest)),
    ("gc pauses in all, ms", lambda test: about(1000 * test.collections.pause)),
    ("unexpected answers", lambda test: number(test.unexpected)),
)
"""The numbers of a load test: name, and the text of its value."""


def _traffic(test: LoadMeasurement) -> str:
    sent = test.traffic
    rate = f" at {number(sent.rate)} a second" if sent.rate else ""
    clients = counted(sent.clients, "client")
    return f"{counted(test.requests, 'request')} of {sent.user}{rate} from {clients}, {sent.connection}"


def html(tests: Sequence[LoadMeasurement]) -> str:
    """Return the page of load tests of one release; it loads nothing."""
    named = [(_name(test, tests), test) for test in tests]
    measured = [(name, test) for name, test in named if test.samples]
    facts: dict[str, dict[str, str]] = defaultdict(dict)
    for name, test in measured:
        for fact, value in text.facts(test):
            facts[fact][name] = value
    plots = (load_plots.memory, load_plots.course, load_plots.latency, load_plots.pauses)
    subject, sent = text.subject(tests), text.sent(tests) or "Nothing was sent."
    return render(
        "load.html.j2",
        ALONE,
        title=f"{subject}: load test",
        summary=sent,
        subject=subject,
        names=[name for name, _ in named],
        facts=facts,
        plots=[drawing for plot in plots for drawing in plot(measured[:MOST_TESTS])],
        head=text.LATENCIES,
        latencies=[(name, list(text.by_scenario(test))) for name, test in named],
        warnings=[f"{name}: {line.strip()}" for name, test in named for line in text.warnings(test)],
    )


def _name(test: LoadMeasurement, tests: Sequence[LoadMeasurement]) -> str:
    """Return what distinguishes a test from the others, with a number if two are alike."""
    worker = f"{test.deployment.worker}, " if len({test.deployment.worker for test in tests}) > 1 else ""
    alike = [candidate for candidate in tests if candidate.deployment == test.deployment]
    number = f", {alike.index(test) + 1}" if len(alike) > 1 else ""
    return f"{worker}{kind(test)}{number}"
