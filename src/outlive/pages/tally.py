"""How many cells got worse or better, as a bar with a sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec
from markupsafe import Markup

from outlive.comparison.cells import Row
from outlive.comparison.headline import figure, largest, policies
from outlive.pages.drawings.svg import element, joined
from outlive.records.measurement import GC_POLICIES
from outlive.wording import counted, does

HIGH = 10.0  # of the bar, which is 100 wide


class PolicyTally(msgspec.Struct, frozen=True):
    """The change under one or several gc policies: a bar, and the sentence beside it."""

    policies: str
    bar: Markup
    text: str


def tallies(rows: Sequence[Row], cells: Mapping[str, int] | None = None) -> tuple[PolicyTally, ...]:
    """Return a bar with a sentence for each gc policy; policies with the same result share one.

    `cells` is the number of cells by gc policy, given if `rows` holds only those that changed.
    """
    tally: dict[tuple[Markup, str], list[str]] = {}
    for gc in policies(rows) if cells is None else (policy for policy in GC_POLICIES if policy in cells):
        deciding = [row for row in rows if row.gc == gc and row.decides]
        if count := len(deciding) if cells is None else cells[gc]:
            tally.setdefault((_bar(deciding, count), _text(deciding, count)), []).append(gc)
    return tuple(PolicyTally(f"gc {', '.join(names)}", bar, text) for (bar, text), names in tally.items())


def _text(rows: Sequence[Row], count: int) -> str:
    cells = counted(count, "cell")
    sentences = list(_sentences(rows, cells))
    if not sentences:
        leaking = sum(row.still_leaks for row in rows)
        still = f" {counted(leaking, 'cell')} {does(leaking, 'leak')} as before." if leaking else ""
        return f"Nothing changes in {cells}.{still}"
    return " ".join(sentences)


def _sentences(rows: Sequence[Row], cells: str) -> Iterator[str]:
    """Yield what got worse, then what got better, each with the cell whose MiB per hour change most."""
    for direction, name in (("worse", "Worse"), ("better", "Better")):
        changed = [row for row in rows if row.direction == direction]
        if top := largest(changed):
            by = "Most MiB per hour" if top.size and top.size.change else "Most"
            where = f"{top.scenario} on {top.connection}"
            yield f"{name} in {len(changed)} of {cells}. {by}: {where} ({figure([top])})."


def _bar(rows: Sequence[Row], count: int) -> Markup:
    """Return a bar with the shares of the cells that got worse and better."""
    parts, x = [], 0.0
    for direction in ("worse", "better"):
        wide = 100 * sum(row.direction == direction for row in rows) / count
        if wide:
            parts.append(element("rect", x=x, y=0.0, width=wide, height=HIGH, class_=f"share {direction}"))
        x += wide
    return element(
        "svg",
        joined(parts),
        class_="shares",
        viewBox=f"0 0 100 {HIGH:.0f}",
        preserveAspectRatio="none",
        aria_hidden="true",
    )
