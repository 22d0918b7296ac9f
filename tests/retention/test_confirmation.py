"""Brief phases of a cell with a collector: they do where they keep what gc off has shown, and only there."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

import comparisons
from outlive.records.measurement import Growth, Measurement, Phase
from outlive.retention.confirmation import LENGTHS, SHOWN, SHOWN_LONG, confirms, plan, shows
from outlive.retention.growth import LAST_PHASE, LONG_PHASES, PhaseTally, analyse, lengths

SHORT = lengths().short


def phase(requests: int, leaked: int, **held: int) -> Phase:
    fields = dict.fromkeys(Phase.__struct_fields__, 0) | {"requests": requests, "held": held}
    return msgspec.convert(fields | {"survivors": leaked, "leaked": leaked, "connections": 1}, Phase)


def brief(shown: int, leaked: Sequence[int], **held: int) -> list[Phase]:
    """Return the phases that are asked for, if they keep that much."""
    phases: list[Phase] = []
    while following := plan(phases, shown):
        for requests in following:
            phases.append(phase(requests, leaked[len(phases)], **held))
    return phases


def analysed(phases: Sequence[Phase]) -> tuple[object, ...]:
    found = analyse([PhaseTally(one, {}, {}) for one in phases], collecting=True, asked=LENGTHS)
    return found.growth, found.leaked, found.leaked_intercept


def leaking(each: int, first: int = 0, further: int = 0) -> list[int]:
    return [first + each * SHOWN[0], *(further + each * n for n in (*SHOWN[1:], *SHOWN_LONG))]


@pytest.mark.parametrize(
    ("first", "further"), [(0, 0), (3, 0), (3, 3), (0, 3)], ids=["none", "first work", "connection", "late"]
)
def test_nothing_per_request_needs_the_shortest_phases(first: int, further: int) -> None:
    phases = brief(0, leaking(0, first, further))
    assert [one.requests for one in phases] == [*SHOWN]
    assert confirms(phases, 0)
    assert analysed(phases) == ("none", 0, further)


@pytest.mark.parametrize(
    ("first", "further"), [(0, 0), (-1, 0), (3, 4)], ids=["from the first on", "one less", "connection"]
)
def test_a_leak_that_was_shown_needs_longer_ones(first: int, further: int) -> None:
    phases = brief(4, leaking(4, first, further))
    assert [one.requests for one in phases] == [*SHOWN, *SHOWN_LONG]
    assert confirms(phases, 4)
    assert analysed(phases) == ("leak", 4, further)


@pytest.mark.parametrize(
    ("shown", "leaked", "held"),
    [
        (0, (7, 61, 17), {}),
        (0, (0, 1, 0), {}),
        (0, (0, 0, 0), {"files": 9}),
        (4, (0, 0, 0), {}),
        (4, (21, 183, 51), {}),
        (4, (35, 305, 85), {}),
        (4, (28, 244, 68), {"threads": 17}),
        (4, (28, 244, 68, 460, 0), {}),
        (4, (28, 244, 68, 916, 1677), {}),
    ],
    ids=["a leak", "an object", "files", "none", "less", "more", "threads", "stops", "one object more"],
)
def test_what_differs_is_measured_in_full(shown: int, leaked: tuple[int, ...], held: dict[str, int]) -> None:
    assert not confirms(brief(shown, leaked, **held), shown)


def cell(growth: Growth, leaked: float, phases: Sequence[Phase], gc: str = "off") -> Measurement:
    return comparisons.cell(growth=growth, leaked=leaked, phases=tuple(phases), gc=gc)


def kept(each: int, lengths: Sequence[int], first: int = 0) -> list[Phase]:
    return [phase(n, each * n + (0 if at else first)) for at, n in enumerate(lengths)]


@pytest.mark.parametrize(
    ("measured", "shown"),
    [
        (cell("cyclic", 0, kept(0, SHORT)), 0),
        (cell("none", 0, kept(0, SHORT)), 0),
        (cell("none", 0, kept(0, (*SHORT, *LONG_PHASES))), None),
        (cell("bounded", 0, kept(0, SHORT)), None),
        (cell("leak", 3, kept(3, (*SHORT, *LONG_PHASES))), 3),
        (cell("leak", 3, kept(3, (*SHORT, *SHORT, *LONG_PHASES), first=-1)), 3),
        (cell("leak", 3, [*kept(9, SHORT), *kept(3, (*SHORT, *LONG_PHASES))]), None),
        (cell("leak", 3, [*kept(3, (*SHORT, *LONG_PHASES)), phase(LAST_PHASE, 9)]), None),
        (cell("leak", 2.5, kept(3, (*SHORT, *LONG_PHASES))), None),
        (cell("leak", 3, kept(3, (*SHORT, *LONG_PHASES)), gc="on"), None),
    ],
)
def test_gc_off_shows_whole_numbers_that_stay_from_the_second_phase_on(
    measured: Measurement, shown: int | None
) -> None:
    assert shows(measured) == shown
