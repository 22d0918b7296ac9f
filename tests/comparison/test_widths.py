"""Texts for a terminal: no line is wider than it and nothing is cut, whatever the names and numbers are."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from comparisons import cell, compared, leak, lost, side
from gates import gate, judged
from load_comparisons import worse
from loads import load_measurement
from outlive.comparison import attribution_text, terminal
from outlive.comparison.attribution import Reached, waterfall
from outlive.comparison.noisy import load_text
from outlive.comparison.noisy.noise import Interval
from outlive.gates.text import AGAIN
from outlive.gates.text import show as show_gate
from outlive.history import lifelines_text
from outlive.history.lifelines import LifeLinesDocument, Measured, life_lines
from outlive.history.residues import residues
from outlive.history.timeline import Moment, Timeline
from outlive.loads.text import show as show_loads
from outlive.records.measurement import Measurement
from outlive.tables import UNFOLDED, WIDE

words = st.text("abcdefgh", min_size=1, max_size=9)
names = st.lists(words, min_size=1, max_size=4).map("-".join)
counts = st.integers(0, 99_999)
widths = st.integers(60, 130)


def fits(
    draw: Callable[[Console], object], width: int, *, whole: str = "\0", unfolded: int = UNFOLDED
) -> None:
    """Check what is drawn at a width; lines that start with `whole` are never folded."""
    text, lines = (_drawn(draw, columns) for columns in (width, unfolded))
    for line in text.splitlines():
        assert len(line.rstrip()) <= width or line.startswith(whole), line
    assert _characters(text) == _characters(lines)


def _drawn(draw: Callable[[Console], object], width: int) -> str:
    file = io.StringIO()
    draw(Console(file=file, width=width))
    return file.getvalue()


def _characters(text: str) -> Counter[str]:
    """Return how often each character is drawn: folding loses none of them, and cutting would."""
    return Counter(character for character in text if not character.isspace())


@st.composite
def cells(draw: st.DrawFn) -> list[Measurement]:
    found = []
    for name in draw(st.lists(names, min_size=1, max_size=4, unique=True)):
        count, leaked = draw(counts), draw(st.sampled_from([0, 0, 3]))
        ring = leak(draw(words), max(count, 1), trail=f"ring {draw(names)}.{draw(names)}")
        found.append(
            cell(name, max(count, leaked), leaked, leaks=(ring,), survivors_per_connection=float(leaked))
        )
    return found


@given(cells(), cells(), names, widths)
@settings(max_examples=50)
def test_a_comparison(before: list[Measurement], after: list[Measurement], why: str, width: int) -> None:
    comparison = compared([*before, lost("lost", f"it {why}")], [*after, cell("lost")])
    fits(lambda console: terminal.show(comparison, console, everything=True), width)


@given(st.lists(cells(), min_size=1, max_size=3), widths)
@settings(max_examples=50)
def test_life_lines(releases: list[list[Measurement]], width: int) -> None:
    moments = tuple(
        Moment(side(release=f"3.{at}.0").release, tuple(found)) for at, found in enumerate(releases)
    )
    timelines = [Timeline("aiohttp", python, moments) for python in ("3.11", "3.13")]
    measured = Measured("3.11", tuple(moment.release.version for moment in moments))
    document = LifeLinesDocument(
        framework="aiohttp", measured=(measured,), lines=life_lines(timelines), residues=residues(timelines)
    )
    fits(lambda console: lifelines_text.show(document, console, everything=True), width)


@given(
    st.lists(st.tuples(names, st.none() | counts), min_size=1, max_size=5),
    st.integers(0, 7),
    st.integers(76, 130),  # a bar needs some room
)
@settings(max_examples=50)
def test_a_waterfall(swaps: list[tuple[str, int | None]], own: int, width: int) -> None:
    reached = []
    for name, count in swaps:
        stage = cell(objects=count or 0, leaks=(leak("0566f80d9876", own, python=True),) if own else ())
        if count is None:
            stage = msgspec.structs.replace(stage, status="failed", reason=f"it {name}")
        reached.append(Reached((f"{name} 1.0.0 → 2.0.0",), side().stack, stage))
    fits(lambda console: attribution_text.show(waterfall(reached), console), width)


@given(st.lists(st.tuples(counts, words), min_size=1, max_size=7), widths)
@settings(max_examples=50)
def test_a_gate(left: list[tuple[int, str]], width: int) -> None:
    run = gate(*(judged(cell("not-found", count, types={name: float(count)})) for count, name in left))
    fits(lambda console: show_gate(run, console), width, whole=AGAIN)


@given(st.lists(names, min_size=1, max_size=3), st.floats(-9, 9), st.floats(0, 1e9), st.integers(80, 130))
@settings(max_examples=50)
def test_a_comparison_under_load(scenarios: list[str], change: float, amount: float, width: int) -> None:
    comparison = worse()
    single = [
        msgspec.structs.replace(one.metric, scenario=name) for name in scenarios for one in comparison.decided
    ]
    decided = [
        msgspec.structs.replace(
            one, metric=metric, before=amount, after=amount, change=Interval(change, change - 1, change + 1)
        )
        for one, metric in zip(comparison.decided * len(scenarios), single, strict=True)
    ]
    drawn = msgspec.structs.replace(comparison, decided=tuple(decided))
    unfolded = UNFOLDED if width >= WIDE else WIDE - 1  # a wide terminal has one more column
    fits(lambda console: load_text.show(drawn, console, everything=True), width, unfolded=unfolded)


@given(st.lists(st.tuples(names, counts), min_size=1, max_size=3), st.floats(0, 2**40), st.integers(80, 130))
@settings(max_examples=50)
def test_load_tests(tests: list[tuple[str, int]], memory: float, width: int) -> None:
    measured = []
    for worker, number in tests:
        test = load_measurement(requests=number, peak_rss_bytes=int(memory), throughput=float(number))
        deployment = msgspec.structs.replace(test.deployment, worker=worker, gc=f"periodic:{number + 1}")
        measured.append(msgspec.structs.replace(test, deployment=deployment))
    fits(lambda console: show_loads(measured, console), width)
