"""In which release each leak and ring came, changed and went."""

from __future__ import annotations

import io
from itertools import groupby, pairwise
from pathlib import Path

import msgspec
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from comparisons import cell, leak, off_the_line, side
from measuring import CHECKOUT
from outlive.commands.many_releases.leaks import leaks_command
from outlive.history import lifelines_text
from outlive.history.lifelines import LifeLine, LifeLinesDocument, Measured, life_lines
from outlive.history.residues import residues, told
from outlive.history.timeline import Moment, Timeline, changes, strips
from outlive.records.measurement import Leak, Measurement


def one(*leaks: Leak, scenario: str = "not-found", **fields: object) -> Measurement:
    objects = sum(each.objects_per_request for each in leaks)
    return cell(scenario, objects, leaks=leaks, **fields)  # type: ignore[arg-type]


def timeline(*releases: tuple[Measurement, ...], python: str = "3.11") -> Timeline:
    """Return the history of releases 1.0, 1.1 and so on."""
    moments = tuple(
        Moment(side(release=f"1.{at}").release, measurements) for at, measurements in enumerate(releases)
    )
    return Timeline("aiohttp", python, moments)


def periods(*releases: tuple[Measurement, ...]) -> list[tuple[str | None, str, str, str | None]]:
    """Return the periods of the only fingerprint."""
    (line,) = life_lines([timeline(*releases)])
    return [(each.after, each.since, each.until, each.gone) for each in line.periods]


RING = leak("ring", 5)
WITH, WITHOUT = (one(RING),), (cell("not-found"),)


def test_what_comes_and_goes() -> None:
    assert periods(WITHOUT, WITH, WITH, WITHOUT) == [("1.0", "1.1", "1.2", "1.3")]


def test_what_the_oldest_has_was_there_before_and_what_the_newest_has_is_present() -> None:
    assert periods(WITH, WITH) == [(None, "1.0", "1.1", None)]
    (line,) = life_lines([timeline(WITH, WITH)])
    assert line.present


def test_what_an_old_python_still_had_is_gone_if_a_later_release_lacks_it_elsewhere() -> None:
    old = timeline(WITH, (), (), python="3.8")
    (line,) = life_lines([old, timeline(WITH, WITHOUT, WITHOUT)])
    assert not line.present
    assert "Python 3.8: there in 1.0, the only one measured" in lifelines_text.told(line)
    (line,) = life_lines([timeline(WITHOUT, WITHOUT, WITH, python="3.13"), timeline(WITH, WITHOUT, WITHOUT)])
    assert line.present


def test_what_comes_back_has_two_periods() -> None:
    assert periods(WITH, WITHOUT, WITH) == [(None, "1.0", "1.0", "1.1"), ("1.1", "1.2", "1.2", None)]


def test_a_release_that_was_not_measured_says_nothing() -> None:
    assert periods(WITHOUT, (), WITH, (), WITH, (), WITHOUT) == [("1.0", "1.2", "1.4", "1.6")]


def test_nor_does_one_where_the_cell_could_not_be_explained() -> None:
    unknown = (cell("not-found", 5, unexplained="the worker never came to rest"),)
    assert periods(WITH, unknown, WITH) == [(None, "1.0", "1.2", None)]
    assert periods(WITH, unknown, WITHOUT) == [(None, "1.0", "1.0", "1.2")]


def test_nor_does_one_where_other_cells_were_measured() -> None:
    assert periods(WITH, (cell("upload"),), WITH) == [(None, "1.0", "1.2", None)]


def test_the_course_of_a_period_is_of_one_cell() -> None:
    """aiohttp's 31113a1c2a8a was told as 42 → 43, 43 → 44, 37 → 36: of two scenarios in turn."""

    def release(small: float | None, large: float | None) -> tuple[Measurement, ...]:
        counts = {"small": small, "large": large}
        return tuple(one(leak("ring", objects), scenario=name) for name, objects in counts.items() if objects)

    (line,) = life_lines([timeline(release(3, 50), release(4, 44), release(5, None), release(6, 44))])
    (period,) = line.periods
    assert period.cell.scenario == "small"  # each release shows it there
    assert [(each.before, each.after) for each in period.steps] == [(3, 4), (4, 5), (5, 6)]
    assert any("objects in small 3 → 4 in 1.1, 4 → 5" in text for text in lifelines_text.told(line))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=8))
def test_each_step_starts_where_the_one_before_ended(counts: list[tuple[int, int]]) -> None:
    releases = [
        tuple(
            one(leak("ring", count), scenario=name) if count else cell(name)
            for name, count in zip(("a", "b"), both, strict=True)
        )
        for both in counts
    ]
    for line in life_lines([timeline(*releases)]):
        for period in line.periods:
            assert all(a.after == b.before for a, b in pairwise(period.steps))
            assert all(step.before != step.after for step in period.steps)


def test_a_drift_within_the_error_is_told_once_it_is_larger() -> None:
    releases = [
        (msgspec.structs.replace(off_the_line(5 + at), leaks=(leak("ring", 5 + at),)),) for at in range(9)
    ]
    (line,) = life_lines([timeline(*releases)])
    steps = line.periods[0].steps
    assert steps
    assert steps[0].before == 5


def test_the_most_objects_name_their_python_if_others_keep_fewer() -> None:
    both = [timeline(WITH, WITH), timeline((), (one(leak("ring", 9)),), python="3.13")]
    (line,) = life_lines(both)
    assert lifelines_text.told(line)[0] == "up to 9 cyclic per request in not-found (Python 3.13)"
    (line,) = life_lines([timeline(WITH), timeline(WITH, python="3.13")])
    assert lifelines_text.told(line)[0] == "up to 5 cyclic per request in not-found"


def test_steps_are_told_of_the_cell_that_keeps_most() -> None:
    def release(small: float, large: float) -> tuple[Measurement, ...]:
        return one(leak("ring", small), scenario="a"), one(leak("ring", large), scenario="b")

    (line,) = life_lines([timeline(release(1, 9), release(2, 8), release(2, 8))])
    (period,) = line.periods
    assert period.cell.scenario == "b"
    assert [(each.release, each.before, each.after) for each in period.steps] == [("1.1", 9, 8)]
    assert (line.objects, line.scenarios) == (8, ("a", "b"))


def test_each_python_has_its_own_periods() -> None:
    (line,) = life_lines([timeline(WITH, WITH), timeline(WITHOUT, WITHOUT, python="3.12")])
    assert [each.python for each in line.periods] == ["3.11"]
    assert (line.absent, line.unmeasured) == (("3.12",), ())


def test_a_python_on_which_no_release_that_has_it_was_measured_says_nothing() -> None:
    unlike = (cell("upload"),)
    others = [timeline((), WITHOUT, python="3.12"), timeline(unlike, python="3.13"), timeline(python="3.14")]
    (line,) = life_lines([timeline(WITH, WITHOUT), *others])
    assert (line.absent, line.unmeasured) == ((), ("3.12", "3.13"))
    assert "Python 3.12 and 3.13: not measured there" in lifelines_text.told(line)


def test_what_is_present_comes_first_and_then_what_keeps_most() -> None:
    small, large, gone = leak("small", 1), leak("large", 2), leak("gone", 3)
    lines = life_lines([timeline((one(small, large, gone),), (one(small, large),))])
    assert [each.leak.fingerprint for each in lines] == ["large", "small", "gone"]


def shown(lines: tuple[LifeLine, ...], measured: tuple[Measured, ...], *, everything: bool = False) -> str:
    file = io.StringIO()
    console = Console(file=file, width=80, force_terminal=False)
    document = LifeLinesDocument(framework="aiohttp", measured=measured, lines=lines)
    lifelines_text.show(document, console, everything=everything)
    return "".join(f"{line.rstrip()}\n" for line in file.getvalue().splitlines())


def test_life_lines_read_well_in_80_columns() -> None:
    transport = leak("0566f80d9876", 7, package="asyncio", python=True, suspect="asyncio.Transport._ready_cb")
    further = leak("cf61ec58a54a", 7, further=True)
    cache = leak("e88cd2ff63f0", 40, growth="leaked", suspect="lru_cache of aiohttp.build cached call[]")
    fewer = msgspec.structs.replace(transport, objects_per_request=6)
    lines = life_lines(
        [
            timeline((one(transport, further),), (one(fewer, cache),), (one(transport),)),
            timeline((cell("not-found"),), (one(cache),), (cell("not-found"),), python="3.12"),
        ]
    )
    measured = tuple(Measured(python, ("1.0", "1.1", "1.2")) for python in ("3.11", "3.12"))
    assert (
        shown(lines, measured)
        == """\
aiohttp: 3 releases measured on Python 3.11 and 3.12, 1.0 to 1.2.

Still there: 1
  0566f80d9876  up to 7 cyclic per request in not-found
                asyncio.Transport._ready_cb (Python's own)
                Python 3.11: there in 1.0, the oldest; objects 7 → 6 in 1.1, 6 →
                7 in 1.2; still in 1.2
                Python 3.12: absent

Gone: 1
  e88cd2ff63f0  up to 40 leaked per request in not-found
                lru_cache of aiohttp.build cached call[]
                Python 3.11 and 3.12: introduced in 1.1; gone in 1.2

1 further ring of the same structures not shown: --all shows them.
"""
    )
    assert "cf61ec58a54a" in shown(lines, measured, everything=True)


def test_what_differs_by_no_more_than_the_error_of_the_count_is_no_step() -> None:
    def release(objects: float) -> tuple[Measurement, ...]:
        return (msgspec.structs.replace(off_the_line(objects), leaks=(leak("ring", objects),)),)

    (line,) = life_lines([timeline(release(183.1), release(184.8), release(199.3))])
    assert [step.release for step in line.periods[0].steps] == ["1.2"]
    (strip,) = strips(timeline(release(183.1), release(184.8), release(199.3)), ["not-found"], "close")
    assert [(first.release, last.release) for first, last in changes(strip)] == [
        ("1.0", "1.1"),
        ("1.2", "1.2"),
    ]


def test_what_a_connection_leaves_is_told_by_release() -> None:
    def release(objects: float, leaked: float = 0.0) -> tuple[Measurement, ...]:
        fields = {"survivors_per_connection": objects, "leaked_per_connection": leaked}
        return tuple(cell(name, connection="keep-alive", **fields) for name in ("head", "not-modified"))  # type: ignore[arg-type]

    found = residues([timeline(release(32), release(32), (cell(),), release(7, 2), release(0))])
    assert [told(one) for one in found] == [
        "Python 3.11, head and not-modified: 32 in 1.0 to 1.1; 7, 2 leaked, in 1.3; 0 in 1.4"
    ]
    assert residues([timeline(release(0))]) == ()


def test_the_stored_history_knows_when_aiohttp_s_cache_of_middlewares_came_and_went(tmp_path: Path) -> None:
    path = tmp_path / "leaks.json"
    done = CliRunner().invoke(
        leaks_command,
        ["aiohttp", "--python", "3.11", "--json", str(path)],
        env={"OUTLIVE_ROOT": str(CHECKOUT.root)},
        standalone_mode=False,
    )
    assert done.exception is None
    lines = msgspec.json.decode(path.read_bytes(), type=LifeLinesDocument).lines
    cache = next(each for each in lines if "_build_middlewares" in each.leak.trail)
    assert [(each.since, each.gone) for each in cache.periods] == [("3.10.6", "3.10.11")]
    assert cache.leak.growth == "leaked"


def test_a_python_without_measurements_is_told() -> None:
    done = CliRunner().invoke(
        leaks_command,
        ["flask", "--python", "3.14"],
        env={"OUTLIVE_ROOT": str(CHECKOUT.root)},
        standalone_mode=False,
    )
    assert str(done.exception) == ("no measurement of flask on Python 3.14 yet: run `outlive sweep`")


@given(st.text("+-?", min_size=1, max_size=12))
def test_periods_are_the_runs_of_releases_that_show_it(course: str) -> None:
    """`+` shows the ring, `-` does not, `?` was not measured."""
    releases = {"+": WITH, "-": WITHOUT, "?": ()}
    known = [(f"1.{at}", sign == "+") for at, sign in enumerate(course) if sign != "?"]
    lines = life_lines([timeline(*(releases[sign] for sign in course))])
    assert bool(lines) == ("+" in course)
    runs = [list(run) for _, run in groupby(known, key=lambda release: release[1])]
    spans = [(run[0][0], run[-1][0]) for run in runs if run[0][1]]
    for line in lines:
        assert [(period.since, period.until) for period in line.periods] == spans
        names = [name for name, _ in known]
        for period in line.periods:
            at = names.index(period.since)
            assert period.after == (names[at - 1] if at else None)
        assert [period.gone is None for period in line.periods[:-1]] == [False] * (len(spans) - 1)
        assert line.present == known[-1][1]


@given(st.lists(st.integers(0, 3) | st.none(), min_size=1, max_size=12))
def test_a_strip_is_told_in_runs_that_cover_it_and_differ(counts: list[int | None]) -> None:
    releases = [() if count is None else (cell("a", count, connection="close"),) for count in counts]
    for strip in strips(timeline(*releases), ["a"], "close"):
        ends = [(strip.points.index(first), strip.points.index(last)) for first, last in changes(strip)]
        assert [at for first, last in ends for at in range(first, last + 1)] == list(range(len(counts)))
        assert all(counts[first] == counts[last] for first, last in ends)
        assert all(counts[a[1]] != counts[b[0]] for a, b in pairwise(ends))
