"""The plots of reports and of the site, as SVG."""

from __future__ import annotations

import datetime as dt
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Self

import msgspec
from markupsafe import Markup

from outlive.comparison.cells import Row
from outlive.history.timeline import Moment, Point, Strip, Timeline, changes, worst
from outlive.pages.drawings.svg import CHARACTER, Sheet, both, element, ends, figure, path, text, ticks
from outlive.records.measurement import Growth
from outlive.wording import counted, number, step, through

BAR, BARS_GAP, ABOVE = 9.0, 10.0, 14.0
NEWEST = 12
"""Number of releases in a heat map on a phone."""


class Drawing(msgspec.Struct, frozen=True):
    """A plot with its caption; `legend` names its lines on a phone, where they have no labels."""

    svg: Markup
    caption: str
    legend: tuple[tuple[int, str], ...] = ()


class PairBar(msgspec.Struct, frozen=True, kw_only=True):
    """A pair of bars, before and after, with the part of each that no collection frees."""

    label: str
    before: float
    after: float
    before_leaked: float = 0.0
    after_leaked: float = 0.0

    @property
    def step(self) -> str:
        """Both numbers as text."""
        return step(number(self.before), number(self.after))

    @classmethod
    def of(cls, row: Row) -> Self:
        """Return the bars of a cell."""
        before, after = row.before, row.after
        return cls(
            label=row.scenario,
            before=before.objects,
            after=after.objects,
            before_leaked=before.leaked,
            after_leaked=after.leaked,
        )


def bars(name: str, title: str, unit: str, data: Sequence[PairBar]) -> Markup:
    """Return pairs of bars, before above after. Labels are to the left, on a phone above."""
    return both(name, lambda sheet: _bars(sheet, title, unit, data))


def _bars(sheet: Sheet, title: str, unit: str, data: Sequence[PairBar]) -> Markup:
    left = 8 if sheet.phone else 12 + CHARACTER * max((len(bar.label) for bar in data), default=0)
    above = ABOVE if sheet.phone else 0.0
    scale = ticks(max((max(bar.before, bar.after) for bar in data), default=0))
    longest = max((len(bar.step) for bar in data), default=0)
    room = sheet.width - left - CHARACTER * longest - 12
    factor = room / scale[-1]
    row = 2 * BAR + BARS_GAP + above
    top = 26.0
    bottom = top + row * len(data)
    parts: list[Markup] = []
    for tick in scale:
        x = left + tick * factor
        parts.append(element("line", x1=x, x2=x, y1=top - 4, y2=bottom, class_="grid"))
        parts.append(text(x, top - 10, number(tick), anchor="middle", class_="tick"))
    for at, bar in enumerate(data):
        y = top + at * row + BARS_GAP / 2 + above
        if sheet.phone:
            parts.append(text(left, y - 4, bar.label))
        else:
            parts.append(text(left - 8, y + BAR + 4, bar.label, anchor="end"))
        for side, value, leaked, place in (
            ("before", bar.before, bar.before_leaked, y),
            ("after", bar.after, bar.after_leaked, y + BAR),
        ):
            shown = max(0.0, value)
            hint = sheet.hint(f"{bar.label}, {side}: {number(value)} {unit}")
            parts.append(
                element("rect", hint, x=left, y=place, width=shown * factor, height=BAR - 1, class_=side)
            )
            if leaked > 0:
                wide = min(leaked, shown) * factor
                parts.append(element("rect", x=left, y=place, width=wide, height=BAR - 1, class_="leaked"))
        most = max(bar.before, bar.after, 0.0)
        if most:
            at_end = left + most * factor + 6
            parts.append(text(at_end, y + BAR + 3, bar.step, class_="value"))
    desc = "; ".join(f"{bar.label} {bar.step}" for bar in data)
    return figure(sheet, bottom + 6, title, f"{desc} ({unit})", parts)


def history(name: str, title: str, strips: Sequence[Strip], marked: tuple[str, str] | None = None) -> Markup:
    """Return what each release leaves in a few scenarios, as steps; `marked` are before and after.

    A release that was not measured interrupts the steps. A phone needs a legend.
    """
    return both(name, lambda sheet: _history(sheet, title, strips, marked))


def legend(strips: Sequence[Strip]) -> tuple[tuple[int, str], ...]:
    """Return the legend of a history, for a phone."""
    return tuple(enumerate(strip.scenario for strip in strips)) if len(strips) > 1 else ()


def _history(sheet: Sheet, title: str, strips: Sequence[Strip], marked: tuple[str, str] | None) -> Markup:
    points = strips[0].points
    named = 10 if sheet.phone else 30 + CHARACTER * max(len(strip.scenario) for strip in strips)
    left, right, top, bottom = 40.0, sheet.width - named, 24.0, 250.0
    at = _columns(points, left, right)
    scale = ticks(max((p.objects or 0 for strip in strips for p in strip.points), default=0))
    factor = (bottom - top) / scale[-1]
    parts: list[Markup] = []
    for tick in scale:
        y = bottom - tick * factor
        parts.append(element("line", x1=left, x2=right, y1=y, y2=y, class_="grid"))
        parts.append(text(left - 6, y + 4, number(tick), anchor="end", class_="tick"))
    parts += _releases(sheet, points, at, bottom)
    for version, label, anchor, shift in zip(
        marked or (), ("before", "after"), ("end", "start"), (-3, 3), strict=False
    ):
        if version in at:
            x, y = at[version], top - 8
            if x + shift + CHARACTER * len(label) > sheet.width:
                anchor, shift, y = "end", -shift, top + 4  # noqa: PLW2901 - it would be cut at the right
            parts.append(element("line", x1=x, x2=x, y1=top - 14, y2=bottom, class_="mark"))
            parts.append(text(x + shift, y, label, anchor=anchor, class_="tick"))
    last_points: list[tuple[float, int, str]] = []
    for place, strip in enumerate(strips):
        last = None
        for measured, group in itertools.groupby(strip.points, key=lambda point: point.objects is not None):
            if measured:
                run = [(p, at[p.release], bottom - (p.objects or 0) * factor) for p in group]
                parts += _steps(sheet, strip.scenario, place, run)
                last = run[-1]
        if last:
            last_points.append((last[2], place, strip.scenario))
    if not sheet.phone:
        parts += ends(last_points, right + 8, bottom)
    desc = "; ".join(f"{strip.scenario}: {runs(strip)}" for strip in strips)
    return figure(sheet, bottom + 56, title, desc, parts)


def heat(name: str, title: str, strips: Sequence[Strip]) -> Markup:
    """Return scenarios by releases, darker for more objects; equal neighbours share a tile.

    A pattern shows the kind of growth, not colour alone. A phone shows the newest releases.
    """
    newest = [msgspec.structs.replace(strip, points=strip.points[-NEWEST:]) for strip in strips]
    few = f"{title}, the newest {counted(len(newest[0].points), 'release')}"
    return both(name, lambda sheet: _heat(sheet, few, newest) if sheet.phone else _heat(sheet, title, strips))


def _heat(sheet: Sheet, title: str, strips: Sequence[Strip]) -> Markup:
    points = strips[0].points
    left = 12 + CHARACTER * max(len(strip.scenario) for strip in strips)
    right, top, high = sheet.width - 8, 22.0, 20.0
    half = (right - left) / len(points) / 2
    at = _columns(points, left + half, right - half)
    most = max((p.objects or 0 for strip in strips for p in strip.points), default=0) or 1
    parts: list[Markup] = []
    for row, strip in enumerate(strips):
        y = top + row * high
        parts.append(text(left - 8, y + 14, strip.scenario, anchor="end"))
        for first, last in changes(strip):
            x = at[first.release] - half
            wide = at[last.release] + half - x
            parts += _tile(sheet, first, last, (x, y, wide, high - 2), most)
    bottom = top + high * len(strips)
    parts += _releases(sheet, points, at, bottom + 2)
    desc = "; ".join(f"{strip.scenario}: {runs(strip)}" for strip in strips)
    return figure(sheet, bottom + 56, title, desc, parts)


def lanes(name: str, title: str, timeline: Timeline) -> Markup:
    """Return all releases over time, one lane per minor version, newest on top.

    A square is a leak, a full circle cyclic garbage, an empty circle nothing, a dash not measured.
    """
    return both(name, lambda sheet: _lanes(sheet, title, timeline))


def _lanes(sheet: Sheet, title: str, timeline: Timeline) -> Markup:
    dated = [(moment.release.date, moment) for moment in timeline.moments if moment.release.date]
    minors = sorted({moment.release.parsed.release[:2] for _, moment in dated}, reverse=True)
    left, right, top, high = (44.0 if sheet.phone else 60.0), sheet.width - 16, 12.0, 24.0
    first, last = (limit(date for date, _ in dated) for limit in (min, max))
    days = max(1, (last - first).days)
    bottom = top + high * len(minors)
    parts: list[Markup] = []
    for year in range(first.year + 1, last.year + 1):
        x = left + (dt.date(year, 1, 1) - first).days / days * (right - left)
        parts.append(element("line", x1=x, x2=x, y1=top, y2=bottom, class_="grid"))
        parts.append(text(x, bottom + 16, str(year), anchor="middle", class_="tick"))
    for at, minor in enumerate(minors):
        y = top + at * high + high / 2
        parts.append(text(left - 14, y + 4, ".".join(map(str, minor)), anchor="end"))
        parts.append(element("line", x1=left, x2=right, y1=y, y2=y, class_="grid"))
    counts: Counter[str] = Counter()
    for date, moment in dated:
        x = left + (date - first).days / days * (right - left)
        y = top + minors.index(moment.release.parsed.release[:2]) * high + high / 2
        left_behind = _kind(moment)
        counts[left_behind] += 1
        yanked = ", yanked" if moment.release.yanked else ""
        parts.append(
            _sign(left_behind, x, y, sheet.hint(f"{moment.release} ({date}{yanked}): {left_behind}"))
        )
        if yanked:
            parts.append(text(x, y + 4, "✕", anchor="middle", class_="yanked"))
    desc = ", ".join(f"{what}: {count}" for what, count in counts.items())
    return figure(sheet, bottom + 26, title, f"{counted(len(dated), 'release')}; {desc}", parts)


def runs(strip: Strip) -> str:
    """Return a strip in words: `3.8.3 to 3.10.10: 50, 44 leaked; 3.10.11: 32 cyclic`."""
    return "; ".join(
        f"{through(first.release, last.release)}: {leaves(first)}" for first, last in changes(strip)
    )


def leaves(point: Point) -> str:
    """Return what a release leaves: `0`, `32 cyclic`, `50, 44 leaked`, `leaks memory`, `not measured`."""
    if point.objects is None:
        return "not measured"
    if point.growth == "leak":
        leak = f"{number(point.leaked)} leaked" if point.leaked else "leaks memory"
        return f"{number(point.objects)}, {leak}"
    if point.growth == "none" or (point.growth == "cyclic" and not point.objects):
        return number(point.objects)
    return f"{number(point.objects)} {point.growth}"


def _hint(scenario: str, point: Point) -> str:
    yanked = ", yanked" if point.yanked else ""
    return f"{point.release} ({point.date}{yanked}), {scenario}: {leaves(point)}"


def _steps(
    sheet: Sheet, scenario: str, style: int, run: Sequence[tuple[Point, float, float]]
) -> Iterator[Markup]:
    """Yield the steps over consecutive releases, with a dot for each where a pointer shows a hint."""
    corners: list[tuple[float, float]] = []
    for _, x, y in run:
        if corners:
            corners.append((x, corners[-1][1]))
        corners.append((x, y))
    yield path(corners, f"line s{style}")
    for point, x, y in run if not sheet.phone or len(run) == 1 else ():
        yield element("circle", sheet.hint(_hint(scenario, point)), cx=x, cy=y, r=2.5, class_=f"dot s{style}")


def _columns(points: Sequence[Point], left: float, right: float) -> dict[str, float]:
    gap = (right - left) / max(1, len(points) - 1)
    return {point.release: left + at * gap for at, point in enumerate(points)}


def _releases(sheet: Sheet, points: Sequence[Point], at: dict[str, float], y: float) -> Iterator[Markup]:
    """Yield a label and a month for the first release of each minor version, a cross for each yanked one."""
    seen: set[str] = set()
    free = 0.0
    for point in points:
        x = at[point.release]
        minor = ".".join(point.release.split(".")[:2])
        if minor not in seen:
            seen.add(minor)
            yield element("line", x1=x, x2=x, y1=y, y2=y + 5, class_="axis")
            wide = CHARACTER * max(len(minor), len(point.date[:7]))
            x = min(x - 2, sheet.width - wide)
            if x >= free:
                yield text(x, y + 30, minor)
                yield text(x, y + 44, point.date[:7], class_="tick")
                free = x + wide + 8
        if point.yanked:
            yield text(at[point.release], y + 16, "✕", anchor="middle", class_="yanked")


def _kind(moment: Moment) -> str:
    growth = worst([m.growth for m in moment.measurements if m.growth])
    names = {"leak": "leaks", "cyclic": "cyclic garbage", "bounded": "bounded growth", "none": "nothing"}
    return names[growth] if moment.measurements else "not measured"


def _sign(kind: str, x: float, y: float, hint: Markup) -> Markup:
    if kind == "leaks":
        return element("rect", hint, x=x - 5, y=y - 5, width=10, height=10, class_="release leaks")
    if kind == "not measured":
        return element("line", hint, x1=x - 4, x2=x + 4, y1=y, y2=y, class_="release missing")
    shade = "clean" if kind == "nothing" else "cyclic"
    return element("circle", hint, cx=x, cy=y, r=5, class_=f"release {shade}")


def _tile(
    sheet: Sheet, first: Point, last: Point, box: tuple[float, float, float, float], most: float
) -> Iterator[Markup]:
    x, y, wide, high = box
    hint = sheet.hint(f"{through(first.release, last.release)}: {leaves(first)}")
    if first.objects is None:
        yield element("rect", hint, x=x, y=y, width=wide, height=high, class_="tile unknown")
        return
    kind: Growth = first.growth
    if kind == "cyclic" and not first.objects:
        kind = "none"
    level = min(4, int(4 * max(0.0, first.objects) / most + 0.999)) if first.objects > 0 else 0
    yield element("rect", hint, x=x, y=y, width=wide, height=high, class_=f"tile {kind} l{level}")
    if kind in {"leak", "bounded"}:
        yield element("rect", x=x, y=y, width=wide, height=high, fill=f"url(#{kind}-hatch)", class_="hatch")
    label = number(first.objects)
    if wide >= CHARACTER * len(label) + 4:
        strong = "on-leak" if kind == "leak" else "on-dark" if level >= 3 else "on-light"
        yield text(x + wide / 2, y + 13, label, anchor="middle", class_=f"cell {strong}")
