from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comparisons import REASON, cell, compared, lost, side
from load_comparisons import SIDES, runs
from outlive.comparison import load as loadcomparison
from outlive.comparison.load import LoadComparison
from outlive.comparison.pair import Comparison
from outlive.records.measurement import ASKED, GC_POLICIES, Growth, Measurement
from outlive.records.release import Release
from outlive.report.verdict import VERDICTS, Judgement, judge, nearest_kept

RELEASES = ("3.10.10", "3.10.11", "3.11.14", "3.11.15", "4.0.0a1")


def release(version: str, *, yanked: bool = False, requires: str = ">=3.8") -> Release:
    uploaded = dt.datetime(2024, 1, 2, tzinfo=dt.UTC)
    return Release("aiohttp", version, uploaded, requires, yanked, None, ("py3",), sdist=True)


def everywhere(
    scenario: str, off: float, *, leaked: float = 0, growth: Growth | None = None
) -> list[Measurement]:
    """Return a scenario in all four cells; with gc on only what is leaked counts."""
    return [
        cell(scenario, off, leaked, connection=connection, gc=gc, growth=growth)
        for connection in ASKED
        for gc in GC_POLICIES
    ]


def judged(
    before: Iterable[Measurement],
    after: Iterable[Measurement],
    expected: Sequence[str] = (),
    *,
    yanked: bool = False,
    loads: Sequence[LoadComparison] = (),
) -> Judgement:
    sides = (side(), side(release="3.11.14", yanked=REASON if yanked else None))
    return verdicts(compared(before, after, sides), expected, loads)


def verdicts(
    comparison: Comparison, expected: Sequence[str] = (), loads: Sequence[LoadComparison] = ()
) -> Judgement:
    return judge(
        comparison.rows,
        comparison.unmeasured,
        comparison.after.release,
        releases=[release(version, yanked=version == "3.11.14") for version in RELEASES],
        expected=expected,
        python="3.11",
        loads=loads,
    )


OK = everywhere("ok", 0)


class TestOverall:
    def test_better_and_nothing_worse(self) -> None:
        found = judged([*OK, *everywhere("not-found", 47)], [*OK, *everywhere("not-found", 43)]).overall
        assert (found.verdict, found.because) == ("UPGRADE", "2 of 8 cells got better, none worse")

    def test_no_difference(self) -> None:
        found = judged([*OK, *everywhere("not-found", 47)], [*OK, *everywhere("not-found", 47)]).overall
        assert (found.verdict, found.because) == ("NO DIFFERENCE SEEN", "no difference in 8 cells")

    def test_a_leak_before_and_after_is_told(self) -> None:
        leaking = [*OK, *everywhere("not-found", 40, leaked=40)]
        found = judged(leaking, leaking).overall
        assert found.because == "no difference in 8 cells; 4 cells leak before and after"

    def test_a_new_leak_holds_whatever_else_got_better(self) -> None:
        before = [*OK, *everywhere("not-found", 47), *everywhere("upload", 0)]
        after = [*OK, *everywhere("not-found", 0), *everywhere("upload", 1, leaked=1)]
        found = judged(before, after).overall
        assert found.verdict == "HOLD"
        assert found.because == "4 of 12 cells got worse in a way that no collection helps"

    def test_more_cyclic_garbage_alone_holds_for_gc_off_only(self) -> None:
        found = judged([*OK, *everywhere("not-found", 43)], [*OK, *everywhere("not-found", 47)])
        assert found.overall.verdict == "HOLD"
        assert {one.gc: one.judged.verdict for one in found.policies} == {
            "on": "NO DIFFERENCE SEEN",
            "off": "HOLD",
        }

    def test_worse_that_a_collection_frees_beside_better_takes_a_setting(self) -> None:
        before = [*OK, *everywhere("not-found", 47), *everywhere("upload", 0)]
        after = [*OK, *everywhere("not-found", 0), *everywhere("upload", 5)]
        found = judged(before, after).overall
        assert (found.verdict, found.settings) == ("UPGRADE WITH A SETTING", ("collect",))
        assert found.because == "2 of 12 cells got better, 2 worse"

    def test_what_still_leaks_takes_restarts(self) -> None:
        before = [*OK, *everywhere("not-found", 40, leaked=40)]
        found = judged(before, [*OK, *everywhere("not-found", 10, leaked=10)]).overall
        assert (found.verdict, found.settings) == ("UPGRADE WITH A SETTING", ("restart",))

    def test_a_scenario_is_no_better_because_ok_got_worse(self) -> None:
        before = [*OK, *everywhere("malformed-request", 4), *everywhere("not-found", 9)]
        after = [*everywhere("ok", 8), *everywhere("malformed-request", 5), *everywhere("not-found", 17)]
        found = judged(before, after)
        assert found.overall.better == 0
        assert found.overall.verdict == "HOLD"

    def test_nothing_measured(self) -> None:
        found = judged([lost("ok", "died")], [lost("ok", "died")]).overall
        assert (found.verdict, found.because) == ("NOT ENOUGH DATA", "no cell was measured on both sides")

    def test_too_little_measured(self) -> None:
        names = ("ok", "not-found", "upload")
        found = judged([*OK, *everywhere("not-found", 47)], [*OK, *everywhere("not-found", 43)], names)
        assert found.overall.verdict == "NOT ENOUGH DATA"
        assert found.overall.because == "4 cells of 12 could not be compared"
        assert {one.scenario: one.judged.verdict for one in found.scenarios} == {
            "ok": "NO DIFFERENCE SEEN",
            "not-found": "UPGRADE",
        }

    def test_too_little_is_enough_to_hold(self) -> None:
        found = judged(OK, [cell("ok", 3, 3)], ("ok", "not-found", "upload"))
        assert found.overall.verdict == "HOLD"

    def test_cells_that_neither_side_can_serve_are_not_missed(self) -> None:
        cannot = [lost("upload", "not with this worker", "unsupported", connection=c) for c in ASKED]
        found = judged([*OK, *cannot], [*OK, *cannot], ("ok", "upload"))
        assert found.wanted == 6
        assert found.overall.verdict == "NOT ENOUGH DATA"  # 4 of 6: the cells with gc on are missing


class TestWithdrawn:
    def test_the_evidence_stays_beside_it(self) -> None:
        before, after = ([*OK, *everywhere("not-found", objects)] for objects in (47, 43))
        found = judged(before, after, yanked=True)
        assert found.overall.verdict == "WITHDRAWN"
        assert (
            found.overall.because == "aiohttp 3.11.14 is yanked; the nearest release that is not is 3.11.15"
        )
        assert (found.evidence.verdict, found.nearest) == ("UPGRADE", "3.11.15")

    def test_the_nearest_is_stable_kept_and_supports_the_python(self) -> None:
        wanted = release("3.11.14", yanked=True)
        others = [
            release("3.11.15", yanked=True),
            release("3.11.16", requires=">=3.12"),
            release("3.12.0rc1"),
            release("3.11.12"),
            release("3.11.13", yanked=True),
        ]
        assert nearest_kept(wanted, [wanted, *others], "3.11") == "3.11.12"
        assert nearest_kept(wanted, [wanted, *others], "3.12") == "3.11.16"
        assert nearest_kept(wanted, [wanted], "3.11") is None


class TestUnderLoad:
    BETTER = ([*OK, *everywhere("not-found", 47)], [*OK, *everywhere("not-found", 43)])

    @pytest.mark.parametrize(("latency", "verdict"), [(1.5, "HOLD"), (1.05, "UPGRADE"), (0.6, "UPGRADE")])
    def test_only_what_is_surely_and_much_worse_holds(self, latency: float, verdict: str) -> None:
        load = loadcomparison.compare(*SIDES, runs(4, latency=latency))
        found = judged(*self.BETTER, loads=[load]).overall
        assert found.verdict == verdict
        if verdict == "HOLD":
            assert found.because.startswith("under load throughput -33.0 %, p50 +51.2 %, ")
            assert found.because.endswith(" with gc off; 2 of 8 cells got better, none worse")


cells = st.lists(
    st.builds(
        cell,
        st.sampled_from(["ok", "not-found", "upload"]),
        st.integers(0, 50),
        st.integers(0, 2),
        connection=st.sampled_from(ASKED),
        gc=st.sampled_from(GC_POLICIES),
    ),
    unique_by=lambda m: (m.scenario, m.connection, m.gc),
)


@given(cells, cells)
@settings(max_examples=40)
def test_never_stronger_than_the_data(before: list[Measurement], after: list[Measurement]) -> None:
    found = judged(before, after)
    every = [found.overall, *(one.judged for one in found.policies), *(one.judged for one in found.scenarios)]
    for one in every:
        assert one.verdict in VERDICTS
        if one.verdict.startswith("UPGRADE"):
            assert one.better > 0
        if one.verdict in ("UPGRADE", "NO DIFFERENCE SEEN"):
            assert one.worse == 0
        if one.verdict == "HOLD":
            assert one.worse > 0


@given(cells)
@settings(max_examples=40)
def test_the_same_is_never_a_change(measured: list[Measurement]) -> None:
    assert judged(measured, measured).overall.verdict in ("NO DIFFERENCE SEEN", "NOT ENOUGH DATA")
