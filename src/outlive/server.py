"""A real gunicorn that serves a reference app in an environment, and the line to the probe in its worker."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from subprocess import STDOUT, Popen
from typing import Self, TypeVar

import msgspec

from outlive import certificate, processes, seal
from outlive.apps import App, Worker
from outlive.environments import Environment
from outlive.errors import FaultError
from outlive.peer import Peer

BOOT_LIMIT = 30.0
"""Seconds that a server may take to load the app and start its worker."""
ANSWER_LIMIT = 60.0
"""Seconds that a probe may take for one command, full collections of a large heap included."""
DEATH_TAKES = 0.5
"""Seconds in which a worker that was killed has closed all its sockets."""
BACKLOG = 2048
"""Connections that wait to be accepted; gunicorn's own default."""
GUNICORN_CONF = Path(__file__).with_name("worker") / "gunicorn_conf.py"

T = TypeVar("T")


class Hello(msgspec.Struct, frozen=True):
    """A worker introduces itself: process id, full Python version, version of the counting rules."""

    pid: int
    python: str
    counting: int


class Rest(msgspec.Struct, frozen=True):
    """Whether the worker came to rest: every thread asleep with nothing to do."""

    idle: bool


class Written(Rest, frozen=True):
    """A file was written, unless `errno` says why not."""

    errno: int = 0


class Begun(msgspec.Struct, frozen=True):
    """The state that phases are counted against has been taken; `threads` are the worker's at that time."""

    idle: bool
    threads: int


class Automatic(msgspec.Struct, frozen=True):
    """Automatic collections of a phase: how many, objects freed, seconds paused in sum and at the longest."""

    collections: int
    freed: int
    pause: float
    longest: float


class Count(msgspec.Struct, frozen=True):
    """What the probe counted for a phase. `idle` is False if the worker never came to rest."""

    idle: bool
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
    automatic: Automatic


class TracedFrame(msgspec.Struct, frozen=True):
    """A caller of an allocation: file and line, what stands there, whether it is the standard library."""

    place: str
    source: str
    python: bool


class Site(msgspec.Struct, frozen=True):
    """Where memory was allocated that is still in use; callers are told outermost first."""

    frames: tuple[TracedFrame, ...]
    blocks: int
    bytes: int


class Traced(msgspec.Struct, frozen=True):
    """The sites at which more is in use than when it was last asked."""

    idle: bool
    sites: tuple[Site, ...]


class Look(msgspec.Struct, frozen=True):
    """What a tool says has grown: objects, memory in blocks and bytes, and each thing that it names."""

    objects: int | None = None
    blocks: int | None = None
    bytes: int | None = None
    grown: dict[str, int] = {}


class ProbeLine:
    """The connection to the probe of one worker."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(ANSWER_LIMIT)
        self._connection = connection
        self._stream = connection.makefile("rwb")
        try:
            self.hello = self._read(Hello, "hello")
        except FaultError:
            self.close()
            raise

    def rest(self) -> Rest:
        """Wait until the worker has digested all that it was sent."""
        return self._ask("rest", Rest)

    def begin(self, policy: str) -> Begun:
        """Set the gc policy and start counting."""
        return self._ask(f"begin {policy}", Begun)

    def count(self) -> Count:
        """Return what the requests since the last call (or `begin`) left."""
        return self._ask("count", Count)

    def snapshot(self, requests: int, path: Path) -> Rest:
        """Have the graph of what the `requests` since the last `count` left written to `path`; comes last.

        Raises OSError where it cannot be written.
        """
        written = self._ask(f"snapshot {requests} {path}", Written)
        if written.errno:
            raise OSError(written.errno, os.strerror(written.errno), str(path))
        return written

    def trace(self) -> Traced:
        """Return where what was allocated since the last call was; the first call starts the tracing."""
        return self._ask("trace", Traced)

    def attach(self) -> Rest:
        """Have the tool that the worker was started with take its first look."""
        return self._ask("attach", Rest)

    def look(self) -> Look:
        """Return what the tool says has grown since it was attached."""
        return self._ask("look", Look)

    def died(self) -> bool:
        """Tell whether the worker has gone away, or does so in an instant: its sockets close one by one."""
        readable, _, _ = select.select([self._connection], [], [], DEATH_TAKES)
        return bool(readable)

    def close(self) -> None:
        """End the worker: without the harness its probe has no reason to live."""
        with contextlib.suppress(OSError):  # a command that the worker did not live to read
            self._stream.close()
        self._connection.close()

    def _ask(self, command: str, kind: type[T]) -> T:
        try:
            self._stream.write(command.encode() + b"\n")
            self._stream.flush()
        except OSError:
            raise FaultError("the worker died: its probe is gone") from None
        return self._read(kind, command)

    def _read(self, kind: type[T], command: str) -> T:
        try:
            line = self._stream.readline()
        except TimeoutError:
            raise FaultError(f"the probe did not answer {command!r} within {ANSWER_LIMIT:g} s") from None
        except OSError:
            line = b""
        if not line.endswith(b"\n"):
            raise FaultError("the worker died: its probe is gone")
        return msgspec.json.decode(line, type=kind)


class Gunicorn:
    """A real gunicorn that serves an app from an environment while the context lasts.

    An app that calls out has a peer beside it.

    `options` go on its command line. With a gc `policy` its workers are prepared for load, else for exact
    counts. They connect to `probes`.
    """

    def __init__(
        self,
        environment: Environment,
        app: App,
        worker: Worker,
        folder: Path,
        *,
        options: Sequence[str],
        policy: str | None = None,
    ) -> None:
        self.environment = environment
        self.app = app
        self.worker = worker
        self.app_folder = folder
        self._options = options
        self._policy = policy

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="outlive-"))
        self.probes = socket.socket(socket.AF_UNIX)
        self.process: Popen[bytes] | None = None
        self.peer: Peer | None = None
        try:
            self._certificate = certificate.make(self._folder) if self.app.peer or self.app.tls else None
            if self.app.peer:
                assert self._certificate is not None
                self.peer = Peer(self._certificate)
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        if self.peer is not None:
            self.peer.close()
        self.probes.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def kill(self) -> None:
        """End gunicorn and its worker at once; whoever talks to them gets a FaultError."""
        if self.process is not None:
            processes.kill(self.process)

    def _start(self) -> None:
        path = self._folder / "probe.sock"
        self.probes.bind(str(path))
        path.chmod(0o600)
        self.probes.listen()
        with socket.create_server(("127.0.0.1", 0), backlog=BACKLOG) as listener:
            self.address = seal.sealed(listener)
            with self._log_path.open("ab") as log:  # to its end, wherever that is by then
                self.process = processes.start(
                    self._command(listener.fileno()),
                    cwd=self.app_folder,
                    env=self._variables(path),
                    pass_fds=[listener.fileno()],
                    stdout=log,
                    stderr=STDOUT,
                )

    @property
    def _log_path(self) -> Path:
        return self._folder / "server.log"

    def _command(self, fd: int) -> list[str]:
        return [
            str(self.environment.python),
            "-m",
            "gunicorn",
            "--config",
            str(GUNICORN_CONF),
            "--bind",
            f"fd://{fd}",
            "--worker-class",
            self.worker.worker_class,
            *self._options,
            *(("--certfile", str(self._certificate)) if self.app.tls else ()),
            *self.worker.arguments,
            self.app.target,
        ]

    def _variables(self, probe: Path) -> dict[str, str]:
        """Return the server's environment: nothing of the user's reaches it but PATH and the language."""
        own = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
        folders = dict.fromkeys(
            ("HOME", "TMPDIR", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CACHE_HOME"), str(self._folder)
        )
        return (
            own
            | folders
            | ({"OUTLIVE_PEER": self.peer.ports} if self.peer else {})
            | {
                "OUTLIVE_PROBE_SOCKET": str(probe),
                "OUTLIVE_REQUEST_COUNTER": self.worker.request_counter,
                "PYTHONHASHSEED": "0",
                "PYTHONDONTWRITEBYTECODE": "1",
            }
            | ({"OUTLIVE_GC": self._policy} if self._policy else {})
        )

    def wait_for_worker(self) -> socket.socket:
        """Return the connection of the next worker that has loaded the app.

        Raises FaultError with the end of the server's log if the app or the server does not start.
        """
        assert self.process is not None
        deadline = time.monotonic() + BOOT_LIMIT
        while not select.select([self.probes], [], [], 0.02)[0]:
            if self.process.poll() is not None:
                raise FaultError(f"{self.app.framework} app does not start: {self.last_words()}")
            if time.monotonic() > deadline:
                raise FaultError(f"no worker within {BOOT_LIMIT:g} s: {self.last_words()}")
        return self.probes.accept()[0]

    @property
    def log(self) -> str:
        """What the server has logged so far."""
        return self._log_path.read_text(errors="replace")

    def last_words(self) -> str:
        """Return the line of the server's log that most likely says what went wrong."""
        lines = self.log.splitlines()
        errors = [line.strip() for line in lines if "Error" in line and not line.startswith("[")]
        said = errors or [line.strip() for line in lines if line.strip()]
        return said[-1] if said else "it said nothing"


class Server(Gunicorn):
    """gunicorn with one worker at a time; each `fresh_worker()` is a new fork of the same master."""

    def __init__(self, environment: Environment, app: App, worker: Worker, folder: Path) -> None:
        super().__init__(environment, app, worker, folder, options=("--workers", "1", "--preload"))
        self._line: ProbeLine | None = None

    def __exit__(self, *_: object) -> None:
        self.kill()
        if self._line is not None:
            self._line.close()
        super().__exit__()

    def rest(self) -> None:
        """Wait until the worker, and the peer with it, have digested all that they were sent."""
        assert self._line is not None
        self._line.rest()
        if self.peer is not None:  # each may still have something for the other
            for _ in range(2):
                self.peer.rest()
                self._line.rest()

    def settle(self) -> None:
        """Wait for the peer, where there is one: what it still has to say would be counted later."""
        if self.peer is not None:
            self.rest()

    @property
    def graph_path(self) -> Path:
        """Where a worker writes the graph of what survived; it goes with the server."""
        return self._folder / "graph.json"

    def fresh_worker(self) -> ProbeLine:
        """End the present worker, if any, and return the probe of the next one.

        Raises FaultError as `wait_for_worker` does.
        """
        if self._line is not None:
            self._line.close()
            self._line = None
        self._line = ProbeLine(self.wait_for_worker())
        return self._line
