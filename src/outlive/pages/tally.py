"""How many cells got worse or better, as a bar with a sentence: what lists and pages show of a change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec
from markupsafe import Markup

from outlive.comparison.cells import Row
from outlive.comparison.headline import policies, worst
from outlive.pages.drawings.svg import element, joined
from outlive.records.measurement import GC_POLICIES
from outlive.wording import counted

HIGH = 10.0  # of the bar, in its own units; it is 100 wide


class Tally(msgspec.Struct, frozen=True):
    """The change with one or several gc policies: the bar, and the sentence beside it."""

    policies: str
    bar: Markup
    text: str


def tallies(rows: Sequence[Row], cells: Mapping[str, int] | None = None) -> tuple[Tally, ...]:
    """Return a bar with a sentence for each gc policy; policies that say the same are one.

    `cells` are how many there are by gc policy where `rows` are only those that changed.
    """
    said: dict[tuple[Markup, str], list[str]] = {}
    for gc in policies(rows) if cells is None else (one for one in GC_POLICIES if one in cells):
        own = [row for row in rows if row.gc == gc and row.decides]
        if every := len(own) if cells is None else cells[gc]:
            said.setdefault((_bar(own, every), _text(own, every)), []).append(gc)
    return tuple(Tally(f"gc {', '.join(names)}", bar, text) for (bar, text), names in said.items())


def _text(rows: Sequence[Row], every: int) -> str:
    cells = counted(every, "cell")
    sentences = list(_sentences(rows, cells))
    if not sentences:
        leaking = sum(row.still_leaks for row in rows)
        still = (
            f" {counted(leaking, 'cell')} {'leaks' if leaking == 1 else 'leak'} as before." if leaking else ""
        )
        return f"Nothing changes in {cells}.{still}"
    return " ".join(sentences)


def _sentences(rows: Sequence[Row], cells: str) -> Iterator[str]:
    """Yield what got worse, then what got better, each with the cell that changes most."""
    for direction, name, most in (("worse", "Worse", "Worst"), ("better", "Better", "Best")):
        part = [row for row in rows if row.direction == direction]
        if top := worst(part):
            yield (
                f"{name} in {len(part)} of {cells}. {most}: {top.scenario} keeps {top.after} {top.noun} per "
                f"{top.per}, was {top.before}."
            )


def _bar(rows: Sequence[Row], every: int) -> Markup:
    """Return the shares of the cells that got worse and better; the rest is the same."""
    parts, x = [], 0.0
    for direction in ("worse", "better"):
        wide = 100 * sum(row.direction == direction for row in rows) / every
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
