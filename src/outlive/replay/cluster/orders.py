"""Orders: what a worker on another machine is asked to measure, and what it answers.

`fill` runs in the worker, which has the same version of outlive and the same data, and its own environments.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable
from pathlib import Path

import msgspec

from outlive import __version__
from outlive.errors import OutliveError
from outlive.project import Project
from outlive.records.measurement import Cell, Measurement, Origin
from outlive.records.remedy import Remedy
from outlive.replay.measure import measure
from outlive.replay.store import this_machine
from outlive.replay.subject import Shown, Subject, Task
from outlive.service import scenarios
from outlive.service.app import App
from outlive.stacks import environments, pythons
from outlive.stacks.locks import Lock
from outlive.worker.probe import COUNTING


class Counts(msgspec.Struct, frozen=True):
    """The exact numbers of a measurement, which are the same on every machine."""

    survivors: float | None
    cyclic: float | None
    leaked: float | None
    types: dict[str, float]


class Part(msgspec.Struct, frozen=True):
    """A `Task` without the paths of one machine: an app and the cells to measure."""

    app: App
    cells: tuple[Cell, ...]
    sensitivity: int
    shown: tuple[Shown, ...] = ()
    worker: str | None = None
    remedy: Remedy | None = None


class Work(msgspec.Struct, frozen=True):
    """Cells of one stack. `python` is the full version of its interpreter, as in `3.11.7`."""

    lock: Lock
    python: str
    parts: tuple[Part, ...]

    @property
    def exact(self) -> Work | None:
        """Its first cell with gc off, or None if it has none."""
        for part in self.parts:
            for cell in part.cells:
                if cell.gc == "off":
                    smallest = msgspec.structs.replace(part, cells=(cell,), shown=())
                    return msgspec.structs.replace(self, parts=(smallest,))
        return None


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """The work for one worker, with `jobs` servers at once.

    `identity` describes the client's code and data. `reference` is one exact cell, which each worker measures
    before anything else: machines that do not count alike must not be mixed.
    """

    identity: str
    work: Work
    jobs: int
    reference: Work | None = None


class Filled(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What a worker measured, where, and its counts of the reference cell."""

    origin: Origin
    measurements: tuple[Measurement, ...]
    reference: Counts | None = None


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Why a worker did not measure. `elsewhere`: another worker might be able to."""

    reason: str
    elsewhere: bool = False


Reply = Filled | Refused


def _digest(folder: Path, paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(paths):
        if path.is_file() and "__pycache__" not in path.parts:
            name = path.relative_to(folder).as_posix()
            digest.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:12]


_PACKAGE = Path(__file__).parents[2]
CODE = _digest(_PACKAGE, _PACKAGE.rglob("*.py"))
"""A digest of the code that this process runs, taken at import: files can change later."""


def identity(project: Project) -> str:
    """Return what must be the same on every machine: the version, and digests of the code and the data."""
    data = _digest(project.root, (*project.apps.rglob("*"), *project.loadtests.rglob("*.toml")))
    return f"{__version__}, counting {COUNTING}, code {CODE}, data {data}"


def own_identity() -> str:
    """Return the identity of this process and the checkout that it finds. Raises as `Project.find` does."""
    return identity(Project.find())


def host() -> str:
    """Return eight hex digits that distinguish this machine from others; results do not hold its name."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def fill(order: bytes) -> bytes:
    """Return the answer to an order. This runs in a worker."""
    return msgspec.json.encode(_fill(msgspec.json.decode(order, type=Order)))


def _fill(order: Order) -> Reply:
    try:
        identity = own_identity()
        if identity != order.identity:
            return Refused(reason=f"it has outlive {identity}, the client {order.identity}", elsewhere=True)
        interpreter = pythons.choose([], order.work.python)
        reference = _counted(order.reference) if order.reference else None
    except OutliveError as error:
        return Refused(reason=str(error), elsewhere=True)
    try:
        measurements = _measured(order.work, order.jobs)
    except OutliveError as error:
        return Refused(reason=str(error))
    origin = Origin(host=host(), machine=this_machine(), interpreter=interpreter.record)
    return Filled(origin=origin, measurements=measurements, reference=reference)


def _measured(work: Work, jobs: int) -> tuple[Measurement, ...]:
    project = Project.find()
    environment = environments.ensure(work.lock, pythons.choose([], work.python))
    folder = project.apps / work.lock.framework
    tasks = [
        Task(
            Subject(environment, part.app, folder, part.worker, part.remedy),
            part.cells,
            part.sensitivity,
            part.shown,
        )
        for part in work.parts
    ]
    every_scenario = scenarios.load_set(project.scenarios, "all")
    return tuple(measure(tasks, every_scenario, jobs, lambda _: None))


_references: dict[bytes, Counts] = {}


def _counted(reference: Work) -> Counts | None:
    """Return what this process counts of the reference cell, measured once, or None if that fails."""
    key = msgspec.json.encode(reference)
    if key not in _references:
        (m,) = _measured(reference, jobs=1)
        if m.status != "measured":
            return None
        _references[key] = Counts(
            m.survivors_per_request, m.cyclic_per_request, m.leaked_per_request, m.types
        )
    return _references[key]
