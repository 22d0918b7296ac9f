"""Measuring: cells of one or more stacks, each in a fresh worker, several servers at once."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import msgspec

from outlive.apps import App, Worker
from outlive.environments import Environment
from outlive.errors import FaultError, OutliveError
from outlive.growth import WARM_UP, Tally, analyse, plan
from outlive.measurement import Collector, Connection, Measurement, Phase
from outlive.replay import replay, verify
from outlive.scenarios import Scenario
from outlive.server import Automatic, Count, ProbeLine, Server

REPEATS = 8
"""Times that a phase is repeated because a thread was started in it; a thread pool has grown by then."""
BATCH = 8
"""Cells that one server measures, one fresh worker each, before the next server has its turn."""


class Cell(msgspec.Struct, frozen=True, order=True):
    """One scenario over one kind of connection with one gc policy."""

    scenario: str
    connection: Connection
    gc: str

    @classmethod
    def of(cls, measurement: Measurement) -> Self:
        """Return the cell that was measured."""
        return cls(measurement.scenario, measurement.connection, measurement.gc)


class Subject(msgspec.Struct, frozen=True):
    """What is measured: an installed stack with the app and the worker that serve it."""

    environment: Environment
    app: App
    folder: Path
    worker: str | None = None
    """Name of the gunicorn worker; None for the app's default for each connection."""

    def why_not(self, cell: Cell) -> str:
        """Return why no worker serves this cell."""
        app = self.app
        chosen = (app.named(self.worker),) if self.worker else app.workers
        return app.why_not(cell.connection, chosen[0]) or ""

    def describe(self, cell: Cell, worker: Worker | None, **fields: object) -> Measurement:
        """Return a measurement of `cell` on this stack with the other `fields`."""
        lock = self.environment.lock
        return Measurement(
            framework=lock.framework,
            release=lock.release,
            python=lock.python,
            app_version=self.app.app_version,
            scenario=cell.scenario,
            connection=cell.connection,
            gc=cell.gc,
            worker=worker.name if worker else self.worker or "",
            lock=lock.digest,
            **fields,  # type: ignore[arg-type]
        )


class Task(msgspec.Struct, frozen=True):
    """A subject and the cells of it that are wanted."""

    subject: Subject
    cells: tuple[Cell, ...]


class _Batch(msgspec.Struct, frozen=True):
    subject: Subject
    worker: Worker
    cells: tuple[Cell, ...]


def measure(
    tasks: Sequence[Task],
    scenarios: Iterable[Scenario],
    jobs: int,
    done: Callable[[Measurement], None],
) -> list[Measurement]:
    """Return a measurement of each cell, whatever came of it; `done` is called with each as it is ready.

    A cell that fails is recorded with the reason, the others go on. KeyboardInterrupt ends all servers.
    """
    return _Run({scenario.name: scenario for scenario in scenarios}, done).all(tasks, jobs)


class _Run:
    def __init__(self, scenarios: dict[str, Scenario], done: Callable[[Measurement], None]) -> None:
        self.scenarios = scenarios
        self.done = done
        self.stopped = threading.Event()
        self.servers: set[Server] = set()

    def all(self, tasks: Sequence[Task], jobs: int) -> list[Measurement]:
        results = [unsupported for task in tasks for unsupported in self._unsupported(task)]
        with ThreadPoolExecutor(jobs, thread_name_prefix="outlive-job") as pool:
            futures = [pool.submit(self._batch, batch) for batch in _batches(tasks)]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
                results += [measurement for future in futures for measurement in future.result()]
            except BaseException:
                self.stopped.set()
                for server in tuple(self.servers):
                    server.kill()
                pool.shutdown(cancel_futures=True)
                raise
        return results

    def _unsupported(self, task: Task) -> Iterator[Measurement]:
        subject = task.subject
        for cell in task.cells:
            if subject.app.worker(cell.connection, subject.worker) is None:
                reason = subject.why_not(cell)
                measurement = subject.describe(cell, None, status="unsupported", reason=reason)
                self.done(measurement)
                yield measurement

    def _batch(self, batch: _Batch) -> list[Measurement]:
        results: list[Measurement] = []
        left = list(batch.cells)
        while left and not self.stopped.is_set():
            served = False
            try:
                with self._serving(batch) as server:
                    while left and not self.stopped.is_set():
                        measurement = self._measured(batch, server, left[0])
                        left.pop(0)
                        results.append(measurement)
                        self.done(measurement)
                        served = True
                        if measurement.status == "failed":
                            break  # whatever it was, the next cell gets a new server
            except OutliveError as error:
                if served or self.stopped.is_set():
                    continue  # it died between two cells: the next one gets a new server
                # It does not even start: neither will it for the others.
                reason = str(error)
                for cell in left:
                    failed = batch.subject.describe(cell, batch.worker, status="failed", reason=reason)
                    results.append(failed)
                    self.done(failed)
                left.clear()
        return results

    @contextmanager
    def _serving(self, batch: _Batch) -> Iterator[Server]:
        """Yield a server that an interruption ends."""
        subject = batch.subject
        with Server(subject.environment, subject.app, batch.worker, subject.folder) as server:
            self.servers.add(server)
            try:
                yield server
            finally:
                self.servers.discard(server)

    def _measured(self, batch: _Batch, server: Server, cell: Cell) -> Measurement:
        line = server.fresh_worker()
        try:
            fields = _Cell(server, line, self.scenarios[cell.scenario], cell).measure()
        except OutliveError as error:
            reason = "the worker died" if line.died() and not self.stopped.is_set() else str(error)
            return batch.subject.describe(cell, batch.worker, status="failed", reason=reason)
        return batch.subject.describe(cell, batch.worker, status="measured", **fields)


class _Cell:
    """The measurement of one cell in one fresh worker."""

    def __init__(self, server: Server, line: ProbeLine, scenario: Scenario, cell: Cell) -> None:
        self.server = server
        self.line = line
        self.scenario = scenario
        self.cell = cell
        self.collecting = cell.gc != "off"
        self.counts: list[Count] = []
        self.tallies: list[Tally] = []

    def measure(self) -> dict[str, object]:
        """Return the fields of a `Measurement` that the counts give."""
        answer = verify(self.server.address, self.scenario, self.cell.connection, self.line.rest)
        self._replay(WARM_UP)
        self.threads = self.line.begin(self.cell.gc).threads
        while lengths := plan(self.phases, collecting=self.collecting):
            for requests in lengths:
                self._phase(requests)
        found = analyse(self.tallies, collecting=self.collecting)
        common = {
            "answer": answer,
            "requests": sum(phase.requests for phase in self.phases),
            "growth": found.growth,
            "leaked_per_request": float(found.leaked),
            "peak_rss_bytes": self.counts[-1].peak_rss,
            "phases": self.phases,
        }
        if self.collecting:  # survivors are counted with automatic collection off, by definition
            return common | {
                "intercept": float(found.leaked_intercept),
                "blocks_per_request": float(found.blocks_kept),
                "heap_bytes_per_request": _float(found.heap_kept),
                "types": found.types_kept,
                "collector": _collector(self.phases, [count.automatic for count in self.counts]),
            }
        return common | {
            "survivors_per_request": float(found.survivors),
            "cyclic_per_request": float(found.cyclic),
            "intercept": float(found.intercept),
            "blocks_per_request": float(found.blocks),
            "heap_bytes_per_request": _float(found.heap),
            "types": found.types,
        }

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The phases so far."""
        return tuple(tally.phase for tally in self.tallies)

    def _phase(self, requests: int) -> None:
        """Replay and count; again if a thread was started meanwhile, for a thread has objects of its own."""
        for _ in range(REPEATS):
            self._replay(requests)
            count = self.line.count()
            if not count.idle:
                raise FaultError(
                    f"{self.scenario.name}: the worker never came to rest, so it cannot be counted"
                )
            if count.threads == self.threads:
                self.counts.append(count)
                self.tallies.append(Tally(_phase(requests, count), count.types, count.types_kept))
                return
            self.threads = count.threads
        raise FaultError(
            f"{self.scenario.name}: each of {REPEATS} phases of {requests} requests started threads"
        )

    def _replay(self, requests: int) -> None:
        replay(self.server.address, self.scenario, self.cell.connection, requests, self.line.rest)


def _batches(tasks: Sequence[Task]) -> list[_Batch]:
    """Return what each server has to do; those of different stacks take turns, so that none is favoured."""
    by_task: list[list[_Batch]] = []
    for task in tasks:
        groups: dict[Worker, list[Cell]] = defaultdict(list)
        for cell in task.cells:
            worker = task.subject.app.worker(cell.connection, task.subject.worker)
            if worker is not None:
                groups[worker].append(cell)
        by_task.append(
            [
                _Batch(task.subject, worker, part)
                for worker, cells in groups.items()
                for part in _chunks(cells)
            ]
        )
    longest = max(map(len, by_task), default=0)
    return [batches[turn] for turn in range(longest) for batches in by_task if turn < len(batches)]


def _chunks(cells: Sequence[Cell]) -> list[tuple[Cell, ...]]:
    """Return the cells in parts of at most BATCH, each a mixture, so that none has all the slow scenarios."""
    parts = -(-len(cells) // BATCH)
    return [tuple(cells[part::parts]) for part in range(parts)]


def _phase(requests: int, count: Count) -> Phase:
    return Phase(
        requests=requests,
        survivors=count.survivors,
        leaked=count.leaked,
        blocks=count.blocks,
        blocks_kept=count.blocks_kept,
        heap=count.heap,
        heap_kept=count.heap_kept,
        rss=count.rss,
        fds=count.fds,
        threads=count.threads,
    )


def _collector(phases: Sequence[Phase], automatic: Sequence[Automatic]) -> Collector:
    requests = sum(phase.requests for phase in phases)
    return Collector(
        collections_per_1000_requests=1000 * sum(a.collections for a in automatic) / requests,
        pause_ms_per_1000_requests=1e6 * sum(a.pause for a in automatic) / requests,
        longest_pause_ms=1e3 * max(a.longest for a in automatic),
        freed_per_request=sum(a.freed for a in automatic) / requests,
    )


def _float(value: object) -> float | None:
    return None if value is None else float(value)  # type: ignore[arg-type]
