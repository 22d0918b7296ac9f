"""What a connection leaves apart from its requests: planted here, and found exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comparisons import phase
from outlive.records.measurement import Phase
from outlive.retention.growth import GrowthAnalysis, PhaseTally
from outlive.retention.growth import analyse as growth
from outlive.retention.growth import plan as phases_of_requests
from outlive.retention.residue import CONNECTIONS, LEAST, LONG, Residue, analyse, plan

Kept = Callable[[int, int], int]
"""What the connections number `first` to `last` keep."""


class Served:
    """An app, each of whose requests and connections leaves this much; `once` is what each phase leaves."""

    def __init__(self, cyclic: int = 0, leaked: int = 0, *, closing: int = 0, kept: Kept, once: int = 0):
        self.cyclic, self.leaked, self.closing, self.kept, self.once = cyclic, leaked, closing, kept, once
        self.connections = 0

    def phase(self, requests: int, connections: int) -> Phase:
        first, self.connections = self.connections + 1, self.connections + connections
        leaked = self.leaked * requests + self.kept(first, self.connections)
        garbage = self.cyclic * requests + self.closing * connections + self.once
        return phase(requests, survivors=leaked + garbage, leaked=leaked, connections=connections)

    def requests(self) -> tuple[list[Phase], GrowthAnalysis]:
        """Return the phases of the requests, over one connection each, and what they show."""
        done: list[Phase] = []
        while lengths := phases_of_requests(done, collecting=False):
            done += [self.phase(requests, 1) for requests in lengths]
        return done, growth([PhaseTally(each, {}, {}) for each in done], collecting=False)


def each(objects: int) -> Kept:
    return lambda first, last: objects * (last - first + 1)


def cache(entries: int) -> Kept:
    return lambda first, last: max(0, min(last, entries) - first + 1)


def found(app: Served, *, collecting: bool = False) -> tuple[Residue, Sequence[int]]:
    """Return the residue of an app, and how many connections its phases had."""
    phases, analysis = app.requests()
    done: list[Phase] = []
    while connections := plan(phases, analysis, done, collecting=collecting):
        done += [app.phase(count, count) for count in connections]
    return analyse(analysis, done), [one.requests for one in done]


few = st.integers(0, 40)


@given(cyclic=few, leaked=st.integers(0, 3), closing=few, once=few)
def test_garbage_of_a_connection_is_told_from_that_of_its_requests(
    cyclic: int, leaked: int, closing: int, once: int
) -> None:
    app = Served(cyclic, leaked, closing=closing, kept=each(0), once=once)
    assert found(app) == (Residue(Fraction(closing), Fraction(0)), [CONNECTIONS])


@given(leaked=st.integers(0, 3), closing=few, kept=st.integers(1, 9))
def test_a_leak_of_each_connection_is_exact_and_made_sure_of(leaked: int, closing: int, kept: int) -> None:
    app = Served(2, leaked, closing=closing, kept=each(kept))
    assert found(app) == (Residue(Fraction(closing + kept), Fraction(kept)), [CONNECTIONS, *LONG])


@given(st.integers(4, CONNECTIONS + LONG[0] // 2))
def test_a_cache_that_fills_with_connections_is_no_leak(entries: int) -> None:
    residue, _ = found(Served(kept=cache(entries)))
    assert residue.leaked == 0


@given(st.integers(1, 60), st.integers(0, 59))
def test_a_leak_of_some_connections_is_found_wherever_it_falls(every: int, offset: int) -> None:
    app = Served(3, kept=lambda first, last: (last + offset) // every - (first - 1 + offset) // every)
    residue, connections = found(app)
    assert residue.leaked == 0 or residue.leaked >= LEAST
    if len(connections) > 1:
        assert abs(residue.leaked - Fraction(1, every)) < 2 * LEAST
    if len(connections) > 1 and every <= 25:
        assert residue.leaked > 0


@pytest.mark.parametrize("objects", [3, 20])
def test_what_stays_once_in_the_last_phase_is_no_residue(objects: int) -> None:
    phases, analysis = Served(kept=each(0)).requests()
    done = [phase(count, survivors=objects * (count == LONG[-1])) for count in (CONNECTIONS, *LONG)]
    leaked = [msgspec.structs.replace(one, leaked=one.survivors) for one in done]
    assert analyse(analysis, leaked) == Residue(Fraction(0), Fraction(0))
    assert plan(phases, analysis, leaked, collecting=False) == ()


def test_where_requests_share_their_connections_out_nothing_is_asked() -> None:
    phases, analysis = Served(kept=each(1)).requests()
    several = [phase(one.requests, leaked=one.leaked, connections=2) for one in phases]
    unknown = [phase(one.requests, leaked=one.leaked) for one in phases]
    assert plan(several, analysis, [], collecting=False) == ()
    assert plan(unknown, analysis, [], collecting=False) == ()


@pytest.mark.parametrize(("collecting", "asked"), [(True, ()), (False, LONG)])
def test_with_a_collector_only_what_is_leaked_must_be_whole(collecting: bool, asked: Sequence[int]) -> None:
    phases, analysis = Served(kept=each(0)).requests()
    uneven = [phase(CONNECTIONS, survivors=5, connections=CONNECTIONS)]
    assert plan(phases, analysis, uneven, collecting=collecting) == asked
