"""Tables of what remedies do: for a terminal, as Markdown and for the pages."""

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
from outlive.reports.remedies import Relief, RemedyRow
from outlive.tables import columns, say
from outlive.wording import counted, number, one_line

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
    """Print what each remedy does, then which one to take and why."""
    heading = f"{relief.release} · Python {relief.python} · {relief.user} · {relief.connection}"
    say(console, heading, "bold")
    grid = _grid(("remedy", "left per request", "leaked", "clean"), "most")
    for row in relief.rows:
        _add_heading(grid, relief.rows, row)
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
    """Return the table as Markdown: what requests leave and, if there were load tests, what remedies cost."""
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


def load_cells(trial: Trial | None) -> tuple[str, ...]:
    """Return growth and peak, then CPU, throughput and p99, as changes if there is something to compare."""
    if trial is None:
        return ("",) * len(METRICS)
    peak, growth, *cost = _means(trial)
    return (growth, peak, *(map(change, trial.decided[2:]) if trial.decided else cost))


def trial(row: RemedyRow, policy: Policy) -> Trial | None:
    """Return the results of load tests with a gc policy, None if there were none."""
    return row.off if policy == "off" else row.on


def tried(relief: Relief, policy: Policy) -> list[tuple[RemedyRow, Trial]]:
    """Return the remedies that were load-tested with a gc policy, with the results."""
    return [(row, result) for row in relief.rows if (result := trial(row, policy))]


def load_title(relief: Relief, policy: Policy) -> str:
    """Return the title of the load tests with a gc policy; there must be at least one."""
    trials = [trial for _, trial in tried(relief, policy)]
    rounds = min(trial.rounds for trial in trials)
    requests = min(trial.traffic.requests or 0 for trial in trials)
    return f"Under load, gc {policy}, {counted(rounds, 'round')} of {counted(requests, 'request')}"


def taking(relief: Relief) -> str:
    """Return the remedy to take."""
    return f"Take {relief.advice.remedy}" if relief.advice.remedy else "No remedy recommended"


def _grid(right: Sequence[str], last: str) -> Table:
    grid = columns("bold")
    for name in right:
        grid.add_column(name, justify="left" if name == right[0] else "right", no_wrap=name == right[0])
    grid.add_column(last, overflow="fold")
    return grid


def _add_heading(grid: Table, rows: Sequence[RemedyRow], row: RemedyRow) -> None:
    """Add a heading if `row` is the first practice."""
    if row is next((row for row in rows if row.kind == "practice"), None):
        grid.add_row(Text("practice", "bold"))


def left_cells(row: RemedyRow) -> tuple[str, ...]:
    """Return a remedy's name, objects left and leaked, clean scenarios, and the scenario that leaves most."""
    name = row.remedy or PLAIN
    if row.unsupported:
        return (name, "unsupported", "", "", "")
    if row.left is None:
        return (name, "same", "", "", row.summary)
    left = row.left
    worst = f"{number(left.scenarios[left.worst])} {left.worst}" if left.scenarios[left.worst] else NOTHING
    return (name, number(left.mean), number(left.leaked), f"{left.clean}/{left.failing}", worst)


def _show_trials(relief: Relief, policy: Policy, console: Console) -> None:
    """Print the results of load tests with a gc policy, if there were any."""
    trials = tried(relief, policy)
    if not trials:
        return
    say(console, f"\n{load_title(relief, policy)}", "bold")
    grid = _grid(("remedy", "growth", "peak RSS", "CPU", "throughput"), "p99")
    for row, trial in trials:
        peak, growth, *cost = _means(trial)
        grid.add_row(*map(Text, (row.remedy or PLAIN, growth, peak, *cost)))
    console.print(grid)
    changes = _grid(("change, %", "peak RSS", "CPU", "throughput"), "p99")
    for row, trial in trials:
        if trial.decided:
            peak, _, *cost = (_short(change(decided)) for decided in trial.decided)
            changes.add_row(*map(Text, (row.remedy or PLAIN, peak, *cost)))
    console.print(changes)
    say(console, LOAD_LEGEND, "dim")


def _means(trial: Trial) -> tuple[str, ...]:
    """Return the mean of each metric, or `?` if a load test was too short for it."""
    means = trial.means
    return tuple(value(metric, means[metric.name]) if metric.name in means else UNKNOWN for metric in METRICS)


def change(decided: Decided) -> str:
    """Return the interval of a metric's change, marked `=` for no change and `?` for unsure."""
    if decided.change is None:
        return UNKNOWN
    mark = {"changed": "", "no change seen": "= ", "inconclusive": "? "}[decided.decision]
    return mark + bounds(decided.metric, decided.change)


def _short(interval: str) -> str:
    """Return an interval of percentages, short enough for five columns in a terminal."""
    return interval.removesuffix(" %").replace(" to ", "…")


def row_notes(row: RemedyRow) -> list[str]:
    """Return notes on a row that its numbers do not show."""
    notes = [row.unsupported] if row.unsupported else []
    if row.left is not None:
        if row.left.kept:
            kept = counted(f"{row.left.kept:,}", "object")
            notes.append(f"keeps up to {kept} for good, however many requests follow")
        notes += [f"{name} not measured: {reason}" for name, reason in row.left.unmeasured.items()]
    return notes


def missing(report: Report) -> str:
    """Return how to measure remedies for the release before, or "" if they are measured."""
    stack = report.comparison.before.stack
    if report.relief and report.relief.relief.is_about(stack):
        return ""
    command = f"outlive remedies {stack.framework}=={stack.release} --python {stack.python}"
    return f"The remedies have not been measured for {stack.framework} {stack.release}: run `{command}`."


def caption(relief: Relief) -> str:
    """Return what was measured, and how."""
    return (
        f"What remedies do for {one_line(relief.release)}, on Python {relief.python}, with the traffic of "
        f"{one_line(relief.user)} on {relief.connection} connections, "
        f"{'published' if relief.published else 'measured here'}"
    )


def notes(relief: Relief) -> tuple[str, ...]:
    """Return notes and cautions on single remedies."""
    return tuple(
        f"{row.remedy or PLAIN}: {one_line(note)}"
        for row in relief.rows
        for note in (*row_notes(row), *([row.caution] if row.caution else []))
    )
