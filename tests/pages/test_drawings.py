"""Plots: everything that is drawn or written is on its sheet, whatever the numbers and names are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from xml.etree import ElementTree as ET

from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from outlive.history.timeline import Point, Strip
from outlive.pages.drawings import plots
from outlive.pages.drawings.curves import Axis, Curve, curves
from outlive.pages.drawings.plots import PairBar
from outlive.pages.drawings.svg import CHARACTER, ends, ticks
from outlive.records.measurement import Growth

NARROW = 0.8
"""A character in a plot can be narrower than the room that is made for it."""
names = st.text("abcdefghij-", min_size=1, max_size=32)
amounts = st.just(0.0) | st.floats(1e-6, 1e6)
short = st.text("abcdefghij-", min_size=1, max_size=14)


def sheets(svg: Markup) -> list[ET.Element]:
    """Return the plot for a wide screen, and the one for a phone."""
    return list(ET.fromstring(f"<p>{svg}</p>"))


def inside(sheet: ET.Element) -> None:
    """Check that no rectangle, line, circle or text is beyond the edges of its sheet."""
    width, height = (float(sheet.attrib[name]) for name in ("width", "height"))
    for x, y, what in _places(sheet):
        assert -1 <= x <= width + 1, (what, x, width)
        assert -1 <= y <= height + 1, (what, y, height)


def _places(sheet: ET.Element) -> Iterator[tuple[float, float, str]]:
    for element in sheet.iter():
        at = {name: float(value) for name, value in element.attrib.items() if _is_number(value)}
        match element.tag:
            case "rect":
                for x in (at["x"], at["x"] + at["width"]):
                    yield x, at["y"] + at["height"], "rect"
            case "line":
                yield at["x1"], at["y1"], "line"
                yield at["x2"], at["y2"], "line"
            case "circle":
                yield at["cx"], at["cy"], "circle"
            case "path":
                for x, y in re.findall(r"[ML]([-\d.]+) ([-\d.]+)", element.attrib["d"]):
                    yield float(x), float(y), "path"
            case "text":
                long = len(element.text or "") * CHARACTER * NARROW
                part = {"start": 0.0, "middle": 0.5, "end": 1.0}[element.get("text-anchor", "start")]
                for x in (at["x"] - part * long, at["x"] + (1 - part) * long):
                    yield x, at["y"], f"text {element.text!r}"


def _is_number(value: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?", value) is not None


@given(st.floats(1e-6, 1e12), st.integers(2, 9))
def test_ticks_begin_at_zero_and_reach_the_most(most: float, count: int) -> None:
    marks = ticks(most, count)
    assert marks[0] == 0
    assert marks[-1] >= most * (1 - 1e-6)
    assert all(a < b for a, b in pairwise(marks))
    assert marks[-2] < most
    assert len(marks) <= count + 1


@given(st.lists(st.tuples(st.floats(0, 200), st.integers(0, 5), short), max_size=8))
def test_labels_at_the_ends_of_lines_do_not_overlap(last: list[tuple[float, int, str]]) -> None:
    drawn = Markup("").join(ends(last, 0, 200))
    heights = sorted(float(y) for y in re.findall(r'<text[^>]* y="([\d.]+)"', drawn))
    assert len(heights) == len(last)
    assert all(b - a >= 13.8 for a, b in pairwise(heights))
    assert not heights or heights[-1] <= 204


@given(
    st.lists(
        st.builds(
            PairBar,
            label=names,
            before=st.just(-0.01) | amounts,
            after=amounts,
            before_leaked=amounts,
        ),
        max_size=6,
    )
)
@settings(max_examples=60)
def test_bars_are_on_their_sheet(bars: list[PairBar]) -> None:
    for sheet in sheets(plots.bars("bars", "Objects", "objects", bars)):
        inside(sheet)


growths: st.SearchStrategy[Growth] = st.sampled_from(["none", "cyclic", "bounded", "leak"])


@st.composite
def strips(draw: st.DrawFn) -> list[Strip]:
    versions = [f"{major}.{minor}.0" for major in (1, 2) for minor in range(draw(st.integers(1, 9)))]
    drawn = []
    for scenario in draw(st.lists(names, min_size=1, max_size=5, unique=True)):
        points = []
        for version in versions:
            objects = draw(st.none() | st.just(0.0) | st.floats(0.01, 5000))
            points.append(
                Point(
                    release=version,
                    date="2024-02-03",
                    yanked=draw(st.booleans()),
                    objects=objects,
                    leaked=objects,
                    growth=draw(growths),
                )
            )
        drawn.append(Strip(scenario=scenario, connection="close", points=tuple(points)))
    return drawn


@given(strips(), st.booleans())
@settings(max_examples=40)
def test_a_history_and_its_heat_map_are_on_their_sheets(shown: list[Strip], marked: bool) -> None:
    pair = (shown[0].points[0].release, shown[0].points[-1].release) if marked else None
    for svg in (plots.history("history", "Objects", shown, pair), plots.heat("heat", "Objects", shown)):
        for sheet in sheets(svg):
            inside(sheet)


lines = st.lists(
    st.builds(
        Curve,
        label=names,
        style=st.integers(0, 5),
        points=st.lists(st.tuples(st.integers(0, 9999), amounts), max_size=9).map(
            lambda points: tuple(sorted(points))
        ),
    ),
    min_size=1,
    max_size=4,
)


@given(lines, st.booleans())
@settings(max_examples=60)
def test_curves_are_on_their_sheet(data: list[Curve], log: bool) -> None:
    axes = (Axis(label="ms", log=log), Axis(label="%"))
    for sheet in sheets(curves("curves", "Latency", axes, data, "")):
        inside(sheet)
