"""The line to the probe in a worker: the commands that it takes and the records that it answers with."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from outlive.errors import FaultError
from outlive.records.measurement import Phase
from outlive.retention.growth import PhaseTally
from outlive.service.stillness import Stillness

RAISED = b'{"raised":'  # the start of the last answer of a probe that met an exception
ANSWER_LIMIT = 60.0
"""Seconds that a probe may take for one command, including full collections of a large heap."""
HANGING_TAKES = 5.0
"""Seconds that a worker that hangs may take to say where: C code that hangs may not let the probe run."""
DEATH_TAKES = 0.5
"""Seconds within which a killed worker closes all its sockets."""
T = TypeVar("T")


class Hello(msgspec.Struct, frozen=True):
    """A worker's introduction: its process id, full Python version, and version of the counting rules.

    `lost` is the number of the app's threads that are in the master but not in the worker.
    """

    pid: int
    python: str
    counting: int
    lost: int = 0


class Rest(msgspec.Struct, frozen=True):
    """Whether the worker came to rest: every thread asleep with nothing to do."""

    idle: bool


class Modules(msgspec.Struct, frozen=True):
    """The names of the top-level modules that a worker has imported."""

    names: frozenset[str]


class Written(Rest, frozen=True):
    """Whether a file was written: `errno` is 0, or says why not."""

    errno: int = 0


class Begun(Rest, frozen=True):
    """Counting has begun; `threads` is the worker's number of threads."""

    threads: int


class Automatic(msgspec.Struct, frozen=True):
    """Automatic collections of a phase: how many, how many `full`, objects freed, seconds of pause."""

    collections: int
    full: int
    freed: int
    pause: float
    longest: float


class Count(msgspec.Struct, frozen=True):
    """What the probe counted for a phase. `idle` is False if the worker never came to rest.

    `requests` is how many the server reports: some servers do not count a request that they cannot parse.
    `held` is the growth of the process's other resources, see `outlive.records.measurement.Phase`.
    """

    idle: bool
    requests: int
    survivors: int
    leaked: int
    blocks: int
    blocks_kept: int
    heap: int | None
    heap_kept: int | None
    rss: int | None
    peak_rss: int | None
    fds: int | None
    threads: int
    types: dict[str, int]
    types_kept: dict[str, int]
    held: dict[str, int | None]
    automatic: Automatic


def tally(count: Mapping[str, Any], requests: int, connections: int | None = None) -> PhaseTally:
    """Return the tally of a phase with this number of requests; `count` has the fields of a `Count`."""
    held = {name: growth for name, growth in count["held"].items() if growth}
    phase = {**count, "requests": requests, "connections": connections, "held": held}
    return PhaseTally(msgspec.convert(phase, Phase), count["types"], count["types_kept"])


class TracedFrame(msgspec.Struct, frozen=True):
    """A caller of an allocation: `file:line`, that line's source, whether it is in the standard library."""

    place: str
    source: str
    python: bool


class AllocationSite(msgspec.Struct, frozen=True):
    """A place that allocated memory that is still in use; `frames` are its callers, outermost first."""

    frames: tuple[TracedFrame, ...]
    blocks: int
    bytes: int


class Traced(msgspec.Struct, frozen=True):
    """The sites that have more memory in use than at the last call."""

    idle: bool
    sites: tuple[AllocationSite, ...]


class Where(msgspec.Struct, frozen=True):
    """The stacks of a worker's threads and tasks: (file, line) of each frame, outermost first."""

    stacks: tuple[tuple[tuple[str, int], ...], ...]


class Look(msgspec.Struct, frozen=True):
    """What has grown according to a tool: objects, blocks and bytes of memory, and `grown` by name."""

    objects: int | None = None
    blocks: int | None = None
    bytes: int | None = None
    grown: dict[str, int] = {}


class ProbeLine:
    """The connection to the probe of one worker; `ended` tells how a worker with this process id ended."""

    def __init__(self, connection: socket.socket, ended: Callable[[int], str]) -> None:
        connection.settimeout(ANSWER_LIMIT)
        self._connection = connection
        self._stream = connection.makefile("rwb")
        self._ended: Callable[[], str] = str
        try:
            self.hello = self._read(Hello, "hello")
        except FaultError:
            self.close()
            raise
        self._ended = partial(ended, self.hello.pid)
        self._stillness = Stillness(self.hello.pid)

    def rest(self) -> None:
        """Wait until the worker has handled everything that it was sent."""
        try:
            self._stillness.wait()
        except OSError:  # /proc does not tell, or the worker has died
            self._ask("rest", Rest)

    def apply(self, policy: str) -> Rest:
        """Set the gc policy, without counting what follows."""
        return self._ask(f"apply {policy}", Rest)

    def begin(self, policy: str, *, frozen: bool = False) -> Begun:
        """Set the gc policy and start counting; existing objects stay `frozen`, whatever the policy."""
        return self._ask(f"begin {policy} frozen" if frozen else f"begin {policy}", Begun)

    def count(self) -> Count:
        """Return what the requests since the last call (or `begin`) left."""
        return self._ask("count", Count)

    def modules(self) -> frozenset[str]:
        """Return the names of the top-level modules that the worker has imported."""
        return self._ask("modules", Modules).names

    def snapshot(self, requests: int, path: Path) -> Rest:
        """Write the graph of what the `requests` since the last `count` left to the file `path`.

        Nothing can be counted afterwards. Raises OSError if the file cannot be written.
        """
        written = self._ask(f"snapshot {requests} {path}", Written)
        if written.errno:
            raise OSError(written.errno, os.strerror(written.errno), str(path))
        return written

    def trace(self) -> Traced:
        """Return where memory was allocated since the last call; the first call starts the tracing."""
        return self._ask("trace", Traced)

    def attach(self) -> Rest:
        """Take the first look with the tool that the worker was started with."""
        return self._ask("attach", Rest)

    def look(self) -> Look:
        """Return what has grown since `attach`, according to the tool."""
        return self._ask("look", Look)

    def where(self) -> Where:
        """Return where the threads and tasks of a worker that hangs are; then ask nothing else."""
        self._connection.settimeout(HANGING_TAKES)
        return self._ask("where", Where)

    def died(self) -> bool:
        """Return whether the worker has died or dies within DEATH_TAKES: its sockets close one by one."""
        readable, _, _ = select.select([self._connection], [], [], DEATH_TAKES)
        return bool(readable)

    @property
    def death(self) -> str:
        """The reason for a failed measurement whose worker has died, as in `the worker died (SIGSEGV)`."""
        how = self._ended()
        return f"the worker died ({how})" if how else "the worker died"

    def close(self) -> None:
        """Close the line, which also ends the worker."""
        with contextlib.suppress(OSError):  # a command that the worker did not live to read
            self._stream.close()
        self._connection.close()
        if hasattr(self, "_stillness"):
            self._stillness.close()

    def _ask(self, command: str, kind: type[T]) -> T:
        try:
            self._stream.write(command.encode() + b"\n")
            self._stream.flush()
        except OSError:
            raise FaultError(self.death) from None
        return self._read(kind, command)

    def _read(self, kind: type[T], command: str) -> T:
        try:
            line = self._stream.readline()
        except TimeoutError:
            raise FaultError(f"the probe did not answer {command!r} within {ANSWER_LIMIT:g} s") from None
        except OSError:
            line = b""
        if not line.endswith(b"\n"):
            raise FaultError(self.death)
        if line.startswith(RAISED):
            raise FaultError(f"the worker died: its probe met {msgspec.json.decode(line)['raised']}")
        return msgspec.json.decode(line, type=kind)
