from __future__ import annotations

import functools
import gc
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlive.retention.graph import Graph, PathStep, Vertex, read
from outlive.retention.structures import Analysis, Structure, analyse
from outlive.retention.suspects import RING_RULES, link, suspect, title
from outlive.retention.trails import Explanation
from outlive.stacks import pythons
from outlive.stacks.pythons import Interpreter
from outlive.worker.survivors import capture, descriptors, objects, references

TIMES = 5
STRUCTURES = Path(__file__).parents[1] / "planted" / "structures.py"
SOURCES = Path(capture.__file__).parent
ORDER = "__main__.Order"

# Each structure: class, rule, what is normalised into the fingerprint, the suspect link.
PLANTED = {
    "attribute": (
        "cyclic",
        "back-reference",
        f"ring {ORDER}.child {ORDER}.parent",
        f"{ORDER} .parent",
    ),
    "slot": ("cyclic", "ring", f"ring {ORDER}.shop __main__.Shop.order", f"{ORDER} .shop"),
    "dict_value": ("cyclic", "ring", f"ring {ORDER}.index['self']", f"{ORDER} .index"),
    "list_item": ("cyclic", "ring", f"ring {ORDER}.history[]", f"{ORDER} .history"),
    "closure_cell": (
        "cyclic",
        "self-closure",
        "ring function __main__.walk closure walk",
        "function __main__.closure_cell.<locals>.walk closure variable walk",
    ),
    "frame_local": (
        "cyclic",
        "traceback",
        "ring exception.__traceback__ frame __main__.frame_local local error",
        "frame of __main__.frame_local local error",
    ),
    "stored_exception": (
        "cyclic",
        "traceback",
        f"ring {ORDER}.error exception.__traceback__ frame __main__.fail local order",
        f"{ORDER} .error",
    ),
    "task": (
        "cyclic",
        "coroutine",
        f"ring {ORDER}.task asyncio.Task._coro coroutine task.wait local state",
        "coroutine task.<locals>.wait local state",
    ),
    "future_callback": (
        "cyclic",
        "callback",
        f"ring {ORDER}.ready asyncio.Future callback function __main__.callback closure order",
        "asyncio.Future callback",
    ),
    "context_variable": (
        "cyclic",
        "context",
        f"ring {ORDER}.context contextvars.Context context current_order",
        "contextvars.Context context variable current_order",
    ),
    "partial": (
        "cyclic",
        "partial",
        f"ring {ORDER}.cancel functools.partial argument 0",
        f"{ORDER} .cancel",
    ),
    "bound_method": (
        "cyclic",
        "bound-method",
        f"ring {ORDER}.close method __main__.close.__self__",
        f"{ORDER} .close",
    ),
    "generator": (
        "cyclic",
        "generator",
        f"ring {ORDER}.lines generator generator.lines local order",
        "generator generator.<locals>.lines local order",
    ),
    "async_generator": (
        "cyclic",
        "async-generator",
        f"ring {ORDER}.lines async_generator async_generator.lines local order",
        "async generator async_generator.<locals>.lines local order",
    ),
    "coroutine": (
        "cyclic",
        "coroutine",
        f"ring {ORDER}.waiting coroutine coroutine.wait local order",
        "coroutine coroutine.<locals>.wait local order",
    ),
    "weakref_callback": (
        "cyclic",
        "callback",
        f"ring {ORDER}.watch weakref.ref callback function __main__.<lambda> closure order",
        "weakref.ref callback",
    ),
    "finalizer": ("cyclic", "ring", "ring __main__.Finalized.me", "__main__.Finalized .me"),
    "nested_cycles": ("cyclic", "ring", f"ring {ORDER}.back {ORDER}.next", f"{ORDER} .back"),
    "class_cycle": (
        "cyclic",
        "class",
        "ring class __main__.Local.__mro__[]",
        "class __main__.class_cycle.<locals>.Local .__mro__",
    ),
    "lru_cache": (
        "leaked",
        "cache",
        "path module __main__ global lookup cache __main__.lookup cached[]",
        "dict [<tuple>]",
    ),
    "module_global": (
        "leaked",
        "global",
        f"path module __main__ global kept_globally[] {ORDER}",
        "list [3]",
    ),
    "dict_of_an_object": (
        "leaked",
        "global",
        "path module __main__ global accounts[] __main__.Account",
        "list [3]",
    ),
    "class_attribute": (
        "leaked",
        "class-attribute",
        f"path class __main__.Registry.orders[] {ORDER}",
        "dict [3]",
    ),
    "logging_handler": (
        "leaked",
        "logging",
        (
            "path module __main__ global logger logging.Logger.handlers[] __main__.KeepingHandler.records[] "
            "logging.LogRecord"
        ),
        "list [3]",
    ),
    "thread_local": (
        "leaked",
        "thread-local",
        f"path module __main__ global local thread._local.orders[] {ORDER}",
        "list [3]",
    ),
    "thread": ("leaked", "thread", "path method threading._bootstrap", "thread of __main__.serve"),
    "thread_that_waits": (
        "leaked",
        "thread",
        "path method threading._bootstrap",
        "thread of __main__.work",
    ),
    "attribute_of_a_global": (
        "leaked",
        "attribute",
        f"path module __main__ global company {ORDER}.orders[] {ORDER}",
        "list [3]",
    ),
    "class_attribute_of_an_object": (
        "leaked",
        "attribute",
        f"path class __main__.Registry.office {ORDER}.orders[] {ORDER}",
        "list [3]",
    ),
    "logger_of_a_request": (
        "leaked",
        "loggers",
        "path class logging.Logger.manager logging.Manager.loggerDict[] logging.Logger",
        "dict ['orders.3']",
    ),
    "closure_in_a_tuple": (
        "leaked",
        "global",
        "path module __main__ global callbacks[]",
        "list [3]",
    ),
    "thread_of_a_class": (
        "leaked",
        "thread",
        "path method threading._bootstrap",
        "thread of __main__.Clerk.run",
    ),
    "thread_of_a_partial": (
        "leaked",
        "thread",
        "path method threading._bootstrap",
        "thread of __main__.serve",
    ),
    "thread_of_a_builtin": (
        "leaked",
        "thread",
        "path method threading._bootstrap",
        "thread of _thread.lock.acquire",
    ),
    "timer": (
        "leaked",
        "attribute",
        (
            f"path module __main__ global company {ORDER}.office {ORDER}.desk {ORDER}.timers "
            "asyncio._UnixSelectorEventLoop._scheduled[] asyncio.TimerHandle"
        ),
        "list [3]",
    ),
    "c_held": ("leaked", "c-held", f"path {ORDER}", ORDER),
    "without_traverse": ("leaked", "c-held", "path tuple ", "tuple"),
}

CLEAN = ("thread_that_ends",)


@pytest.fixture(scope="session", params=pythons.installed(), ids=lambda one: one.minor)
def captured(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    interpreter: Interpreter = request.param
    folder = tmp_path_factory.mktemp(interpreter.minor)
    subprocess.run([interpreter.path, STRUCTURES, SOURCES, folder], check=True, timeout=60)
    return folder


def analysed(folder: Path, name: str) -> Analysis:
    return analyse(read((folder / f"{name}.json").read_bytes()))


def only(analysis: Analysis) -> Structure:
    (structure,) = analysis.structures
    return structure


def suspect_link(explanation: Explanation) -> str:
    step = explanation.steps[explanation.suspect.step]
    return f"{title(step.vertex)} {link(step)}".strip()


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_structure_is_named_with_its_suspect_on_every_python(captured: Path, name: str) -> None:
    analysis = analysed(captured, name)
    structure = only(analysis)
    growth, rule, trail, suspected = PLANTED[name]
    explanation = structure.explanation
    assert (structure.growth, explanation.suspect.rule, explanation.trail) == (growth, rule, trail)
    assert suspect_link(explanation) == suspected
    assert (structure.instances, analysis.once, analysis.cut) == (TIMES, 0, ())


def test_no_structure_is_left_untested(captured: Path) -> None:
    assert {path.stem for path in captured.glob("*.json")} == {*PLANTED, *CLEAN}


@pytest.mark.parametrize("name", CLEAN)
def test_what_ends_by_itself_is_no_structure(captured: Path, name: str) -> None:
    assert analysed(captured, name).structures == ()


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("thread", "__main__"),
        ("thread_of_a_class", "__main__"),
        ("thread_of_a_builtin", "unknown"),  # whoever started it
        ("logger_of_a_request", "unknown"),  # whoever asked for it
        ("module_global", "__main__"),
        ("logging_handler", "__main__"),
    ],
)
def test_the_fault_is_ascribed_to_whose_code_keeps_the_object(
    captured: Path, name: str, package: str
) -> None:
    structure = only(analysed(captured, name))
    assert (structure.package, structure.python) == (package, False)


@pytest.mark.parametrize("name", ["c_held", "without_traverse"])
def test_whose_c_code_holds_an_object_is_told_only_where_it_was_tried(captured: Path, name: str) -> None:
    graph = read((captured / f"{name}.json").read_bytes())
    assert only(analyse(graph)).package == "unknown"
    seen = only(
        analyse(msgspec.structs.replace(graph, leaking=("propcache._helpers_c.under_cached_property",)))
    )
    assert (seen.package, seen.python) == ("propcache", False)
    assert seen.explanation.suspect.reason.endswith(
        "Tried, propcache._helpers_c.under_cached_property keeps a reference to each value that it returns"
    )
    assert seen.fingerprint == only(analyse(graph)).fingerprint


class Forgetful:
    """A property that keeps what it returns; `Careful` is its twin."""

    kept: ClassVar[list[object]] = []

    def __init__(self, function: Callable[[object], object]) -> None:
        self.function = function

    def __get__(self, instance: object, owner: type | None = None) -> object:
        self.kept.append(value := self.function(instance))
        return value


class Careful(Forgetful):
    def __get__(self, instance: object, owner: type | None = None) -> object:
        return self.function(instance)


class Other(Forgetful):
    def __get__(self, instance: object, owner: type | None = None) -> object:
        raise TypeError


def test_a_property_that_keeps_what_it_returns_is_seen_to(monkeypatch: pytest.MonkeyPatch) -> None:
    class App:
        one = Forgetful(str)
        two = Careful(str)
        three = Other(str)
        four = functools.cached_property(str)

    assert not App.__subclasses__()
    monkeypatch.setattr(descriptors, "_is_foreign", lambda kind: hasattr(kind, "__get__"))
    assert descriptors.leaking() == [f"{__name__}.Forgetful"]


def test_objects_that_run_code_of_their_app_when_looked_at_are_left_alone() -> None:
    class Lazy:
        @property  # type: ignore[misc]
        def __class__(self) -> type:
            raise RuntimeError("not set up")

    class Kind(type):
        def __getattribute__(cls, name: str) -> object:
            raise RuntimeError("not set up")

    alive = [Lazy(), Kind("Made", (), {})]
    descriptors.leaking()
    assert len(alive) == 2


def test_cycles_that_share_members_are_one_structure_with_two_rings(captured: Path) -> None:
    structure = only(analysed(captured, "nested_cycles"))
    assert [one.trail for one in structure.further] == [f"ring {ORDER}.further {ORDER}.home"]


def test_what_hangs_on_a_ring_is_told_from_its_members(captured: Path) -> None:
    structure = only(analysed(captured, "closure_cell"))
    assert (structure.members, structure.hanging) == (3, 0)
    leak = only(analysed(captured, "logging_handler"))
    assert leak.members == 1
    assert dict(leak.types)["traceback"] == 1


@pytest.mark.parametrize(
    ("name", "reason", "holds"),
    [
        ("attribute_of_a_global", "`company.orders` takes it in and never lets go", ""),
        ("class_attribute_of_an_object", "`Order.orders` takes it in and never lets go", ""),
        ("module_global", "the module's global `kept_globally` takes it in and never lets go", ""),
        (
            "logger_of_a_request",
            "`logging.getLogger` keeps each logger that it makes: give it a name that does not change",
            "",
        ),
        (
            "closure_in_a_tuple",
            "the module's global `callbacks` takes it in and never lets go",
            "function __main__.closure_in_a_tuple.<locals>.<lambda> (structures.py:",
        ),
    ],
)
def test_the_nearest_keeper_is_named_and_what_a_nameless_object_holds(
    captured: Path, name: str, reason: str, holds: str
) -> None:
    structure = only(analysed(captured, name))
    assert structure.explanation.suspect.reason == reason
    assert structure.holds.rstrip("0123456789)") == holds


def test_a_finalizer_in_a_ring_is_said(captured: Path) -> None:
    reason = only(analysed(captured, "finalizer")).explanation.suspect.reason
    assert (
        reason == "this reference closes the ring; a `__del__` in the ring runs only when the collector does"
    )


# Pure: graphs made by hand


def instance(name: str, **fields: object) -> Vertex:
    return Vertex(kind="instance", type=name, **fields)  # type: ignore[arg-type]


def ring_of(names: list[str], *, line: int, shift: int = 0) -> Graph:
    vertices = tuple(instance(name, place=f"app.py:{line}") for name in names)
    order = [(at + shift) % len(names) for at in range(len(names))]
    edges = tuple((at, (at + 1) % len(names), f"attribute:to_{names[at]}") for at in order)
    return Graph(python="3.11.7", requests=1, vertices=vertices * 2, edges=edges + moved(edges, len(names)))


def moved(edges: tuple[tuple[int, int, str], ...], by: int) -> tuple[tuple[int, int, str], ...]:
    return tuple((a + by, b + by, name) for a, b, name in edges)


@given(st.integers(1, 5), st.integers(0, 7), st.integers(1, 9999))
def test_a_fingerprint_does_not_depend_on_order_or_lines(length: int, shift: int, line: int) -> None:
    names = [f"package.Type{letter}" for letter in "ABCDE"[:length]]
    first = analyse(ring_of(names, line=1))
    turned = names[shift % length :] + names[: shift % length]
    second = analyse(ring_of(turned, line=line, shift=shift))
    assert only(first).fingerprint == only(second).fingerprint
    assert len(only(first).explanation.steps) == length


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("index:0", "index:17", True),
        ("key:'order'", "key:'order'", True),
        ("key:'order-4711'", "key:'order-4712'", True),
        ("key:'order'", "key:'image'", False),
        ("key:17", "key:18", True),
    ],
)
def test_keys_that_are_data_do_not_tell_structures_apart(one: str, other: str, same: bool) -> None:
    found = []
    for reference in (one, other):
        container = Vertex(kind="container", type="dict")
        edges = ((0, 1, "attribute:held"), (1, 0, reference))
        graph = Graph(
            python="3.11.7",
            requests=1,
            vertices=(instance("app.Order"), container) * 2,
            edges=edges + moved(edges, 2),
        )
        found.append(only(analyse(graph)).fingerprint)
    assert (found[0] == found[1]) is same


def test_names_are_written_as_in_a_program() -> None:
    vertex = Vertex(kind="frame", type="frame", name="app.main", place="app.py:3")
    names = {
        "attribute:x": ".x",
        "key:'x'": "['x']",
        "index:3": "[3]",
        "local:x": "local x",
        "closure:x": "closure variable x",
        "internal:": "inside (C)",
        "": "",
    }
    assert {name: link(PathStep(vertex=vertex, number=0, reference=name)) for name in names} == names
    assert title(vertex) == "frame of app.main"


@pytest.mark.parametrize(
    ("keeper", "reference", "reason"),
    [
        (
            Vertex(kind="task", type="Task", name="Server.start"),
            "internal:",
            "C code in the task of Server.start",
        ),
        (Vertex(kind="instance", type="app.Order"), "attribute:error", "`Order.error`"),
        (
            Vertex(kind="function", type="function", name="app.serve"),
            "closure:error",
            "closure variable `error` of serve",
        ),
        (Vertex(kind="instance", type="app.Future"), "callback:", "the callback of Future"),
        (Vertex(kind="instance", type="app.Future"), "context:", "the context of Future"),
    ],
)
def test_what_stores_an_exception_is_said_as_a_programmer_would(
    keeper: Vertex, reference: str, reason: str
) -> None:
    error = Vertex(kind="exception", type="ValueError")
    frame = Vertex(kind="frame", type="frame", name="app.main")
    named = ((keeper, reference), (error, "attribute:__traceback__"), (frame, "global:keeper"))
    steps = [PathStep(vertex=vertex, number=at, reference=name) for at, (vertex, name) in enumerate(named)]
    stores = " stores the exception, whose traceback holds a frame that leads back to it"
    assert suspect(RING_RULES, steps).reason == reason + stores


def test_a_local_that_keeps_a_bound_method_is_named_with_its_frame() -> None:
    method = Vertex(kind="method", type="method", name="app.Order.pay")
    named = (
        (Vertex(kind="generator", type="generator", name="app.orders"), "local:pay"),
        (method, "attribute:__self__"),
        (Vertex(kind="instance", type="app.Order"), "attribute:all"),
    )
    steps = [PathStep(vertex=vertex, number=at, reference=name) for at, (vertex, name) in enumerate(named)]
    kept = "local `pay` of orders keeps a bound method that leads back to it"
    assert suspect(RING_RULES, steps).reason == kept


def test_nothing_left_gives_no_structures() -> None:
    assert analyse(Graph(python="3.11.7", requests=11, vertices=(), edges=())).structures == ()


# Limits


@pytest.fixture
def frozen() -> Iterator[None]:
    """Freeze what is there, as the probe does before it counts, and undo it afterwards."""
    gc.collect()
    gc.disable()
    gc.freeze()
    yield
    gc.unfreeze()
    gc.enable()


def captured_now() -> Any:
    return capture.capture(objects, references, gc.collect)


@pytest.mark.usefixtures("frozen")
def test_a_large_heap_is_cut_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "VERTICES", 10)
    for _ in range(50):
        one: list[object] = []
        one.append(one)
    graph = captured_now()
    assert len(graph.vertices) == 10
    assert re.fullmatch(r"\d+ of \d+ new objects", graph.cut[0])


@pytest.mark.usefixtures("frozen")
def test_no_time_for_references_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "SECONDS", -1.0)
    ring: list[object] = []
    ring.append(ring)
    del ring
    graph = captured_now()
    assert any(text.startswith("the references of") for text in graph.cut)


@pytest.mark.usefixtures("frozen")
def test_no_code_of_the_app_runs() -> None:
    class Loud:
        def __init__(self) -> None:
            self.me = self

        def __getattribute__(self, name: str) -> object:
            raise AssertionError(name)

        def __sizeof__(self) -> int:
            raise AssertionError

        def __eq__(self, other: object) -> bool:
            raise AssertionError

        __hash__ = None  # type: ignore[assignment]

    Loud()
    graph = captured_now()
    assert "attribute:me" in graph.texts
