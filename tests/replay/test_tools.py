"""Tools of the trade beside the probe, on the same requests of a real release."""

from __future__ import annotations

import io

import msgspec
import pytest
from click.testing import CliRunner
from rich.console import Console

from measuring import CHECKOUT, SCENARIOS, reference
from outlive.cli import cli
from outlive.commands.parts.inventory import show_tools
from outlive.errors import UsageError
from outlive.records.measurement import Document, ToolReading
from outlive.records.stack import Stack
from outlive.releases.catalogue import Catalogue
from outlive.replay.explanation import tools
from outlive.replay.store import provenance
from outlive.stacks.prepare import prepare

NOT_FOUND = next(scenario for scenario in SCENARIOS if scenario.name == "not-found")


def reading(tool: str, **fields: object) -> ToolReading:
    whole: dict[str, object] = {
        "tool": tool,
        "scenario": "not-found",
        "connection": "close",
        "requests": 211,
        "objects": None,
        "blocks": None,
        "bytes": None,
        "grown": {},
        "serving": 1.0,
        "total": 1.25,
    }
    return msgspec.convert(whole | fields, ToolReading)


@pytest.mark.real
def test_what_each_sees_of_cyclic_garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "ROUNDS", 2)
    monkeypatch.setattr(tools, "REQUESTS", 53)
    subject = reference("flask")
    release = Catalogue.load(CHECKOUT, "flask").newest()
    stack = prepare(CHECKOUT, Stack("flask", release.version, "3.11"))
    ours, debug, graph, memory = tools.run(
        subject, stack, NOT_FOUND, "close", ("gc-debug", "objgraph", "tracemalloc")
    )
    assert [one.tool for one in (ours, debug, graph, memory)] == [
        "outlive",
        "gc-debug",
        "objgraph",
        "tracemalloc",
    ]
    assert ours.objects is not None
    assert ours.objects > 50
    assert debug.objects == pytest.approx(ours.objects, abs=0.5)  # it collects only once
    assert graph.objects == pytest.approx(0, abs=0.5)  # it collects before it looks
    assert memory.objects is None
    assert memory.bytes is not None
    assert memory.bytes > 5000
    assert debug.grown["werkzeug.exceptions.NotFound"] == 1
    assert not any(line.startswith("/") for line in memory.grown)


def test_the_table_of_tools() -> None:
    text = io.StringIO()
    readings = [
        reading("outlive", objects=92.0, blocks=120.0, grown={"tuple": 17.0}),
        reading("tracemalloc", bytes=12_600.0, grown={"gunicorn/http/wsgi.py:288": 768.0}, serving=7.5),
    ]
    show_tools(readings, Console(file=text, width=110))
    lines = [line.rstrip() for line in text.getvalue().splitlines()]
    assert lines == [
        "",
        f"{'scenario':18}{'tool':13}{'objects':9}{'memory':10}{'most of it':33}serving  with looking",
        "not-found, close  outlive      92       -         17 tuple                         1.00x    1.25x",
        "not-found, close  tracemalloc  -        12.3 KiB  768 B gunicorn/http/wsgi.py:288  7.50x    1.25x",
        "Per request, with gc off; times are of the same requests without a tool.",
    ]


def test_the_document_has_them_only_where_there_are_any() -> None:
    bare = Document(provenance=provenance([]), measurements=())
    full = msgspec.structs.replace(bare, tools=(reading("objgraph"), reading("gc-debug")))
    assert b"tools" not in bare.to_json()
    assert msgspec.json.decode(full.to_json(), type=Document) == full


def test_tools_take_one_stack() -> None:
    arguments = ["measure", "flask==3.1.3", "flask==3.1.2", "--with", "objgraph"]
    with pytest.raises(UsageError, match=r"^--with takes one stack and at most one remedy$"):
        CliRunner().invoke(cli, arguments, standalone_mode=False, catch_exceptions=False)
