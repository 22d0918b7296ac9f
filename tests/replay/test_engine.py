"""The engine: which measurements serve which stack."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec
import pytest

from comparisons import phase
from measuring import CHECKOUT
from outlive.project import Project
from outlive.records.measurement import Cell, Measurement
from outlive.records.stack import Stack
from outlive.replay import engine, place
from outlive.replay.engine import SILENT, Request
from outlive.replay.subject import Task
from outlive.service.scenarios import Scenario, find
from outlive.stacks import environments
from outlive.stacks.environments import Environment
from outlive.stacks.prepare import Prepared, prepare
from reporting import checkout

CELLS = tuple(Cell(name, "close", gc) for name in ("ok", "not-found") for gc in ("on", "off"))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a checkout in which each measurement is told from all others by its peak RSS."""
    made = iter(range(1, 1000))

    def measure(
        tasks: Sequence[Task], _: Iterable[Scenario], __: int, done: Callable[[Measurement], object]
    ) -> list[Measurement]:
        found = [
            task.subject.describe(
                cell,
                task.subject.serving(cell.connection),
                status="measured",
                growth="none",
                requests=34,
                leaked_per_request=0.0,
                survivors_per_request=0.0 if cell.gc == "off" else None,
                cyclic_per_request=0.0 if cell.gc == "off" else None,
                phases=(phase(11), phase(23)),
                peak_rss_bytes=next(made),
            )
            for task in tasks
            for cell in task.cells
        ]
        for one in found:
            done(one)
        return found

    monkeypatch.setattr(place, "measure", measure)
    monkeypatch.setattr(
        environments, "ensure", lambda lock, _: Environment(tmp_path, tmp_path / "bin" / "python", lock)
    )
    return checkout(tmp_path / "checkout")


@pytest.fixture(scope="module")
def stack() -> Prepared:
    return prepare(CHECKOUT, Stack("flask", "3.1.3", "3.11"))


def run(project: Project, *stacks: Prepared, fresh: bool = False) -> list[set[int | None]]:
    """Return by what the measurements of each side are told from all others."""
    request = Request(find(project.scenarios, ("ok", "not-found"), None), CELLS, fresh=fresh)
    return [{m.peak_rss_bytes for m in side} for side in engine.run(project, stacks, request, SILENT)]


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("stored", [True, False])
def test_two_sides_are_two_measurements(
    project: Project, stack: Prepared, *, fresh: bool, stored: bool
) -> None:
    known = run(project, stack)[0] if stored else set()
    before, after = run(project, stack, stack, fresh=fresh)
    assert (len(before), len(after), len(before & after)) == (len(CELLS), len(CELLS), 0)
    assert (before == known) is (stored and not fresh)


def test_what_is_stored_serves_one_side(project: Project, stack: Prepared) -> None:
    first = run(project, stack)
    assert run(project, stack) == first
    other = msgspec.structs.replace(
        stack, lock=msgspec.structs.replace(stack.lock, text=stack.lock.text + "\n")
    )
    before, after = run(project, stack, other)
    assert before == first[0]
    assert not before & after
