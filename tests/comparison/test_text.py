from __future__ import annotations

import html
import io
import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console

from comparisons import (
    aiohttp_comparison,
    cell,
    collector,
    compared,
    flask_comparison,
    lost,
    phase,
    side,
)
from goldens import GOLDEN, same_as_golden
from outlive import wording
from outlive.comparison import markdown, terminal
from outlive.comparison.changes import NAMED
from outlive.comparison.lines import sections
from outlive.comparison.pair import Comparison
from outlive.markdown import escape, table
from outlive.records.measurement import ASKED, Measurement

COMPARISONS = {"aiohttp": aiohttp_comparison, "flask": flask_comparison}


def shown(comparison: Comparison, width: int = 80, *, everything: bool = False) -> str:
    file = io.StringIO()
    terminal.show(comparison, Console(file=file, width=width, force_terminal=False), everything=everything)
    return "".join(f"{line.rstrip()}\n" for line in file.getvalue().splitlines())


# golden texts


@pytest.mark.parametrize("name", COMPARISONS)
@pytest.mark.parametrize("width", [80, 120])
def test_terminal(name: str, width: int) -> None:
    text = shown(COMPARISONS[name](), width)
    assert max(map(len, text.splitlines())) <= width
    same_as_golden(f"compare-{name}-{width}.txt", text)


@pytest.mark.parametrize("name", COMPARISONS)
def test_terminal_with_every_cell(name: str) -> None:
    same_as_golden(f"compare-{name}-all.txt", shown(COMPARISONS[name](), everything=True))


@pytest.mark.parametrize("path", sorted(GOLDEN.iterdir()), ids=lambda path: path.name)
def test_no_text_says_up_to_before_a_change(path: Path) -> None:
    """`up to 0 → 526 MiB` is not English: the cell that changes most is named instead."""
    assert not re.search(r"up to\s[^\s]+( \w+)?\s→", path.read_text())


# a terminal, a pipe, and texts from outside


def test_a_pipe_gets_no_colour_and_no_control_character() -> None:
    assert all(
        character.isprintable() for line in shown(aiohttp_comparison()).splitlines() for character in line
    )


def test_a_terminal_gets_colour_beside_the_words() -> None:
    file = io.StringIO()
    console = Console(file=file, width=80, force_terminal=True, color_system="standard", no_color=False)
    terminal.show(aiohttp_comparison(), console)
    assert "\x1b[32m▼ better" in file.getvalue()


HOSTILE = "a|b `code` <b>&amp;</b> [x](y) :smile: [red]r[/red] *b* \x1b[31m\r\n@someone ![i](j) \\"


def hostile() -> Comparison:
    return compared(
        [lost("upload", HOSTILE)], [cell("upload")], (side(yanked=HOSTILE), side(release="3.10.11"))
    )


def test_texts_from_outside_are_shown_as_they_are_on_one_line() -> None:
    plain = "a|b `code` <b>&amp;</b> [x](y) :smile: [red]r[/red] *b* [31m @someone ![i](j) \\"
    assert f"? 1 cell failed before: {plain}\n" in shown(hostile(), 200)


def test_texts_from_outside_cannot_leave_their_place_in_markdown() -> None:
    text = "\n".join(markdown.body(hostile()))
    escaped = (
        r"a\|b \`code\` \<b\>\&amp;\</b\> \[x\](y) :smile: \[red\]r\[/red\] \*b\* \[31m "
        "@\u2060someone \\!\\[i\\](j) \\\\"
    )
    assert f"- 1 cell failed before: {escaped}<br>" in text
    assert f"| yanked | yes: {escaped} | no |" in text


def test_a_link_stays_a_link_and_is_not_escaped() -> None:
    assert escape("see https://a.b/c_d?e=1#f_g, _now_") == r"see https://a.b/c_d?e=1#f_g, \_now\_"


@given(st.text())
def test_nothing_from_outside_opens_html_a_cell_or_code(text: str) -> None:
    bare = escape(text).replace("\\\\", "")
    for special in "|<`":
        assert bare.count(special) == bare.count(f"\\{special}")


# merging and hiding


def test_what_both_connections_and_policies_say_alike_is_one_line() -> None:
    before = [cell(connection=c, gc=gc) for c in ASKED for gc in ("on", "off")]
    after = [cell(objects=5, leaked=5, connection=c, gc=gc) for c in ASKED for gc in ("on", "off")]
    (section,) = sections(compared(before, after).rows)
    (line,) = section.lines
    assert section.heading == "keep-alive and close, gc on and off: objects left per request"
    assert section.baseline == "ok was not measured"
    assert (line.before, line.after, line.hourly) == ("0", "5 leaked", "?")


def test_equal_counts_are_one_line_whatever_the_estimates_of_their_bytes() -> None:
    def cells(objects: float) -> list[Measurement]:
        heap = {"keep-alive": 4096.0, "close": 4196.0}
        return [
            cell(objects=objects, connection=c, blocks_per_request=1.0, heap_bytes_per_request=heap[c])
            for c in ASKED
        ]

    (section,) = sections(compared(cells(6), cells(5)).rows)
    (line,) = section.lines
    assert section.connections == ASKED
    assert line.hourly == "147"  # of 144 and 147


def test_the_baseline_says_of_which_gc_policy_it_is() -> None:
    def cells(objects: float) -> list[Measurement]:
        return [
            *(cell(objects=objects, leaked=objects, gc=gc) for gc in ("on", "off")),
            cell("ok", gc="on"),
            cell("ok", objects - 5, gc="off"),
        ]

    section = sections(compared(cells(6), cells(5)).rows)[0]
    assert section.policies == ("on", "off")
    assert section.baseline == "any request (ok): 0 on close, gc on; 1 → 0 on close, gc off"


def test_what_got_worse_comes_first() -> None:
    before = [cell(name, objects) for name, objects in (("a", 5), ("b", 5), ("c", 5))]
    after = [cell(name, objects) for name, objects in (("a", 5), ("b", 4), ("c", 6))]
    (section,) = sections(compared(before, after).rows)
    assert [line.scenario for line in section.lines] == ["c", "b", "a"]


def test_a_leak_that_stays_is_not_hidden() -> None:
    assert "= same  not-found  50, 44 leaked  50, 44 leaked" in shown(
        compared([cell(objects=50, leaked=44)], [cell(objects=50, leaked=44)])
    )


def test_rows_that_only_follow_ok_are_counted_apart() -> None:
    before, after = [cell("ok", 7), cell(objects=32)], [cell("ok", 0), cell(objects=25)]
    text = shown(compared(before, after), 120)
    assert "= same: 1 cell that changes only as ok does; 1 of them leaves objects" in text
    assert "close, gc off: objects left per request\nany request (ok): 7 → 0\n" in text


def test_a_peak_that_is_far_apart_stands_in_its_row() -> None:
    before, after = cell(objects=5, peak_rss_bytes=2 * 2**30), cell(peak_rss_bytes=100 * 2**20)
    assert "          peak 2 → 0.1 GiB\n" in shown(compared([before], [after]))


def test_what_is_for_development_only_has_a_section_of_its_own() -> None:
    before, after = [cell("a"), cell("debug")], [cell("a", 5), cell("debug", 5)]
    first, last = sections(compared(before, after, development={"debug"}).rows)
    assert (first.decides, last.decides) == (True, False)
    assert (
        last.heading
        == "for development only, not part of the verdict: close, gc off: objects left per request"
    )


def test_files_that_stay_open_are_told() -> None:
    def holding(files: int) -> Measurement:
        return cell("abort-upload", 60, phases=tuple(phase(n, fds=10 + files * n) for n in (211, 101)))

    comparison = compared([holding(1)], [holding(0)])
    told = "Files that stay open until a collection:\n    abort-upload (close, gc off): 1 → 0 per request\n"
    assert told in shown(comparison)
    assert "- abort-upload (close, gc off): 1 → 0 per request" in "\n".join(markdown.body(comparison))
    assert "Files" not in shown(compared([holding(0)], [holding(0)]))


def test_files_that_leak_do_not_stay_open_until_a_collection() -> None:
    before, leaked, phases = cell("upload", 60), 0, []
    for requests in (11, 211, 101):
        leaked += requests
        open_now = phase(requests, fds=10 + leaked)
        phases.append(msgspec.structs.replace(open_now, held={"files": requests}))
    after = cell("upload", 60, phases=tuple(phases), held={"files": 1}, growth="leak")
    told = shown(compared([before], [after]))
    assert "open until a collection" not in told
    assert "1 file leaked" in told


def test_without_collector_records_its_work_is_left_out() -> None:
    before, after = cell(objects=5, leaked=5, gc="on"), cell(gc="on", collector=collector(1))
    assert "freed" in shown(compared([before], [after]), 120)
    bare = compared([cell(objects=5, leaked=5, gc="on", collector=None)], [after])
    assert "freed" not in shown(bare, 120)


# numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (93.0, "93"),
        (-18.0, "-18"),
        (0.5, "0.5"),
        (0.0132, "0.01"),
        (0.00132, "0.001"),
        (0.0001, "<0.001"),
        (-0.0001, ">-0.001"),
        (1.25, "1.25"),
        (43.512, "43.5"),
        (1234.0, "1234"),
    ],
)
def test_number(value: float, text: str) -> None:
    assert wording.number(value) == text


def test_signed() -> None:
    assert [wording.signed(value) for value in (2.0, 0.0, -2.5)] == ["+2", "0", "-2.5"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (3328, "3.2 KiB"),
        (40_000_000, "38.1 MiB"),
        (2**31, "2.0 GiB"),
        (-2048, "-2.0 KiB"),
    ],
)
def test_size(value: float, text: str) -> None:
    assert wording.size(value) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 entries"),
        (1, "1 entry"),
        (1.0, "1 entry"),
        (2, "2 entries"),
        (0.5, "0.5 entries"),
        ("2 → 1", "2 → 1 entry"),
        ("1 → 0", "1 → 0 entries"),
        ("1 ±0.5", "1 ±0.5 entries"),
    ],
)
def test_counted(count: float | str, text: str) -> None:
    assert wording.counted(count, "entry", "entries") == text
    assert wording.counted(count, "cell") == text.replace("entries", "cells").replace("entry", "cell")


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("objects", ("0 objects", "1 object", "2 objects")),
        ("leaked_connection", ("0 leaked objects", "1 leaked object", "2 leaked objects")),
        ("blocks", ("0 blocks of memory", "1 block of memory", "2 blocks of memory")),
        ("heap", ("0 B of C heap", "1 B of C heap", "2 B of C heap")),
        ("sockets", ("0 sockets", "1 socket", "2 sockets")),
        (
            "open_files",
            (
                "0 files open until a collection",
                "1 file open until a collection",
                "2 files open until a collection",
            ),
        ),
    ],
)
def test_amounts_with_their_noun(name: str, texts: tuple[str, ...]) -> None:
    quantity = NAMED[name]
    assert tuple(quantity.text(quantity.write(amount)) for amount in (0.0, 1.0, 2.0)) == texts


def test_a_table_has_no_room_for_what_blocks_are_of() -> None:
    assert [NAMED["blocks"].short(amounts) for amounts in ("1", "1 → 2")] == ["1 block", "1 → 2 blocks"]


def test_listed() -> None:
    assert [
        wording.listed(names, 3) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"], list("abcde"))
    ] == [
        "",
        "a",
        "a and b",
        "a, b and c",
        "a, b, c and 2 more",
    ]


def test_one_line_is_printable_and_not_too_long() -> None:
    assert wording.one_line(" a\n\tb\x1b\u202e c ") == "a b c"
    assert len(wording.one_line("x" * 1000)) == wording.LONGEST


# what holds for all numbers


@given(st.floats(-3, 8.9).map(lambda power: 10**power), st.sampled_from([1, -1]))
def test_a_number_is_as_large_as_it_is_written(size: float, sign: int) -> None:
    for text in (wording.number(sign * size), wording.about(sign * size)):
        assert float(text.replace(",", "")) == pytest.approx(sign * size, rel=0.005001, abs=0.005001)


@given(st.floats(0, 2**50), st.floats(1, 1e3))
def test_more_bytes_are_never_written_as_fewer(value: float, times: float) -> None:
    units = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
    fewer, more = (
        float(count) * units[unit]
        for count, unit in (wording.size(v).split() for v in (value, value * times))
    )
    assert fewer <= more
    assert fewer == pytest.approx(value, rel=0.06, abs=0.5)


@given(st.lists(st.text("ab", min_size=1), max_size=9), st.integers(1, 9))
def test_a_list_has_every_name_or_says_how_many_are_missing(names: list[str], most: int) -> None:
    words = wording.listed(names, most).replace(" and ", ", ").split(", ") if names else []
    if len(names) <= most:
        assert words == names
    else:
        assert words == [*names[:most], f"{len(names) - most} more"]


@given(st.integers(60, 130), st.lists(st.integers(0, 99_999), min_size=6, max_size=6))
def test_no_line_is_wider_than_the_terminal(width: int, counts: list[int]) -> None:
    names = ("upload-method-not-allowed", "ok", "x")
    before, after = (
        [cell(name, count, min(count, 3)) for name, count in zip(names, part, strict=True)]
        for part in (counts[:3], counts[3:])
    )
    lines = shown(compared(before, after), width).splitlines()
    assert max(map(len, lines)) <= width


foreign = st.text() | st.text("|`*_[]()<>&~#!\\@:/.-+ ab1", max_size=20)


@given(st.sampled_from(["&amp; x", "&lt;b&gt;", "a && b"]) | foreign)
def test_a_cell_of_a_markdown_table_shows_its_text(text: str) -> None:
    line = wording.one_line(text)
    rendered = MarkdownIt("commonmark").enable("table").render("\n".join(table(["a", "b"], [(line, "end")])))
    shown = re.findall(r"<td>(.*?)</td>", rendered, re.DOTALL)
    assert [html.unescape(re.sub("<[^>]*>", "", part)) for part in shown] == [
        line.replace("@", "@\u2060"),
        "end",
    ]
