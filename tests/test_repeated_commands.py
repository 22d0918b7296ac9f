"""Commands that are printed to be run again ask for what was run: the verbs read their words."""

from __future__ import annotations

import shlex
from types import SimpleNamespace

import click
import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from comparisons import cell, side
from gates import gate, judged
from load_comparisons import worse
from measuring import CHECKOUT
from outlive.api import evidence
from outlive.api.selection import Selection
from outlive.cli import cli
from outlive.comparison.noisy.load import Loads
from outlive.comparison.sizes import MIB, Rates
from outlive.gates.text import reproduce
from outlive.records.stack import Package, Stack
from outlive.replay import engine
from outlive.reports import record
from outlive.reports.costs import parse_bytes, parse_rate, parse_share
from outlive.reports.remedies_text import missing
from reporting import aiohttp_evidence, aiohttp_report, facts
from verbs import asked

rates = st.builds(
    Rates,
    rate=st.one_of(st.just(200.0), st.integers(1, 10**6).map(lambda n: n / 60)),
    errors=st.integers(0, 1000).map(lambda n: n / 1000),
    workers=st.integers(1, 100_000),
    limit=st.one_of(st.integers(1, 2000).map(lambda n: n * MIB), st.integers(1, 2**50)),
)


@given(rates)
def test_the_reader_s_traffic_is_asked_for_again(wanted: Rates) -> None:
    params = asked(shlex.join(["outlive", "report", "flask", "1", "2", *wanted.words]))
    assert parse_rate(params["rate"]) == pytest.approx(wanted.rate, abs=1e-9)
    assert parse_share(params["errors"]) == pytest.approx(wanted.errors, abs=1e-9)
    assert (params["workers"], parse_bytes(params["limit"])) == (wanted.workers, wanted.limit)


def test_usual_traffic_needs_no_words() -> None:
    assert Rates().words == ()
    assert aiohttp_report().said.repeat == "outlive report aiohttp 3.10.10 3.11.14 --python 3.11 --fresh"
    busy = aiohttp_report(rates=Rates(rate=50, workers=4)).said.repeat
    assert busy.endswith("--fresh --rate 50/s --workers 4")


def test_a_report_asks_for_what_was_selected(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command of a run, run, selects what the run selected."""
    wanted = Selection(
        ("handler-*", "ok"), "all", ("close",), ("on", "periodic:100"), "gthread", sensitivity=1000
    )
    stacks = Stack.parse("flask==3.0.3,werkzeug==3.0.3"), Stack.parse("flask==3.1.3,werkzeug==3.0.3")
    sides = [side("flask", "3.0.3"), side("flask", "3.1.3")]
    ends = [
        SimpleNamespace(
            record=one.stack, release=one.release, interpreter=SimpleNamespace(minor="3.11"), remedy=None
        )
        for one in sides
    ]
    pair = SimpleNamespace(before=ends[0], after=ends[1], differences=())
    monkeypatch.setattr("outlive.api.selection.prepare_pair", lambda *_, **__: pair)
    monkeypatch.setattr(engine, "run", lambda *_: [[cell(gc="on")], [cell(gc="on")]])
    command = evidence.measured(CHECKOUT, stacks, "3.11", wanted, engine.SILENT).command
    assert command
    seen: list[tuple[object, ...]] = []

    def again(_: object, words: tuple[str, ...], python: str, selection: Selection) -> None:
        seen.append((words, python, selection))
        raise click.Abort

    monkeypatch.setattr("outlive.commands.one_stack_or_two.report.measured_pair", again)
    CliRunner().invoke(cli, shlex.split(command)[1:], standalone_mode=False)
    anew = msgspec.structs.replace(wanted, fresh=True, jobs=seen[0][2].jobs)  # type: ignore[attr-defined]
    assert seen == [(tuple(map(str, stacks)), "3.11", anew)]


def test_a_comparison_under_load_asks_for_its_traffic() -> None:
    known = worse()
    sent = msgspec.structs.replace(known.traffic, scenarios=("handler-*",), rate=7.5, requests=None)
    loads = Loads(comparisons=(msgspec.structs.replace(known, traffic=sent),))
    made_from = msgspec.structs.replace(aiohttp_evidence(), loads=loads)
    params = asked(record.build(made_from, facts(), Rates()).said.repeat_load)
    assert (params["patterns"], params["connections"]) == (("handler-*",), (sent.connection,))
    assert (params["user"], params["clients"], params["rate"]) == (sent.user, sent.clients, 7.5)
    assert (params["policies"], params["worker"]) == ((known.deployment.gc,), known.deployment.worker)
    assert (params["rounds"], params["under_load"], params["requests"]) == (known.rounds, True, None)


@pytest.mark.parametrize("python", ["3.11", "3.12.1"])
def test_what_remedies_do_is_asked_of_the_release_before(python: str) -> None:
    known = aiohttp_report()
    stack = msgspec.structs.replace(known.comparison.before.stack, python=python)
    before = msgspec.structs.replace(known.comparison.before, stack=stack)
    report = msgspec.structs.replace(
        known, comparison=msgspec.structs.replace(known.comparison, before=before)
    )
    params = asked(missing(report).split("`")[1])
    assert (params["stack"], params["python"]) == ("aiohttp==3.10.10", python)


def test_a_cell_of_a_gate_is_judged_again_as_it_was() -> None:
    found = judged(cell("not-found", 34.5, connection="keep-alive"))
    pins = (Package("multidict", "6.3.1"),)
    params = asked(reproduce(gate(found, gc="on", pins=pins, planted=True, allow_yanked=True), found))
    assert params["what"] == ("aiohttp==1,multidict==6.3.1",)
    assert (params["policy"], params["patterns"], params["connections"]) == (
        "on",
        ("not-found",),
        ("keep-alive",),
    )
    assert (params["python"], params["plant"], params["allow_yanked"]) == ("3.11", True, True)
