"""What changes with the dependencies that each release came with, and which package causes the difference."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from comparisons import cell, leak, lost
from measuring import CHECKOUT
from outlive.api import era
from outlive.comparison.cells import judge, match
from outlive.records.measurement import Cell, Measurement
from outlive.records.stack import Package, Stack
from outlive.replay import engine
from outlive.replay.engine import SILENT, CellRequest
from outlive.stacks import swaps
from outlive.stacks.locks import Lock
from verbs import asked

STACKS = Stack("flask", "2.1.3"), Stack("flask", "2.2.0")
CELLS = tuple(Cell(name, "close", "off") for name in ("ok", "not-found"))
WERKZEUG = leak("ring", 9, package="werkzeug")


def end(release: str, werkzeug: str, digest: str) -> Any:
    packages = (Package("click", "8.1.3"), Package("flask", release), Package("werkzeug", werkzeug))
    lock = Lock("flask", release, "3.11", packages, "", None)
    of = SimpleNamespace(framework="flask", version=release)
    return SimpleNamespace(release=of, lock=lock, identity=digest, interpreter=SimpleNamespace(minor="3.11"))


BEFORE, AFTER = end("2.1.3", "2.1.2", "a"), end("2.2.0", "2.2.1", "c")
CONTROLLED = SimpleNamespace(before=BEFORE, after=end("2.2.0", "2.2.1", "b"))
SIDES = (
    [cell("ok", 0), cell("not-found", 83)],
    [cell("ok", 9, leaks=(WERKZEUG,)), cell("not-found", 93, leaks=(WERKZEUG,))],
)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Cell, ...]]:
    """Return the cells of each run of the engine; what is swapped alone leaves 9 objects in `ok`."""
    runs: list[tuple[Cell, ...]] = []
    stored = {"a": SIDES[0], "c": SIDES[1]}

    def run(_: object, stacks: Sequence[Any], request: CellRequest, __: object) -> list[list[Measurement]]:
        runs.append(request.cells)
        return [
            [
                next(m for m in stored.get(one.identity, [cell("ok", 9)]) if Cell.of(m) == wanted)
                for wanted in request.cells
            ]
            for one in stacks
        ]

    monkeypatch.setattr(era, "prepare_each", lambda *_, **__: (BEFORE, AFTER))
    monkeypatch.setattr(engine, "known", lambda _, one, __: stored[one.identity])
    monkeypatch.setattr(engine, "run", run)
    monkeypatch.setattr(swaps, "swapped", lambda *_: end("2.1.3", "2.2.1", "d"))
    return runs


def said(controlled: float = 1, pair: Any = CONTROLLED, stacks: tuple[Stack, Stack] = STACKS) -> str | None:
    """Return what is said where holding the dependencies equal changes each cell by so much."""
    sides = [cell("ok", 8), cell("not-found", 92)], [cell("ok", 8), cell("not-found", 92 + controlled)]
    rows = judge(match(*sides)[0])
    request = CellRequest((), CELLS)
    return era.sentences(CHECKOUT, stacks, pair, rows, request=request, progress=SILENT)


def test_the_package_that_makes_the_difference_was_swapped_alone(measured: list[tuple[Cell, ...]]) -> None:
    assert said() == (
        "With the dependencies of each release date (1 package differs), 2 of 2 cells change differently: ok "
        "0 → 9 objects per request instead of 8 (close, gc off), and 1 more. werkzeug 2.1.2 → 2.2.1 causes "
        "the difference: 0 → 9 objects per request on its own (ok, close, gc off)."
    )
    assert measured == [CELLS[:1]]


def test_what_was_not_measured_is_not_named(
    measured: list[tuple[Cell, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    unnamed = (
        "Which package causes the difference was not measured; to find out: `outlive attribute flask==2.1.3 "
        "flask==2.2.0 --python 3.11 --scenario ok --connection close --gc off`."
    )
    monkeypatch.setattr(swaps, "swapped", lambda *_: None)
    assert str(said()).endswith(unnamed)
    params = asked(unnamed.split("`")[1])
    assert (params["what"], params["scenario"]) == (("flask==2.1.3", "flask==2.2.0"), "ok")
    monkeypatch.setattr(swaps, "swapped", lambda *_: end("2.1.3", "2.2.1", "d"))
    monkeypatch.setattr(engine, "run", lambda *_: [[lost("ok", "the worker died")]])
    assert str(said()).endswith(unnamed)
    monkeypatch.setattr(engine, "run", lambda *_: [[cell("ok", 0)]])
    assert str(said()).endswith(unnamed)
    monkeypatch.setattr(engine, "run", lambda *_: [[cell("ok", 4)]])
    assert str(said()).endswith(
        "werkzeug 2.1.2 → 2.2.1: 0 → 4 objects per request on its own (ok, close, gc off)."
    )


def test_the_framework_itself_changes_in_both_answers(
    measured: list[tuple[Cell, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = leak("ring", 9, package="flask")
    sides = {"a": SIDES[0], "c": [cell("ok", 9, leaks=(own,)), cell("not-found", 93, leaks=(own,))]}
    monkeypatch.setattr(engine, "known", lambda _, one, __: sides[one.identity])
    assert "Which package causes the difference was not measured" in str(said())
    assert not measured


def test_without_stored_results_only_ok_is_measured(
    measured: list[tuple[Cell, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "known", lambda *_: ())
    assert "1 of 1 cell changes differently: ok 0 → 9 objects per request instead of 8 (close" in str(said())
    assert measured == [CELLS[:1], CELLS[:1]]


@pytest.mark.usefixtures("measured")
def test_there_is_no_second_answer_where_it_is_the_first_or_a_stack_names_packages() -> None:
    assert said(pair=SimpleNamespace(before=BEFORE, after=AFTER)) is None
    pinned = msgspec.structs.replace(STACKS[0], pins=(Package("werkzeug", "2.1.2"),))
    assert said(stacks=(pinned, STACKS[1])) is None
