"""What pages show of load tests: of both sides of a report, and of tests by themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec

from outlive import __version__
from outlive.comparison.noisy import load_text
from outlive.comparison.noisy.load import Loads, latencies, said
from outlive.loads import text
from outlive.pages.drawings import load_plots
from outlive.pages.drawings.load_plots import Shown
from outlive.pages.drawings.plots import Drawing
from outlive.pages.page import ALONE, render
from outlive.records.load import LoadMeasurement, percentile
from outlive.wording import about, capital, counted, number, size, step

MOST_TESTS = 3  # kinds of load test, mostly gc policies, that one plot shows: two lines each

LEGEND = f"A/A: the stack before against itself. {load_text.RULE.replace('*', '')}"

ONE_RUN = "One run each, which decides nothing."


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
    sides = [Shown(f"{side.release}, {kind(side)}", side) for pair in pairs for side in pair]
    for plots in (load_plots.memory, load_plots.latency, load_plots.pauses):
        for drawing in plots(sides):
            yield msgspec.structs.replace(drawing, caption=f"{drawing.caption}. {ONE_RUN}")


def _tests(pairs: Sequence[tuple[LoadMeasurement, LoadMeasurement]]) -> Iterator[Test]:
    rows: tuple[tuple[str, Callable[[LoadMeasurement], str]], ...] = (
        (
            "peak RSS of a worker",
            lambda test: "?" if test.peak_rss_bytes is None else size(test.peak_rss_bytes),
        ),
        (
            "growth per request",
            lambda test: "?" if test.growth is None else size(test.growth.bytes_per_request),
        ),
        (
            "growth per hour",
            lambda test: size(test.growth.bytes_per_hour) if test.growth and test.growth.hourly else "?",
        ),
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


class LoadPage(msgspec.Struct, frozen=True, kw_only=True):
    """What the page of load tests shows: numbers and plots of all, then the scenarios of each."""

    subject: str
    sent: str
    names: tuple[str, ...]
    facts: tuple[Test, ...]
    plots: tuple[Drawing, ...]
    latencies: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...]
    warnings: tuple[str, ...]
    head: tuple[str, ...] = text.LATENCIES


def html(tests: Sequence[LoadMeasurement]) -> str:
    """Return the page of load tests, which loads nothing; all have to be of one release."""
    names = tuple(_name(test, tests) for test in tests)
    shown = [Shown(name, test) for name, test in zip(names, tests, strict=True) if test.samples][:MOST_TESTS]
    facts: dict[str, dict[str, str]] = {}
    for name, test in zip(names, tests, strict=True):
        for fact, value in text.facts(test) if test.samples else ():
            facts.setdefault(fact, {})[name] = value
    page = LoadPage(
        subject=text.subject(tests),
        sent=text.sent(tests) or "Nothing was sent.",
        names=names,
        facts=tuple(Test(fact, tuple(by.get(name, "") for name in names)) for fact, by in facts.items()),
        plots=tuple(
            drawing
            for plots in (load_plots.memory, load_plots.course, load_plots.latency, load_plots.pauses)
            for drawing in plots(shown)
        ),
        latencies=tuple(
            (name, tuple(text.by_scenario(test))) for name, test in zip(names, tests, strict=True)
        ),
        warnings=tuple(
            f"{name}: {line.strip()}"
            for name, test in zip(names, tests, strict=True)
            for line in text.warnings(test)
        ),
    )
    return render(
        "load.html.j2",
        ALONE,
        title=f"{page.subject}: load test",
        summary=page.sent,
        page=page,
        version=__version__,
    )


def _name(test: LoadMeasurement, tests: Sequence[LoadMeasurement]) -> str:
    """Return what sets a test apart from the others, with a number where two are alike."""
    worker = f"{test.deployment.worker}, " if len({one.deployment.worker for one in tests}) > 1 else ""
    alike = [one for one in tests if one.deployment == test.deployment]
    number = f", {alike.index(test) + 1}" if len(alike) > 1 else ""
    return f"{worker}{kind(test)}{number}"
