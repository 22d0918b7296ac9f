"""gunicorn under load: workers that come and go, each with a non-blocking line to its probe."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from outlive import processes
from outlive.errors import FaultError
from outlive.files import keep_short
from outlive.records.load import Collections, Deployment, End, total
from outlive.service.app import App
from outlive.service.gunicorn import PRELOAD, Gunicorn
from outlive.service.probe_line import ANSWER_LIMIT
from outlive.stacks.environments import Environment

MOST_RETIRED = 100
"""Most replaced workers that have a record; --max-requests can replace any number of them."""


class LoadHello(msgspec.Struct, frozen=True, tag="hello"):
    """A worker's introduction: its process id."""

    pid: int


class Burden(msgspec.Struct, frozen=True, tag="collector"):
    """The collector's work so far; pauses are in seconds, as (upper bound, count)."""

    collections: int
    freed: int
    pause: float
    longest: float
    pauses: tuple[tuple[float, int], ...]


class Farewell(Burden, frozen=True, tag="farewell"):
    """A worker exits by itself; `aborted` means that gunicorn found it hanging."""

    aborted: bool


class LoadBegun(msgspec.Struct, frozen=True, tag="begin"):
    """The probe has recorded the state that survivors are counted against."""

    idle: bool


class Counted(msgspec.Struct, frozen=True, tag="count"):
    """The gc-tracked objects that requests left, and their types before and after full collections."""

    idle: bool
    survivors: int
    leaked: int
    types: dict[str, int]
    types_kept: dict[str, int]


Message = LoadHello | Burden | Farewell | LoadBegun | Counted
M = TypeVar("M", LoadHello, LoadBegun, Counted)

_decode = msgspec.json.Decoder(Message).decode


class Spent(msgspec.Struct, frozen=True):
    """Seconds that the threads of a process ran, and that its busiest thread waited for a core."""

    ran: float = 0.0
    waited: float = 0.0


class WorkerLine:
    """The non-blocking connection to the probe of one worker.

    `first` and `last` are when the worker was seen, in seconds of the load test; `spent` is its processor
    time at both. `peak` is its peak of resident bytes, `collections` the work of its collector, as last
    reported. `ended` tells how the worker with this process id ended.
    """

    def __init__(self, connection: socket.socket, ended: Callable[[int], str]) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._ended = ended
        self._buffer = b""
        self._messages: list[Message] = []
        self.closed = False
        self.first = self.last = 0.0
        self.peak: int | None = None
        self.spent: tuple[Spent, Spent] | None = None
        self.pid: int | None = None
        self.collections = Collections()
        self.farewell: Farewell | None = None

    def ask(self, word: str) -> None:
        """Send a command. If the worker is gone, `read` finds that out, after its last words."""
        with contextlib.suppress(OSError):
            self._connection.send(word.encode() + b"\n")

    def read(self) -> None:
        """Read all messages that have arrived."""
        with contextlib.suppress(BlockingIOError):
            while not self.closed:
                try:
                    data = self._connection.recv(65536)
                except ConnectionError:
                    data = b""
                if not data:
                    self.closed = True
                *lines, self._buffer = (self._buffer + data).split(b"\n")
                for line in lines:
                    self._take(_decode(line))

    @property
    def since(self) -> Spent:
        """The worker's processor time since it was first seen."""
        if self.spent is None:
            return Spent()
        before, now = self.spent
        return Spent(now.ran - before.ran, now.waited - before.waited)

    def end(self) -> End:
        """Return how the worker ended; `served` if it has not."""
        if self.farewell:
            return "hung" if self.farewell.aborted else "recycled"
        return "killed" if self.closed else "served"

    @property
    def death(self) -> str:
        """How the worker died, as in `worker 123 died (exit code 3)`."""
        how = self._ended(self.pid) if self.pid else ""
        return f"worker {self.pid} died ({how})" if how else f"worker {self.pid} died"

    def _take(self, message: Message) -> None:
        if isinstance(message, LoadHello):
            self.pid = message.pid
        elif isinstance(message, Burden):
            self.collections = Collections.of(
                message.collections, message.freed, message.pause, message.longest, message.pauses
            )
            if isinstance(message, Farewell):
                self.farewell = message
        else:
            self._messages.append(message)

    def wait(self, kind: type[M], limit: float = ANSWER_LIMIT) -> M:
        """Return the next message of this kind. Raises FaultError if the worker dies or does not answer."""
        deadline = time.monotonic() + limit
        while True:
            self.read()
            for message in self._messages:
                if isinstance(message, kind):
                    self._messages.remove(message)
                    return message
            if self.closed:
                raise FaultError(self.death)
            left = deadline - time.monotonic()
            if left <= 0:
                raise FaultError(f"worker {self.pid} did not answer its probe within {limit:g} s")
            select.select([self._connection], [], [], min(left, 1.0))

    def close(self) -> None:
        """Close this end."""
        self._connection.close()


class LoadServer(Gunicorn):
    """gunicorn as deployed. After the start, only one thread at a time may call its methods."""

    def __init__(self, environment: Environment, app: App, folder: Path, deployment: Deployment) -> None:
        options = ["--workers", str(deployment.workers), "--max-requests", str(deployment.max_requests)]
        options += ["--graceful-timeout", str(deployment.graceful_timeout)]
        if deployment.preload:
            options.append(PRELOAD)
        worker = app.named(deployment.worker)
        super().__init__(environment, app, worker, folder, options=options, policy=deployment.gc)
        self.deployment = deployment
        self.lines: list[WorkerLine] = []
        self.retired: deque[WorkerLine] = deque(maxlen=MOST_RETIRED)
        self.restarts = 0
        self._before = Collections()

    def __exit__(self, *_: object) -> None:
        self.kill()
        for line in self.lines:
            line.close()
        super().__exit__()

    def boot(self) -> None:
        """Wait until all workers have loaded the app. Raises as `wait_for_worker` does."""
        self.probes.setblocking(False)
        while len(self.lines) < self.deployment.workers:
            self.lines.append(WorkerLine(self.wait_for_worker(), self.how_it_ended))
        for line in self.lines:
            while line.pid is None:
                line.read()
                if line.closed:
                    raise FaultError(f"a worker died at once: {self.last_words()}")
                time.sleep(0.01)

    def begin(self) -> None:
        """Have each worker record the state that survivors are counted against."""
        for line in self.lines:
            line.ask("begin")
        for line in self.lines:
            try:
                line.wait(LoadBegun)
            except FaultError:
                if line.end() != "recycled":  # as many may be, by the requests that warmed them up
                    raise

    def count(self) -> list[Counted]:
        """Return each worker's count, in the order of `lines`. Raises FaultError if one dies."""
        for line in self.lines:
            line.ask("count")
        return [line.wait(Counted) for line in self.lines]

    def look(self) -> None:
        """Accept new workers, read all messages, and ask for the work of the collectors."""
        keep_short(self._log_path)
        for line in self.lines:
            line.read()
            line.ask("collector")
        for line in [line for line in self.lines if line.end() == "recycled"]:
            self.lines.remove(line)
            self.retired.append(line)
            self._before = total([self._before, line.collections])
            line.close()
        with contextlib.suppress(BlockingIOError):
            while True:
                self.lines.append(WorkerLine(self.probes.accept()[0], self.how_it_ended))
                self.restarts += 1

    def collections(self, earlier: Sequence[Collections] = ()) -> Collections:
        """Return the work of all workers' collectors so far, added to `earlier` work."""
        return total([*earlier, self._before, *(line.collections for line in self.lines)])

    def fault(self) -> str | None:
        """Return what went wrong with the server since the start, or None if nothing did."""
        assert self.process is not None
        status = self.process.poll()
        if status is not None:
            return f"gunicorn's master {processes.ending(status)}"
        for line in self.lines:
            if line.end() == "killed":
                return line.death
            if line.end() == "hung":
                return f"worker {line.pid} hung until gunicorn ended it"
        return None
