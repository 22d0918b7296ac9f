from __future__ import annotations

from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comparisons import (
    REASON,
    aiohttp_comparison,
    cell,
    collector,
    compared,
    flask_cells,
    flask_comparison,
    lost,
    phase,
    side,
)
from outlive.comparison.cells import Row
from outlive.comparison.pair import BothMeasurements, Comparison, ComparisonDocument, json_schema
from outlive.errors import FaultError
from outlive.records.measurement import ASKED, Growth, Machine, Measurement, Phase, Provenance
from outlive.records.stack import Difference

OPPOSITE = {"better": "worse", "worse": "better", "same": "same"}


def only(comparison: Comparison) -> Row:
    (row,) = (row for row in comparison.rows if row.scenario != "ok")
    return row


def one(before: Measurement, after: Measurement) -> Row:
    return only(compared([before], [after]))


# what counts, and which way it went


def test_with_gc_off_everything_that_stays_counts() -> None:
    row = one(cell(objects=32), cell(objects=30))
    assert (row.direction, row.before.objects, row.after.objects, row.change) == ("better", 32, 30, -2)


def test_with_gc_on_only_what_is_leaked_counts() -> None:
    row = one(cell(objects=32, gc="on"), cell(objects=90, gc="on"))
    assert (row.direction, row.before.objects, row.after.objects) == ("same", 0, 0)
    assert (row.before.freed, row.after.freed) == (32, 90)


@pytest.mark.parametrize("gc", ["on", "freeze", "periodic:100"])
def test_the_work_of_a_collector_and_what_it_frees_give_no_direction(gc: str) -> None:
    before, after = cell(objects=0, gc=gc), cell(objects=90, gc=gc, collector=collector(90))
    assert (before.growth, after.growth) == ("none", "cyclic")
    assert one(before, after).direction == "same"


def test_any_difference_in_objects_counts() -> None:
    assert one(cell(objects=32), cell(objects=32 + 1 / 757)).direction == "worse"


def test_with_equal_survivors_fewer_leaked_ones_are_better() -> None:
    assert one(cell(objects=50, leaked=44), cell(objects=50, leaked=40)).direction == "better"


@pytest.mark.parametrize(
    ("before", "after"), [("none", "bounded"), ("bounded", "cyclic"), ("cyclic", "leak"), ("none", "leak")]
)
def test_a_change_of_growth_counts_even_where_the_counts_are_equal(before: Growth, after: Growth) -> None:
    assert one(cell(growth=before), cell(growth=after)).direction == "worse"
    assert one(cell(growth=after), cell(growth=before)).direction == "better"


def test_a_leak_that_goes_while_more_is_left_is_better_but_said_to_be_mixed() -> None:
    comparison = compared([cell(objects=50, leaked=44)], [cell(objects=306)])
    assert (only(comparison).direction, only(comparison).mixed) == ("better", True)
    assert comparison.headline == (
        "aiohttp 3.10.10 → 3.10.11: not-found no longer leaks (44 → 0 objects per request); "
        "but not-found leaves more (50 → 306 objects per request)."
    )


# read against ok


def test_a_scenario_is_judged_by_what_it_leaves_above_ok() -> None:
    row = only(compared([cell("ok", 7), cell(objects=32)], [cell("ok", 0), cell(objects=27)]))
    assert (row.before.above_ok, row.after.above_ok, row.change, row.change_above_ok) == (25, 27, -5, 2)
    assert (row.before.ok, row.after.ok) == (7, 0)
    assert row.direction == "worse"


def test_what_ok_changes_is_counted_once() -> None:
    comparison = compared([cell("ok", 7), cell(objects=32)], [cell("ok", 0), cell(objects=25)])
    assert [(row.scenario, row.direction, row.follows_ok) for row in comparison.rows] == [
        ("ok", "better", False),
        ("not-found", "same", True),
    ]
    assert comparison.headline == (
        "aiohttp 3.10.10 → 3.10.11: ok leaves less (7 → 0 objects per request); "
        "1 other cell changes only as ok does; nothing got worse in 2 cells."
    )


def test_a_leak_of_ok_is_not_a_leak_of_every_scenario() -> None:
    before, after = [cell("ok"), cell(objects=25)], [cell("ok", 5, 5), cell(objects=30, leaked=5)]
    assert [row.direction for row in compared(before, after).rows] == ["worse", "same"]


def test_a_leak_beside_a_smaller_fault_of_ok_is_the_scenarios_own() -> None:
    before, after = [cell("ok"), cell()], [cell("ok", growth="bounded"), cell(growth="leak")]
    assert [row.direction for row in compared(before, after).rows] == ["worse", "worse"]


def test_ok_on_one_side_only_is_no_baseline() -> None:
    comparison = compared([cell("ok", 7), cell(objects=32)], [cell(objects=32)])
    assert (only(comparison).before.above_ok, only(comparison).direction) == (None, "same")


def test_ok_is_of_the_same_connection_and_gc_policy() -> None:
    before = [
        cell("ok", 7),
        cell("ok", 0, connection="keep-alive"),
        cell(objects=32, connection="keep-alive"),
    ]
    assert only(compared(before, before)).before.above_ok == 32


# what is not exact


@pytest.mark.parametrize(
    ("blocks", "heap", "note"),
    [
        (40.0, 0.0, None),
        (41.0, 512.0, None),
        (43.5, 0.0, "40 → 43.5 blocks per request"),
        (40.0, 3328.0, "0 B → 3.2 KiB of C heap per request"),
        (43.5, 3328.0, "40 → 43.5 blocks and 0 B → 3.2 KiB of C heap per request"),
    ],
)
def test_other_memory_gives_a_note_and_no_direction(blocks: float, heap: float, note: str | None) -> None:
    before = cell(objects=32, blocks_per_request=40.0, heap_bytes_per_request=0.0)
    after = cell(objects=32, blocks_per_request=blocks, heap_bytes_per_request=heap)
    row = one(before, after)
    assert (row.note, row.direction) == (note, "same")


def test_there_is_no_note_where_objects_differ() -> None:
    assert one(cell(objects=1, blocks_per_request=1.0), cell(objects=2, blocks_per_request=9.0)).note is None


def test_with_a_collector_the_blocks_that_a_collection_leaves_are_what_counts() -> None:
    def phases(kept: int) -> tuple[Phase, ...]:
        return tuple(phase(requests, blocks_kept=kept * requests) for requests in (211, 101))

    row = one(
        cell(gc="on", blocks_per_request=90.0, phases=phases(0)),
        cell(gc="on", blocks_per_request=5.0, phases=phases(3)),
    )
    assert (row.before.blocks, row.after.blocks, row.note) == (0, 3, "0 → 3 blocks per request")


# what cannot be compared


def test_cells_that_one_side_did_not_measure_are_listed_once_with_the_reason() -> None:
    comparison = compared(
        [lost("upload", "died"), lost("stream-error", "no", "unsupported"), cell("abort-upload"), cell()],
        [cell("upload"), lost("stream-error", "died"), cell(), cell("bad-json")],
    )
    assert [(gap.scenario, gap.side, gap.gap, gap.reason) for gap in comparison.unmeasured] == [
        ("upload", "before", "failed", "died"),
        ("stream-error", "both", "failed", "before: no; after: died"),
        ("abort-upload", "after", "missing", "was not asked for on this side"),
        ("bad-json", "before", "missing", "was not asked for on this side"),
    ]
    assert [row.scenario for row in comparison.rows] == ["not-found"]


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("worker", "gthread", "measured with different means: worker asyncio and gthread"),
        ("app_version", 2, "measured with different means: reference app 1 and 2"),
    ],
)
def test_cells_measured_with_different_means_are_not_compared(field: str, value: object, reason: str) -> None:
    (gap,) = compared([cell()], [cell(**{field: value})]).unmeasured  # type: ignore[arg-type]
    assert (gap.gap, gap.reason) == ("incomparable", reason)


def test_a_cell_twice_on_one_side_is_a_fault() -> None:
    with pytest.raises(FaultError, match="not-found, close, off is measured twice on one side"):
        compared([cell(), cell()], [cell()])


def test_a_measured_cell_without_counts_is_a_fault() -> None:
    with pytest.raises(FaultError, match="not-found, close, off is measured but has no counts"):
        compared([cell(growth=None, leaked_per_request=None)], [cell()])


# the headline


def test_headline_of_a_leak_that_goes() -> None:
    assert aiohttp_comparison().headline == (
        "aiohttp 3.10.10 → 3.11.14: not-found and upload-method-not-allowed no longer leak (44 → 0 objects "
        "per request); nothing got worse in 21 cells; 1 other package differs too; 1 cell failed. "
        f"aiohttp 3.11.14 is yanked: {REASON}"
    )


def test_headline_without_a_difference_says_what_both_leave() -> None:
    assert flask_comparison().headline == (
        "flask 2.3.3 → 3.1.3: no difference in any of 6 cells; both leave up to 93 objects per request with "
        "gc off (not-found on close; ok: 8), cyclic garbage: a collection frees it."
    )


def test_headline_puts_what_got_worse_first_and_says_where() -> None:
    before = [cell(name, connection=c) for c in ASKED for name in ("ok", "upload", "not-found")]
    after = [cell("ok"), cell("ok", connection="keep-alive"), cell("upload", 3), cell(objects=5, leaked=5)]
    after += [cell("upload", connection="keep-alive"), cell(connection="keep-alive")]
    assert compared(before, after).headline == (
        "aiohttp 3.10.10 → 3.10.11: not-found now leaks (0 → 5 objects per request on close); upload leaves "
        "more (0 → 3 objects per request on close); of 6 cells 2 got worse and 0 better."
    )


def test_headline_does_not_hide_a_leak_that_stays() -> None:
    assert compared([cell(objects=50, leaked=44)], [cell(objects=50, leaked=44)]).headline == (
        "aiohttp 3.10.10 → 3.10.11: no difference in the only cell; "
        "not-found leaks before and after (44 objects per request)."
    )


def test_headline_of_a_leak_that_no_object_count_shows() -> None:
    assert compared([cell()], [cell(growth="leak")]).headline == (
        "aiohttp 3.10.10 → 3.10.11: not-found now leaks (memory that holds no gc-tracked objects); "
        "of 1 cell 1 got worse and 0 better."
    )


def test_headline_names_many_scenarios_by_their_number() -> None:
    names = ("a", "b", "c", "d", "e")
    before, after = [cell(name, 9) for name in names], [cell(name, 9 - i) for i, name in enumerate(names, 1)]
    assert compared(before, after).headline == (
        "aiohttp 3.10.10 → 3.10.11: a, b, c and 2 more leave less (up to 9 → 4 objects per request); "
        "nothing got worse in 5 cells."
    )


def test_headline_claims_nothing_where_nothing_was_measured() -> None:
    assert compared([lost("ok", "died")], [cell("ok")]).headline == (
        "aiohttp 3.10.10 → 3.10.11: no cell was measured on both sides, so nothing is known; 1 cell failed."
    )


@pytest.mark.parametrize(
    ("reasons", "said"),
    [
        ((None, ""), "aiohttp 3.10.11 is yanked, no reason is given"),
        ((REASON, REASON), f"aiohttp 3.10.10 and aiohttp 3.10.11 are yanked: {REASON}"),
        (("old", "evil\n\x1b[31m"), "aiohttp 3.10.10 is yanked: old. aiohttp 3.10.11 is yanked: evil [31m"),
    ],
)
def test_headline_always_says_that_a_release_is_yanked(reasons: tuple[str | None, ...], said: str) -> None:
    sides = side(yanked=reasons[0]), side(release="3.10.11", yanked=reasons[1])
    assert compared([cell()], [cell()], sides).headline.endswith(f"even with gc off. {said}")


@pytest.mark.parametrize(
    ("before", "after", "differences", "subject"),
    [
        (side(), side(python="3.12"), [], "aiohttp 3.10.10, Python 3.11 → 3.12"),
        (
            side(),
            side(),
            [Difference("multidict", "6.3.1", "6.3.2", "named in the stack", asked=True)],
            "aiohttp 3.10.10, multidict 6.3.1 → 6.3.2",
        ),
        (side(), side("flask", "3.1.3"), [], "aiohttp 3.10.10 → flask 3.1.3"),
        (side(), side(), [], "aiohttp 3.10.10"),
    ],
)
def test_the_subject_names_what_is_varied(
    before: object, after: object, differences: list[Difference], subject: str
) -> None:
    assert compared([cell()], [cell()], (before, after), differences).subject == subject  # type: ignore[arg-type]


# what holds always

cells = st.dictionaries(
    st.tuples(st.sampled_from(["ok", "a", "b"]), st.sampled_from(ASKED), st.sampled_from(["on", "off"])),
    st.tuples(
        st.integers(0, 600),
        st.integers(0, 600),
        st.sampled_from([1, 53, 101, 656]),
        st.sampled_from(["none", "cyclic", "bounded", "leak", None]),
    ),
)


@st.composite
def sides(draw: st.DrawFn) -> list[Measurement]:
    found = []
    for (scenario, connection, gc), (cyclic, leaked, requests, growth) in draw(cells).items():
        fields = {"connection": connection, "gc": gc, "growth": growth}
        counts = float(Fraction(cyclic + leaked, requests)), float(Fraction(leaked, requests))
        found.append(cell(scenario, *counts, **fields))  # type: ignore[arg-type]
    return found


@given(sides())
def test_a_side_compared_with_itself_is_the_same(found: list[Measurement]) -> None:
    comparison = compared(found, found)
    assert (comparison.better, comparison.worse, comparison.same) == (0, 0, len(found))
    assert not any(row.follows_ok or row.mixed or row.note for row in comparison.rows)


@given(sides(), sides())
def test_swapping_sides_swaps_directions(before: list[Measurement], after: list[Measurement]) -> None:
    there, back = compared(before, after), compared(after, before)
    turned = {(row.scenario, row.connection, row.gc): row for row in back.rows}
    for row in there.rows:
        other = turned[row.scenario, row.connection, row.gc]
        assert row.direction == OPPOSITE[other.direction]
        assert (row.before, row.after, row.change) == (other.after, other.before, -other.change)
        assert (row.follows_ok, row.mixed) == (other.follows_ok, other.mixed)


@given(sides(), sides())
def test_each_cell_is_a_row_or_cannot_be_compared(
    before: list[Measurement], after: list[Measurement]
) -> None:
    comparison = compared(before, after)
    told = [(row.scenario, row.connection, row.gc) for row in comparison.rows]
    told += [(gap.scenario, gap.connection, gap.gc) for gap in comparison.unmeasured]
    assert len(told) == len(set(told))
    assert set(told) == {(one.scenario, one.connection, one.gc) for one in (*before, *after)}
    assert comparison.better + comparison.worse + comparison.same == len(comparison.rows)


@given(sides(), sides(), st.integers(1, 500))
def test_what_all_scenarios_gain_with_ok_is_blamed_on_none_of_them(
    before: list[Measurement], after: list[Measurement], more: int
) -> None:
    def shifted(one: Measurement) -> Measurement:
        counts = {
            field: getattr(one, field) + more for field in ("survivors_per_request", "leaked_per_request")
        }
        return msgspec.structs.replace(one, **counts)

    plain, moved = compared(before, after), compared(before, [shifted(one) for one in after])
    for row, other in zip(plain.rows, moved.rows, strict=True):
        # What leaves just what it left is the same, whatever ok does: a rule of its own.
        moves = all(one.change and one.after.leaked != one.before.leaked for one in (row, other))
        if row.change_above_ok is not None and moves:
            assert row.direction == other.direction


def test_what_leaves_what_it_left_is_the_same_whatever_ok_does() -> None:
    comparison = compared([cell("ok", 0), cell("bad-json", 0)], [cell("ok", 9), cell("bad-json", 0)])
    assert [(row.scenario, row.direction) for row in comparison.rows] == [
        ("ok", "worse"),
        ("bad-json", "same"),
    ]


# the document


def test_the_document_holds_everything_and_comes_back_the_same() -> None:
    comparison = aiohttp_comparison()
    machine = Machine(system="Linux", kernel="6.1", architecture="x86_64", libc="glibc 2.36", cpus=2)
    document = ComparisonDocument(
        provenance=Provenance(
            outlive="0.1.0",
            counting=1,
            created="2025-06-01T12:00:00Z",
            machine=machine,
            stacks=(comparison.before.stack, comparison.after.stack),
        ),
        comparison=comparison,
        measurements=BothMeasurements(before=tuple(flask_cells()), after=()),
    )
    text = document.to_json()
    assert text.endswith("}\n")
    assert msgspec.json.decode(text, type=ComparisonDocument) == document
    assert list(msgspec.json.decode(text)) == ["schema_version", "provenance", "comparison", "measurements"]


def test_the_document_has_a_json_schema() -> None:
    assert json_schema()["$ref"] == "#/$defs/ComparisonDocument"


def test_packages_held_equal_are_known() -> None:
    assert [package.name for package in aiohttp_comparison().held_equal] == ["gunicorn", "yarl", "attrs"]
