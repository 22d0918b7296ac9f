"""How far a slope can be from that of another run of the same cell; counts are of real cells."""

from __future__ import annotations

from fractions import Fraction
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from comparisons import phase
from outlive.retention.error import error
from outlive.retention.growth import LONG_PHASES, lengths

PHASES = lengths().short
LONG = [phase(requests) for requests in (*PHASES, *PHASES, *LONG_PHASES)]
OLDER = [phase(requests) for requests in (23, 211, 79, 23, 211, 79, *LONG_PHASES)]


def test_on_a_line_there_is_none() -> None:
    assert error([phase(11), phase(211), phase(37)], [67, 1267, 223]) == 0


def test_a_cache_that_had_filled_before_the_long_phases_causes_none() -> None:
    assert error(LONG, [66, 407, 223, 66, 407, 223, 3018, 6054]) == 0


def test_a_timer_makes_two_objects() -> None:
    assert error(LONG, [66, 1266, 223, 66, 1267, 222, 3019, 6054]) == Fraction(2, 506)


def test_long_phases_that_leave_more_do_not_make_single_requests_differ() -> None:
    truncated_upload = [703, 13333, 2338, 703, 13315, 2338, 31753, 63865]
    assert 3 < error(LONG, truncated_upload) < 4
    one_event = [4485, 41152, 15412, 4485, 41151, 15407, 98094, 196858]
    assert 1 < error(OLDER, one_event) < 2


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("more", [3, 10, 40])
def test_requests_that_differ_by_chance_have_an_error_that_covers_another_run(seed: int, more: int) -> None:
    chance = Random(seed)

    def run(share: float) -> list[int]:
        return [sum(5 + more * (chance.random() < share) for _ in range(one.requests)) for one in LONG]

    runs = [run(0.3), run(0.3)]
    slopes = [Fraction(counts[-1] - counts[-2], 506) for counts in runs]
    assert abs(slopes[0] - slopes[1]) <= sum(error(LONG, counts) for counts in runs)


def test_growth_that_gets_faster_differs_by_as_much() -> None:
    counts = [66, 1266, 222, 66, 1266, 222, 30180, 160540]
    assert error(LONG, counts) > 50


def test_a_cell_whose_brief_phases_were_contradicted_has_one_too() -> None:
    lengths_used = (7, 61, 17, 229, 419, *PHASES, *LONG_PHASES)
    counts = [5 * n + (n == 37) * 9 + (n == 1009) * 100 for n in lengths_used]
    assert 1 < error([phase(n) for n in lengths_used], counts) < 6


@given(
    st.lists(st.sampled_from((*PHASES, *LONG_PHASES, 5, 9552)), min_size=1, max_size=12).flatmap(
        lambda used: st.tuples(st.just(used), st.lists(st.integers(-9, 99999), min_size=12, max_size=12))
    )
)
@example(([23, 211, 79, 503, 1009, 9552], [*range(12)]))
def test_phases_that_nobody_runs_end_in_no_traceback(stored: tuple[list[int], list[int]]) -> None:
    """Found by fuzzing."""
    used, counts = stored
    assert error([phase(n) for n in used], counts[: len(used)]) >= 0
