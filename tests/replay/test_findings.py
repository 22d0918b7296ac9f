"""The tables of scenarios and stacks, as Markdown and in a terminal: the whole text."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from comparisons import cell
from goldens import same_as_golden
from outlive.commands.parts import inventory
from outlive.records.measurement import Connection, Measurement
from outlive.replay.explanation import findings
from outlive.service.scenarios import Request, Scenario


def scenario(name: str, summary: str) -> Scenario:
    return Scenario(name, summary, Request(), ("200",))


SCENARIOS = (
    scenario("ok", "a plain 200"),
    scenario("not-found", "no route | matches"),
    scenario("asynchronous", "an async view"),
)


def unsupported(connection: Connection) -> Measurement:
    return cell(
        "asynchronous",
        connection=connection,
        framework="flask",
        status="unsupported",
        reason="needs asgiref",
        growth=None,
    )


MEASUREMENTS = (
    cell("ok", 0, connection="keep-alive"),
    cell("ok", 0),
    cell("not-found", 43, connection="keep-alive"),
    cell("not-found", 47),
    cell("ok", 0, gc="on"),
    cell("not-found", 2, 2, gc="on"),
    cell("ok", 7, release="2"),
    cell("not-found", 9, 2, release="2"),
    unsupported("close"),
    unsupported("keep-alive"),
)


def test_the_whole_text() -> None:
    same_as_golden("findings.md", findings.render(SCENARIOS, MEASUREMENTS))


@pytest.mark.parametrize(
    ("measurement", "text"),
    [
        (cell("ok", 0, growth="bounded"), "bounded"),
        (cell("ok", 0, growth="leak"), "memory leaked"),
        (cell("ok", 0, growth="bounded", gc="on"), "bounded"),
        (cell("ok", 4, growth="cyclic", gc="on"), "0"),
        (cell("ok", 0.25, 0.25), "0.25 leaked"),
    ],
)
def test_a_cell(measurement: Measurement, text: str) -> None:
    lines = findings.render(SCENARIOS[:1], [measurement]).splitlines()
    assert lines[-1] == f"| ok | a plain 200 | {text} |"


def test_a_terminal_of_80_columns_breaks_no_name_or_reason() -> None:
    many = (*MEASUREMENTS[:4], *MEASUREMENTS[6:])
    one = (
        cell("gateway-session-per-request", 7, release="3", types={"socket.socket": 1.0}),
        cell(
            "failing",
            release="3",
            status="failed",
            reason="the worker died: " + "no memory " * 8,
            growth=None,
        ),
    )
    console = Console(width=80, record=True, file=io.StringIO())
    inventory.show_measurements((*many, *one), console)
    same_as_golden("measure-80.txt", console.export_text())
