"""Measures cells of one or more stacks, each in a fresh worker, with several servers at once."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager, suppress
from functools import partial

import msgspec

from outlive.errors import FaultError, OutliveError
from outlive.records.measurement import GROWING, Cell, Collector, Connection, Growth, Measurement, Phase
from outlive.replay.driver import Driver
from outlive.replay.explanation import sample
from outlive.replay.subject import Task
from outlive.retention import confirmation, residue, structures
from outlive.retention.growth import WARM_UP, GrowthAnalysis, PhaseTally, analyse, lengths, plan
from outlive.service import remedies
from outlive.service.app import Worker
from outlive.service.gunicorn import Server
from outlive.service.probe_line import Automatic, Count, tally
from outlive.service.scenarios import Scenario
from outlive.stacks import environments
from outlive.wording import counted

REPEATS = 8
"""Most repetitions of a phase in which threads were started; by then a thread pool has its full size."""

INCREMENTAL = (3, 14)
"""The first Python whose collector may look at old objects in each collection."""


class _Group:
    """The cells of a subject that one gunicorn worker serves; the servers of the group share them."""

    def __init__(self, task: Task, worker: Worker, cells: Iterable[Cell]) -> None:
        self.task = task
        self.subject = task.subject
        self.worker = worker
        self.shown = {shown.cell: shown.objects for shown in task.shown}
        self.servers = 0
        runs: dict[Cell, deque[Cell]] = defaultdict(deque)
        for cell in sorted(cells, key=lambda cell: cell.gc != "off"):  # cells with gc off can shorten others
            runs[cell.uncollected].append(cell)
        self.left = deque(runs.values())

    def take(self) -> deque[Cell]:
        """Return cells to measure one after another; none if no cells are left."""
        try:
            return self.left.popleft()
        except IndexError:
            return deque()


def measure(
    tasks: Sequence[Task],
    scenarios: Iterable[Scenario],
    jobs: int,
    done: Callable[[Measurement], object],
) -> list[Measurement]:
    """Return a measurement of each cell, and call `done` with each as soon as it is ready.

    If a cell fails, its measurement says why, and the others go on. KeyboardInterrupt ends all servers.
    """
    return _Run({scenario.name: scenario for scenario in scenarios}, done).all(tasks, jobs)


class _Run:
    def __init__(self, scenarios: dict[str, Scenario], done: Callable[[Measurement], object]) -> None:
        self.scenarios = scenarios
        self.done = done
        self.stopped = threading.Event()
        self.choice = threading.Lock()
        self.servers: set[Server] = set()
        self.results: list[Measurement] = []

    def all(self, tasks: Sequence[Task], jobs: int) -> list[Measurement]:
        groups: list[_Group] = []
        for task in tasks:
            subject = task.subject
            cells: dict[Worker, list[Cell]] = defaultdict(list)
            for cell in task.cells:
                if reason := subject.lacks(self.scenarios[cell.scenario], cell):
                    self._report(subject.describe(cell, None, status="unsupported", reason=reason))
                else:
                    cells[subject.serving(cell.connection)].append(cell)
            groups += [_Group(task, worker, worker_cells) for worker, worker_cells in cells.items()]
        with ThreadPoolExecutor(jobs, thread_name_prefix="outlive-job") as pool:
            futures = [pool.submit(self._job, groups) for _ in range(jobs)]
            try:
                wait(futures, return_when=FIRST_EXCEPTION)
                for future in futures:
                    future.result()
            except BaseException:
                self.stopped.set()
                for server in tuple(self.servers):
                    server.kill()
                pool.shutdown(cancel_futures=True)
                raise
        return self.results

    def _report(self, measurement: Measurement) -> None:
        self.results.append(measurement)
        self.done(measurement)

    def _job(self, groups: Sequence[_Group]) -> None:
        """Measure in one server after another, each for the group with most cells left per server."""
        while not self.stopped.is_set():
            with self.choice:
                group = max(groups, key=lambda group: len(group.left) / (1 + group.servers), default=None)
                if group is None or not group.left:
                    break
                group.servers += 1
            # `_served` must not see what `done` raises: it would take it for a fault of the server.
            with closing(self._served(group)) as served:
                for measurement in served:
                    self._report(measurement)
            with self.choice:
                group.servers -= 1

    def _served(self, group: _Group) -> Generator[Measurement]:
        """Measure cells of the group in one server until none is left or the server has failed."""
        cells: deque[Cell] = deque()
        measured = 0
        try:
            with self._serving(group) as server:
                while not self.stopped.is_set() and (cells := cells or group.take()):
                    measurement = self._measured(group, server, cells[0])
                    del cells[0]
                    measured += 1
                    if (stays := confirmation.shows(measurement)) is not None:
                        group.shown[Cell.of(measurement)] = stays
                    yield measurement
                    if measurement.status == "failed":
                        break  # whatever the reason, the next cell gets a new server
        except OutliveError as error:
            # If the server does not even start, it will not start for the other cells either.
            while not measured and not self.stopped.is_set() and (cells := cells or group.take()):
                cell = cells.popleft()
                yield group.subject.describe(cell, group.worker, status="failed", reason=str(error))
        finally:
            if cells:  # the server died between two cells: the next server takes the rest
                group.left.appendleft(cells)

    @contextmanager
    def _serving(self, group: _Group) -> Iterator[Server]:
        """Yield a server; an interruption ends it."""
        subject = group.subject
        with Server(subject.environment, subject.app, group.worker, subject.folder) as server:
            self.servers.add(server)
            try:
                yield server
            finally:
                self.servers.discard(server)

    def _measured(self, group: _Group, server: Server, cell: Cell) -> Measurement:
        scenario = remedies.expecting(self.scenarios[cell.scenario], group.subject.remedy)
        driver = Driver(server, scenario, cell.connection)
        try:
            shown = group.shown.get(cell.uncollected) if cell.gc != "off" else None
            fields = _Cell(driver, cell, group.task.sensitivity, shown).measure()
            if "unexplained" in fields and self.stopped.is_set():
                raise FaultError("interrupted while its leaks were being explained")
        except OutliveError as error:
            reason = driver.line.death if driver.line.died() and not self.stopped.is_set() else str(error)
            reason += f"; it raised {server.raised}" if server.raised else ""
            return group.subject.describe(cell, group.worker, status="failed", reason=reason)
        with suppress(FaultError):  # the sample for an explanation may have been its last
            fields["unimported"] = environments.unimported(group.subject.environment, driver.line.modules())
        fields["sent"] = group.subject.app.sent(self.scenarios[cell.scenario])
        return group.subject.describe(cell, group.worker, status="measured", **fields)


class _Cell:
    """The measurement of one cell in one fresh worker."""

    def __init__(self, driver: Driver, cell: Cell, sensitivity: int, shown: int | None) -> None:
        self.driver = driver
        self.cell = cell
        self.collecting = cell.gc != "off"
        self.sensitivity = sensitivity
        self.shown = shown
        self.starting = False  # whether each phase starts threads, however often it is repeated
        self.counts: list[Count] = []
        self.tallies: list[PhaseTally] = []

    def measure(self) -> dict[str, object]:
        """Return the fields of a `Measurement` that are derived from the counts."""
        answer = self.driver.verify()
        self.driver.send(WARM_UP)
        growth = self._confirmed() or self._full()
        phases = self.phases
        common: dict[str, object] = self._residue(growth) | {
            "answer": answer,
            "requests": sum(phase.requests for phase in phases),
            "growth": growth.growth,
            "leaked_per_request": float(growth.leaked),
            "peak_rss_bytes": self.counts[-1].peak_rss,
            "phases": phases,
            "held": {name: float(slope) for name, slope in growth.held.items()},
            "sensitivity": self.sensitivity,
        }
        if growth.growth in GROWING:  # the sample comes last, so that it does not change a count
            common |= self._explained(growth.growth)
        if self.collecting:  # survivors are counted with automatic collection off, by definition
            return common | {
                "intercept": float(growth.leaked_intercept),
                "blocks_per_request": float(growth.blocks_kept),
                "heap_bytes_per_request": _float(growth.heap_kept),
                "types": growth.types_kept,
                "collector": _collector(phases, [count.automatic for count in self.counts[: len(phases)]]),
            }
        return common | {
            "survivors_per_request": float(growth.survivors),
            "cyclic_per_request": float(growth.cyclic),
            "intercept": float(growth.intercept),
            "blocks_per_request": float(growth.blocks),
            "heap_bytes_per_request": _float(growth.heap),
            "types": growth.types,
        }

    def _confirmed(self) -> GrowthAnalysis | None:
        """Return what brief phases show, None unless they confirm what the cell with gc off has shown.

        Where that is nothing, the objects that exist stay frozen, for the full collections of the counts take
        most of the time. The collector would do the same work: young collections do not look at old objects,
        and a cell with an automatic full one is not confirmed. (From Python 3.14 on, each may look at some.)
        """
        if self.shown is None:
            return None
        generational = tuple(map(int, self.driver.line.hello.python.split("."))) < INCREMENTAL
        frozen = not self.shown and self.cell.gc == "on" and generational
        self._run(partial(confirmation.plan, shown=self.shown), frozen=frozen)
        full = frozen and any(count.automatic.full for count in self.counts)
        if full or not confirmation.confirms(self.phases, self.shown):
            return None
        return analyse(self.tallies, collecting=True, asked=confirmation.LENGTHS)

    def _full(self) -> GrowthAnalysis:
        """Return what phases of full length show."""
        asked = lengths(self.sensitivity)
        self._run(partial(plan, collecting=self.collecting, asked=asked))
        return analyse(self.tallies, collecting=self.collecting, asked=asked)

    def _run(self, plan: Callable[[Sequence[Phase]], tuple[int, ...]], *, frozen: bool = False) -> None:
        """Run all phases that the plan asks for, from a new beginning."""
        self.counts, self.tallies = [], []
        self.threads = self.driver.line.begin(self.cell.gc, frozen=frozen).threads
        while following := plan(self.phases):
            for requests in following:
                self.tallies.append(self._phase(requests))

    def _explained(self, growth: Growth) -> dict[str, object]:
        """Return the fields that say what keeps the survivors alive, or why that is unknown."""
        try:
            graph = sample.take(self.driver)
        except FaultError as error:
            return {"unexplained": str(error)}
        leaks = structures.records(
            structures.analyse(
                graph,
                connections=len(sample.SAMPLE[self.cell.connection]),
                bounded=growth != "leak",
                collecting=self.collecting,
            )
        )
        if not leaks:
            return {"unexplained": f"none of its objects came with each of {graph.requests} sampled requests"}
        return {"leaks": leaks, "fingerprints": tuple(leak.fingerprint for leak in leaks)}

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The phases so far."""
        return tuple(tally.phase for tally in self.tallies)

    def _residue(self, growth: GrowthAnalysis) -> dict[str, object]:
        """Return the fields that say what a connection leaves, if that is separable from its requests."""
        phases: list[Phase] = []
        while following := residue.plan(self.phases, growth, phases, collecting=self.collecting):
            phases += [self._phase(connections, "client-close").phase for connections in following]
        if not phases:
            return {}
        left = residue.analyse(growth, phases)
        fields: dict[str, object] = {"leaked_per_connection": float(left.leaked)}
        if self.collecting:
            return fields
        return fields | {
            "survivors_per_connection": float(left.survivors),
            "cyclic_per_connection": float(left.survivors - left.leaked),
        }

    def _phase(self, requests: int, over: Connection | None = None) -> PhaseTally:
        """Replay and count. Repeat if a thread was started meanwhile, because a thread has its own objects.

        If every repetition starts the same number of threads, the requests start them, and they count.
        """
        started = []
        scenario = self.driver.scenario
        for _ in range(REPEATS):
            connections = self.driver.send(requests, over)
            count = self.driver.line.count()
            self.driver.check_rest(idle=count.idle, so="counted")
            ours_alone(scenario, count.requests, requests)
            started.append(count.threads - self.threads)
            self.threads = count.threads
            if self.starting or not started[-1]:
                break
        else:
            self.starting = True
            if len(set(started[-REPEATS // 2 :])) > 1:
                raise FaultError(
                    f"{scenario.name}: each of {REPEATS} phases of {requests} requests started threads, "
                    "which end later: what is left cannot be told while they run"
                )
        self.counts.append(count)
        return tally(msgspec.structs.asdict(count), requests, connections)


def ours_alone(scenario: Scenario, handled: int, sent: int) -> None:
    """Raise FaultError if a worker handled more than the `sent` requests; servers do not count all."""
    per_request, rest = divmod(handled, sent)
    if rest or per_request > 1 + len(scenario.then):
        raise FaultError(
            f"{scenario.name}: the worker handled {counted(handled, 'request')} where {sent:,} were sent: "
            "something else sends to it"
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
