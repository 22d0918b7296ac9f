"""A report as one HTML page: the verdict, the answers, then the evidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from outlive.comparison.cells import BASELINE, Row
from outlive.comparison.lines import dependencies, facts, gaps, open_files, sections, step_text
from outlive.comparison.noisy import load, load_text
from outlive.pages import bill_view, load_view
from outlive.pages.drawings import plots
from outlive.pages.drawings.plots import Drawing, PairBar
from outlive.pages.page import ALONE, Frame, render
from outlive.records.measurement import CONNECTIONS, GC_POLICIES, Connection
from outlive.releases.lineage import PYTHON
from outlive.reports import remedies_text
from outlive.reports.record import Report
from outlive.reports.verdict import OfScenario
from outlive.retention import changes_text
from outlive.wording import listed, one_line

MOST_LINES = 5  # scenarios in a plot over the releases
MOST_CHARGES = 6  # lines of the bill shown unfolded


def html(report: Report, frame: Frame = ALONE) -> str:
    """Return the report as one HTML page that loads nothing."""
    comparison, rows = report.comparison, report.comparison.rows
    policies = " and ".join(policy.gc for policy in report.judgement.policies)
    columns = _columns(rows)
    differs = {row.scenario for row in rows if row.direction != "same"}
    lost = {gap.scenario for gap in comparison.unmeasured if gap.gap != "unsupported"}
    scenarios = list(_scenarios(report, columns))
    return render(
        "report.html.j2",
        frame,
        title=f"{comparison.subject}, gc {policies}: {report.said.verdict.lower()}",
        summary=one_line(comparison.headline),
        scripts=("costs.js",),
        report=report,
        policies=policies,
        said=report.said,
        bars=_bars(rows),
        heads=[f"{connection}, gc {gc}" for connection, gc in columns],
        changed=[line for line in scenarios if line[0].scenario in differs | lost],
        unchanged=[line for line in scenarios if line[0].scenario not in differs | lost],
        rates=bill_view.rates(report.bill),
        bills=bill_view.tables(report.bill),
        most_charges=MOST_CHARGES,
        costs_note=bill_view.NOTE,
        costs=bill_view.data(report.bill),
        load_text=load_text,
        outcome=load.said,
        load_legend=load_view.LEGEND,
        single=load_view.single(report.loads),
        pauses=_pauses(rows),
        remedies=remedies_text,
        history=_history(report),
        differs=differs,
        kept_alive=changes_text.told(comparison.fingerprints, everything=True),
        kept_summary=changes_text.summary(comparison.fingerprints),
        facts=facts(comparison),
        dependencies=dependencies(comparison),
        gaps=gaps(comparison),
        files=open_files(comparison),
        sections=sections(rows),
    )


def _columns(rows: Sequence[Row]) -> tuple[tuple[Connection, str], ...]:
    policies = dict.fromkeys([*GC_POLICIES, *(row.gc for row in rows)])
    cells = {(row.connection, row.gc) for row in rows}
    return tuple(
        (connection, gc) for gc in policies for connection in CONNECTIONS if (connection, gc) in cells
    )


def _scenarios(
    report: Report, columns: Sequence[tuple[Connection, str]]
) -> Iterator[tuple[OfScenario, list[str]]]:
    """Yield the verdict on each scenario with what its cells leave, one text per column."""
    by_cell = {(row.scenario, row.connection, row.gc): step_text(row) for row in report.comparison.rows}
    for judged in report.judgement.scenarios:
        yield judged, [by_cell.get((judged.scenario, *column), "not compared") for column in columns]


def _bars(rows: Sequence[Row]) -> Iterator[Drawing]:
    """Yield a plot for each kind of connection; kinds with the same data share one."""
    drawn: dict[tuple[PairBar, ...], list[Connection]] = {}
    for connection in CONNECTIONS:
        data = tuple(
            PairBar.of(row)
            for row in rows
            if row.gc == "off" and row.connection == connection and (row.before.objects or row.after.objects)
        )
        if data:
            drawn.setdefault(data, []).append(connection)
    most_first = sorted(drawn.items(), key=lambda item: -sum(bar.before != bar.after for bar in item[0]))
    for at, (data, connections) in enumerate(most_first):
        title = f"Objects that each request leaves with gc off, {listed(connections)}"
        leaked = any(bar.before_leaked or bar.after_leaked for bar in data)
        hatched = "; what no collection frees is hatched" if leaked else ""
        caption = f"{title}: before (grey) above after (blue){hatched}. The others leave nothing."
        yield Drawing(plots.bars(f"bars-{at}", title, "objects", data), caption)


def _pauses(rows: Sequence[Row]) -> Drawing | None:
    data = []
    for row in rows:
        pauses = (row.before.pause_ms_per_1000_requests, row.after.pause_ms_per_1000_requests)
        if row.gc == "on" and None not in pauses:
            label = f"{row.scenario}, {row.connection}"
            data.append(PairBar(label=label, before=round(pauses[0] or 0, 2), after=round(pauses[1] or 0, 2)))
    data = sorted(data, key=lambda bar: -max(bar.before, bar.after))[:12]
    if not any(bar.before or bar.after for bar in data):
        return None
    title = "What the collector's pauses cost, in ms per 1,000 requests, gc on"
    caption = f"{title}: the largest ones, before (grey) above after (blue). Times are noisy."
    return Drawing(plots.bars("pauses", title, "ms per 1,000 requests", data), caption)


def _history(report: Report) -> Iterator[Drawing]:
    before, after = report.comparison.before.stack.release, report.comparison.after.stack.release
    for at, connection in enumerate(CONNECTIONS):
        strips = [strip for strip in report.history if strip.connection == connection]
        strips = [strip for strip in strips if strip.scenario != BASELINE] or strips
        strips.sort(key=lambda strip: -max((point.objects or 0 for point in strip.points), default=0))
        if strips:
            title = f"Objects left per request by release, gc off, {connection}"
            caption = (
                f"{title}; ✕ marks yanked releases. Each release ran with the dependencies of its time, "
                f"on Python {PYTHON}."
            )
            svg = plots.history(f"history-{at}", title, strips[:MOST_LINES], (before, after))
            yield Drawing(svg, caption, plots.legend(strips[:MOST_LINES]))
