from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comparisons import cell, compared, phase
from outlive.comparison.cells import Row
from outlive.comparison.sizes import BYTES_PER_BLOCK, MIB, Rates
from outlive.errors import UsageError
from outlive.records.measurement import Growth
from outlive.reports.costs import Leaves, bill, cost, parse_bytes, parse_rate, parse_share

BASE = 30 * MIB


def leaves(
    each: float,
    garbage: float | None = None,
    *,
    ok: float = 0,
) -> Leaves:
    return Leaves(
        scenario="not-found",
        connection="close",
        gc="off",
        bytes_each=each,
        garbage_each=each if garbage is None else garbage,
        ok_bytes=ok,
        ok_garbage=0,
    )


def rows(objects: float = 10, growth: Growth | None = None, leaked: float = 0) -> tuple[Row, ...]:
    cells = [
        cell("ok", 0, blocks_per_request=0.1, heap_bytes_per_request=9.0, peak_rss_bytes=BASE),
        cell(
            "not-found", objects, leaked, growth=growth, blocks_per_request=20.0, heap_bytes_per_request=280.0
        ),
    ]
    return compared(cells, cells).rows


class TestCost:
    def test_by_hand(self) -> None:
        rates = Rates(rate=100, errors=0.1, workers=4, limit=512 * MIB)
        found = cost(leaves(1000), rates, BASE)
        room = 512 * MIB - 4 * BASE
        assert found.mib_per_hour == pytest.approx(100 * 0.1 * 1000 * 3600 / MIB)
        assert found.hours == pytest.approx(room / (100 * 0.1 * 1000 * 3600))
        assert found.max_requests == 510_000  # half of 98 MiB a worker, 100 bytes a request, rounded down
        assert found.periodic == 100_000  # a tenth of it

    def test_requests_that_do_not_fail_cost_too(self) -> None:
        found = cost(leaves(0, ok=100), Rates(rate=1, errors=0.5, workers=1), BASE)
        assert found.mib_per_hour == pytest.approx(50 * 3600 / MIB)

    def test_what_leaves_nothing_never_reaches_the_limit(self) -> None:
        found = cost(leaves(0), Rates(), BASE)
        assert (found.mib_per_hour, found.hours, found.max_requests, found.periodic) == (0, None, None, None)

    def test_what_no_collection_frees_needs_restarts_only(self) -> None:
        found = cost(leaves(1000, garbage=0), Rates(), BASE)
        assert found.periodic is None
        assert found.max_requests

    def test_a_limit_that_fresh_workers_fill_leaves_no_time(self) -> None:
        found = cost(leaves(1000), Rates(workers=100), BASE)
        assert (found.hours, found.max_requests) == (0, 1)

    @given(
        st.floats(0, 1e9),
        st.floats(0, 1),
        st.floats(0.001, 1e9),
        st.integers(1, 10**5),
        st.integers(1, 2**50),
    )
    def test_numbers_stay_numbers(
        self, each: float, errors: float, rate: float, workers: int, limit: int
    ) -> None:
        found = cost(leaves(each), Rates(rate=rate, errors=errors, workers=workers, limit=limit), BASE)
        assert math.isfinite(found.mib_per_hour)
        assert found.hours is None or found.hours >= 0
        assert found.max_requests is None or found.max_requests >= 1


class TestBill:
    def test_bytes_are_heap_and_blocks(self) -> None:
        found = bill(rows(), Rates())
        assert [one.bytes_each for one in found.leaves_before] == [20 * BYTES_PER_BLOCK + 280]
        assert found.base_before == BASE

    def test_what_leaves_no_objects_costs_nothing_though_blocks_are_not_exact(self) -> None:
        found = bill(rows(0), Rates())
        assert found.leaves_after[0].bytes_each == 0
        assert found.leaves_after[0].ok_bytes == 0

    def test_memory_that_leaks_without_objects_costs(self) -> None:
        assert bill(rows(0, growth="leak"), Rates()).leaves_after[0].bytes_each == 2000

    def test_half_leaked_is_half_garbage_if_nobody_counted_what_stays(self) -> None:
        found = bill(rows(10, growth="leak", leaked=5), Rates()).leaves_before[0]
        assert found.garbage_each == found.bytes_each / 2

    def test_garbage_is_what_a_collection_freed_though_it_has_many_objects(self) -> None:
        phases = tuple(
            phase(n, blocks=20 * n, blocks_kept=19 * n, heap=300 * n, heap_kept=300 * n)
            for n in (23, 211, 503, 1009)
        )
        side = [cell("not-found", 10, 5, phases=phases)]
        found = bill(compared(side, side).rows, Rates()).leaves_after[0]
        assert (found.bytes_each, found.garbage_each) == (20 * BYTES_PER_BLOCK + 300, BYTES_PER_BLOCK)

    def test_where_every_object_is_leaked_nothing_is_garbage_though_memory_is_rough(self) -> None:
        phases = tuple(phase(n, blocks=20 * n, blocks_kept=20 * n - n // 9) for n in (23, 211, 503, 1009))
        side = [cell("not-found", 5, 5, phases=phases)]
        found = bill(compared(side, side).rows, Rates()).leaves_after[0]
        assert found.garbage_each == 0

    def test_without_ok_only_failures_count(self) -> None:
        cells = [cell("not-found", 1, blocks_per_request=1.0, heap_bytes_per_request=0.0)]
        assert bill(compared(cells, cells).rows, Rates()).leaves_before[0].ok_bytes == 0


@pytest.mark.parametrize(
    ("text", "value"), [("200/s", 200), ("200", 200), ("12000/min", 200), ("720/h", 0.2), (" 1.5/s ", 1.5)]
)
def test_rates(text: str, value: float) -> None:
    assert parse_rate(text) == pytest.approx(value)


@pytest.mark.parametrize(("text", "value"), [("5%", 0.05), ("0.05", 0.05), ("100%", 1), ("0", 0)])
def test_shares(text: str, value: float) -> None:
    assert parse_share(text) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "value"), [("512MiB", 512 * MIB), ("1gib", 2**30), ("500MB", 5 * 10**8), ("1024", 1024)]
)
def test_memory(text: str, value: int) -> None:
    assert parse_bytes(text) == value


@pytest.mark.parametrize("text", ["", "fast", "-1/s", "0", "1e400", "1.2.3/s", "nan", "5/day"])
def test_no_rate(text: str) -> None:
    with pytest.raises(UsageError, match="--rate takes requests per second, as in 200/s, not"):
        parse_rate(text)


@pytest.mark.parametrize("text", ["", "120%", "2", "-5%", "half"])
def test_no_share(text: str) -> None:
    with pytest.raises(UsageError, match="--errors takes a share"):
        parse_share(text)


@pytest.mark.parametrize("text", ["", "0", "512 bytes", "1e9", "-1MiB", "9" * 30])
def test_no_memory(text: str) -> None:
    with pytest.raises(UsageError, match="--limit takes memory"):
        parse_bytes(text)


amounts = st.floats(0, 1e6)
traffic = st.builds(
    Rates,
    rate=st.floats(0.1, 1e4),
    errors=st.floats(0, 1),
    workers=st.integers(1, 64),
    limit=st.integers(MIB, 64 * 1024 * MIB),
)


@given(traffic, amounts, amounts, st.floats(1, 100))
def test_more_requests_cost_no_less(rates: Rates, each: float, ok: float, times: float) -> None:
    usual = cost(leaves(each, ok=ok), rates, BASE)
    busier = cost(leaves(each, ok=ok), msgspec.structs.replace(rates, rate=rates.rate * times), BASE)
    assert busier.mib_per_hour >= usual.mib_per_hour
    assert (busier.hours is None) == (usual.hours is None)
    assert (busier.hours or 0) <= (usual.hours or 0)
    assert (busier.max_requests, busier.periodic) == (usual.max_requests, usual.periodic)


@given(traffic, amounts, st.integers(1, 8))
def test_more_room_lasts_no_shorter(rates: Rates, each: float, times: int) -> None:
    usual = cost(leaves(each), rates, BASE)
    roomy = cost(leaves(each), msgspec.structs.replace(rates, limit=rates.limit * times), BASE)
    for name in ("hours", "max_requests", "periodic"):
        little, much = getattr(usual, name), getattr(roomy, name)
        assert (little is None) == (much is None)
        assert (much or 0) >= (little or 0)
