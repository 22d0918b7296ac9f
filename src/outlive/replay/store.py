"""Stores measurements in a folder: one file for each stack, named after it and written as a whole.

`measurements/<framework>/<release>/py<X.Y>-<lock>.json` is a `Document` in its compact form. Measurements
with a remedy are in `remedies/<framework>/<release>/<remedy>-v<N>/`, apart from the plain release's. There
are two folders: the user's, which is written to and has precedence, and the published one.
"""

from __future__ import annotations

import datetime as dt
import os
import platform
import threading
import time
from collections.abc import Collection, Iterable
from functools import partial
from pathlib import Path
from typing import Self

import msgspec
from filelock import FileLock

from outlive import __version__
from outlive.errors import FaultError
from outlive.files import AGAIN, SCHEMA_VERSION, decode, unwritten, with_checksum, write_text
from outlive.project import Project, cache_dir
from outlive.records import plausible
from outlive.records.measurement import Document, Machine, Measurement, Provenance, StackRecord
from outlive.records.remedy import Remedy
from outlive.replay import compact
from outlive.wording import one_line
from outlive.worker.probe import COUNTING

KEEPING = 2.0
"""Seconds between writes: a process that is killed loses no more than that."""


def provenance(stacks: Iterable[StackRecord]) -> Provenance:
    """Return the provenance of measurements of `stacks` that this process makes now."""
    return Provenance(
        outlive=__version__,
        counting=COUNTING,
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        machine=this_machine(),
        stacks=tuple(stacks),
    )


def this_machine() -> Machine:
    """Return a description of this machine."""
    return Machine(
        system=platform.system(),
        kernel=platform.release(),
        architecture=platform.machine(),
        libc=" ".join(platform.libc_ver()).strip(),
        cpus=os.cpu_count() or 1,
    )


def own(project: Project, stack: StackRecord) -> Path:
    """Return the results folder for new measurements of a stack; only releases are ever published."""
    return project.work / "results" if project.publishes and not stack.released else project.measured


def folder(results: Path, stack: StackRecord, remedy: Remedy | None = None) -> Path:
    """Return the folder in `results` for the replays of a stack, without or with a remedy."""
    if remedy:
        return results / "remedies" / stack.framework / stack.release / remedy.key
    return of_framework(results, stack.framework) / stack.release


def of_framework(results: Path, framework: str) -> Path:
    """Return the folder in `results` for the plain replays of a framework, one folder for each release."""
    return results / "measurements" / framework


def _name(subject: StackRecord | Measurement) -> str:
    return f"py{subject.python}-{subject.lock}.json"


class Store:
    """The measurements of one stack: the published ones, and the user's in `path`."""

    def __init__(self, project: Project, stack: StackRecord, remedy: Remedy | None = None) -> None:
        self.stack = stack
        name = _name(stack)
        self.path = folder(own(project, stack), stack, remedy) / name
        self._published = folder(project.published, stack, remedy) / name

    def load(self, scenarios: Collection[str] | None = None) -> tuple[Measurement, ...]:
        """Return the stored measurements counted by the current rules; the user's have precedence.

        With `scenarios`, others can be missing. Raises FaultError if a file is not a valid document.
        """
        by_key: dict[tuple[str, str, str, str, int], Measurement] = {}
        for path in (self._published, self.path):
            published = path == self._published
            document = _counted_alike(path, scenarios)
            for m in document.measurements if document else ():
                by_key[key(m)] = msgspec.structs.replace(m, published=True) if published else m
        return tuple(by_key[name] for name in sorted(by_key))

    def add(self, new: Iterable[Measurement]) -> None:
        """Store `new` in place of the user's measurements of the same cells; failed ones are not stored."""
        replacing = {key(m): m for m in new if m.status == "measured"}
        if not replacing:
            return
        lock = cache_dir() / "results" / f"{self.stack.framework}-{self.path.stem}.lock"
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(lock):
                old = _counted_alike(self.path)
                by_key = {key(m): m for m in old.measurements} | replacing if old else replacing
                document = Document(
                    provenance=provenance([_united(self.stack, old)]),
                    measurements=tuple(by_key[name] for name in sorted(by_key)),
                )
                write_text(self.path, with_checksum(compact.encode(document)).decode())
        except OSError as error:
            raise unwritten(lock, error) from None


def _counted_alike(path: Path, scenarios: Collection[str] | None = None) -> Document | None:
    """Return the document in a file, or None if there is none or it was counted by other rules."""
    try:
        document = read_in_place(path, scenarios)
    except FileNotFoundError:
        return None
    return document if document.provenance.counting == COUNTING else None


def _united(stack: StackRecord, old: Document | None) -> StackRecord:
    """Return `stack` with the interpreters of its stored measurements added."""
    stacks = (stack, *old.provenance.stacks) if old else (stack,)
    interpreters = dict.fromkeys(interpreter for record in stacks for interpreter in record.interpreters)
    return msgspec.structs.replace(stack, interpreters=tuple(interpreters))


class Keeper:
    """A context manager that stores measurements as they come, a few seconds' worth at a time.

    All are stored however the context ends, even if it is interrupted.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._kept = time.monotonic()
        self._waiting: dict[Path, tuple[Store, list[Measurement]]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.keep()

    def add(self, store: Store, measurement: Measurement) -> None:
        """Store a measurement within a few seconds. Raises FaultError if nothing can be written."""
        with self._lock:
            self._waiting.setdefault(store.path, (store, []))[1].append(measurement)
            if time.monotonic() - self._kept >= KEEPING:
                self.keep()

    def keep(self) -> None:
        """Store everything that is waiting."""
        with self._lock:
            self._kept = time.monotonic()
            while self._waiting:
                _, (store, measurements) = self._waiting.popitem()
                store.add(measurements)


def read(path: Path, scenarios: Collection[str] | None = None) -> Document:
    """Return the measurements in the file `path`; with `scenarios`, others can be missing.

    Raises as `decode` does, and FaultError if its counts contradict each other or are too large.
    """

    def decoded(version: int, data: bytes) -> Document:
        plain, faults = plausible.plain(data)
        for fault in faults:
            raise FaultError(f"{path} cannot be right: {fault}; remove it to measure again")
        compacted = version == compact.SCHEMA_VERSION
        return compact.decode(plain, scenarios) if compacted else msgspec.convert(plain, Document)

    versions = (SCHEMA_VERSION, compact.SCHEMA_VERSION)
    document = decode(path, Document, {version: partial(decoded, version) for version in versions})
    for measurement in document.measurements:
        for fault in plausible.contradictions(measurement):
            raise FaultError(f"{path} was changed or damaged: {one_line(fault)}; {AGAIN}")
    return document


def read_in_place(path: Path, scenarios: Collection[str] | None = None) -> Document:
    """Do as `read` does, in a folder of results. Also raises FaultError if the file belongs elsewhere."""
    document = read(path, scenarios)
    by_stack = {(m.framework, m.release, m.python, m.lock): m for m in document.measurements}
    for m in by_stack.values():
        if path.name != _name(m) or m.release not in path.parts[-3:-1]:
            stack = one_line(f"{m.framework} {m.release}, Python {m.python}, lock {m.lock}")
            raise FaultError(f"{path} has measurements of {stack}: it was copied or renamed; remove it")
    return document


def key(measurement: Measurement) -> tuple[str, str, str, str, int]:
    """Return what identifies a cell within a stack."""
    m = measurement
    return (m.scenario, m.connection, m.gc, m.worker, m.app_version)
