"""Measures with the workers of a Dask scheduler, on many machines or on this one.

Each stack is one order: a worker builds its environment, measures its cells and sends the records back. The
scheduler never holds more orders than the workers have threads. A worker that dies therefore loses only the
orders it was working on, and only those stacks are blamed.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import dask
import msgspec
from distributed import Client, LocalCluster, get_worker, wait
from distributed.scheduler import KilledWorker
from tornado.ioloop import IOLoop

from outlive import temporary
from outlive.errors import FaultError, UsageError
from outlive.files import read_bytes
from outlive.project import Project
from outlive.records.measurement import Measurement, Origin
from outlive.replay.cluster.orders import (
    Counts,
    Filled,
    Order,
    Part,
    Refused,
    Reply,
    Work,
    fill,
    host,
    identity,
    own_identity,
)
from outlive.replay.place import LOCAL, Place
from outlive.replay.subject import Task
from outlive.stacks import environments
from outlive.stacks.environments import Environment
from outlive.stacks.locks import Lock
from outlive.stacks.pythons import Interpreter
from outlive.wording import counted, one_line

JOIN_WITHIN = 60.0
"""Seconds within which the first worker must join."""
ALONE = 300.0
"""Seconds without any worker before giving up; a worker that restarts is back within seconds."""
DEATHS = 2
"""Workers that may die while measuring a stack before it is recorded as failed."""


class _SchedulerFile(msgspec.Struct, frozen=True):
    address: str


class Cluster(Place):
    """The workers of a scheduler, which load the scenarios themselves; valid inside `connected`."""

    window = None

    def __init__(self, client: Any, project: Project, jobs: int, *, here: bool) -> None:
        """Each worker runs `jobs` servers at once. `here`: all workers are on this machine."""
        super().__init__((), jobs)
        self.client = client
        self.identity = identity(project)
        self.here = here
        self.interpreters: dict[tuple[str, str], Interpreter] = {}
        self.refusals: dict[str, dict[str, str]] = {}  # by Python and worker: the reason
        self.references: dict[str, tuple[Origin, Counts]] = {}  # by host

    def check(self) -> None:
        """Raise FaultError if no worker joins, or one has another version of outlive or of the data."""
        try:
            self.client.wait_for_workers(1, timeout=JOIN_WITHIN)
        except TimeoutError:
            raise FaultError(f"no worker has come to the scheduler within {JOIN_WITHIN:g} s") from None
        for worker, worker_identity in self.client.run(own_identity, on_error="return").items():
            if isinstance(worker_identity, BaseException):
                raise FaultError(f"worker {worker} cannot measure: {one_line(str(worker_identity))}")
            if worker_identity != self.identity:
                raise FaultError(
                    f"worker {worker} has outlive {worker_identity}, the client {self.identity}: "
                    "install the same version and check out the same commit on both, and restart the worker"
                )

    def install(self, lock: Lock, interpreter: Interpreter) -> Environment:
        """Return the environment, which is not built here: workers build it when they need it."""
        if lock.wheels:
            names = ", ".join(str(wheel.package) for wheel in lock.wheels)
            raise UsageError(
                f"--scheduler: {names} was built on this machine, and the workers do not have it"
            )
        self.interpreters[lock.digest, lock.python] = interpreter
        return environments.named(lock, interpreter)

    def measure(self, tasks: Sequence[Task], done: Callable[[Measurement], object]) -> Iterator[Measurement]:
        """Yield a measurement of each cell, stack by stack, and call `done` with it first.

        If a stack cannot be measured, its measurements are failed ones with the reason. Raises FaultError if
        machines count differently, or the scheduler or all workers are gone.
        """
        stacks: dict[tuple[str, str], list[Task]] = {}
        for task in tasks:
            lock = task.subject.environment.lock
            stacks.setdefault((lock.digest, lock.python), []).append(task)
        works = {key: self._work(group) for key, group in stacks.items()}
        references = [work.exact for work in works.values() if work.exact]
        reference = references[-1] if references and not self.here else None
        orders = {
            key: Order(identity=self.identity, work=work, jobs=self.jobs, reference=reference)
            for key, work in works.items()
        }
        for key, answer in self.filled(orders):
            for measurement in self._measurements(stacks[key], answer):
                done(measurement)
                yield measurement

    def filled(self, orders: dict[Any, Order]) -> Iterator[tuple[Any, Reply]]:
        """Yield the answer to each order as it comes, with the order's key."""
        todo = deque(orders)
        pending: dict[Any, Any] = {}
        try:
            while todo or pending:
                while todo and len(pending) < max(sum(self.client.nthreads().values()), 1):
                    key = todo.popleft()
                    if reason := self._refusal(orders[key].work.python):
                        yield key, Refused(reason=reason)
                    else:
                        pending[self._submitted(orders[key])] = key
                for future in self._finished(pending):
                    key = pending.pop(future)
                    worker, answer = self._answer(future)
                    if isinstance(answer, Refused) and answer.elsewhere:
                        self.refusals.setdefault(orders[key].work.python, {})[worker] = answer.reason
                        todo.append(key)
                        continue
                    if isinstance(answer, Filled) and answer.reference:
                        self._compare(answer.origin, answer.reference)
                    yield key, answer
        except CancelledError:
            raise FaultError(
                "the scheduler is gone: finished measurements are stored; restart it and repeat the command"
            ) from None
        finally:
            self.client.cancel(list(pending), force=True)

    def _work(self, tasks: Sequence[Task]) -> Work:
        lock = tasks[0].subject.environment.lock
        interpreter = self.interpreters[lock.digest, lock.python]
        return Work(
            lock,
            f"{interpreter.version}{interpreter.mark}",
            tuple(
                Part(
                    task.subject.app,
                    task.cells,
                    task.sensitivity,
                    task.shown,
                    task.subject.worker,
                    task.subject.remedy,
                )
                for task in tasks
            ),
        )

    def _measurements(self, tasks: Sequence[Task], answer: Reply) -> Iterator[Measurement]:
        if isinstance(answer, Refused):
            for task in tasks:
                for cell in task.cells:
                    yield task.subject.describe(cell, None, status="failed", reason=answer.reason)
            return
        origin = None if answer.origin.host == host() else answer.origin
        for measurement in answer.measurements:
            yield msgspec.structs.replace(measurement, origin=origin)

    def _refusal(self, python: str) -> str | None:
        """Return why no present worker measures on `python`, or None if one might."""
        refusals = self.refusals.get(python)
        if not refusals:  # there is no need to ask the scheduler
            return None
        here = self.client.nthreads()
        if not here or not here.keys() <= refusals.keys():
            return None
        return f"no worker measures it: {'; '.join(sorted({refusals[worker] for worker in here}))}"

    def _submitted(self, order: Order) -> Any:
        """Return the future of an order, given preferably to workers that have not refused its Python."""
        refusals = self.refusals.get(order.work.python, {})
        willing = sorted(self.client.nthreads().keys() - refusals.keys()) if refusals else []
        # new workers may also take it: those that are willing today can all end
        where: dict[str, Any] = {"workers": willing, "allow_other_workers": True} if willing else {}
        name = f"outlive-{order.work.lock.release}-{uuid.uuid4().hex[:12]}"
        return self.client.submit(_filled, fill, msgspec.json.encode(order), key=name, pure=False, **where)

    def _finished(self, pending: Iterable[Any]) -> Iterable[Any]:
        """Return the futures that are done, at least one. Raises FaultError if no worker is left."""
        futures = list(pending)
        if not futures:
            return ()
        while True:
            try:
                finished: Iterable[Any] = wait(futures, ALONE, "FIRST_COMPLETED").done  # type: ignore[no-untyped-call]
            except TimeoutError:
                if not self.client.scheduler_info(n_workers=-1)["workers"]:
                    raise FaultError(
                        f"the scheduler has had no worker for {ALONE:g} s: finished measurements are "
                        "stored; start workers and repeat the command"
                    ) from None
            else:
                return finished

    @staticmethod
    def _answer(future: Any) -> tuple[str, Reply]:
        """Return the worker and its answer."""
        try:
            worker, data = future.result()
            return worker, msgspec.json.decode(data, type=Filled | Refused)
        except KilledWorker:
            reason = f"{counted(DEATHS, 'worker')} ended while measuring it"
        except CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a worker raises is about this stack alone
            reason = f"{type(error).__name__}: {one_line(str(error))}"
        return "", Refused(reason=reason)

    def _compare(self, origin: Origin, counts: Counts) -> None:
        """Raise FaultError if this machine counts the reference cell differently from the first machine."""
        first, expected = next(iter(self.references.values()), (origin, counts))
        self.references.setdefault(origin.host, (origin, counts))
        if counts != expected:
            raise FaultError(
                f"machines {first.host} and {origin.host} count one cell differently, {expected.survivors} "
                f"and {counts.survivors} objects per request, on Python {first.interpreter.version} "
                f"({first.interpreter.compiler}) and {origin.interpreter.version} "
                f"({origin.interpreter.compiler}): nothing more is measured"
            )


def _filled(function: Callable[[bytes], bytes], order: bytes) -> tuple[str, bytes]:
    return get_worker().address, function(order)


@contextmanager
def connected(scheduler: str, project: Project, jobs: int) -> Iterator[Cluster]:
    """Yield the workers of the scheduler with this address (`tcp://host:8786`), or in this scheduler file.

    `local` stands for `jobs` workers on this machine, with one server each. Raises UsageError for anything
    else, and FaultError if no scheduler answers or a worker's code or data differ from the client's.
    """
    here = scheduler == LOCAL
    loop: IOLoop | None = None  # Dask's own
    address: Any = None if here else _address(scheduler)
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # outlive reports errors itself, in one line
    with ExitStack() as ending:
        if here:
            loop = ending.enter_context(running_loop())
            address = ending.enter_context(local(project, jobs, loop))
        try:
            client: Any = Client(address, name="outlive", loop=loop)  # type: ignore[no-untyped-call]
        except (OSError, ValueError, TimeoutError) as error:
            raise FaultError(
                f"the scheduler at {scheduler} does not answer: {one_line(str(error))}"
            ) from None
        ending.enter_context(client)

        def allow(dask_scheduler: Any, deaths: int = DEATHS) -> None:  # the scheduler may lack outlive
            dask_scheduler.allowed_failures = deaths - 1

        client.run_on_scheduler(allow)
        cluster = Cluster(client, project, 1 if here else jobs, here=here)
        cluster.check()
        yield cluster


def _address(scheduler: str) -> str:
    """Return the address `scheduler`, or the one in that scheduler file. Raises UsageError for neither."""
    if Path(scheduler).is_file():
        try:
            return msgspec.json.decode(read_bytes(Path(scheduler)), type=_SchedulerFile).address
        except (OSError, UnicodeDecodeError, msgspec.DecodeError):
            raise UsageError(f"--scheduler {scheduler}: not a scheduler file, as Dask writes it") from None
    if "://" not in scheduler:
        raise UsageError(
            f"--scheduler takes an address, as in tcp://10.0.0.1:8786, a file, or {LOCAL!r}: {scheduler!r}"
        )
    return scheduler


@contextmanager
def running_loop() -> Iterator[IOLoop]:
    """Yield a loop that runs in a thread; Dask gives one of its own 10 s to start, even on a busy machine."""
    started: Future[tuple[IOLoop, asyncio.Event]] = Future()

    async def run() -> None:
        stopped = asyncio.Event()
        started.set_result((IOLoop.current(), stopped))
        await stopped.wait()

    thread = threading.Thread(target=asyncio.run, args=(run(),), name="outlive-cluster", daemon=True)
    thread.start()
    loop, stopped = started.result()
    try:
        yield loop
    finally:
        loop.add_callback(stopped.set)
        thread.join()


@contextmanager
def local(project: Project, workers: int, loop: IOLoop) -> Iterator[Any]:
    """Yield a cluster of worker processes on this machine, which `loop` serves."""
    with (
        temporary.folder() as folder,
        # on a busy machine, a worker that died takes longer than Dask's 15 s to restart
        dask.config.set({"distributed.deploy.lost-worker-timeout": f"{ALONE:g} s"}),
        LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address=":0",
            host="127.0.0.1",
            local_directory=str(folder),
            silence_logs=logging.CRITICAL,
            env={"OUTLIVE_ROOT": str(project.root)},
            loop=loop,
        ) as cluster,
    ):
        yield cluster
