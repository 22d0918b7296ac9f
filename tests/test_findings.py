"""The table of scenarios and stacks: the whole text."""

from __future__ import annotations

from pathlib import Path

import pytest

from comparisons import cell
from outlive.measurement import Connection, Measurement
from outlive.report import findings
from outlive.scenarios import Request, Scenario

GOLDEN = Path(__file__).parent / "golden" / "findings.md"


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
    assert findings.render(SCENARIOS, MEASUREMENTS) == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("measurement", "text"),
    [
        (cell("ok", 0, growth="bounded"), "bounded"),
        (cell("ok", 0, growth="leak"), "leak memory"),
        (cell("ok", 0, growth="bounded", gc="on"), "bounded"),
        (cell("ok", 4, growth="cyclic", gc="on"), "0"),
        (cell("ok", 0.25, 0.25), "leak 0.25"),
    ],
)
def test_a_cell(measurement: Measurement, text: str) -> None:
    lines = findings.render(SCENARIOS[:1], [measurement]).splitlines()
    assert lines[-1] == f"| ok | a plain 200 | {text} |"
