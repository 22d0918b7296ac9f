"""Explaining real releases, each checked by hand against its source; the texts and the pictures."""

from __future__ import annotations

import functools
import re
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from analyses import by_hand
from goldens import same_as_golden
from measuring import CHECKOUT, SCENARIOS, checkout
from outlive.commands.first_steps.explain import explain_command
from outlive.records.measurement import Cell, Connection
from outlive.records.stack import Stack
from outlive.replay.explanation.sample import SAMPLE, sample
from outlive.replay.subject import Subject
from outlive.retention import drawing, explanation
from outlive.retention.graph import Graph, Vertex
from outlive.retention.structures import Analysis, analyse, records
from outlive.service import app as apps
from outlive.stacks import environments, pythons
from outlive.stacks.prepare import prepare
from outlive.stacks.pythons import Interpreter
from outlive.tables import UNFOLDED
from verbs import verb

real = pytest.mark.real
TERMINAL = {"COLUMNS": "80"}  # else what is piped is not folded

# asyncio's own: _SelectorSocketTransport._read_ready_cb, set in set_protocol(), is never reset, up to 3.11.
ASYNCIO = (
    "cyclic ring asyncio._SelectorSocketTransport._read_ready_cb "
    "method asyncio._read_ready__data_received.__self__"
)
# werkzeug 2.2 and newer: the nested function _match() of StateMachineMatcher.match() calls itself.
MATCH = "cyclic ring function werkzeug._match closure _match"
# Flask: RequestContext.match_request() stores the NotFound, raise_routing_exception() raises it.
ROUTING = (
    "cyclic ring exception.__traceback__ frame flask.dispatch_request local req "
    "flask.Request.routing_exception"
)
# Flask: wsgi_app() binds what it caught: `error = e`.
WSGI_ERROR = "cyclic ring exception.__traceback__ frame flask.wsgi_app local error"
# aiohttp: MatchInfoError and the SystemRoute of a 404 keep the exception that they raise.
SYSTEM_ROUTE = "cyclic ring aiohttp.SystemRoute._handler method aiohttp._handle.__self__"
# aiohttp 3.10.10: lru_cache on _build_middlewares(handler, apps), and each 404 has a handler of its own.
MIDDLEWARES = (
    "leaked path module aiohttp.web_app global _build_middlewares "
    "cache aiohttp._build_middlewares cached[] functools.partial"
)


@functools.cache
def explained(stack: str, scenario: str, connection: Connection = "close") -> Analysis:
    prepared = prepare(CHECKOUT, Stack.parse(stack))
    app = apps.load(CHECKOUT, prepared.release.framework)
    environment = environments.ensure(prepared.lock, prepared.interpreter)
    subject = Subject(environment, app, CHECKOUT.apps / app.framework)
    (chosen,) = (one for one in SCENARIOS if one.name == scenario)
    graph = sample(subject, chosen, Cell(scenario, connection, "off"))
    return analyse(graph, connections=len(SAMPLE[connection]))


def found(analysis: Analysis) -> set[str]:
    return {f"{one.growth} {one.explanation.trail}" for one in analysis.structures}


@real
@pytest.mark.parametrize(
    ("stack", "scenario", "structures"),
    [
        ("flask==2.3.3,python==3.11", "ok", {MATCH}),
        ("flask==3.1.3,python==3.11", "not-found", {ROUTING, MATCH}),
        ("flask==3.1.3,python==3.13", "handler-error", {WSGI_ERROR, MATCH}),
        ("aiohttp==3.11.14,python==3.11", "ok", {ASYNCIO}),
        ("aiohttp==3.11.14,python==3.13", "ok", set()),
        ("aiohttp==3.11.14,python==3.11", "not-found", {SYSTEM_ROUTE, ASYNCIO}),
        ("aiohttp==3.10.10,python==3.11", "not-found", {MIDDLEWARES, ASYNCIO}),
        ("aiohttp==3.10.10,python==3.12", "not-found", {MIDDLEWARES}),
        (
            "aiohttp==3.11.18,multidict==6.3.1,python==3.11",
            "ok",
            {"leaked path list ", ASYNCIO},
        ),  # C holds it
    ],
)
def test_real_releases_are_explained_as_their_sources_say(
    stack: str, scenario: str, structures: set[str]
) -> None:
    assert found(explained(stack, scenario)) == structures


FLASK = ("not-found", "handler-error", "http-error")
AIOHTTP = ("not-found", "http-error", "abort-response", "malformed-request")


@real
@pytest.mark.parametrize(
    ("stack", "scenarios"),
    [
        ("flask==2.0.3,python==3.11", FLASK),
        ("flask==2.3.3,python==3.11", FLASK),
        ("flask==3.1.3,python==3.11", FLASK),
        ("aiohttp==3.10.10,python==3.11", AIOHTTP),
        ("aiohttp==3.11.13,python==3.11", AIOHTTP),
        ("aiohttp==3.11.14,python==3.11", AIOHTTP),
        ("aiohttp==3.14.5,python==3.11", ("ok", *AIOHTTP)),
        ("aiohttp==3.14.5,python==3.12", ("ok", *AIOHTTP)),
    ],
)
def test_texts_of_real_releases_checked_by_hand_against_their_sources(
    stack: str, scenarios: tuple[str, ...]
) -> None:
    texts = [explanation.render(f"{stack} {name}", explained(stack, name)) for name in scenarios]
    # asyncio's own lines move from one patch of Python to the next
    text = re.sub(r"(asyncio/\w+\.py):\d+", r"\1:…", "\n\n".join(texts))
    same_as_golden(f"explain-{stack.replace('==', '-').replace(',', '-')}.txt", text)


# The statements to which the texts above were traced by hand. Each makes a reference that is suspected.
STATEMENTS = {
    "flask==2.0.3,python==3.11": (
        ("flask/ctx.py", 379, "self.request.routing_exception = e"),
        ("flask/app.py", 2075, "error = e"),
    ),
    "flask==2.3.3,python==3.11": (
        ("flask/ctx.py", 356, "self.request.routing_exception = e"),
        ("flask/app.py", 2192, "error = e"),
        ("werkzeug/routing/matcher.py", 79, "def _match("),
        ("werkzeug/routing/matcher.py", 116, "rv = _match(state.static[part], parts[1:], values)"),
    ),
    "flask==3.1.3,python==3.11": (
        ("flask/ctx.py", 365, "self.request.routing_exception = e"),
        ("flask/app.py", 1513, "error = e"),
        ("werkzeug/routing/matcher.py", 79, "def _match("),
        ("werkzeug/routing/matcher.py", 116, "rv = _match(state.static[part], parts[1:], values)"),
    ),
    "aiohttp==3.10.10,python==3.11": (
        ("aiohttp/web_app.py", 82, "@lru_cache(None)"),
        ("aiohttp/web_app.py", 548, "handler = _build_middlewares(handler, match_info.apps)"),
        ("aiohttp/base_protocol.py", 94, "waiter = self._loop.create_future()"),
        ("aiohttp/web_protocol.py", 558, "task = loop.create_task(coro)"),
        (
            "aiohttp/web_protocol.py",
            380,
            "(_ErrInfo(status=400, exc=exc, message=exc.message), EMPTY_PAYLOAD)",
        ),
    ),
    "aiohttp==3.11.13,python==3.11": (
        ("aiohttp/web_urldispatcher.py", 939, "super().__init__(hdrs.METH_ANY, self._handle)"),
        ("aiohttp/web_urldispatcher.py", 953, "raise self._http_exception"),
        ("aiohttp/base_protocol.py", 98, "waiter = self._loop.create_future()"),
        ("aiohttp/web_protocol.py", 561, "task = loop.create_task(coro)"),
        (
            "aiohttp/web_protocol.py",
            383,
            "(_ErrInfo(status=400, exc=exc, message=exc.message), EMPTY_PAYLOAD)",
        ),
    ),
    "aiohttp==3.11.14,python==3.11": (
        ("aiohttp/web_urldispatcher.py", 939, "super().__init__(hdrs.METH_ANY, self._handle)"),
        ("aiohttp/web_urldispatcher.py", 953, "raise self._http_exception"),
        ("aiohttp/base_protocol.py", 98, "waiter = self._loop.create_future()"),
        ("aiohttp/web_protocol.py", 568, "task = loop.create_task(coro)"),
        (
            "aiohttp/web_protocol.py",
            383,
            "(_ErrInfo(status=400, exc=exc, message=exc.message), EMPTY_PAYLOAD)",
        ),
    ),
    "aiohttp==3.14.5,python==3.11": (
        ("aiohttp/web_urldispatcher.py", 928, "super().__init__(hdrs.METH_ANY, self._handle)"),
        ("aiohttp/web_urldispatcher.py", 942, "raise self._http_exception"),
        ("aiohttp/base_protocol.py", 154, "waiter = self._loop.create_future()"),
        ("aiohttp/web_protocol.py", 684, "task = loop.create_task(coro)"),
        (
            "aiohttp/web_protocol.py",
            449,
            "(_ErrInfo(status=400, exc=exc, message=exc.message), EMPTY_PAYLOAD)",
        ),
    ),
}


@real
@pytest.mark.parametrize("stack", STATEMENTS)
def test_what_the_texts_blame_is_in_the_sources(stack: str) -> None:
    prepared = prepare(CHECKOUT, Stack.parse(stack))
    environment = environments.ensure(prepared.lock, prepared.interpreter)
    (packages,) = environment.path.glob("lib/python*/site-packages")
    for name, line, statement in STATEMENTS[stack]:
        assert (packages / name).read_text().splitlines()[line - 1].strip() == statement


@pytest.mark.parametrize("interpreter", pythons.installed(), ids=lambda one: one.minor)
def test_a_transport_that_is_closed_forgets_its_callback_from_python_3_12_on(
    interpreter: Interpreter,
) -> None:
    command = "import asyncio.selector_events as module; print(module.__file__)"
    done = subprocess.run([interpreter.path, "-c", command], check=True, capture_output=True, text=True)
    source = Path(done.stdout.strip()).read_text()
    close = "    def close(self):\n        self._read_ready_cb = None\n"
    assert (close in source) is (tuple(map(int, interpreter.minor.split("."))) >= (3, 12))


# Fingerprints are the same on all Pythons and neighbouring releases; aiohttp's newest has the same faults.
DRAIN = (
    "cyclic ring asyncio.Future._exception exception.__traceback__ frame aiohttp._drain_helper local waiter"
)
HANDLER_TASK = "cyclic ring asyncio.Task._exception exception.__traceback__ frame aiohttp.start local task"
READER = "cyclic ring aiohttp.StreamReader._exception exception.__traceback__ frame aiohttp._wait local self"


@real
@pytest.mark.parametrize(
    ("stack", "scenario", "connection", "structures"),
    [
        ("flask==3.1.3,python==3.13", "nested-error", "close", {WSGI_ERROR, MATCH}),
        ("aiohttp==3.11.14,python==3.11", "abort-response", "close", {DRAIN, HANDLER_TASK, ASYNCIO}),
        ("aiohttp==3.14.5,python==3.13", "abort-response", "close", {DRAIN, HANDLER_TASK}),
        ("aiohttp==3.8.1,python==3.10", "stream-error", "close", {HANDLER_TASK, ASYNCIO}),
        ("aiohttp==3.14.5,python==3.13", "stream-error", "close", {HANDLER_TASK}),
        ("aiohttp==3.14.5,python==3.13", "abort-upload", "close", {READER}),
        ("aiohttp==3.14.5,python==3.13", "not-found", "close", {SYSTEM_ROUTE}),
        ("aiohttp==3.11.14,python==3.11", "not-found", "keep-alive", {SYSTEM_ROUTE, ASYNCIO}),
    ],
)
def test_faults_have_one_fingerprint_on_every_python_and_release(
    stack: str, scenario: str, connection: Connection, structures: set[str]
) -> None:
    assert found(explained(stack, scenario, connection)) == structures


@real
def test_the_objects_of_the_structures_are_those_that_are_counted() -> None:
    analysis = explained("aiohttp==3.11.14,python==3.11", "not-found")
    counts = {one.explanation.trail: one.objects_per_request for one in analysis.structures}
    assert counts == {SYSTEM_ROUTE.partition(" ")[2]: 25.0, ASYNCIO.partition(" ")[2]: 7.0}


@real
def test_a_frame_that_holds_what_it_awaited_is_the_suspect() -> None:
    analysis = explained("aiohttp==3.14.5,python==3.13", "abort-response")
    suspects = {(one.package, one.explanation.steps[-1].reference) for one in analysis.structures}
    assert suspects == {("aiohttp", "local:waiter"), ("aiohttp", "local:task")}


@real
def test_a_fault_that_has_company_in_an_older_release_is_known_again() -> None:
    older = explained("flask==1.1.4,python==3.8", "handler-error")
    newer = explained("flask==3.1.3,python==3.13", "handler-error")
    shared = {leak.fingerprint for leak in records(older)} & {leak.fingerprint for leak in records(newer)}
    assert shared == {"9912e7d579a2"}


@real
def test_weak_references_to_what_is_kept_are_only_counted() -> None:
    analysis = explained("aiohttp==3.10.10,python==3.11", "not-found")
    assert analysis.weak == 1.0  # asyncio's weak set of all tasks
    assert explanation.summary(analysis).endswith("1 weak reference per request goes with them.")


@real
def test_a_connection_s_own_is_told_from_a_request_s() -> None:
    analysis = explained("aiohttp==3.11.14,python==3.11", "not-found", "keep-alive")
    assert {(one.package, one.python, one.per, one.rate) for one in analysis.structures} == {
        ("aiohttp", False, "request", 1.0),
        ("asyncio", True, "connection", 1.0),
    }
    said = "23 objects per request and 7 per connection outlive it, in 2 structures."
    assert explanation.summary(analysis) == said


@real
def test_a_large_buffer_among_the_locals_is_said() -> None:
    text = explanation.render("", explained("flask==3.1.3,python==3.13", "nested-error"))
    assert "the largest buffer is a bytearray of 256.1 KiB" in " ".join(text.split())


# Texts and pictures, from a graph made by hand


def test_an_explanation_reads_well_in_80_columns() -> None:
    assert (
        explanation.render("flask 9.9 · not-found · close · gc off · Python 3.11.7", by_hand())
        == """\
flask 9.9 · not-found · close · gc off · Python 3.11.7
5 objects per request outlive it, in 2 structures.

1. cyclic garbage c36d798db39e                                     1 per request
   4 objects, 1.5 KiB: 3 in the cycle (528 B), 1 only hangs on it. By type: 1
   Headers<"a">, 1 NotFound, 1 Request and 1 frame.

   ┌▶ app.NotFound
   │      .__traceback__
   │  frame of app.dispatch  app/main.py:17
   │      local request
   │  app.Request
   └─     .error  ◀ suspect

   Suspect (app): `Request.error` stores the exception, whose traceback holds a
   frame that leads back to it.
   Without this link, nothing here would need the collector.

2. leaked 97d7682d1a6b                                             1 per request
   1 object, 48 B: 1 at the end of the path. By type: 1 Order.

      module app
          global orders
      list
          [27]  ◀ suspect
      app.Order

   Suspect (app): the module's global `orders` takes it in and never lets go.
"""
    )


@pytest.mark.parametrize("width", [48, 120])
def test_an_explanation_is_as_wide_as_the_terminal(width: int) -> None:
    lines = explanation.render("flask 9.9", by_hand(), width).splitlines()
    assert 0.8 * width < max(map(len, lines)) <= width
    head = next(line for line in lines if line.startswith("1. "))
    assert len(head) == min(width, explanation.WIDTH)


def test_a_piped_explanation_is_not_folded() -> None:
    text = explanation.render("flask 9.9", by_hand(), UNFOLDED)
    assert "whose traceback holds a frame that leads back to it.\n" in text


def test_pictures_show_each_object_and_mark_the_suspect() -> None:
    analysis = by_hand()
    dot, mermaid, svg = drawing.dot(analysis), drawing.mermaid(analysis), drawing.svg(analysis)
    assert 'n0_2 -> n0_0 [label=".error", color=red, fontcolor=red, style=bold];' in dot
    assert 'n0_2 -->|".error"| n0_0' in mermaid
    assert "linkStyle 2 stroke:red,color:red" in mermaid
    texts = [one.text for one in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert texts[1:7] == [
        "app.NotFound",
        "frame of app.dispatch",
        "app.Request",
        ".__traceback__",
        "local request",
        ".error",
    ]


def test_the_links_of_several_rings_are_told_together() -> None:
    """An order that refers to its item by two names: without one link, a ring remains."""
    order = Vertex(kind="instance", type="app.Order", bytes=48)
    item = Vertex(kind="instance", type="app.Item", bytes=48)
    tax = Vertex(kind="instance", type="app.Tax", bytes=48)
    edges = [
        edge
        for a in range(0, 33, 3)
        for edge in (
            (a, a + 1, "attribute:item"),
            (a + 1, a, "attribute:parent"),
            (a, a + 2, "attribute:tax"),
            (a + 2, a, "attribute:parent"),
        )
    ]
    analysis = analyse(Graph("3.11.7", 11, (order, item, tax) * 11, tuple(edges)))
    text = explanation.render("app", analysis)
    assert (
        text.partition("By type: ")[2]
        == """\
1 Item, 1 Order and 1 Tax.

   ┌▶ app.Order
   │      .item
   │  app.Item
   └─     .parent  ◀ suspect

   Suspect (app): the child refers back to its parent.

   Without this link, a ring remains:
   ┌▶ app.Order
   │      .tax
   │  app.Tax
   └─     .parent  ◀ suspect
   Suspect: the child refers back to its parent.
   Without these 2 links, nothing here would need the collector.
"""
    )


def test_a_count_over_more_requests_that_differs_from_the_sample_is_said() -> None:
    """flask 3.1.3, not-found on Python 3.13.0: 92 objects by all counts, 93 in a sample of 11 requests."""
    text = explanation.render("app", by_hand(), UNFOLDED, measured=4.0)
    assert text.splitlines()[1] == (
        "5 objects per request outlive it, in 2 structures. "
        "This is a sample: over more requests, 4 objects stay."
    )
    assert "sample" not in explanation.render("app", by_hand(), measured=5.0)


def test_nothing_is_said_in_one_sentence() -> None:
    empty = Analysis(python="3.11.7", requests=11, structures=(), weak=0.0, once=2, cut=())
    assert explanation.render("flask", empty) == "flask\nNothing outlives its request.\n"


def test_a_collector_s_part_is_said_where_cyclic_garbage_was_left_out() -> None:
    empty = Analysis(python="3.11.7", requests=11, structures=(), weak=0.0, once=2, cut=())
    nothing = "Nothing outlives its request, except what collections free."
    assert explanation.summary(empty, collecting=True) == nothing
    kept = explanation.summary(by_hand(), collecting=True)
    assert kept == "5 objects per request outlive it and every collection, in 2 structures."


@real
def test_the_command_writes_text_json_and_pictures(tmp_path: Path) -> None:
    files = [tmp_path / f"out.{kind}" for kind in ("json", "dot", "svg", "mermaid")]
    options = [word for file in files for word in (f"--{file.suffix[1:]}", str(file))]
    done = CliRunner().invoke(
        explain_command,
        ["flask==3.1.3,python==3.11", "--scenario", "handler-error", *options],
        env=checkout(tmp_path) | TERMINAL,
        standalone_mode=False,
    )
    assert done.exception is None
    assert done.stdout.startswith("flask 3.1.3 · handler-error · close · gc off · Python 3.11")
    assert max(map(len, done.stdout.splitlines())) <= 80
    document = msgspec.json.decode(files[0].read_bytes())
    assert {one["fingerprint"] for one in document["analysis"]["structures"]}
    assert all(file.stat().st_size for file in files)


# The page


def of_the_page() -> dict[str, list[str]]:
    """Return each command of docs/explain.md with the lines of output that it shows."""
    found: dict[str, list[str]] = {}
    shown: list[str] = []
    for line in (CHECKOUT.root / "docs" / "explain.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("    $ outlive "):
            shown = found[line.removeprefix("    $ outlive ")] = []
        elif line.startswith("    "):
            shown.append(line[4:])
        elif line:
            shown = []
    return found


@pytest.mark.parametrize("command", of_the_page())
def test_every_command_of_the_page_is_one(command: str) -> None:
    name, *arguments = command.split()
    assert verb(name).make_context(name, arguments).params


@real
@pytest.mark.parametrize(
    "command",
    [
        "explain flask==2.3.3,python==3.11 --scenario handler-error",
        "explain aiohttp==3.11.18,multidict==6.3.1,python==3.11 --scenario ok",
    ],
)
def test_what_the_page_shows_is_what_is_printed(command: str, tmp_path: Path) -> None:
    arguments = command.split()[1:]
    shell = checkout(tmp_path) | TERMINAL
    done = CliRunner().invoke(explain_command, arguments, env=shell, standalone_mode=False)
    printed = done.stdout.splitlines()[1:]  # the first line has the patch of Python
    assert [line for line in of_the_page()[command][1:] if line not in printed] == []
