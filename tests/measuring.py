"""What the tests of measuring share: real stacks, newest releases on Python 3.11, with apps of ours."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path

import msgspec

from outlive.project import Project
from outlive.records.measurement import Cell, Connection, Measurement
from outlive.records.stack import Stack
from outlive.releases.catalogue import Catalogue
from outlive.replay.measure import measure
from outlive.replay.subject import Subject, Task
from outlive.service import app as apps
from outlive.service import scenarios
from outlive.service.scenarios import Request, Scenario
from outlive.stacks import environments
from outlive.stacks.environments import Environment
from outlive.stacks.prepare import prepare

CHECKOUT = Project(Path(__file__).parents[1])
PLANTED = Path(__file__).parent / "planted"
SCENARIOS = scenarios.load(CHECKOUT.scenarios)
FRAMEWORKS = ("flask", "aiohttp")
OK = Scenario("ok", "a plain 200", Request(path="/ok"), ("200",))


@functools.cache
def environment(framework: str, worker: str | None = None) -> Environment:
    """Return the environment of the newest release, with the packages that a gunicorn worker needs."""
    release = Catalogue.load(CHECKOUT, framework).newest()
    packages = apps.packages(CHECKOUT, framework, worker)
    prepared = prepare(CHECKOUT, Stack(framework, release.version, "3.11"), packages=packages)
    return environments.ensure(prepared.lock, prepared.interpreter)


def reference(framework: str, worker: str | None = None) -> Subject:
    """Return the reference app on the newest release."""
    folder = CHECKOUT.apps / framework
    return Subject(environment(framework, worker), apps.load(CHECKOUT, framework), folder, worker)


def planted(framework: str, plant: str, worker: str | None = None) -> Subject:
    """Return the reference app with one of the functions of `planted/plants.py` called for each request."""
    return served(framework, f"v1:app({plant!r})", PLANTED / framework, worker)


def served(framework: str, target: str, folder: Path, worker: str | None = None) -> Subject:
    """Return another app, which gunicorn imports from `folder`."""
    app = msgspec.structs.replace(apps.load(CHECKOUT, framework), target=target)
    return Subject(environment(framework, worker), app, folder, worker)


def cell(scenario: str = "ok", connection: Connection = "close", gc: str = "off") -> Cell:
    return Cell(scenario, connection, gc)


def measured(
    subject: Subject, *cells: Cell, scenarios: Iterable[Scenario] = SCENARIOS, jobs: int = 1
) -> list[Measurement]:
    """Return the measurements of `cells`, in their order."""
    found = measure([Task(subject, cells)], scenarios, jobs, lambda _: None)
    by_cell = {Cell(one.scenario, one.connection, one.gc): one for one in found}
    assert len(by_cell) == len(found) == len(cells)
    return [by_cell[one] for one in cells]


def checkout(folder: Path) -> dict[str, str]:
    """Return the variable that names `folder` as a checkout like ours in which nothing was measured yet."""
    for name in ("apps", "loadtests", "releases"):
        (folder / name).symlink_to(CHECKOUT.root / name)
    return {"OUTLIVE_ROOT": str(folder)}
