"""A folder of results as a database: one file for each stack, named by what it holds, whole or not there.

`measurements/<framework>/<release>/py<X.Y>-<lock>.json` is a `Document` in its compact form. What was
measured with a remedy is in `remedies/<framework>/<release>/<remedy>-v<N>/`: none is taken for the plain
release. There are two folders: the user's own, which is written to and read first, and the published one.
"""

from __future__ import annotations

import datetime as dt
import os
import platform
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import msgspec
from filelock import FileLock

from outlive import __version__
from outlive.errors import FaultError
from outlive.files import AGAIN, decode, with_checksum, write_text
from outlive.project import Project, cache_dir
from outlive.records import plausible
from outlive.records.measurement import Document, Machine, Measurement, Provenance, StackRecord
from outlive.records.remedy import Remedy
from outlive.replay import compact
from outlive.wording import one_line
from outlive.worker.probe import COUNTING

KEEPING = 2.0
"""Seconds of measuring that are kept at a time, and that a process may lose that is killed."""


def provenance(stacks: Iterable[StackRecord]) -> Provenance:
    """Return by what and on what the measurements of `stacks` are made, now."""
    return Provenance(
        outlive=__version__,
        counting=COUNTING,
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        machine=Machine(
            system=platform.system(),
            kernel=platform.release(),
            architecture=platform.machine(),
            libc=" ".join(platform.libc_ver()).strip(),
            cpus=os.cpu_count() or 1,
        ),
        stacks=tuple(stacks),
    )


def own(project: Project, stack: StackRecord) -> Path:
    """Return the folder of results for what is measured of a stack: what is no release is never published."""
    return project.work / "results" if project.publishes and not stack.released else project.measured


def folder(results: Path, stack: StackRecord, remedy: Remedy | None = None) -> Path:
    """Return the folder of a stack's replays among results; what has a remedy has its own."""
    if remedy:
        return results / "remedies" / stack.framework / stack.release / remedy.key
    return results / "measurements" / stack.framework / stack.release


class Store:
    """The measurements of one stack: those that are published, and in `path` the user's own."""

    def __init__(self, project: Project, stack: StackRecord, remedy: Remedy | None = None) -> None:
        self.stack = stack
        name = f"py{stack.python}-{stack.lock}.json"
        self.path = folder(own(project, stack), stack, remedy) / name
        self._published = folder(project.published, stack, remedy) / name

    def load(self) -> tuple[Measurement, ...]:
        """Return what is kept and was counted by the same rules, the user's own before what is published.

        Raises FaultError where a file is not such a document.
        """
        found: dict[tuple[str, str, str, str, int], Measurement] = {}
        for path in (self._published, self.path):
            published = path == self._published
            document = _counted_alike(_found(path))
            for m in document.measurements if document else ():
                found[key(m)] = msgspec.structs.replace(m, published=True) if published else m
        return tuple(found[name] for name in sorted(found))

    def add(self, new: Iterable[Measurement]) -> None:
        """Keep `new` in place of the user's own of the same cells; what failed is not kept."""
        replacing = {key(m): m for m in new if m.status == "measured"}
        if not replacing:
            return
        lock = cache_dir() / "results" / f"{self.stack.framework}-{self.path.stem}.lock"
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(lock):
                old = _counted_alike(_found(self.path))
                kept = {key(m): m for m in old.measurements} | replacing if old else replacing
                document = Document(
                    provenance=provenance([_united(self.stack, old)]),
                    measurements=tuple(kept[name] for name in sorted(kept)),
                )
                write_text(self.path, with_checksum(compact.encode(document)).decode())
        except OSError as error:
            raise FaultError(f"{lock} cannot be written: {error.strerror}") from None


def _found(path: Path) -> Document | None:
    try:
        return read(path)
    except FileNotFoundError:
        return None


def _counted_alike(document: Document | None) -> Document | None:
    return document if document and document.provenance.counting == COUNTING else None


def _united(stack: StackRecord, old: Document | None) -> StackRecord:
    """Return `stack` with the interpreters, too, on which what is kept of it was measured before."""
    before = (one for each in old.provenance.stacks for one in each.interpreters) if old else ()
    return msgspec.structs.replace(stack, interpreters=tuple(dict.fromkeys((*stack.interpreters, *before))))


class Keeper:
    """Keeps measurements as they come, those of some seconds at a time: each time writes a whole file.

    What ends the context, be it an interruption, all that came is kept.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept = time.monotonic()
        self._waiting: dict[Path, tuple[Store, list[Measurement]]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._keep()

    def add(self, store: Store, measurement: Measurement) -> None:
        """Keep a measurement, soon. Raises FaultError where nothing can be written."""
        with self._lock:
            self._waiting.setdefault(store.path, (store, []))[1].append(measurement)
            if time.monotonic() - self._kept >= KEEPING:
                self._keep()

    def _keep(self) -> None:
        self._kept = time.monotonic()
        while self._waiting:
            _, (store, measurements) = self._waiting.popitem()
            store.add(measurements)


def read(path: Path) -> Document:
    """Return the measurements in the file `path`.

    Raises as `decode` does, and FaultError where its counts contradict each other.
    """
    document = decode(path, Document, {compact.SCHEMA_VERSION: compact.decode})
    for measurement in document.measurements:
        for fault in plausible.contradictions(measurement):
            raise FaultError(f"{path} was changed or damaged: {one_line(fault)}; {AGAIN}")
    return document


def key(measurement: Measurement) -> tuple[str, str, str, str, int]:
    """Return what identifies a cell within a stack."""
    m = measurement
    return (m.scenario, m.connection, m.gc, m.worker, m.app_version)
