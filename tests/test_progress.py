"""What is seen while something takes long: on a terminal, and in a log."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from loads import MIB
from outlive.commands.parts import progress
from outlive.commands.parts.progress import Meter, clock, loads, sparkline
from outlive.records.load import Sample, Traffic


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock, which only the test moves."""
    seconds = [0.0]
    monkeypatch.setattr(progress, "monotonic", lambda: seconds[0])
    return seconds


def drawn(meter: Meter, width: int) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width).print(meter._drawn())
    return [line.rstrip() for line in out.getvalue().splitlines()]


def sample(seconds: float, requests: int) -> Sample:
    return Sample(
        segment=0,
        seconds=seconds,
        requests=requests,
        unexpected=2,
        p50=0.004,
        p99=0.0123,
        rss=60 * MIB,
        pss=50 * MIB,
        cpu=1.0,
        workers=(),
        collections=12,
        paused=0.034,
    )


class TestInALog:
    def test_a_line_now_and_then_with_the_time_left(self, now: list[float]) -> None:
        out = io.StringIO()
        with Meter(Console(file=out), "cell") as meter:
            meter.more(8)
            for _ in range(8):
                now[0] += 4.0
                meter.advance("flask 3.1.3")
        assert out.getvalue().splitlines() == [
            "flask 3.1.3: 3 of 8 cells, 0:20 left",
            "flask 3.1.3: 6 of 8 cells, 0:08 left",
            "flask 3.1.3: 8 of 8 cells",
        ]

    def test_colours_that_a_log_is_forced_to_have_make_no_bar(self) -> None:
        out = io.StringIO()
        with Meter(Console(file=out, force_terminal=True), "cell") as meter:
            meter.more(2)
            meter.advance("one")
        assert out.getvalue() == ""

    def test_a_load_test_names_what_one_watches(self, now: list[float]) -> None:
        out = io.StringIO()
        with loads(Traffic(seconds=30.0), 2, Console(file=out)) as whole:
            watch = whole.test("gc off", Traffic(seconds=30.0))
            now[0] += 10.0
            watch(sample(10.0, 3100))
        assert out.getvalue() == (
            "gc off, 2 of 3,100 answers wrong, p99 12.3 ms, memory 50.0 MiB, 12 collections: "
            "10 of 60 seconds, 0:50 left\n"
        )


class TestOnATerminal:
    def test_nothing_to_do_is_no_count_of_nothing(self) -> None:
        meter = Meter(Console(file=Terminal()), "cell")
        meter.more(0)
        assert drawn(meter, 60)[0].startswith("preparing")
        assert "0" not in "".join(drawn(meter, 60))

    def test_no_part_of_a_bar_stays_above_what_is_printed(self) -> None:
        with Meter(Console(file=Terminal(), force_terminal=True), "lock") as meter:
            assert meter._live.is_started
            with meter.aside():
                assert not meter._live.is_started
            assert meter._live.is_started

    def test_never_more_is_done_than_there_is(self) -> None:
        meter = Meter(Console(file=Terminal()), "cell")
        meter.more(6)
        for _ in range(8):
            meter.advance("aiohttp 3.11.13")
        assert meter.far == "6 of 6 cells"
        meter.more(2)
        meter.advance("aiohttp 3.11.13")
        assert meter.far.startswith("7 of 8 cells, ")

    def test_what_cannot_be_done_leaves_no_rest(self) -> None:
        meter = Meter(Console(file=Terminal()), "cell")
        meter.more(6)
        meter.advance("aiohttp 3.11.13")
        meter.more(-5)
        assert meter.far == "1 of 1 cell"

    @pytest.mark.parametrize("width", [60, 80])
    def test_a_load_test_is_live(self, now: list[float], width: int) -> None:
        with loads(Traffic(requests=4000), 3, Console(file=Terminal(), width=width)) as whole:
            whole.test("round 1", Traffic(requests=4000))
            watch = whole.test("gc on, round 1 of 6, after", Traffic(requests=4000))
            for at in (1, 2):
                now[0] += 1.0
                watch(sample(float(at), 1000 * at))
            lines = drawn(whole._meter, width)
        assert lines[:4] == [
            "requests     2,000, 1,000/s, 2 wrong answers     ▁",
            "latency      p50 4.0, p99 12.3 ms                ▁▁",
            "memory       50.0 MiB                            ▁▁",
            "collections  12, paused 34 ms",
        ]
        assert lines[4].startswith("gc on, round 1")
        assert lines[4].endswith("6000 of 12000 requests, 0:02 left")
        assert max(map(len, lines)) <= width

    def test_a_continued_test_begins_where_it_was(self) -> None:
        with loads(Traffic(seconds=60.0), 1, Console(file=Terminal())) as whole:
            whole.test("gc on", Traffic(seconds=60.0))(sample(45.0, 900))
            assert whole._meter.far.startswith("45 of 60 s")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00"), (59.6, "1:00"), (3599.0, "59:59"), (3723.0, "1:02:03")]
)
def test_durations(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@pytest.mark.parametrize(
    ("values", "line"), [((), ""), ((3.0,), "▁"), ((1.0, 1.0), "▁▁"), ((0.0, 5.0, 10.0), "▁▅█")]
)
def test_sparklines(values: tuple[float, ...], line: str) -> None:
    assert sparkline(values) == line
