"""The engine: which measurements serve which stack."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from comparisons import phase
from measuring import CHECKOUT
from outlive.files import with_checksum
from outlive.project import Project
from outlive.records.measurement import Cell, Measurement
from outlive.records.stack import Stack
from outlive.replay import compact, engine, place, store
from outlive.replay.engine import SILENT, CellRequest
from outlive.replay.subject import Task
from outlive.service import app as apps
from outlive.service import scenarios
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
        tasks: Sequence[Task], known: Iterable[Scenario], _: int, done: Callable[[Measurement], object]
    ) -> list[Measurement]:
        named = {scenario.name: scenario for scenario in known}
        found = [
            task.subject.describe(
                cell,
                task.subject.serving(cell.connection),
                status="measured",
                sent=task.subject.app.sent(named[cell.scenario]),
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


def run(
    project: Project, *stacks: Prepared, fresh: bool = False, changed: dict[str, Any] | None = None
) -> list[set[int | None]]:
    """Return by what the measurements of each side are told from all others; `changed` is not-found."""
    ok, missing = find(project.scenarios, ("ok", "not-found"), None)
    request = CellRequest((ok, msgspec.structs.replace(missing, **(changed or {}))), CELLS, fresh=fresh)
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


@pytest.mark.parametrize(
    ("changed", "again"),
    [
        ({"request": scenarios.Request(path="/elsewhere")}, 2),
        ({"request": scenarios.Request(path="/no-such-page", headers={"Accept": "*/*"})}, 2),
        ({"then": (scenarios.Request(path="/"),)}, 2),
        ({"client": "half-close"}, 2),
        ({"summary": "in other words", "development": True, "expect": ("404", "410")}, 0),
    ],
)
def test_a_scenario_that_sends_something_else_is_measured_again(
    project: Project, stack: Prepared, changed: dict[str, Any], again: int
) -> None:
    ((before,), (after,)) = run(project, stack), run(project, stack, changed=changed)
    assert len(after - before) == again
    assert run(project, stack, changed=changed) == [after]


def test_how_an_application_is_served_is_part_of_what_was_sent() -> None:
    app = msgspec.structs.replace(apps.load(CHECKOUT, "flask"), own=apps.Own("here", "code"))
    (scenario,) = find(CHECKOUT.scenarios, ("ok",), None)
    own = [
        apps.Own("elsewhere", "copy", user="Steady", start_limit=5.0),
        apps.Own("here", "code", env=(("DEBUG", "1"),)),
        apps.Own("here", "code", before=("migrate",)),
    ]
    same = [app.sent(scenario) == msgspec.structs.replace(app, own=one).sent(scenario) for one in own]
    assert same == [True, False, False]
    assert app.sent(scenario) != msgspec.structs.replace(app, target="other:app").sent(scenario)


def test_what_is_stored_and_does_not_say_what_was_sent_is_taken(project: Project, stack: Prepared) -> None:
    (first,) = run(project, stack)
    path = next(project.measured.rglob("py3.11-*.json"))
    document = store.read(path)
    unsaid = [msgspec.structs.replace(one, sent=None) for one in document.measurements]
    path.write_bytes(
        with_checksum(compact.encode(msgspec.structs.replace(document, measurements=tuple(unsaid))))
    )
    assert run(project, stack) == [first]
