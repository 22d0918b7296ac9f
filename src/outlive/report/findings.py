"""Scenarios by stacks as Markdown tables, one for each framework: what each leaves per request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from outlive.measurement import Measurement
from outlive.report.markdown import escape
from outlive.scenarios import Scenario
from outlive.wording import number, one_line

NOTHING = "0"
APART = " / "
LEGEND = (
    "Objects per request that outlive it: *cyclic* ones are freed by the garbage collector, *leak* by "
    "nobody, *bounded* is growth that stops by itself. With gc on only what no collection frees is left. "
    "Two values are of keep-alive and close connections. *leak memory* is a leak that is not in objects."
)


def render(scenarios: Sequence[Scenario], measurements: Sequence[Measurement]) -> str:
    """Return the tables as Markdown that ends in a newline; scenarios in their order, stacks as they come."""
    return "\n".join(_render(scenarios, measurements)) + "\n"


def _render(scenarios: Sequence[Scenario], measurements: Sequence[Measurement]) -> Iterator[str]:
    yield LEGEND
    for framework in dict.fromkeys(m.framework for m in measurements):
        mine = [m for m in measurements if m.framework == framework]
        columns = dict.fromkeys(_column(m) for m in mine)
        yield ""
        yield f"## {framework}"
        yield ""
        heads = (f"{release}, Python {python}, gc {gc}" for release, python, _, gc in columns)
        yield f"| scenario | what happens | {' | '.join(map(escape, heads))} |"
        yield f"|---|---|{'---|' * len(columns)}"
        reasons: list[str] = []
        for scenario in scenarios:
            row = [m for m in mine if m.scenario == scenario.name]
            if row:
                cells = (_cell([m for m in row if _column(m) == column], reasons) for column in columns)
                yield f"| {scenario.name} | {escape(scenario.summary)} | {' | '.join(cells)} |"
        if reasons:
            yield ""
            yield from (f"{at}. {escape(one_line(reason))}" for at, reason in enumerate(reasons, 1))


def _column(m: Measurement) -> tuple[str, str, str, str]:
    return m.release, m.python, m.lock, m.gc


def _cell(measurements: Sequence[Measurement], reasons: list[str]) -> str:
    """Return what the connections of one cell say, once where they agree; reasons get numbers."""
    texts = [_text(m, reasons) for m in sorted(measurements, key=lambda m: m.connection, reverse=True)]
    return APART.join(dict.fromkeys(texts)) if texts else ""


def _text(m: Measurement, reasons: list[str]) -> str:
    if m.status != "measured":
        reason = m.reason or m.status
        if reason not in reasons:
            reasons.append(reason)
        return f"{m.status} ({reasons.index(reason) + 1})"
    leaked = m.leaked_per_request or 0
    kept = f"leak {number(leaked)}" if leaked else "leak memory"
    if m.gc != "off":
        return kept if m.growth == "leak" else "bounded" if m.growth == "bounded" else NOTHING
    cyclic = f"{number(m.cyclic_per_request)} cyclic" if m.cyclic_per_request else ""
    if m.growth == "leak":
        return " + ".join(filter(None, [kept, cyclic]))
    return cyclic or ("bounded" if m.growth == "bounded" else NOTHING)
