"""Ten steps of the stored history: whoever tells of them says the same, in the same direction."""

from __future__ import annotations

import datetime as dt
import functools
import io
import json
import re
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from gates import KNOWN
from measuring import CHECKOUT
from outlive.asv.results import values
from outlive.comparison import terminal
from outlive.comparison.cells import Row
from outlive.comparison.lines import MARKS
from outlive.comparison.pair import BothMeasurements, Side
from outlive.comparison.sizes import Rates
from outlive.gates.accept import accept
from outlive.gates.judge import judge
from outlive.gates.limits import parse
from outlive.history import steps, stored
from outlive.history.steps import Steps
from outlive.history.timeline import Moment, Timeline
from outlive.pages import report_page
from outlive.records.measurement import Cell, StackRecord
from outlive.reports import markdown, record
from outlive.reports.evidence import Evidence, read
from outlive.reports.record import Facts, Report
from reporting import PROVENANCE

TEN = (
    *(("flask", version) for version in ("2.2.0", "2.2.4", "2.3.2", "2.2.5", "3.1.0")),
    *(("aiohttp", version) for version in ("3.10.6", "3.10.11", "3.11.4", "3.11.17", "3.14.4")),
)
JUDGED = {"on": ("leaked", "leaked_connection"), "off": ("objects", "connection")}
OUTCOMES = {"over": "worse", "under": "better", "within": "same"}
REPORTS = sorted(CHECKOUT.root.glob("results/reports/*/*.json"))
WORDS = {mark: direction for direction, mark in MARKS.items()}
PAGE_ROW = re.compile(r'<tr><td>([▲▼=] \w+)</td><th scope="row">([\w-]+)')


@functools.cache
def history(framework: str) -> tuple[Facts, Timeline, Steps]:
    timeline = stored.load(CHECKOUT, framework)
    return record.facts(CHECKOUT, framework, timeline), timeline, steps.find(timeline, None)


@functools.cache
def told(framework: str, version: str) -> tuple[Report, steps.Step, Moment, Moment]:
    """Return the report on a step of the history, the step, and the releases before and after it."""
    known, timeline, found = history(framework)
    step = next(one for one in found.steps if one.release.version == version)
    moments = {moment.release: moment for moment in timeline.moments}
    before, after = moments[step.before], moments[step.release]
    evidence = Evidence(
        provenance=PROVENANCE,
        before=side(before),
        after=side(after),
        differences=(),
        measurements=BothMeasurements(before=before.measurements, after=after.measurements),
    )
    return record.build(evidence, known, Rates()), step, before, after


@pytest.mark.parametrize("path", REPORTS, ids=lambda path: path.stem)
def test_a_report_does_not_depend_on_how_much_of_the_history_is_read(path: Path) -> None:
    framework = path.parent.name
    whole, _, _ = history(framework)
    part = record.facts(CHECKOUT, framework)
    made = [record.build(read(path), known, Rates()) for known in (whole, part)]
    assert made[0] == made[1]
    assert part.history.problems == whole.history.problems


def side(moment: Moment) -> Side:
    first = moment.measurements[0]
    stack = StackRecord(
        framework=first.framework,
        release=first.release,
        python=first.python,
        lock=first.lock,
        packages=moment.packages,
    )
    return Side(stack, moment.release)


def directions(report: Report) -> dict[tuple[str, str, str], str]:
    return {(row.scenario, row.connection, row.gc): row.direction for row in report.comparison.rows}


pairs = pytest.mark.parametrize(("framework", "version"), TEN)


@pairs
def test_headline_steps_and_json_say_the_same(framework: str, version: str) -> None:
    report, step, *_ = told(framework, version)
    assert report.comparison.headline.startswith(f"{report.comparison.subject}: {step.summary}")
    cells = directions(report)
    assert {(row.scenario, row.connection, row.gc): row.direction for row in step.rows} == {
        cell: direction for cell, direction in cells.items() if direction != "same"
    }
    rows = json.loads(report.to_json())["comparison"]["rows"]
    assert {(row["scenario"], row["connection"], row["gc"]): row["direction"] for row in rows} == cells
    for gc, sentence in zip(("on", "off"), step.changes, strict=True):
        assert sentence.lead == f"with gc {gc}"
        counts = [int(count) for count in re.findall(r"(?:worse|better) in (\d+)", str(sentence))]
        assert sum(counts) == sum(way != "same" for (*_, own), way in cells.items() if own == gc)


@pairs
def test_table_markdown_and_page_say_the_same(framework: str, version: str) -> None:
    report, *_ = told(framework, version)
    cells = directions(report)
    console = Console(file=io.StringIO(), width=200)
    terminal.show(report.comparison, console, everything=True)
    assert isinstance(console.file, io.StringIO)
    lines = [line.split() for line in console.file.getvalue().splitlines()]
    shown = {
        (line[2], WORDS[" ".join(line[:2])])
        for line in lines
        if " ".join(line[:2]) in WORDS and len(line) > 5
    }
    assert shown == {(scenario, direction) for (scenario, *_), direction in cells.items()}
    in_markdown = {}
    for line in markdown.render(report).splitlines():
        columns = [one.strip() for one in line.strip("|").split("|")]
        if columns[0] in WORDS and len(columns) >= 8:
            scenario = columns[1].partition(",")[0]
            for connection in re.split(", | and ", columns[2]):
                for gc in re.split(", | and ", columns[3]):
                    in_markdown[scenario, connection, gc] = WORDS[columns[0]]
    assert in_markdown == cells
    page = report_page.html(report)
    on_page = {(scenario, WORDS[mark]) for mark, scenario in PAGE_ROW.findall(page)}
    assert on_page == shown


@pairs
def test_asv_and_the_gate_go_the_same_way(framework: str, version: str) -> None:
    report, _, before, after = told(framework, version)
    limits = parse("", "limits.toml", KNOWN)
    releases = [before.release.version, after.release.version]
    reviewed = accept(limits, before.measurements, releases, KNOWN, dt.date(2026, 3, 1))
    late = {Cell.of(m): m for m in after.measurements}
    early = {Cell.of(m): m for m in before.measurements}
    cells = directions(report)
    red = set()
    for row in report.comparison.rows:
        cell = Cell(row.scenario, row.connection, row.gc)
        as_before = msgspec.structs.replace(late[cell], release=before.release.version)
        outcome = judge(reviewed, as_before).outcome
        red.add(outcome)
        counts = [way(row, name) for name in JUDGED[row.gc] if name in row.told]
        if counts:
            assert OUTCOMES[outcome] == counts[0], row
        else:  # the gate has no limit for memory of what does not leak
            assert OUTCOMES[outcome] in ("same", row.direction), row
        if row.gc == "off":
            if "leaked" in row.told:  # with gc off all of it stays; a gate with gc on sees what is a leak now
                assert cells[row.scenario, row.connection, "on"] == row.direction
            benchmark = {
                "params": (),
                "gc": "off",
                "scenario": row.scenario,
                "connection": row.connection,
                "reading": "survivors_per_request",
            }
            ((one,), (other,)) = values(benchmark, early), values(benchmark, late)
            assert one is not None
            assert other is not None
            if "objects" in row.told:
                assert ("worse" if other > one else "better") == way(row, "objects")
    assert red & {"over", "under"}


def way(row: Row, name: str) -> str:
    """Return the direction of one count, apart from all others."""
    assert row.before is not None
    assert row.after is not None
    one, other = (side.amounts[name].value for side in (row.before, row.after))
    return "worse" if other > one else "better"
