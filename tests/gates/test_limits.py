"""Limits: the file, what it allows, how cells are judged by it, and how it is written."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import measuring
from comparisons import cell, lost, off_the_line, phase
from gates import KNOWN, LIMITS, PATH, TODAY, changed, limits
from outlive.errors import UsageError
from outlive.gates.accept import accept, render
from outlive.gates.judge import judge, stale
from outlive.gates.limits import FilePlace, Limits, exact, load, parse
from outlive.project import Project
from outlive.records.measurement import CONNECTIONS, Measurement
from outlive.retention.growth import HELD_LEAK

RELEASES = ("0.9", "1", "2")
SCENARIOS = [scenario.name for scenario in KNOWN]


def written(text: str, *measured: Measurement, releases: tuple[str, ...] = RELEASES) -> str:
    return accept(limits(text), measured, releases, KNOWN, TODAY).text


class TestParse:
    def test_finds_what_a_cell_may_leave_and_where_that_is_written(self) -> None:
        allowed = limits().allowed(cell("not-found", 33))
        assert (allowed.objects, allowed.place) == (33, FilePlace(11, "not-found = 33"))

    def test_a_pattern_stands_for_all_that_it_matches(self) -> None:
        assert limits().allowed(cell("upload-too-large")).place == FilePlace(12, '"upload*" = 5')

    @pytest.mark.parametrize(
        "other",
        [
            cell("not-found", 33, connection="keep-alive"),
            cell("not-found", 33, gc="on"),
            cell("not-found", 33, python="3.12"),
            cell("not-found", 33, release="0.9"),
            cell("ok", 33),
        ],
    )
    def test_other_cells_may_leave_nothing(self, other: Measurement) -> None:
        allowed = limits().allowed(other)
        assert (allowed.objects, allowed.place) == (0, None)

    def test_unreleased_versions_are_releases_too(self) -> None:
        assert limits().allowed(cell("not-found", release="2.0.dev1+local")).objects == 33

    @pytest.mark.parametrize("policy", ["on", "freeze", "periodic:100"])
    def test_gc_on_stands_for_all_policies_that_collect(self, policy: str) -> None:
        collected = limits(changed('gc = "off"', 'gc = "on"'))
        assert collected.allowed(cell("not-found", 33, gc=policy)).objects == 33
        assert collected.allowed(cell("not-found", 33)).objects == 0

    def test_without_pythons_it_is_for_all(self) -> None:
        everywhere = limits(changed('pythons = ["3.11"]\n', ""))
        assert everywhere.allowed(cell("not-found", python="3.8")).objects == 33

    def test_a_type_restricts_it_to_cells_that_leave_such_objects(self) -> None:
        typed = limits(changed('releases = ">=1"', 'type = "frame"'))
        assert typed.allowed(cell("not-found", types={"frame": 3.0})).objects == 33
        assert typed.allowed(cell("not-found", types={"dict": 3.0})).objects == 0

    def test_a_fingerprint_restricts_it_to_cells_that_show_it(self) -> None:
        marked = limits(changed('releases = ">=1"', 'fingerprint = "c0ffee"'))
        assert marked.allowed(cell("not-found", fingerprints=("c0ffee",))).objects == 33
        assert marked.allowed(cell("not-found")).objects == 0

    def test_no_file_is_no_limits(self, tmp_path: object) -> None:
        assert load(Project(tmp_path), "aiohttp", KNOWN) == Limits(PATH, "", ())  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            (
                'reason = "a',
                "reason = a",
                f"{PATH}: not a limits file: Invalid value (at line 6, column 10)",
            ),
            (
                'gc = "off"',
                'gc = "of"',
                f"{PATH}: not a limits file: Invalid enum value 'of' - at `$.limits[0].gc`, in the entry of line 1",  # noqa: E501
            ),
            (
                'gc = "off"',
                'gc = "off"\nobject = 3',
                f"{PATH}: not a limits file: Object contains unknown field `object` - at `$.limits[0]`, in the entry of line 1",  # noqa: E501
            ),
            (
                "not-found = 33",
                "not-found = 0",
                f"{PATH}: not a limits file: Expected `float` > 0.0 - at `$.limits[0].objects[...]`, in the entry of line 1",  # noqa: E501
            ),
            (
                "not-found = 33",
                "not-fond = 33",
                f"{PATH}:11: no scenario 'not-fond'; try not-found, site-not-found, not-modified",
            ),
            ('">=1"', '"1.x"', f"{PATH}:5: '1.x' is not a version specifier, as in >=3.1,<3.2"),
            ('["3.11"]', '["3"]', f"{PATH}:4: '3' is not a Python's minor version, as in 3.13"),
            (
                "not-found = 33",
                "not-found = inf",
                (
                    f"{PATH}: not a limits file: Expected `float` <= 1000000000.0 - at "
                    "`$.limits[0].objects[...]`, in the entry of line 1"
                ),
            ),
            (
                'not-found = 33\n"upload*" = 5\n',
                "",
                f"{PATH}:1: an entry without numbers: give it a table [limits.objects], or remove it",
            ),
        ],
    )
    def test_a_malformed_file_is_one_clear_line(self, old: str, new: str, message: str) -> None:
        with pytest.raises(UsageError) as raised:
            limits(changed(old, new))
        assert str(raised.value) == message

    def test_two_limits_for_one_cell_are_an_error(self) -> None:
        with pytest.raises(UsageError) as raised:
            limits(changed("not-found = 33", '"not-*" = 33\nnot-found = 33')).allowed(cell("not-found"))
        assert str(raised.value) == (
            f"{PATH}: lines 11 and 12 both apply to not-found, close, gc off, aiohttp 1, Python 3.11: "
            "leave one of them"
        )


class TestJudge:
    def test_the_exact_count_is_within(self) -> None:
        found = judge(limits(), cell("not-found", 33))
        assert (found.outcome, found.what, found.advice) == ("within", "", "")

    def test_nothing_left_and_nothing_allowed_is_within(self) -> None:
        assert judge(limits(), cell("ok")).outcome == "within"

    def test_more_is_over(self) -> None:
        found = judge(limits(), cell("not-found", 34))
        assert (found.outcome, found.what) == ("over", "leaves 34 objects per request, 33 allowed")
        assert found.advice == (
            "`outlive explain` shows what keeps them; if they are intended, "
            f"--accept writes {PATH}:11 and you add the reason"
        )

    def test_a_single_object_is_told_as_such(self) -> None:
        found = judge(limits(), cell("ok", 1))
        assert found.what == "leaves 1 object per request, no limit allows any"

    def test_without_a_limit_anything_is_over(self) -> None:
        found = judge(limits(), cell("ok", 0.01, 0.01, gc="on"))
        assert (found.outcome, found.what) == ("over", "leaves 0.01 objects per request, no limit allows any")

    def test_less_is_under_and_names_the_line_to_change(self) -> None:
        found = judge(limits(), cell("not-found", 20))
        assert (found.outcome, found.what) == (
            "under",
            "leaves 20 objects per request, 33 allowed: lock it in",
        )
        assert found.advice == f"{PATH}:11: `not-found = 33`: write `not-found = 20` for it"

    def test_nothing_where_some_is_allowed_names_the_line_to_delete(self) -> None:
        found = judge(limits(), cell("not-found", 0))
        assert (found.outcome, found.advice) == ("under", f"{PATH}:11: `not-found = 33`: delete it")

    @pytest.mark.parametrize(("count", "outcome"), [(33.0004, "within"), (33.002, "over"), (32.998, "under")])
    def test_a_count_on_the_line_is_exact_but_for_rounding(self, count: float, outcome: str) -> None:
        assert judge(limits(), cell("not-found", count)).outcome == outcome

    @pytest.mark.parametrize(("count", "outcome"), [(34.8, "within"), (38.2, "over"), (28.1, "under")])
    def test_nothing_finer_than_the_error_of_a_count_off_the_line_is_judged(
        self, count: float, outcome: str
    ) -> None:
        assert judge(limits(), off_the_line(count)).outcome == outcome
        assert judge(limits(), off_the_line(40.3), off_the_line(42.3)).outcome == "over"
        assert judge(limits(), off_the_line(40.3), off_the_line(46.3)).outcome == "inconclusive"
        assert written(LIMITS, off_the_line(34.8)) == LIMITS

    @pytest.mark.parametrize("gc", ["on", "off"])
    def test_what_a_connection_leaves_has_a_limit_of_its_own(self, gc: str) -> None:
        left: dict[str, Any] = {"survivors_per_connection": 7.0} if gc == "off" else {}
        kept = cell("ok", connection="keep-alive", gc=gc, leaked_per_connection=7.0, **left)
        red = judge(limits(), kept)
        assert (red.outcome, red.what, red.residue) == (
            "over",
            "leaves 7 objects per connection, apart from its requests, no limit allows any",
            7,
        )
        allowing = limits(written("", kept, cell("upload", 7, connection="keep-alive", gc=gc)))
        assert allowing.text.endswith("[limits.per_connection]\nok = 7\n")
        assert judge(allowing, kept).outcome == "within"
        mended = msgspec.structs.replace(
            kept, leaked_per_connection=2.0, survivors_per_connection=2.0 if left else None
        )
        less = judge(allowing, mended)
        assert (less.outcome, less.advice.rpartition("toml:")[2]) == (
            "under",
            f"{len(allowing.text.splitlines())}: `ok = 7`: write `ok = 2` for it",
        )
        assert judge(limits(), kept, mended).outcome == "inconclusive"
        assert judge(limits(), msgspec.structs.replace(kept, leaked_per_connection=None)).residue in (None, 7)

    def test_files_that_leak_beside_objects_are_told(self) -> None:
        phases = (phase(503, leaked=503), phase(1009, leaked=1009))
        kept = cell("not-found", 33, 33, held={"files": 0.2}, phases=phases)
        found = judge(limits(), kept)
        assert (found.outcome, found.what) == ("over", "leaks outside of objects: 0.2 files per request")

    def test_files_that_stay_open_until_a_collection_need_a_limit_where_none_comes(self) -> None:
        """As in a big upload whose client is gone: its temporary file hangs on a cycle."""

        def kept(each: float, **fields: Any) -> Measurement:
            lengths = (11, 211, 37)
            phases = tuple(phase(n, survivors=33 * n, fds=9 + round(each * n)) for n in lengths)
            return cell("not-found", 33, phases=phases, held={}, **fields)

        found = judge(limits(), kept(1))
        what = "leaks outside of objects: 1 file open until a collection per request"
        assert (found.outcome, found.what) == ("over", what)
        assert judge(limits(), kept(0.2)).what.startswith("leaks outside of objects: 0.2 files open")
        assert judge(limits(), kept(0)).outcome == "within"
        assert judge(limits(), kept(1, gc="on")).outcome == "within"
        allowing = limits(changed("expires = 2027-01-01", 'expires = 2027-01-01\nmemory = ["not-found"]'))
        assert judge(allowing, kept(1)).outcome == "within"
        assert judge(allowing, kept(0)).outcome == "under"

    def test_files_opened_once_are_none_of_a_request(self) -> None:
        opened = tuple(phase(n, survivors=33 * n, fds=9 + more) for n, more in ((11, 0), (211, 3), (37, 3)))
        assert judge(limits(), cell("not-found", 33, phases=opened, held={})).outcome == "within"

    @pytest.mark.parametrize("name", HELD_LEAK)
    def test_whatever_is_held_turns_the_gate_red(self, name: str) -> None:
        kept = cell("not-found", 33, growth="leak", held={name: HELD_LEAK[name]}, phases=(phase(37),))
        found = judge(limits(), kept)
        assert found.outcome == "over"
        assert found.what.startswith("leaks outside of objects: ")

    def test_a_planted_leak_on_top_of_a_count_is_over(self) -> None:
        assert judge(limits(), cell("not-found", 33 + 4 / 506)).outcome == "over"

    def test_with_a_collector_only_leaked_objects_count(self) -> None:
        assert judge(limits(), cell("not-found", 50, 0, gc="on", growth="cyclic")).outcome == "within"

    def test_leaked_memory_without_objects_needs_a_limit(self) -> None:
        leaking = cell("ok", growth="leak", blocks_per_request=2.0, heap_bytes_per_request=600.0)
        found = judge(limits(), leaking)
        assert (found.outcome, found.what) == (
            "over",
            "leaks outside of objects: 2 blocks and 600 B of C heap per request",
        )
        allowing = limits(changed("expires = 2027-01-01", 'expires = 2027-01-01\nmemory = ["ok"]'))
        assert judge(allowing, leaking).outcome == "within"
        mended = judge(allowing, cell("ok"))
        assert (mended.outcome, mended.advice) == ("under", f'{PATH}:9: `memory = ["ok"]`: take ok out')

    def test_two_counts_that_differ_are_inconclusive(self) -> None:
        found = judge(limits(), cell("not-found", 34), cell("not-found", 33))
        assert (found.outcome, found.what) == (
            "inconclusive",
            "does not repeat: 34 objects and then 33 objects",
        )

    def test_two_counts_that_agree_are_judged(self) -> None:
        assert judge(limits(), cell("not-found", 34), cell("not-found", 34)).outcome == "over"

    def test_one_object_by_chance_in_a_long_phase_is_no_other_count(self) -> None:
        def leaking(short: int) -> Measurement:
            """Return a cell that leaks 16 objects per request, in which a timer was due in a long phase."""
            counts = {11: 176, 211: 3376, 37: 592, 503: 8048, 1009: 16144 - short}
            phases = tuple(phase(n, survivors=count, leaked=count) for n, count in counts.items())
            per_request = (counts[1009] - counts[503]) / 506
            return cell("ok", per_request, per_request, gc="on", phases=phases)

        for short in (-2, -1, 1, 2):
            assert judge(limits(), leaking(short), leaking(0)).outcome == "over"

        # Its first phases say that it may be 12 objects more or less: it leaks all the same.
        assert judge(limits(), leaking(40)).outcome == "over"

    def test_a_fault_that_repeats_is_one(self) -> None:
        gone = lost("ok", "the worker died")
        assert judge(limits(), gone, gone).outcome == "failed"

    def test_a_fault_that_does_not_repeat_is_inconclusive(self) -> None:
        found = judge(limits(), lost("ok", "the worker died"), cell("ok"))
        assert found.what == "does not repeat: the worker died and then 0 objects"

    def test_says_why_it_may_be_and_where_that_is_tracked(self) -> None:
        reason = "a traceback and its frames refer to each other"
        link = 'link = "https://github.com/aio-libs/aiohttp/issues/1"\n'
        over, no_limit = cell("not-found", 34), cell("bad-json", 2)
        assert judge(limits(), over).why == f"{reason} (https://github.com/aio-libs/aiohttp/issues/1)"
        assert judge(limits(changed(link, "")), over).why == f"{reason} (no upstream issue known)"
        assert judge(limits(), no_limit).why == ""

    def test_what_no_worker_can_serve_is_not_judged(self) -> None:
        assert judge(limits(), lost("ok", "no keep-alive", status="unsupported")).outcome == "unsupported"


class TestStale:
    def test_an_expired_entry_fails(self) -> None:
        (found,) = stale(limits(), [cell("not-found", 33)], RELEASES, dt.date(2027, 1, 2))
        assert (found.kind, found.place.line, found.what, found.advice) == (
            "expired",
            8,
            f"expired on 2027-01-01: {limits().entries[0].why}",
            f"{PATH}:8: give a new date after review, or delete the entry",
        )

    def test_the_day_itself_is_not_after_it(self) -> None:
        assert not stale(limits(), [cell("not-found", 33)], RELEASES, dt.date(2027, 1, 1))

    def test_an_entry_about_other_cells_is_left_alone(self) -> None:
        assert not stale(limits(), [cell("not-found", gc="on")], RELEASES, dt.date(2030, 1, 1))

    def test_an_entry_for_no_release_is_unused(self) -> None:
        (found,) = stale(limits(), [cell("not-found", 33)], ["0.8"], TODAY)
        assert (found.kind, found.advice) == ("unused", f"{PATH}:1: delete the entry")

    def test_a_line_whose_type_is_gone_is_unused(self) -> None:
        typed = limits(changed('releases = ">=1"', 'type = "frame"'))
        (found,) = stale(typed, [cell("not-found", 33, types={"dict": 1.0})], RELEASES, TODAY)
        assert (found.what, found.advice) == (
            "not-found no longer shows frame",
            f"{PATH}:11: delete `not-found = 33`",
        )

    def test_a_line_for_what_no_worker_can_serve_is_unused(self) -> None:
        unserved = lost("not-found", "no worker holds such connections", status="unsupported")
        (found,) = stale(limits(), [unserved], RELEASES, TODAY)
        assert (found.kind, found.what, found.advice) == (
            "unused",
            "not-found: no worker can serve it",
            f"{PATH}:11: delete `not-found = 33`",
        )
        both = limits(changed('connections = ["close"]', 'connections = ["keep-alive", "close"]'))
        assert not stale(both, [unserved], RELEASES, TODAY)


class TestAccept:
    def test_what_is_as_measured_is_not_touched(self) -> None:
        assert written(LIMITS, cell("not-found", 33), cell("ok")) == LIMITS

    def test_writes_a_short_file(self) -> None:
        cells = [
            *(
                cell("ok", 7, connection=one, python=python)
                for one in ("keep-alive", "close")
                for python in ("3.11", "3.13")
            ),
            *(cell("not-found", 33, python=python) for python in ("3.13", "3.11")),
            cell("not-found", 30.25, connection="keep-alive", release="2"),
            cell("upload", 0.00988, 0.00988, gc="on", release="2"),
        ]
        text = written("", *cells)
        assert text.split("\n\n", 1)[1] == (
            """\
[[limits]]
gc = "off"
connections = ["keep-alive", "close"]
pythons = ["3.11", "3.13"]
releases = "==1"
reason = "as measured on aiohttp 1; explain here why it is acceptable"
expires = 2027-03-01

[limits.objects]
ok = 7

[[limits]]
gc = "off"
connections = ["close"]
pythons = ["3.11", "3.13"]
releases = "==1"
reason = "as measured on aiohttp 1; explain here why it is acceptable"
expires = 2027-03-01

[limits.objects]
not-found = 33

[[limits]]
gc = "off"
connections = ["keep-alive"]
pythons = ["3.11"]
releases = ">=2"
reason = "as measured on aiohttp 2; explain here why it is acceptable"
expires = 2027-03-01

[limits.objects]
not-found = 30.25

[[limits]]
gc = "on"
connections = ["close"]
pythons = ["3.11"]
releases = ">=2"
reason = "as measured on aiohttp 2; explain here why it is acceptable"
expires = 2027-03-01

[limits.objects]
upload = 0.01
"""
        )

    def test_an_improvement_of_the_newest_release_keeps_the_old_limit_for_older_ones(self) -> None:
        text = written(changed('"upload*" = 5\n', ""), cell("not-found", 20, release="2"))
        entries = limits(text).entries
        assert [(entry.releases, entry.objects) for entry in entries] == [
            (">=1,<2", {"not-found": 33}),
            (">=2", {"not-found": 20}),
        ]
        assert {entry.reason for entry in entries} == {"a traceback and its frames refer to each other"}

    def test_an_older_release_gets_a_limit_of_its_own(self) -> None:
        text = written(changed('"upload*" = 5\n', ""), cell("not-found", 20, release="1"))
        assert [(entry.releases, entry.objects) for entry in limits(text).entries] == [
            ("==1", {"not-found": 20}),
            (">=1,!=1", {"not-found": 33}),
        ]

    def test_what_is_gone_goes(self) -> None:
        text = written(changed('"upload*" = 5\n', ""), cell("not-found", 0, release="1"), releases=("1",))
        assert limits(text).entries == ()

    def test_an_expired_limit_gets_a_new_date(self) -> None:
        text = written(changed("2027", "2025"), cell("not-found", 33, release="2"))
        new = limits(text).allowed(cell("not-found", release="2"))
        assert (new.objects, limits(text).entries[-1].expires) == (33, dt.date(2027, 3, 1))

    def test_a_pattern_with_one_exception_is_written_out(self) -> None:
        text = written(LIMITS, cell("upload", 6, release="2"))
        assert [
            limits(text).allowed(cell(name, release="2")).objects for name in ("upload", "upload-too-large")
        ] == [
            6,
            5,
        ]

    def test_leaked_memory_is_accepted_by_name(self) -> None:
        text = written("", cell("ok", growth="leak", release="2"))
        assert 'memory = ["ok"]' in text
        assert judge(limits(text), cell("ok", growth="leak", release="2")).outcome == "within"


counts = st.one_of(st.just(0.0), st.integers(1, 120).map(float), st.integers(6, 2000).map(lambda n: n / 1000))
measured = st.builds(
    lambda scenario, connection, gc, python, release, count: cell(
        scenario, count, count, connection=connection, gc=gc, python=python, release=release
    ),
    st.sampled_from(SCENARIOS[:4]),
    st.sampled_from(CONNECTIONS),
    st.sampled_from(["off", "on"]),
    st.sampled_from(["3.11", "3.13"]),
    st.sampled_from(RELEASES),
    counts,
)


def identity(one: Measurement) -> tuple[str, ...]:
    return one.scenario, one.connection, one.gc, one.python, one.release


@settings(max_examples=60)
@given(st.lists(measured, max_size=12, unique_by=identity))
def test_what_was_accepted_is_within_and_written_the_same_in_any_order(cells: list[Measurement]) -> None:
    accepted = accept(limits(""), cells, RELEASES, KNOWN, TODAY)
    oldest_first = sorted(cells, key=lambda one: one.release)
    in_order = accept(limits(""), oldest_first, RELEASES, KNOWN, TODAY)
    assert all(judge(in_order, one).outcome == "within" for one in oldest_first)
    assert all(judge(accepted, one).outcome == "within" for one in cells)
    assert accept(accepted, cells, RELEASES, KNOWN, TODAY) == accepted
    if accepted.entries:
        assert render("aiohttp", accepted.entries) == accepted.text
        assert render("aiohttp", reversed(accepted.entries)) == accepted.text
        assert parse(accepted.text, PATH, KNOWN) == accepted


@pytest.mark.parametrize(("count", "text"), [(105.0, "105"), (0.01, "0.01"), (105.125, "105.125"), (0, "0")])
def test_counts_are_written_in_thousandths(count: float, text: str) -> None:
    assert exact(count) == text


@pytest.mark.real
def test_a_file_that_hangs_on_a_cycle_turns_the_gate_red() -> None:
    (clean,) = measuring.measured(measuring.planted("flask", "file_that_is_closed"), measuring.cell("ok"))
    (kept,) = measuring.measured(measuring.planted("flask", "file_in_a_cycle"), measuring.cell("ok"))
    allowing = accept(limits(""), [kept], [kept.release], KNOWN, TODAY)
    assert judge(allowing, kept).outcome == "within"
    without = limits(allowing.text.replace('memory = ["ok"]\n', ""))
    what = "leaks outside of objects: 1 file open until a collection per request"
    assert (judge(without, kept).outcome, judge(without, kept).what) == ("over", what)
    assert "memory" not in accept(limits(""), [clean], [clean.release], KNOWN, TODAY).text.partition("[[")[2]


near = st.builds(
    lambda scenario, connection, release, count: cell(
        scenario, count, count, connection=connection, release=release
    ),
    st.sampled_from(SCENARIOS[:3]),
    st.sampled_from(CONNECTIONS[:2]),
    st.sampled_from(RELEASES),
    st.sampled_from([0.0, 2.0, 33.0]),
)


@settings(max_examples=60)
@given(st.lists(near, min_size=2, max_size=8, unique_by=identity))
def test_accepting_a_cell_changes_no_limit_of_the_others(cells: list[Measurement]) -> None:
    *others, last = cells
    of_all = limits(changed('releases = ">=1"\n', ""))
    before = accept(of_all, others, RELEASES, KNOWN, TODAY)
    after = accept(before, [last], RELEASES, KNOWN, TODAY)
    for other in others:
        assert after.allowed(other).objects == before.allowed(other).objects
        assert judge(after, other).outcome == judge(before, other).outcome


@given(counts.filter(bool), st.lists(st.integers(1, 150_000), min_size=2))
def test_the_more_is_allowed_the_less_a_count_is_over(count: float, thousandths: list[int]) -> None:
    outcomes = []
    for allowed in sorted(thousandths):
        limited = limits(changed("not-found = 33", f"not-found = {allowed / 1000}"))
        outcomes.append(judge(limited, cell("not-found", count)).outcome)
    order = ["over", "within", "under"]
    assert outcomes == sorted(outcomes, key=order.index)
    assert [outcome == "within" for outcome in outcomes] == [
        allowed == round(1000 * count) for allowed in sorted(thousandths)
    ]
