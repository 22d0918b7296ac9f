"""Which swap causes the difference between two stacks."""

from __future__ import annotations

import io
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from comparisons import cell, leak, off_the_line, phase, side
from measuring import CHECKOUT, checkout
from outlive.commands.one_stack_or_two.attribute import attribute_command
from outlive.commands.parts.selection import all_measured
from outlive.comparison import attribution_text
from outlive.comparison.attribution import AttributionDocument, Reached, Waterfall, waterfall
from outlive.errors import ExitCode, FaultError
from outlive.records.measurement import Measurement
from outlive.records.stack import Package
from outlive.stacks.controlled import refusal

TRANSPORT = leak("0566f80d9876", 7, package="asyncio", python=True, suspect="asyncio.Transport._ready_cb")
ROUTE = leak("31113a1c2a8a", 25, suspect="aiohttp.SystemRoute._handler")


def reached(swapped: str, one: Measurement, release: str = "3.10.10", python: str = "3.11") -> Reached:
    return Reached((swapped,) if swapped else (), side(release=release, python=python).stack, one)


def example() -> Waterfall:
    larger = msgspec.structs.replace(ROUTE, objects_per_request=43)
    failed = msgspec.structs.replace(
        cell(), status="failed", reason="the worker died", growth=None, survivors_per_request=None
    )
    return waterfall(
        [
            reached("", cell(objects=32, leaks=(TRANSPORT, ROUTE))),
            reached("Python 3.11 → 3.13", cell(objects=43, leaks=(larger,)), python="3.13"),
            reached("yarl 1.9 → 1.18", failed, python="3.13"),
            reached("attrs 1 → 2", cell(objects=43, leaks=(larger,)), python="3.13"),
            reached("aiohttp 3.10.10 → 3.11.14", cell(), "3.11.14", "3.13"),
        ]
    )


def test_each_swap_has_its_change_since_the_last_stage_that_was_measured() -> None:
    bars = example().bars
    assert [bar.objects for bar in bars] == [32, 43, None, 43, 0]
    assert [bar.change for bar in bars] == [None, 11, None, 0, -43]
    assert [bar.python_own for bar in bars] == [7, 0, 0, 0, 0]
    assert [[(one.verdict, one.leak.fingerprint) for one in bar.fingerprints] for bar in bars] == [
        [],
        [("changed", "31113a1c2a8a"), ("gone", "0566f80d9876")],
        [],
        [("same", "31113a1c2a8a")],
        [("gone", "31113a1c2a8a")],
    ]


def test_a_swap_changes_nothing_finer_than_the_error_of_the_counts() -> None:
    found = waterfall(
        [reached("", off_the_line(183.1)), reached("a", off_the_line(184.8)), reached("b", cell())]
    )
    assert [bar.change for bar in found.bars] == [None, 0, -184.8]


def test_where_a_collector_runs_only_what_is_leaked_counts() -> None:
    found = waterfall([reached("", cell(objects=32)), reached("gc off → on", cell(objects=32, gc="on"))])
    assert [bar.objects for bar in found.bars] == [32, 0]


def test_a_waterfall_reads_well_in_80_columns() -> None:
    file = io.StringIO()
    attribution_text.show(example(), Console(file=file, width=80, force_terminal=False))
    assert (
        "".join(f"{line.rstrip()}\n" for line in file.getvalue().splitlines())
        == """\
aiohttp 3.10.10 → 3.11.14, not-found, close: objects per request

swapped                      objects  change  Python's own
aiohttp 3.10.10, Python           32                     7  ████████████░░░
3.11, gc off
Python 3.11 → 3.13                43     +11                ████████████████████
yarl 1.9 → 1.18                    ?                        the worker died
attrs 1 → 2                       43       0                ████████████████████
aiohttp 3.10.10 → 3.11.14          0     -43
░ Python's own

With Python 3.11 → 3.13:
    CHANGED 31113a1c2a8a  25 → 43 cyclic
            aiohttp.SystemRoute._handler
    GONE    0566f80d9876  7 cyclic
            asyncio.Transport._ready_cb (Python's own)

With aiohttp 3.10.10 → 3.11.14:
    GONE 31113a1c2a8a  43 cyclic
         aiohttp.SystemRoute._handler

32 → 0 objects per request: Python 3.11 → 3.13 +11; aiohttp 3.10.10 → 3.11.14
-43.
"""
    )


@pytest.mark.real
def test_a_dependency_s_share_is_told_from_the_framework_s(tmp_path: Path) -> None:
    """werkzeug 2.2 came with the state machine whose nested function refers to itself."""
    path = tmp_path / "waterfall.json"
    done = CliRunner().invoke(
        attribute_command,
        ["flask==2.1.3", "flask==2.2.0", "--python", "3.11", "--scenario", "ok", "--json", str(path)],
        env=checkout(tmp_path),
        standalone_mode=False,
    )
    assert done.exception is None
    bars = msgspec.json.decode(path.read_bytes(), type=AttributionDocument).waterfall.bars
    assert {bar.swapped: bar.change for bar in bars if bar.change} == {("werkzeug 2.1.2 → 2.2.1",): 9}
    assert (bars[0].objects, bars[-1].objects, bars[-1].swapped) == (0, 9, ("flask 2.1.3 → 2.2.0",))
    assert done.stdout.endswith("0 → 9 objects per request: werkzeug 2.1.2 → 2.2.1 +9.\n")


def test_what_cannot_be_parted_says_why() -> None:
    both = ("flask 1.1.4 → 3.0.3", "click 7.1.2 → 8.1.7")
    end = side(release="3.0.3").stack
    found = waterfall(
        [
            reached("", cell(objects=8)),
            Reached(both, end, cell(objects=2), ("flask 1.1.4 requires click<8.0,>=5.1",)),
        ]
    )
    out = io.StringIO()
    attribution_text.show(found, Console(file=out, width=200))
    assert out.getvalue().splitlines()[-2:] == [
        "8 → 2 objects per request: flask 1.1.4 → 3.0.3 and click 7.1.2 → 8.1.7 -6.",
        (
            "flask 1.1.4 → 3.0.3 and click 7.1.2 → 8.1.7 cannot be separated: flask 1.1.4 requires "
            "click<8.0,>=5.1."
        ),
    ]


def shown(*stages: Reached) -> list[str]:
    out = io.StringIO()
    attribution_text.show(waterfall(stages), Console(file=out, width=80))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_fewer_objects_of_which_more_leak_are_no_improvement() -> None:
    lines = shown(
        reached("", cell(objects=53)),
        reached("yarl 1 → 2", cell(objects=53)),
        reached("aiohttp 1 → 2", cell(objects=49, leaked=49)),
    )
    assert lines[2:6] == [
        "swapped                            objects  change  leaked",
        "aiohttp 3.10.10, Python 3.11, gc        53               0  ████████████████████",
        "off",
        "yarl 1 → 2                              53       0       0  ████████████████████",
    ]
    assert lines[-2:] == [
        "53 → 49 objects per request: aiohttp 1 → 2 -4.",
        "0 → 49 leaked objects per request: aiohttp 1 → 2 +49.",
    ]


def test_memory_and_files_that_leak_without_objects_are_attributed() -> None:
    phases = tuple(phase(n, heap=700 * n, heap_kept=700 * n) for n in (23, 211, 503, 1009))
    leaking = cell(growth="leak", phases=phases, heap_bytes_per_request=700.0, held={"files": 1.0})
    lines = shown(reached("", cell(held={})), reached("propcache 1 → 2", leaking))
    assert lines[-2:] == [
        "0 B → 700 B of C heap per request: propcache 1 → 2 +700 B.",
        "0 → 1 file per request: propcache 1 → 2 +1.",
    ]
    assert shown(reached("", cell()), reached("a 1 → 2", cell()))[-1] == "No swap changes anything."


def test_a_swap_of_the_policy_names_the_release_once() -> None:
    lines = shown(reached("", cell(objects=3)), reached("gc off → on", cell(objects=3, gc="on")))
    assert lines[0] == "aiohttp 3.10.10, not-found, close: objects per request"
    assert lines[-1] == "3 → 0 objects per request: gc off → on -3."


@pytest.mark.parametrize(
    ("complaint", "reason"),
    [
        ("flask==1.1.4 depends on\n click>=5.1,<8.0 and you require", "flask 1.1.4 requires click<8.0,>=5.1"),
        ("flask==1.1.4 depends on werkzeug>=0.15,<2.0.", None),
        ("click==8.1.7 has no usable wheels", "click 8.1.7 has no wheel for Python 3.8"),
        ("", None),
    ],
)
def test_the_resolver_s_reason(complaint: str, reason: str | None) -> None:
    assert refusal(complaint, Package("click", "8.1.7"), {"flask": "1.1.4"}, "3.8") == reason


def test_a_stage_that_failed_is_a_fault_with_its_reason() -> None:
    failed = msgspec.structs.replace(cell(), status="failed", reason="the disk is full")
    unsupported = msgspec.structs.replace(cell(), status="unsupported", reason="it has none")
    assert all_measured([cell(), unsupported]) == ExitCode.FINE
    with pytest.raises(FaultError, match=r"^not-found could not be measured: the disk is full$"):
        all_measured([cell(), failed])


@pytest.mark.parametrize(
    "scenario", ["ok", "gateway-uncaught"]
)  # of the default set, and of the extended one
def test_there_must_be_something_to_swap(scenario: str) -> None:
    done = CliRunner().invoke(
        attribute_command,
        ["flask==3.1.3,python==3.11", "flask==3.1.3,python==3.11", "--scenario", scenario],
        env={"OUTLIVE_ROOT": str(CHECKOUT.root)},
        standalone_mode=False,
    )
    assert "are the same stack: there is nothing to attribute" in str(done.exception)


@given(st.lists(st.integers(0, 60) | st.none(), min_size=1, max_size=7))
def test_the_changes_of_all_swaps_are_the_change_from_end_to_end(counts: list[int | None]) -> None:
    failed = msgspec.structs.replace(cell(), status="failed", reason="it died", survivors_per_request=None)
    stages = [failed if count is None else cell(objects=count) for count in counts]
    bars = waterfall([reached(str(at), stage) for at, stage in enumerate(stages)]).bars
    known = [count for count in counts if count is not None]
    assert sum(bar.change or 0 for bar in bars) == (known[-1] - known[0] if known else 0)
    assert [bar.reason is None for bar in bars] == [count is not None for count in counts]
