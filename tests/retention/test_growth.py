"""The verdict on growth, from phases made up here: what is planted must be found, and exactly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlive.records.measurement import Phase
from outlive.retention.growth import (
    BLOCKS_LEAK,
    BLOCKS_SUSPECT,
    BOUNDED_OBJECTS,
    HEAP_LEAK,
    HEAP_SUSPECT,
    HELD_LEAK,
    LAST_PHASE,
    LEAST_SENSITIVITY,
    LONG_PHASES,
    MEMORY_PHASES,
    MOST_SENSITIVITY,
    SENSITIVITY,
    WARM_UP,
    GrowthAnalysis,
    PhaseTally,
    analyse,
    lengths,
    plan,
    slope,
)

PHASES = lengths().short
Kept = Callable[[int, int], int]
"""What the requests number `first` to `last` keep."""
COUNTS = st.integers(0, 500)


def phase(
    requests: int,
    survivors: int = 0,
    leaked: int = 0,
    *,
    blocks_kept: int = 0,
    heap_kept: int | None = 0,
    **held: int,
) -> Phase:
    return Phase(
        requests=requests,
        survivors=survivors,
        leaked=leaked,
        blocks=2 * survivors,
        blocks_kept=blocks_kept,
        heap=None if heap_kept is None else 100 * survivors,
        heap_kept=heap_kept,
        rss=None,
        fds=None,
        threads=1,
        held=held,
    )


def tallies(*phases: Phase) -> list[PhaseTally]:
    return [PhaseTally(one, {}, {}) for one in phases]


def served(
    kept: Kept,
    cyclic: int = 0,
    *,
    blocks: Kept | None = None,
    heap: Kept | None = None,
    held: Mapping[str, Kept] = MappingProxyType({}),
    sensitivity: int = SENSITIVITY,
) -> list[Phase]:
    """Return all phases of an app that keeps that much."""
    phases: list[Phase] = []
    at = WARM_UP + 1
    while following := plan(phases, collecting=False, asked=lengths(sensitivity)):
        for requests in following:
            first, at = at + 1, at + requests
            objects = kept(first, at)
            phases.append(
                phase(
                    requests,
                    objects + cyclic * requests,
                    objects,
                    blocks_kept=blocks(first, at) if blocks else 0,
                    heap_kept=heap(first, at) if heap else 0,
                    **{name: more(first, at) for name, more in held.items()},
                )
            )
    return phases


def verdict(phases: list[Phase], sensitivity: int = SENSITIVITY) -> GrowthAnalysis:
    return analyse(tallies(*phases), collecting=False, asked=lengths(sensitivity))


def of(found: GrowthAnalysis, *fields: str) -> tuple[object, ...]:
    return tuple(getattr(found, field) for field in fields)


def each(per_request: int) -> Kept:
    return lambda first, last: per_request * (last - first + 1)


def every(requests: int, offset: int = 0) -> Kept:
    return lambda first, last: (last + offset) // requests - (first - 1 + offset) // requests


def later_than(requests: int) -> Kept:
    return lambda first, last: max(0, last - max(first - 1, requests))


def cache(entries: int) -> Kept:
    return lambda first, last: max(0, min(last, entries) - first + 1)


nothing = each(0)


@given(survivors=COUNTS, leaked=COUNTS, once=COUNTS, kept_once=COUNTS)
def test_a_straight_line_gives_its_slope_and_intercept(
    survivors: int, leaked: int, once: int, kept_once: int
) -> None:
    phases = [phase(n, (survivors + leaked) * n + once + kept_once, leaked * n + kept_once) for n in PHASES]
    found = verdict(phases)
    assert of(found, "survivors", "leaked", "cyclic") == (survivors + leaked, leaked, survivors)
    assert of(found, "intercept", "leaked_intercept") == (once + kept_once, kept_once)
    assert found.blocks == 2 * found.survivors
    assert found.heap == 100 * found.survivors
    for collecting in (False, True):
        assert plan(phases, collecting=collecting) == (LONG_PHASES if leaked else ())


@given(phases=st.tuples(*[st.builds(phase, st.just(n), COUNTS, COUNTS) for n in PHASES]))
def test_slopes_are_exact_whatever_the_counts(phases: tuple[Phase, ...]) -> None:
    found = verdict(list(phases))
    a, b = phases[-2:]
    assert found.survivors * (b.requests - a.requests) == b.survivors - a.survivors
    assert found.intercept + found.survivors * b.requests == b.survivors
    assert found.cyclic + found.leaked == found.survivors
    assert slope(a, b, "leaked") == Fraction(b.leaked - a.leaked, b.requests - a.requests)


@given(counts=st.lists(st.tuples(COUNTS, COUNTS, COUNTS), min_size=20, max_size=20), collecting=st.booleans())
def test_whatever_is_counted_it_comes_to_an_end(counts: list[tuple[int, int, int]], collecting: bool) -> None:
    phases: list[Phase] = []
    while following := plan(phases, collecting=collecting):
        for requests in following:
            survivors, leaked, blocks = counts[len(phases)]
            phases.append(phase(requests, survivors, leaked, blocks_kept=blocks))
    most = 2 * len(PHASES) + len(MEMORY_PHASES) + len(LONG_PHASES) + 1
    assert len(PHASES) <= len(phases) <= most
    analyse(tallies(*phases), collecting=collecting)


class TestPlan:
    def test_a_clean_app_takes_no_longer_than_it_must(self) -> None:
        assert [one.requests for one in served(nothing)] == list(PHASES)

    def test_so_does_garbage(self) -> None:
        assert [one.requests for one in served(nothing, 106)] == list(PHASES)

    def test_what_happens_once_costs_a_second_set(self) -> None:
        phases = served(every(10_000, 10_000 - 200))
        assert [one.leaked for one in phases] == [0, 1, 0, 0, 0, 0]
        assert verdict(phases).growth == "none"

    def test_survivors_need_no_straight_line_with_the_collector_on(self) -> None:
        phases = [phase(n, survivors) for n, survivors in zip(PHASES, (400, 1000, 300), strict=True)]
        assert plan(phases, collecting=True) == ()
        assert plan(phases, collecting=False) == PHASES

    def test_memory_that_stops_growing_ends_it(self) -> None:
        phases = served(nothing, blocks=cache(700))
        assert [one.requests for one in phases] == [*PHASES, *MEMORY_PHASES]

    def test_growth_that_stops_in_a_long_phase_gets_one_more(self) -> None:
        phases = served(cache(800))
        assert [one.requests for one in phases] == [*PHASES, *LONG_PHASES, LAST_PHASE]


class TestGrowth:
    @given(per_request=st.integers(1, 50), cyclic=COUNTS)
    def test_each_request_keeps_something(self, per_request: int, cyclic: int) -> None:
        found = verdict(served(each(per_request), cyclic))
        assert of(found, "growth", "leaked", "cyclic") == ("leak", per_request, cyclic)

    @given(requests=st.integers(1, 100), offset=st.integers(0, 99), cyclic=st.integers(0, 20))
    def test_an_object_for_each_hundred_requests_is_found_wherever_it_falls(
        self, requests: int, offset: int, cyclic: int
    ) -> None:
        found = verdict(served(every(requests, offset), cyclic))
        assert found.growth == "leak"
        assert float(found.leaked) == pytest.approx(1 / requests, abs=2 / 506)

    @given(per_request=st.integers(1, 500))
    def test_only_garbage_is_cyclic(self, per_request: int) -> None:
        found = verdict(served(nothing, per_request))
        assert of(found, "growth", "cyclic", "leaked") == ("cyclic", per_request, 0)

    @given(entries=st.integers(WARM_UP + 1 + BOUNDED_OBJECTS, 1750), cyclic=st.integers(0, 20))
    def test_a_cache_that_fills_is_no_leak(self, entries: int, cyclic: int) -> None:
        found = verdict(served(cache(entries), cyclic))
        assert of(found, "growth", "leaked", "cyclic") == ("cyclic" if cyclic else "bounded", 0, cyclic)

    def test_a_full_cache_that_makes_room_now_and_then_is_no_leak(self) -> None:
        def held(requests: int) -> int:  # 180 entries at most, the oldest 30 are dropped at once
            return requests if requests <= 180 else 150 + (requests - 151) % 30 + 1

        phases = served(lambda first, last: 3 * (held(last) - held(first - 1)))
        assert any(one.leaked > 0 for one in phases[-2:])
        assert of(verdict(phases), "growth", "leaked", "cyclic") == ("bounded", 0, 0)

    @given(offset=st.integers(0, 500), dropped=st.integers(2, 60))
    def test_wherever_it_is_in_its_turns_when_counting_starts(self, offset: int, dropped: int) -> None:
        def held(requests: int) -> int:
            at = requests + offset - 181
            return 180 + at if at < 0 else 180 - dropped + at % dropped + 1

        phases = served(lambda first, last: 3 * (held(last) - held(first - 1)))
        assert verdict(phases).growth != "leak"

    def test_a_cookie_jar_that_drops_its_oldest_cookies_is_no_leak(self) -> None:
        """The counts of aiohttp 3.14.5 with a new cookie in every answer."""
        requests = (*PHASES, *PHASES, *LONG_PHASES, LAST_PHASE)
        leaked = (115, 522, 51, -24, -18, -42, 21, 51, 33)
        for last in (8, 9):
            found = verdict([phase(*one) for one in zip(requests[:last], leaked, leaked, strict=False)])
            assert of(found, "growth", "leaked") == ("bounded", 0)

    def test_what_comes_and_goes_in_large_parts_is_no_leak(self) -> None:
        """The counts of Flask's async views, in two measurements of one stack."""
        requests = (*PHASES, *PHASES, *LONG_PHASES, LAST_PHASE)
        for leaked in (
            (0, 0, -1728, 0, 2430, 0, 12_582, 7734, 16_648),
            (294, 2430, -1728, -702, 2430, -1728, 12_582, -12_572, 502),
        ):
            phases = [phase(*one) for one in zip(requests, leaked, leaked, strict=True)]
            assert verdict(phases).leaked == 0
            assert verdict(phases).growth != "leak"

    def test_with_the_collector_on_garbage_is_no_growth_and_hides_none(self) -> None:
        for kept, growth in ((nothing, "none"), (cache(500), "bounded"), (each(1), "leak")):
            assert analyse(tallies(*served(kept, 8)), collecting=True).growth == growth

    @given(entries=st.integers(0, WARM_UP + BOUNDED_OBJECTS))
    def test_a_handful_of_first_time_work_is_no_growth(self, entries: int) -> None:
        found = verdict(served(cache(entries)))
        assert of(found, "growth", "leaked") == ("none", 0)


class TestMemory:
    """What no count of objects shows: bytes are not tracked by the collector."""

    @pytest.mark.parametrize("per_request", [1, 2, 30])
    def test_small_ones_are_found_by_blocks(self, per_request: int) -> None:
        found = verdict(served(nothing, blocks=each(per_request)))
        assert of(found, "growth", "survivors", "blocks_kept") == ("leak", 0, per_request)

    @pytest.mark.parametrize("per_request", [513, 4096])
    def test_large_ones_are_found_by_the_heap(self, per_request: int) -> None:
        found = verdict(served(nothing, heap=each(per_request)))
        assert of(found, "growth", "survivors", "heap_kept") == ("leak", 0, per_request)

    @pytest.mark.parametrize("freed", [0, 32, 256])
    def test_the_smallest_chunk_is_found_though_others_are_freed_meanwhile(self, freed: int) -> None:
        chunks = each(32)
        found = verdict(served(nothing, heap=lambda first, last: chunks(first, last) - freed))
        assert of(found, "growth", "survivors") == ("leak", 0)

    def test_a_cache_of_bytes_is_no_leak(self) -> None:
        found = verdict(served(nothing, blocks=cache(700)))
        assert of(found, "growth", "leaked") == ("none", 0)

    @pytest.mark.parametrize(
        ("limit", "field"), [(BLOCKS_SUSPECT, "blocks_kept"), (HEAP_SUSPECT, "heap_kept")]
    )
    def test_what_is_suspect_runs_longer(self, limit: float, field: str) -> None:
        for run in (PHASES, (*PHASES, MEMORY_PHASES[0])):
            least = {requests: -int(-limit * requests // 1) for requests in run}
            phases = [phase(requests, **{field: least[requests]}) for requests in run]
            assert plan(phases, collecting=False)
            for at in (-2, -1):
                less = phases[:]
                less[at] = phase(run[at], **{field: least[run[at]] - 1})
                assert not plan(less, collecting=False)

    @pytest.mark.parametrize(("limit", "field"), [(BLOCKS_LEAK, "blocks_kept"), (HEAP_LEAK, "heap_kept")])
    @pytest.mark.parametrize(("less", "growth"), [((0, 0), "leak"), ((1, 0), "none"), ((0, 1), "none")])
    def test_a_leak_is_in_each_long_phase(
        self, limit: float, field: str, less: tuple[int, int], growth: str
    ) -> None:
        long = [
            phase(requests, **{field: -int(-limit * requests // 1) - missing})
            for requests, missing in zip(LONG_PHASES, less, strict=True)
        ]
        assert verdict([*map(phase, PHASES), *long]).growth == growth

    def test_without_a_heap_count_there_is_no_number(self) -> None:
        found = verdict([phase(n, heap_kept=None) for n in PHASES])
        assert of(found, "heap", "heap_kept", "growth") == (None, None, "none")


class TestTypes:
    def analysed(self, *types: dict[str, int]) -> GrowthAnalysis:
        return analyse(
            [PhaseTally(phase(n), named, {}) for n, named in zip(PHASES, types, strict=True)],
            collecting=False,
        )

    def test_are_slopes_too_most_first(self) -> None:
        _, a, b = PHASES
        second = {"list": a, "tuple": 2 * a + 9, "set": 2 * a + 9}
        third = {"list": b, "tuple": 2 * b + 9, "set": 2 * b + 9}
        assert list(self.analysed({}, second, third).types.items()) == [
            ("set", 2.0),
            ("tuple", 2.0),
            ("list", 1.0),
        ]

    def test_a_timer_that_was_replaced_is_no_part_of_a_slope(self) -> None:
        _, a, b = PHASES
        second, third = {"TimerHandle": 1, "frame": a + 1}, {"TimerHandle": 0, "frame": b}
        assert self.analysed({}, second, third).types == {"frame": 1.0}

    def test_one_that_is_only_in_the_intercept_is_left_out(self) -> None:
        assert self.analysed({"dict": 4}, {"dict": 4}, {"dict": 4}).types == {}


class TestSensitivity:
    @given(sensitivity=st.integers(LEAST_SENSITIVITY, MOST_SENSITIVITY), data=st.data())
    def test_a_leak_as_large_is_sure_to_be_found(self, sensitivity: int, data: st.DataObject) -> None:
        offset = data.draw(st.integers(0, sensitivity))
        phases = served(every(sensitivity, offset), 3, sensitivity=sensitivity)
        assert of(verdict(phases, sensitivity), "growth", "cyclic") == ("leak", 3)

    @given(sensitivity=st.integers(LEAST_SENSITIVITY, MOST_SENSITIVITY))
    def test_no_two_phases_are_taken_for_each_other(self, sensitivity: int) -> None:
        asked = lengths(sensitivity)
        every_one = (*asked.short, *asked.memory, *asked.long, asked.last)
        assert len(set(every_one)) == len(every_one)

    def test_finer_ones_take_longer(self) -> None:
        assert [sum(lengths(n).short) for n in (50, 105, 1000)] == [149, 259, 2051]


@pytest.mark.parametrize(
    ("starts", "default", "finer"), [(400, "none", 200), (2000, "none", 1000), (279, "leak", 200)]
)
def test_a_leak_that_begins_later_is_seen_if_the_sensitivity_is_finer(
    starts: int, default: str, finer: int
) -> None:
    assert verdict(served(later_than(starts))).growth == default
    found = verdict(served(later_than(starts), sensitivity=finer), finer)
    assert of(found, "growth", "leaked") == ("leak", 1)


class TestHeld:
    """What is neither an object nor memory of Python's."""

    @pytest.mark.parametrize(
        ("name", "kept"), [("files", every(5)), ("tasks", each(1)), ("mapped", each(4096))]
    )
    def test_is_a_leak_where_it_grows(self, name: str, kept: Kept) -> None:
        found = verdict(served(nothing, 7, held={name: kept}))
        assert of(found, "growth", "leaked", "cyclic") == ("leak", 0, 7)
        assert float(found.held.pop(name)) == pytest.approx(kept(1, 10_000) / 10_000, rel=0.01)
        assert not found.held

    @pytest.mark.parametrize("name", HELD_LEAK)
    def test_what_comes_once_is_none(self, name: str) -> None:
        found = verdict(served(nothing, held={name: every(10_000, 9_900)}))
        assert of(found, "growth", "held") == ("none", {})

    @pytest.mark.parametrize(
        ("tasks", "leaked", "survivors"),
        [
            ((503, 322, 314), (18611, 11914, 11618), (21630, 17969, 20777)),
            ((306, 78, 168), (11322, 3552, 5550), (14341, 9934, 15296)),
        ],
        ids=["3.8.4", "3.8.3"],
    )
    def test_what_lasts_for_some_seconds_is_none(
        self, tasks: tuple[int, ...], leaked: tuple[int, ...], survivors: tuple[int, ...]
    ) -> None:
        """The counts of aiohttp with big uploads broken off: it waits 10 s for the rest of each."""
        requests = (*PHASES, *LONG_PHASES, LAST_PHASE)
        tasks, leaked, survivors = (
            (11, 211, 37, *tasks),
            (407, 7807, 1369, *leaked),
            (474, 9074, 1592, *survivors),
        )
        found = verdict(
            [phase(*one[:3], tasks=one[3]) for one in zip(requests, survivors, leaked, tasks, strict=True)]
        )
        assert of(found, "growth", "leaked", "held") == ("cyclic", 0, {})

    def test_a_leak_is_seen_where_short_phases_keep_equally_many(self) -> None:
        kept = every(28)
        phases = served(nothing, held={"files": kept}, sensitivity=37)
        assert phases[1].held == phases[2].held == {"files": 2}
        assert float(verdict(phases, 37).held["files"]) == pytest.approx(1 / 28, rel=0.05)

    def test_memory_leaks_though_arenas_of_two_phases_are_equally_many(self) -> None:
        mapped = (2**20, 2**20, 2**20, 2**21, 2**21)
        phases = [
            phase(each, mapped=some) for each, some in zip((*PHASES, *LONG_PHASES), mapped, strict=True)
        ]
        assert verdict(phases).growth == "leak"

    @pytest.mark.parametrize("name", ["tasks", "sockets", "files"])
    @given(rate=st.integers(20, 400))
    def test_what_a_time_bounds_is_none_at_any_rate(self, name: str, rate: int) -> None:
        requests = (*PHASES, *LONG_PHASES)
        phases = [phase(each, **{name: min(each, rate)}) for each in requests]
        assert verdict(phases).held == {}

    def test_so_are_arenas(self) -> None:
        found = verdict(served(nothing, held={"mapped": lambda first, last: 2**20 * (first <= 200 <= last)}))
        assert found.growth == "none"

    @pytest.mark.parametrize("name", ["threads", "processes"])
    def test_threads_and_processes_are_not_started_by_the_thousand_to_be_sure(self, name: str) -> None:
        phases = served(each(25), held={name: each(1)})
        assert [one.requests for one in phases] == list(PHASES)
        assert of(verdict(phases), "growth", "held") == ("leak", {name: 1})
