"""What became of each leak and ring between two sides."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from comparisons import cell, leak
from outlive.records.measurement import Leak, Measurement
from outlive.retention.changes_text import summary, suspect, told
from outlive.retention.fingerprints import Change, Verdict, changes


def one(scenario: str, *leaks: Leak, **fields: object) -> Measurement:
    objects = sum(each.objects_per_request for each in leaks)
    return cell(scenario, objects, leaks=leaks, **fields)  # type: ignore[arg-type]


def became(before: list[Measurement], after: list[Measurement]) -> dict[str, Verdict]:
    return {change.leak.fingerprint: change.verdict for change in changed(before, after)}


def changed(before: list[Measurement], after: list[Measurement]) -> tuple[Change, ...]:
    return changes(zip(before, after, strict=True))


def test_new_gone_changed_and_the_same() -> None:
    before = [one("upload", leak("gone", 3), leak("same", 5), leak("more", 7))]
    after = [one("upload", leak("new", 1), leak("same", 5), leak("more", 8))]
    assert became(before, after) == {"gone": "gone", "new": "new", "same": "same", "more": "changed"}


def test_what_is_new_comes_first_and_what_keeps_most_of_it() -> None:
    before = [one("upload", leak("gone", 3), leak("same", 5))]
    after = [one("upload", leak("new", 1), leak("large", 9), leak("same", 5))]
    assert list(became(before, after)) == ["large", "new", "same", "gone"]


def test_on_more_or_fewer_cells_it_has_changed() -> None:
    ring = leak("ring", 5)
    assert became([one("a", ring), one("b")], [one("a", ring), one("b", ring)]) == {"ring": "changed"}
    (line,) = told(changed([one("a", ring), one("b")], [one("a", ring), one("b", ring)]))
    assert (line.objects, line.where) == ("5 cyclic", "in a; new in b")
    (line,) = told(changed([one("a", ring), one("b", ring)], [one("a", ring), one("b")]))
    assert (line.objects, line.where) == ("5 cyclic", "in a; gone from b")


def test_cyclic_that_becomes_leaked_has_changed() -> None:
    leaked = leak("ring", 5, growth="leaked")
    (change,) = changed([one("a", leak("ring", 5))], [one("a", leaked)])
    assert (change.verdict, change.leak.growth) == ("changed", "leaked")


def test_a_cell_that_could_not_be_explained_says_nothing() -> None:
    unknown = cell("a", 5, unexplained="the worker never came to rest")
    stored_before_there_were_explanations = cell("a", 5)
    for other in (unknown, stored_before_there_were_explanations):
        assert became([one("a", leak("ring", 5))], [other]) == {}
        assert became([other], [one("a", leak("ring", 5))]) == {}


def test_a_cell_that_leaves_nothing_has_no_fingerprint_and_that_is_known() -> None:
    assert became([one("a", leak("ring", 5))], [cell("a", 0)]) == {"ring": "gone"}


def test_a_ring_that_is_only_left_behind_another_is_not_told_but_kept() -> None:
    before = [one("a", leak("first", 5), leak("second", 5, further=True))]
    found = changed(before, [one("a")])
    assert {change.leak.fingerprint for change in found} == {"first", "second"}
    assert [line.fingerprint for line in told(found)] == ["first"]
    assert summary(found) == "1 gone"


def test_a_ring_that_becomes_the_shortest_is_not_new() -> None:
    before = [one("a", leak("first", 5), leak("second", 5, further=True))]
    after = [one("a", leak("second", 5))]
    assert became(before, after) == {"first": "gone", "second": "same"}


def test_the_line_says_how_many_where() -> None:
    before = [one(name, leak("ring", n)) for n, name in enumerate("abcde", 4)]
    after = [one(name, leak("ring", 2)) for name in "abcde"]
    (line,) = told(changed(before, after))
    assert line.what == "ring  4 to 8 → 2 cyclic in a, b, c and 2 more"


def test_the_suspect_names_the_package_once() -> None:
    assert suspect(leak("x", 1, suspect="aiohttp.X.y")) == "aiohttp.X.y"
    assert suspect(leak("x", 1, suspect="list[]")) == "list[] (aiohttp)"
    assert suspect(leak("x", 1, suspect="asyncio.X.y", package="asyncio", python=True)) == (
        "asyncio.X.y (Python's own)"
    )
    assert suspect(leak("x", 1, suspect="list[]", package="")) == "list[]"


leaks = st.lists(
    st.builds(
        lambda name, objects, growth, further: leak(name, objects, growth=growth, further=further),
        st.sampled_from(["a", "b", "c"]),
        st.integers(1, 9),
        st.sampled_from(["cyclic", "leaked"]),
        st.booleans(),
    ),
    unique_by=lambda each: each.fingerprint,
)
pairs = st.lists(st.tuples(leaks, leaks), max_size=3)
MIRRORED = {"new": "gone", "gone": "new", "changed": "changed", "same": "same"}


@given(pairs)
def test_what_is_new_one_way_is_gone_the_other_way(both: list[tuple[list[Leak], list[Leak]]]) -> None:
    sides = [[one(f"s{at}", *pair[side]) for at, pair in enumerate(both)] for side in (0, 1)]
    there, back = changed(*sides), {change.leak.fingerprint: change for change in changed(*sides[::-1])}
    assert {change.leak.fingerprint for change in there} == back.keys()
    for change in there:
        other = back[change.leak.fingerprint]
        assert change.verdict == MIRRORED[other.verdict]
        assert (change.before, change.after) == (other.after, other.before)
        assert change.leak.further == other.leak.further
