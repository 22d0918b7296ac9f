"""Markdown tables of scenarios by stacks, one for each framework and app: what each leaves per request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from outlive.markdown import escape, table
from outlive.records.measurement import Measurement
from outlive.service.scenarios import Scenario
from outlive.wording import number, one_line

NOTHING = "0"
ABSENT = ""  # not measured
APART = " / "
MAIN = "main app"
LEGEND = (
    "Objects that outlive their request, per request: the garbage collector frees *cyclic* ones, nothing "
    "frees *leaked* ones, and *bounded* growth stops by itself. With gc on, only what no collection "
    "frees is left. Two values are for keep-alive and close connections. *memory leaked* is a leak outside "
    "of objects."
)

Column = tuple[str, str, str, str]


def render(scenarios: Sequence[Scenario], measurements: Sequence[Measurement]) -> str:
    """Return the tables as Markdown that ends in a newline; scenarios and stacks keep their order."""
    return "\n".join(_render(scenarios, measurements)) + "\n"


def _render(scenarios: Sequence[Scenario], measurements: Sequence[Measurement]) -> Iterator[str]:
    yield LEGEND
    reasons: list[str] = []
    for framework in dict.fromkeys(m.framework for m in measurements):
        group = [m for m in measurements if m.framework == framework]
        columns = tuple(dict.fromkeys(map(_column, group)))
        heads = (f"{release}, Python {python}, gc {gc}" for release, python, _, gc in columns)
        header = ("scenario", "what happens", *heads)
        yield from ("", f"## {framework}")
        measured = {m.scenario for m in group}
        shown = [scenario for scenario in scenarios if scenario.name in measured]
        for app in dict.fromkeys(scenario.app for scenario in shown):
            yield from ("", f"### {framework}, {app or MAIN}", "")
            rows = [_row(scenario, group, columns, reasons) for scenario in shown if scenario.app == app]
            yield from table(header, rows, right=len(columns))
    if reasons:
        yield ""
        yield from (f"{at}. {escape(one_line(reason))}" for at, reason in enumerate(reasons, 1))


def _row(
    scenario: Scenario, measurements: Sequence[Measurement], columns: Sequence[Column], reasons: list[str]
) -> tuple[str, ...]:
    row = [m for m in measurements if m.scenario == scenario.name]
    cells = (_cell([m for m in row if _column(m) == column], reasons) for column in columns)
    name = f"{scenario.name} (statistical)" if scenario.statistical else scenario.name
    return name, scenario.summary, *cells


def _column(m: Measurement) -> Column:
    return m.release, m.python, m.lock, m.gc


def _cell(measurements: Sequence[Measurement], reasons: list[str]) -> str:
    """Return the results of a cell's connections, or one result if they agree; number the reasons."""
    by_connection = sorted(measurements, key=lambda m: m.connection, reverse=True)
    texts = tuple(dict.fromkeys(_text(m, reasons) for m in by_connection))
    if not texts:
        return ABSENT
    kinds = {text.partition(" ")[2] for text in texts}
    if len(kinds) == 1 and not any("+" in text for text in texts):  # `4 cyclic / 7 cyclic` is `4 / 7 cyclic`
        return APART.join(text.partition(" ")[0] for text in texts) + f" {kinds.pop()}".rstrip()
    return APART.join(texts)


def _text(m: Measurement, reasons: list[str]) -> str:
    if m.status != "measured":
        reason = m.reason or m.status
        if reason not in reasons:
            reasons.append(reason)
        return f"{m.status} ({reasons.index(reason) + 1})"
    leaked = m.leaked_per_request or 0
    leak = f"{number(leaked)} leaked" if leaked else "memory leaked"
    if m.gc != "off":
        return leak if m.growth == "leak" else "bounded" if m.growth == "bounded" else NOTHING
    cyclic = f"{number(m.cyclic_per_request)} cyclic" if m.cyclic_per_request else ""
    if m.growth == "leak":
        return " + ".join(filter(None, [leak, cyclic]))
    return cyclic or ("bounded" if m.growth == "bounded" else NOTHING)
