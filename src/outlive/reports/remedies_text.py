"""What remedies do, as lines of tables: for a terminal or a pipe, as Markdown, and for the pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from outlive.comparison.noisy.noise import Decided
from outlive.comparison.noisy.noise_text import bounds, value
from outlive.comparison.noisy.remedies import METRICS, Trial
from outlive.markdown import table
from outlive.reports.record import Report
from outlive.reports.remedies import Relief, Row
from outlive.tables import columns, say
from outlive.wording import number, one_line

NOTHING = "-"
PLAIN = "none"
UNKNOWN = "?"
Policy = Literal["off", "on"]
LEGEND = (
    "Left and leaked: exact objects per request of this traffic, with gc off. Clean: failing scenarios "
    "that leave nothing. Same: the remedy only changes what happens to what requests leave."
)
LOAD_LEGEND = (
    "Growth: bytes per request, ? where the load test was too short. CPU: the server's processor time "
    "per request. Changes are relative to none, as intervals: = no change seen, ? either way."
)
POLICIES: tuple[Policy, ...] = ("off", "on")


def show(relief: Relief, console: Console) -> None:
    """Print what each remedy does, and which one to take with the reasons."""
    heading = f"{relief.release} · Python {relief.python} · {relief.user} · {relief.connection}"
    say(console, heading, "bold")
    grid = _grid(("remedy", "left per request", "leaked", "clean"), "most")
    for row in relief.rows:
        _heading(grid, relief.rows, row)
        grid.add_row(*map(Text, left_cells(row)))
    console.print(grid)
    say(console, LEGEND, "dim")
    for policy in POLICIES:
        _show_trials(relief, policy, console)
    console.print()
    for row in relief.rows:
        for note in row_notes(row):
            say(console, f"{row.remedy or PLAIN}: {one_line(note)}")
    say(console, f"\n{taking(relief)}:", "bold")
    for reason in relief.advice.reasons:
        say(console, f"  {one_line(reason)}")


def render(relief: Relief) -> str:
    """Return the table as Markdown: what requests leave and, where there were load tests, what it costs."""
    policies = [policy for policy in POLICIES if tried(relief, policy)]
    header = ["", "left per request", "leaked", "clean"]
    for policy in policies:
        header += [f"gc {policy}: growth", "peak", "CPU", "throughput", "p99"]
    rows = []
    for row in relief.rows:
        left = left_cells(row)[1:4] if row.left or row.unsupported else ("same", "", "")
        load = [cell for policy in policies for cell in load_cells(trial(row, policy))]
        rows.append((row.remedy or PLAIN, *left, *load))
    return "\n".join(table(header, rows, right=len(header) - 1))


def load_cells(found: Trial | None) -> tuple[str, ...]:
    """Return growth and peak, and CPU, throughput and p99: by how much they changed where they can."""
    if found is None:
        return ("",) * len(METRICS)
    peak, growth, *cost = _means(found)
    return (growth, peak, *(map(change, found.decided[2:]) if found.decided else cost))


def trial(row: Row, policy: Policy) -> Trial | None:
    """Return what load tests gave with a gc policy, None where there were none."""
    return row.off if policy == "off" else row.on


def tried(relief: Relief, policy: Policy) -> list[tuple[Row, Trial]]:
    """Return the remedies of which there are load tests with a gc policy, with what those gave."""
    return [(row, found) for row in relief.rows if (found := trial(row, policy))]


def load_title(relief: Relief, policy: Policy) -> str:
    """Return what the load tests with a gc policy were; there must be one at least."""
    trials = [found for _, found in tried(relief, policy)]
    rounds = min(one.rounds for one in trials)
    requests = min(one.traffic.requests or 0 for one in trials)
    return f"Under load, gc {policy}, {rounds} rounds of {requests} requests"


def taking(relief: Relief) -> str:
    """Return which remedy to take."""
    return f"Take {relief.advice.remedy}" if relief.advice.remedy else "No remedy recommended"


def _grid(right: Sequence[str], last: str) -> Table:
    grid = columns("bold")
    for name in right:
        grid.add_column(name, justify="left" if name == right[0] else "right", no_wrap=name == right[0])
    grid.add_column(last, overflow="fold")
    return grid


def _heading(grid: Table, rows: Sequence[Row], row: Row) -> None:
    """Add a line before the first practice."""
    if row is next((one for one in rows if one.kind == "practice"), None):
        grid.add_row(Text("practice", "bold"))


def left_cells(row: Row) -> tuple[str, ...]:
    """Return a remedy's name, what is left per request, leaked, how many are clean, and what leaves most."""
    name = row.remedy or PLAIN
    if row.unsupported:
        return (name, "unsupported", "", "", "")
    if row.left is None:
        return (name, "same", "", "", row.summary)
    left = row.left
    worst = f"{number(left.scenarios[left.worst])} {left.worst}" if left.scenarios[left.worst] else NOTHING
    return (name, number(left.mean), number(left.leaked), f"{left.clean}/{left.failing}", worst)


def _show_trials(relief: Relief, policy: Policy, console: Console) -> None:
    """Print what load tests gave with a gc policy, if there were any."""
    trials = tried(relief, policy)
    if not trials:
        return
    say(console, f"\n{load_title(relief, policy)}", "bold")
    grid = _grid(("remedy", "growth", "peak RSS", "CPU", "throughput"), "p99")
    for row, found in trials:
        peak, growth, *cost = _means(found)
        grid.add_row(*map(Text, (row.remedy or PLAIN, growth, peak, *cost)))
    console.print(grid)
    changes = _grid(("change, %", "peak RSS", "CPU", "throughput"), "p99")
    for row, found in trials:
        if found.decided:
            peak, _, *cost = (_short(change(one)) for one in found.decided)
            changes.add_row(*map(Text, (row.remedy or PLAIN, peak, *cost)))
    console.print(changes)
    say(console, LOAD_LEGEND, "dim")


def _means(trial: Trial) -> tuple[str, ...]:
    """Return the mean of each metric, `?` where a load test was too short for it."""
    return tuple(value(one, trial.means[one.name]) if one.name in trial.means else UNKNOWN for one in METRICS)


def change(decided: Decided) -> str:
    """Return the interval that the change of a metric lies in, with `=` for no change and `?` for unsure."""
    if decided.change is None:
        return UNKNOWN
    mark = {"changed": "", "no change seen": "= ", "inconclusive": "? "}[decided.decision]
    return mark + bounds(decided.metric, decided.change)


def _short(interval: str) -> str:
    """Return an interval of percents so that five columns fit a terminal."""
    return interval.removesuffix(" %").replace(" to ", "…")


def row_notes(row: Row) -> list[str]:
    """Return what has to be said of a row beside its numbers."""
    notes = [row.unsupported] if row.unsupported else []
    if row.left is not None:
        if row.left.kept:
            notes.append(f"keeps up to {row.left.kept} objects permanently")
        notes += [f"{name} not measured: {reason}" for name, reason in row.left.unmeasured.items()]
    return notes


def missing(report: Report) -> str:
    """Return how to measure remedies for the release before; empty where that is done."""
    stack = report.comparison.before.stack
    if report.relief and report.relief.relief.is_about(stack):
        return ""
    command = f"outlive remedies {stack.framework}=={stack.release} --python {stack.python}"
    return f"The remedies have not been measured for {stack.framework} {stack.release}: run `{command}`."


def caption(relief: Relief) -> str:
    """Return what was measured, on what and how."""
    return (
        f"What remedies do for {one_line(relief.release)}, on Python {relief.python}, with the traffic of "
        f"{one_line(relief.user)} on {relief.connection} connections, "
        f"{'published' if relief.published else 'measured here'}"
    )


def notes(relief: Relief) -> tuple[str, ...]:
    """Return what has to be said of single remedies beside their numbers."""
    return tuple(
        f"{row.remedy or PLAIN}: {one_line(note)}"
        for row in relief.rows
        for note in (*row_notes(row), *([row.caution] if row.caution else []))
    )
