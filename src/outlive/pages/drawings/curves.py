"""Curves as SVG, such as memory over time and the distribution of latencies."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec
from markupsafe import Markup

from outlive.pages.drawings.svg import CHARACTER, Sheet, both, element, ends, figure, path, text, ticks
from outlive.wording import number

NEAR = 0.5
"""An axis does not start at 0 if the smallest value is above this share of the largest. A curve shows a
shape, and a few MiB of growth would look flat on top of a constant 70."""

PIXEL = 1.0
"""Smallest distance in pixels between two points of a curve that are drawn."""


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """A line through points; `style` is the number of its colour and dash."""

    label: str
    style: int
    points: tuple[tuple[float, float], ...]


class Axis(msgspec.Struct, frozen=True, kw_only=True):
    """What an axis measures; `log` makes it logarithmic."""

    label: str
    log: bool = False


class _Scale(msgspec.Struct, frozen=True, kw_only=True):
    """The marks of an axis, and its ends in pixels."""

    marks: tuple[float, ...]
    start: float
    end: float
    log: bool

    def place(self, value: float) -> float:
        low, high = self._at(self.marks[0]), self._at(self.marks[-1])
        return self.start + (self._at(value) - low) / (high - low) * (self.end - self.start)

    def _at(self, value: float) -> float:
        return math.log10(max(value, self.marks[0])) if self.log else value


def curves(name: str, title: str, axes: tuple[Axis, Axis], data: Sequence[Curve], desc: str) -> Markup:
    """Return curves, labelled at their ends except on a phone. Values must be finite."""
    return both(name, lambda sheet: _curves(sheet, title, axes, data, desc))


def _curves(sheet: Sheet, title: str, axes: tuple[Axis, Axis], data: Sequence[Curve], desc: str) -> Markup:
    longest = max((len(curve.label) for curve in data), default=0)
    named = 12 if sheet.phone else max(150, 30 + CHARACTER * longest)
    left, right, top, bottom = 52.0, sheet.width - named, 14.0, 250.0
    across, up = axes
    xs = _scale((x for curve in data for x, _ in curve.points), across, left, right)
    ys = _scale((y for curve in data for _, y in curve.points), up, bottom, top)
    parts: list[Markup] = []
    for mark in ys.marks:
        y = ys.place(mark)
        parts.append(element("line", x1=left, x2=right, y1=y, y2=y, class_="grid"))
        parts.append(text(left - 6, y + 4, number(mark), anchor="end", class_="tick"))
    for mark in xs.marks[:: 2 if sheet.phone else 1]:
        x = xs.place(mark)
        parts.append(element("line", x1=x, x2=x, y1=bottom, y2=bottom + 4, class_="grid"))
        parts.append(text(x, bottom + 16, number(mark), anchor="middle", class_="tick"))
    parts.append(text((left + right) / 2, bottom + 34, across.label, anchor="middle", class_="tick"))
    parts.append(text(left + 4, top - 2, up.label, class_="tick"))
    last: list[tuple[float, int, str]] = []
    for curve in data:
        placed = _distinct([(xs.place(x), ys.place(y)) for x, y in curve.points])
        parts.append(path(placed, f"line s{curve.style}"))
        if placed:
            last.append((placed[-1][1], curve.style, curve.label))
    if not sheet.phone:
        parts += ends(last, right + 8, bottom)
    return figure(sheet, bottom + 44, title, desc, parts)


def _distinct(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points without those too close to the previous one, as thousands in a distribution are."""
    distinct = list(points[:1])
    for point in points[1:-1]:
        if math.dist(point, distinct[-1]) >= PIXEL:
            distinct.append(point)
    return [*distinct, *points[1:][-1:]]


def _scale(values: Iterable[float], axis: Axis, start: float, end: float) -> _Scale:
    ordered = sorted(values) or [0.0]
    if axis.log:
        low = math.floor(math.log10(max(ordered[0], 1e-9)))
        high = max(math.ceil(math.log10(max(ordered[-1], 1e-9))), low + 1)
        marks = tuple(10.0**power for power in range(low, high + 1))
    elif ordered[0] > NEAR * ordered[-1] > 0:
        step = ticks(ordered[-1] - ordered[0], 4)[1]
        first = math.floor(ordered[0] / step) * step
        marks = tuple(first + mark for mark in ticks(ordered[-1] - first, 5))
    else:
        marks = ticks(ordered[-1])
    return _Scale(marks=marks, start=start, end=end, log=axis.log)
