"""What plots are made of: elements with attributes, text, axes. All input is escaped.

Colours are classes that the page's style sheet defines for light, dark and print. Each plot describes itself
in words (`title`, `desc`), and the page also shows its numbers as a table.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec
from markupsafe import Markup, escape

WIDTH = 760.0  # of a plot, in pixels
PHONE = 350.0  # of a plot on a phone, so that readers scroll in one direction only
APART = 14.0  # two lines of text
CHARACTER = 6.4
"""Approximate width in pixels of a character in the plots' font (11 px), to make room for labels."""


def element(name: str, content: str = "", **attributes: object) -> Markup:
    """Return an element; `content` is escaped unless it is `Markup`.

    In attribute names `_` stands for `-`, and `class_` for `class`. Attributes that are None are omitted.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_plain(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    inside = escape(content)
    # All input is escaped above. Markup.format would take most of the time of a page.
    return Markup(f"<{name}{written}>{inside}</{name}>" if inside else f"<{name}{written}/>")  # noqa: S704


def text(x: float, y: float, content: str, *, anchor: str = "start", class_: str | None = None) -> Markup:
    """Return a line of text whose `anchor` (start, middle, end) is at `x`."""
    anchored = None if anchor == "start" else anchor
    return element("text", content, x=x, y=y, text_anchor=anchored, class_=class_)


def joined(parts: Iterable[str]) -> Markup:
    """Return the concatenation of elements."""
    return Markup("").join(parts)


class Sheet(msgspec.Struct, frozen=True):
    """What a plot is drawn on: its name, its width in pixels, its classes.

    The name is unique on a page, except that a plot and its version for a phone share it.
    """

    name: str
    width: float = WIDTH
    kind: str = "plot"

    @property
    def phone(self) -> bool:
        """Whether this sheet is for a phone."""
        return self.width == PHONE

    def hint(self, content: str) -> Markup:
        """Return the hint that a pointer over an element shows, empty for a phone."""
        return Markup("") if self.phone else element("title", content)


def figure(sheet: Sheet, height: float, title: str, desc: str, parts: Iterable[str]) -> Markup:
    """Return a plot as an SVG element, `height` in pixels. A screen reader reads `title` and `desc`."""
    name = sheet.name
    described = [element("title", title, id=f"{name}-title"), element("desc", desc, id=f"{name}-desc")]
    return element(
        "svg",
        joined([*([] if sheet.phone else described), *parts]),
        class_=sheet.kind,
        viewBox=f"0 0 {_plain(sheet.width)} {_plain(height)}",
        width=sheet.width,
        height=height,
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
    )


def both(name: str, draw: Callable[[Sheet], Markup]) -> Markup:
    """Return a plot twice, for a wide screen and for a phone; the style sheet shows one of them."""
    sheets = Sheet(name, kind="plot wider"), Sheet(name, PHONE, "plot phone")
    return joined(map(draw, sheets))


def ticks(most: float, count: int = 5) -> tuple[float, ...]:
    """Return about `count` round numbers from 0 up to at least `most`."""
    if not 0 < most < math.inf:
        return (0.0, 1.0)
    raw = most / count
    unit = 10.0 ** math.floor(math.log10(raw))
    size = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= raw)
    return tuple(itertools.accumulate(itertools.repeat(size, math.ceil(most / size - 1e-9)), initial=0.0))


def path(points: Sequence[tuple[float, float]], class_: str) -> Markup:
    """Return a line through points."""
    drawn = " ".join(f"{'L' if at else 'M'}{_plain(x)} {_plain(y)}" for at, (x, y) in enumerate(points))
    return element("path", d=drawn, fill="none", class_=class_)


def ends(last: Sequence[tuple[float, int, str]], x: float, bottom: float) -> Iterator[Markup]:
    """Yield the labels at the right ends of lines, moved apart where they would overlap, down to `bottom`."""
    lines = sorted(last)
    places = itertools.accumulate((y + 4 for y, _, _ in lines), lambda above, own: max(own, above + APART))
    lowest = [bottom + 4 - APART * at for at in reversed(range(len(lines)))]
    for (_, style, label), place, most in zip(lines, places, lowest, strict=True):
        placed = min(place, most)
        yield element("line", x1=x, x2=x + 12, y1=placed - 4, y2=placed - 4, class_=f"line s{style}")
        yield text(x + 16, placed, label)


def _plain(value: object) -> str:
    """Return an escaped value; floats have at most one digit after the point."""
    if isinstance(value, float):
        return f"{value:.1f}".rstrip("0").rstrip(".") if math.isfinite(value) else "0"
    return str(escape(value))
