"""Draws the report of a load comparison on a terminal and as Markdown; counts what it hides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
from msgspec.structs import astuple
from rich.console import Console
from rich.text import Text

from outlive.comparison.changes import Direction
from outlive.comparison.headline import withdrawn
from outlive.comparison.lines import MARKS, UNKNOWN, facts
from outlive.comparison.markdown import about
from outlive.comparison.noisy.load import LoadComparison, claimed
from outlive.comparison.noisy.noise import FALSE_ALARM, POWER, Decided
from outlive.comparison.noisy.noise_text import bounds, difference, seen, title, value
from outlive.comparison.terminal import COLOURS, show_facts
from outlive.markdown import details, escape, table
from outlive.records.load import Traffic
from outlive.tables import WIDE, columns, indented, say
from outlive.wording import counted, does, listed, number

UNSURE = "? unsure"
MOST_NAMES = 4  # most metrics that are named for one reason
RULE = (
    f"*same*: no change seen. *sees*: the smallest change it would have seen {10 * POWER:g} times in 10. "
    f"Intervals hold for all metrics at once: a stack against itself shows a change in at most "
    f"{100 * FALSE_ALARM:g} of 100 such comparisons."
)
RULE_AND_WHERE = f"{RULE.removesuffix('.')}; see docs/how-we-decide.md."


class LoadLine(msgspec.Struct, frozen=True, kw_only=True):
    """One metric as it is shown, in the order of the columns; `control` is the A/A."""

    direction: Direction
    mark: str
    metric: str
    before: str
    after: str
    change: str
    interval: str
    sees: str
    control: str


def lines(decided: Sequence[Decided]) -> tuple[LoadLine, ...]:
    """Return a line for each metric: first what got worse, then better, inconclusive, and the same."""
    order = ("worse", "better", UNSURE, "same")
    return tuple(sorted(map(_line, decided), key=lambda line: order.index(_rank(line))))


def split(comparison: LoadComparison) -> tuple[list[Decided], list[Decided], list[Decided]]:
    """Return the metrics (of all scenarios together, of single ones that changed, of other single ones)."""
    overall = [result for result in comparison.decided if result.metric.scenario is None]
    single = [result for result in comparison.decided if result.metric.scenario is not None]
    changed = [result for result in single if result.decision == "changed"]
    return overall, changed, [result for result in single if result.decision != "changed"]


def hidden(quiet: Sequence[Decided]) -> str:
    """Return a text about the metrics of single scenarios that did not change; empty if there are none."""
    same = sum(result.decision == "no change seen" for result in quiet)
    unsure = sum(result.decision == "inconclusive" for result in quiet)
    inconclusive = f"that {does(unsure, 'are', 'is')} inconclusive"
    if not same:
        return f"{counted(unsure, 'metric')} of single scenarios {inconclusive}" if unsure else ""
    text = f"{counted(same, 'metric')} of single scenarios with no change seen"
    return f"{text} and {unsure} {inconclusive}" if unsure else text


def traffic(comparison: LoadComparison) -> str:
    """Return one line that says what was sent to which server, and how often."""
    d = comparison.deployment
    server = f"{counted(d.workers, f'{d.worker} worker')}, gc {d.gc}"
    rounds = counted(comparison.rounds, "round")
    return f"{_sent(comparison.traffic)} to {server}; {rounds} of before, after and before again"


def reasons(decided: Sequence[Decided]) -> tuple[str, ...]:
    """Return why metrics are inconclusive, one line for each reason."""
    by_reason: dict[str, list[str]] = {}
    for result in decided:
        if result.reason is not None:
            by_reason.setdefault(result.reason, []).append(title(result.metric))
    return tuple(f"{listed(names, MOST_NAMES)}: {reason}" for reason, names in by_reason.items())


def show(comparison: LoadComparison, console: Console, *, everything: bool = False) -> None:
    """Print the report on `console`; with `everything` also single scenarios without a change."""
    say(console, f"{comparison.subject} under load:", "bold")
    for point in _points(comparison):
        say(console, f"  - {point}", hang=4)
    show_facts(comparison, facts(comparison), console)
    overall, changed, quiet = split(comparison)
    console.print()
    say(console, traffic(comparison), "bold")
    _show_table(lines(overall), console)
    shown = changed + quiet if everything else changed
    if shown:
        console.print()
        say(console, "single scenarios", "bold")
        _show_table(lines(shown), console)
    console.print()
    if not everything and (rest := hidden(quiet)):
        say(console, f"Not shown: {rest}.")
    if unsure := reasons(overall + shown):
        say(console, "Inconclusive:")
        for line in unsure:
            indented(console, line)
    for warning in warnings(comparison):
        say(console, f"! {warning}")
    say(console, RULE_AND_WHERE.replace("*", ""), "dim")


def render(comparison: LoadComparison) -> str:
    """Return the report as Markdown that ends with a newline."""
    return "\n".join(_render(comparison)) + "\n"


def _render(comparison: LoadComparison) -> Iterator[str]:
    overall, changed, quiet = split(comparison)
    yield f"### outlive: {escape(comparison.subject)} under load"
    yield ""
    yield from (f"- {escape(point)}" for point in _points(comparison))
    yield ""
    yield from decisions(overall + changed)
    yield ""
    yield f"{escape(traffic(comparison))}. *A/A*: the stack before against itself. {RULE_AND_WHERE}"
    for warning in warnings(comparison):
        yield ""
        yield f"**{escape(warning)}**"
    if unsure := reasons(comparison.decided):
        yield from details("Inconclusive", [f"- {escape(line)}" for line in unsure])
    if quiet:
        yield from details(escape(hidden(quiet)), decisions(quiet))
    yield from details("Releases and packages", about(comparison, facts(comparison)))


def _points(comparison: LoadComparison) -> Iterator[str]:
    """Yield the clauses of the headline, and the releases that are yanked."""
    yield from claimed(comparison.decided)
    yield from withdrawn((comparison.before.release, comparison.after.release))


def decisions(decided: Sequence[Decided]) -> Iterator[str]:
    """Yield a Markdown table with a line for each metric."""
    yield from table(
        ("", "metric", "before", "after", "change", "interval", "sees", "A/A"),
        (astuple(line)[1:] for line in lines(decided)),
        right=6,
    )


def _show_table(shown: Sequence[LoadLine], console: Console) -> None:
    wide = console.width >= WIDE
    grid = columns("dim")
    grid.add_column("", no_wrap=True)
    grid.add_column("metric", overflow="fold")
    for name in ("before", "after", "change", "interval", "sees", *(["A/A"] if wide else [])):
        grid.add_column(name, justify="right", no_wrap=True)
    for line in shown:
        _, mark, *cells = astuple(line)
        grid.add_row(Text(mark, style=COLOURS[line.direction]), *map(Text, cells if wide else cells[:-1]))
    console.print(grid)


def _line(result: Decided) -> LoadLine:
    metric = result.metric
    values = [UNKNOWN if v is None else value(metric, v) for v in (result.before, result.after)]
    return LoadLine(
        direction=result.direction,
        mark=UNSURE if result.decision == "inconclusive" else MARKS[result.direction],
        metric=title(metric),
        before=values[0],
        after=values[1],
        change=UNKNOWN if result.change is None else difference(metric, result.change.change),
        interval=UNKNOWN if result.change is None else bounds(metric, result.change),
        sees=seen(result),
        control=UNKNOWN if result.control is None else difference(metric, result.control.change),
    )


def _rank(line: LoadLine) -> str:
    return line.mark if line.mark == UNSURE else line.direction


def _sent(sent: Traffic) -> str:
    much = (
        counted(sent.requests, "request") if sent.requests is not None else f"{number(sent.seconds or 0)} s"
    )
    rate = f" at {number(sent.rate)} a second" if sent.rate is not None else ""
    which = f" ({listed(sent.scenarios)})" if sent.scenarios else ""
    return f"{much} of {sent.user}{which} from {counted(sent.clients, 'client')}{rate}, {sent.connection},"


def warnings(comparison: LoadComparison) -> Iterator[str]:
    """Yield what a reader of the numbers must know."""
    if comparison.stopped is not None:
        yield f"stopped early: {comparison.stopped}"
    yield from comparison.warnings
