from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comparisons import REASON, cell, compared, lost, phase, side
from load_comparisons import SIDES, runs
from outlive.comparison.noisy import load as loadcomparison
from outlive.comparison.noisy.load import LoadComparison
from outlive.comparison.pair import Comparison
from outlive.records.measurement import ASKED, GC_POLICIES, Growth, Measurement
from outlive.records.release import Release
from outlive.reports.verdict import Judged, Judgement, Verdict, judge, nearest_kept

RELEASES = ("3.10.10", "3.10.11", "3.11.14", "3.11.15", "4.0.0a1")


def release(version: str, *, yanked: bool = False, requires: str = ">=3.8") -> Release:
    uploaded = dt.datetime(2024, 1, 2, tzinfo=dt.UTC)
    return Release("aiohttp", version, uploaded, requires, yanked, None, ("py3",), sdist=True)


def everywhere(
    scenario: str, off: float, *, leaked: float = 0, growth: Growth | None = None
) -> list[Measurement]:
    """Return a scenario in all four cells, with two blocks for an object."""
    return [
        cell(
            scenario,
            off,
            leaked,
            connection=connection,
            gc=gc,
            growth=growth,
            blocks_per_request=2 * off,
            heap_bytes_per_request=0.0,
        )
        for connection in ASKED
        for gc in GC_POLICIES
    ]


def judged(
    before: Iterable[Measurement],
    after: Iterable[Measurement],
    *,
    yanked: bool = False,
    loads: Sequence[LoadComparison] = (),
) -> Judgement:
    sides = (side(), side(release="3.11.14", yanked=REASON if yanked else None))
    return verdicts(compared(before, after, sides), loads)


def verdicts(comparison: Comparison, loads: Sequence[LoadComparison] = ()) -> Judgement:
    return judge(
        comparison.rows,
        comparison.unmeasured,
        comparison.after.release,
        releases=[release(version, yanked=version == "3.11.14") for version in RELEASES],
        python="3.11",
        loads=loads,
    )


def of_policies(found: Judgement) -> dict[str, str]:
    return {one.gc: one.judged.verdict for one in found.policies}


OK = everywhere("ok", 0)


class TestPolicies:
    """The policy that nearly everybody runs leads, and each has its own verdict."""

    def test_more_cyclic_garbage_holds_for_gc_off_and_not_for_gc_on(self) -> None:
        found = judged([*OK, *everywhere("not-found", 43)], [*OK, *everywhere("not-found", 93)])
        assert (found.leads, found.overall.verdict) == ("on", "NO REASON EITHER WAY")
        assert of_policies(found) == {"on": "NO REASON EITHER WAY", "off": "HOLD"}

    def test_only_what_was_asked_for_decides_and_nothing_else_is_missing(self) -> None:
        before, after = (
            [one for one in [*OK, *everywhere("not-found", objects)] if one.gc == "off"]
            for objects in (93, 43)
        )
        found = judged(before, after)
        assert (found.leads, found.overall.verdict) == ("off", "UPGRADE")
        assert (found.measured, found.wanted, found.overall.lost) == (4, 4, 0)

    def test_what_is_for_development_only_never_decides(self) -> None:
        before, after = [*OK, *everywhere("debug", 0)], [*OK, *everywhere("debug", 9, leaked=9)]
        sides = (side(), side(release="3.10.11"))
        found = verdicts(compared(before, after, sides, development={"debug"}))
        assert of_policies(found) == {"on": "NO REASON EITHER WAY", "off": "NO REASON EITHER WAY"}
        assert found.overall.because == "nothing changes in 2 cells"


class TestRules:
    def off(self, before: Sequence[Measurement], after: Sequence[Measurement]) -> Judged:
        return next(one.judged for one in judged(before, after).policies if one.gc == "off")

    def test_better_and_nothing_worse(self) -> None:
        found = self.off([*OK, *everywhere("not-found", 93)], [*OK, *everywhere("not-found", 60)])
        assert found.verdict == "UPGRADE"
        assert found.because == (
            "2 of 4 cells got better by up to 195 MiB per hour (large), with 60 % still left, none worse"
        )

    def test_a_little_less_is_no_reason(self) -> None:
        found = self.off([*OK, *everywhere("not-found", 72)], [*OK, *everywhere("not-found", 71)])
        assert (found.verdict, found.because) == (
            "NO REASON EITHER WAY",
            "2 of 4 cells got better by too little to state in MiB per hour",
        )

    def test_a_little_more_is_no_reason_either(self) -> None:
        found = self.off([*OK, *everywhere("not-found", 71)], [*OK, *everywhere("not-found", 72)])
        assert found.verdict == "NO REASON EITHER WAY"

    def test_no_difference(self) -> None:
        found = self.off([*OK, *everywhere("not-found", 47)], [*OK, *everywhere("not-found", 47)])
        assert (found.verdict, found.because) == ("NO REASON EITHER WAY", "nothing changes in 4 cells")

    def test_a_leak_before_and_after_is_told(self) -> None:
        leaking = [*OK, *everywhere("not-found", 40, leaked=40)]
        assert judged(leaking, leaking).overall.because == (
            "nothing changes in 4 cells; 2 cells leak before and after"
        )

    def test_a_new_leak_holds_whatever_else_got_better(self) -> None:
        before = [*OK, *everywhere("not-found", 47), *everywhere("upload", 0)]
        after = [*OK, *everywhere("not-found", 0), *everywhere("upload", 1, leaked=1)]
        found = judged(before, after).overall
        assert (found.verdict, found.because) == ("HOLD", "2 of 6 cells start to leak")

    def test_a_leak_that_grows_holds(self) -> None:
        before = [*OK, *everywhere("not-found", 40, leaked=40), *everywhere("upload", 0)]
        after = [*OK, *everywhere("not-found", 60, leaked=60), *everywhere("upload", 1, leaked=1)]
        assert judged(before, after).overall.because == (
            "2 of 6 cells start to leak and 2 leak more by up to 118 MiB per hour (large)"
        )

    def test_a_leak_does_not_hide_what_leaves_much_more(self) -> None:
        before = [*OK, *everywhere("not-found", 40, leaked=40), *everywhere("upload", 10)]
        after = [*OK, *everywhere("not-found", 60, leaked=60), *everywhere("upload", 100)]
        assert self.off(before, after).because == (
            "2 of 6 cells leak more by up to 118 MiB per hour (large) and 2 leave more by up to 531 MiB per "
            "hour (large)"
        )

    def test_beside_what_holds_all_other_changes_are_counted(self) -> None:
        """Otherwise 3 cells that leave more and 65 that got worse seem to contradict each other."""
        before = [*OK, *everywhere("upload", 10), *everywhere("not-found", 7), *everywhere("big", 47)]
        after = [*OK, *everywhere("upload", 100), *everywhere("not-found", 9), *everywhere("big", 0)]
        found = self.off(before, after)
        assert (found.better, found.worse, found.because) == (
            2,
            4,
            (
                "2 of 8 cells leave more by up to 531 MiB per hour (large); 2 others got worse by up to "
                "12 MiB per hour (some) and 2 got better by up to 278 MiB per hour (large)"
            ),
        )

    def test_much_less_that_is_a_small_part_says_so(self) -> None:
        found = self.off([*OK, *everywhere("not-found", 93)], [*OK, *everywhere("not-found", 80)])
        assert (found.verdict, found.because) == (
            "NO REASON EITHER WAY",
            (
                "2 of 4 cells got better by up to 77 MiB per hour (large, but less than 20 % of what was "
                "left there)"
            ),
        )

    def test_slightly_worse_beside_a_gain_that_takes_a_setting_is_counted(self) -> None:
        before = [*OK, *everywhere("not-found", 47), *everywhere("upload", 40, leaked=40)]
        after = [*OK, *everywhere("not-found", 0), *everywhere("upload", 41, leaked=41)]
        assert self.off(before, after).because == (
            "2 of 6 cells got better by up to 278 MiB per hour (large), 2 worse by a "
            "negligible amount and 2 still leak"
        )

    @pytest.mark.parametrize("garbage", [0, 10, 60])
    def test_garbage_beside_a_leak_is_not_what_leaks_more(self, garbage: int) -> None:
        """Flask 2.0.0 → 3.1.3 with gc off: one object more leaks, and eight wait for a collection."""

        def leaking(leaked: int, cyclic: int) -> list[Measurement]:
            phases = tuple(
                phase(
                    n,
                    survivors=(leaked + cyclic) * n,
                    leaked=leaked * n,
                    blocks=(leaked + cyclic) * n,
                    blocks_kept=leaked * n,
                    heap=0,
                    heap_kept=0,
                )
                for n in (11, 503, 1009)
            )
            return [cell("not-found", leaked + cyclic, leaked, gc="off", phases=phases)]

        found = self.off(leaking(72, 0), leaking(73, garbage))
        assert "leak more" not in found.because
        assert found.verdict == ("HOLD" if garbage == 60 else "NO REASON EITHER WAY")

    def test_what_holds_is_not_contained_by_room_if_it_leaks(self) -> None:
        before = [*OK, *everywhere("not-found", 41, leaked=40), *everywhere("upload", 10)]
        after = [*OK, *everywhere("not-found", 42, leaked=41), *everywhere("upload", 100)]
        found = self.off(before, after)
        assert (found.verdict, found.settings) == ("HOLD", ("collect", "restart"))

    @pytest.mark.parametrize(("before", "after", "way"), [(40, 41, "worse"), (41, 40, "better")])
    def test_a_leak_that_changes_by_a_negligible_amount_is_no_reason(
        self, before: int, after: int, way: str
    ) -> None:
        sides = ([*OK, *everywhere("not-found", count, leaked=count)] for count in (before, after))
        found = judged(*sides).overall
        assert (found.verdict, found.because) == (
            "NO REASON EITHER WAY",
            f"2 of 4 cells got {way} by up to 3.0 MiB per hour (negligible); 2 cells leak before and after",
        )

    def test_worse_that_a_collection_frees_beside_better_takes_a_setting(self) -> None:
        before = [*OK, *everywhere("not-found", 47), *everywhere("upload", 0)]
        after = [*OK, *everywhere("not-found", 0), *everywhere("upload", 5)]
        found = self.off(before, after)
        assert (found.verdict, found.settings) == ("UPGRADE WITH A SETTING", ("collect",))

    def test_what_still_leaks_takes_restarts(self) -> None:
        before = [*OK, *everywhere("not-found", 40, leaked=40)]
        found = judged(before, [*OK, *everywhere("not-found", 10, leaked=10)]).overall
        assert (found.verdict, found.settings) == ("UPGRADE WITH A SETTING", ("restart",))

    def test_nothing_measured(self) -> None:
        found = judged([lost("ok", "died")], [lost("ok", "died")]).overall
        assert (found.verdict, found.because) == ("NOT ENOUGH DATA", "no cell was measured on both sides")

    def test_too_little_of_what_was_asked_for(self) -> None:
        asked = [lost(name, "died", gc="on") for name in ("upload", "not-found")]
        found = judged([*OK, *asked], [*OK, *asked]).overall
        assert (found.verdict, found.because) == ("NOT ENOUGH DATA", "2 cells of 4 could not be compared")

    def test_too_little_is_enough_to_hold(self) -> None:
        asked = [lost(name, "died") for name in ("upload", "not-found")]
        assert judged([cell("ok"), *asked], [cell("ok", 3, 3), *asked]).overall.verdict == "HOLD"

    def test_cells_that_neither_side_can_serve_are_not_missed(self) -> None:
        cannot = [lost("upload", "not with this worker", "unsupported", connection=c) for c in ASKED]
        found = judged([*OK, *cannot], [*OK, *cannot])
        assert (found.wanted, found.overall.verdict) == (4, "NO REASON EITHER WAY")


class TestWithdrawn:
    def test_the_evidence_stays_beside_it(self) -> None:
        before, after = ([*OK, *everywhere("not-found", 47, leaked=leaked)] for leaked in (47, 0))
        found = judged(before, after, yanked=True)
        assert found.overall.verdict == "WITHDRAWN"
        assert (
            found.overall.because
            == "aiohttp 3.11.14 is yanked; 3.11.15 is the nearest release that was not yanked"
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
    BETTER = ([*OK, *everywhere("not-found", 93)], [*OK, *everywhere("not-found", 43)])

    @pytest.mark.parametrize(("latency", "verdict"), [(1.5, "HOLD"), (1.05, "UPGRADE"), (0.6, "UPGRADE")])
    def test_only_what_is_surely_and_much_worse_holds_with_the_same_policy(
        self, latency: float, verdict: str
    ) -> None:
        load = loadcomparison.compare(*SIDES, runs(4, latency=latency))
        found = judged(*self.BETTER, loads=[load])
        assert of_policies(found) == {"on": "NO REASON EITHER WAY", "off": verdict}
        if verdict == "HOLD":
            because = found.policies[1].judged.because
            assert because.startswith("under load throughput -33.0 %, p50 +51.2 %, ")
            assert "; 2 of 4 cells got better" in because


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
        assert one.verdict in get_args(Verdict)
        if one.verdict.startswith("UPGRADE"):
            assert one.better > 0
        if one.verdict == "HOLD":
            assert one.worse > 0


@given(cells)
@settings(max_examples=40)
def test_the_same_is_never_a_change(measured: list[Measurement]) -> None:
    assert judged(measured, measured).overall.verdict in ("NO REASON EITHER WAY", "NOT ENOUGH DATA")


SOUND = ("NOT ENOUGH DATA", "HOLD", "NO REASON EITHER WAY", "UPGRADE WITH A SETTING", "UPGRADE")
"""The verdicts, each no better than the next: a setting is more work than none."""


def rank(measured: list[Measurement], *more: tuple[Measurement, Measurement]) -> int:
    """Return the place in SOUND of the verdict on cells and more; of the former, large ones get better."""
    less = [
        cell(m.scenario, 12 if (m.survivors_per_request or 0) > 25 else 18, connection=m.connection, gc=m.gc)
        for m in measured
    ]
    large = [cell(m.scenario, 18, connection=m.connection, gc=m.gc) for m in measured]
    before, after = [*large, *(pair[0] for pair in more)], [*less, *(pair[1] for pair in more)]
    return SOUND.index(judged(before, after).overall.verdict)


@given(cells, st.integers(0, 40), st.integers(1, 12) | st.integers(13, 40), st.sampled_from([0, 0, 3]))
@settings(max_examples=80)
def test_a_cell_that_gets_worse_never_makes_an_upgrade_better(
    measured: list[Measurement], left: int, more: int, leaked: int
) -> None:
    sizes = [
        cell("form", count, leak, blocks_per_request=2.0 * count, heap_bytes_per_request=0.0)
        for count, leak in ((left, 0), (left + more, min(leaked, left + more)))
    ]
    off = [m for m in measured if m.gc == "off"]
    assert rank(off, (sizes[0], sizes[1])) <= rank(off) or not off


@given(cells.filter(bool), st.integers(1, 6))
@settings(max_examples=40)
def test_what_could_not_be_compared_never_makes_a_verdict_stronger(
    measured: list[Measurement], missing: int
) -> None:
    gaps = [(lost(f"s{at}", "the worker died"), cell(f"s{at}")) for at in range(missing)]
    assert rank(measured, *gaps) in (rank(measured), SOUND.index("NOT ENOUGH DATA"))
