"""Starts a real gunicorn that serves an app from an environment, and connects to the probe in its worker."""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from subprocess import STDOUT, Popen
from typing import Self

from outlive import processes, temporary
from outlive.errors import FaultError
from outlive.service import certificate, seal
from outlive.service.app import App, Worker
from outlive.service.own import absent, hangs, last_words, lay_out, raised, without_secrets
from outlive.service.own import variables as own_variables
from outlive.service.peer import Peer
from outlive.service.probe_line import ProbeLine
from outlive.stacks.environments import Environment

BOOT_LIMIT = 30.0
"""Seconds that a server may take to load the app and start its worker."""
BACKLOG = 2048
"""Most connections that wait to be accepted; gunicorn's default."""
LONGEST_FOLDER = 90
"""Most bytes of the path of a folder with a Unix socket: the whole path can have 108, on macOS 104."""
REAPED = 2.0
"""Seconds that gunicorn may take to log how a worker ended."""
LAST_WORDS = r"Worker \(pid:{}\) (?:was sent (?P<signal>\w+)|exited with code (?P<code>-?\d+))"
OUT_OF_MEMORY = ": perhaps out of memory"
SOCKET = "OUTLIVE_PROBE_SOCKET"
"""The variable with the socket that probes connect to; each server has a different one."""
PRELOAD = "--preload"
UNCACHED = "glibc.malloc.tcache_count=0"
"""Turns off each thread's cache of freed chunks. glibc counts them as used, so C heap would seem to grow."""
GUNICORN_CONF = Path(__file__).parents[1] / "worker" / "gunicorn_conf.py"


class Gunicorn:
    """A context manager: within it, a real gunicorn serves an app from an environment.

    `options` go on gunicorn's command line. With a gc `policy`, its workers are prepared for a load test,
    otherwise for exact counts. They connect to `probes`. An app that calls another service gets a `peer`.
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
        self._stack = contextlib.ExitStack()
        self._folder = self._stack.enter_context(temporary.folder())
        self.probes = self._stack.enter_context(socket.socket(socket.AF_UNIX))
        self._socket = ""
        self.process: Popen[bytes] | None = None
        self.peer: Peer | None = None
        try:
            self._certificate = certificate.make(self._folder) if self.app.peer or self.app.tls else None
            if self._certificate and self.app.peer:
                self.peer = self._stack.enter_context(contextlib.closing(Peer(self._certificate)))
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        if self.app.own:
            processes.kill_daemons(SOCKET, self._socket)
        self._stack.close()

    def kill(self) -> None:
        """End gunicorn and its workers at once; calls that talk to them raise FaultError."""
        if self.process is not None:
            processes.kill(self.process)

    def _start(self) -> None:
        self._socket = self._bind()
        self._env = self._variables(self._socket)
        if own := self.app.own:
            self._copy = lay_out(own, self.environment, self._folder, self._env)
        self._launch()

    def _launch(self) -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=BACKLOG) as listener:
            self.address = seal.sealed(listener)
            with self._log_path.open("ab") as log:  # gunicorn writes to it as well: always append
                self.process = processes.start(
                    self._command(listener.fileno()),
                    cwd=self._copy if self.app.own else self.app_folder,
                    env=self._env,
                    pass_fds=[listener.fileno()],
                    stdout=log,
                    stderr=STDOUT,
                )

    def _bind(self) -> str:
        """Listen for probes in the server's folder; return the path of the socket that workers connect to."""
        folder = str(self._folder)
        if len(os.fsencode(folder)) > LONGEST_FOLDER:
            opened = os.open(folder, os.O_RDONLY)
            self._stack.callback(os.close, opened)
            folder = f"/proc/{os.getpid()}/fd/{opened}"
        path = f"{folder}/probe.sock"
        try:
            self.probes.bind(path)
        except OSError as error:
            raise FaultError(f"cannot make a socket in {self._folder}: {error}: see TMPDIR") from None
        self.probes.listen()
        return path

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

    def _variables(self, probe: str) -> dict[str, str]:
        """Return the server's environment variables; it inherits only PATH and the language."""
        variables = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
        folders = dict.fromkeys(
            ("HOME", "TMPDIR", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CACHE_HOME"), str(self._folder)
        )
        if own := self.app.own:
            variables["PATH"] = os.pathsep.join(
                (str(self.environment.python.parent), variables.get("PATH", os.defpath))
            )
            variables |= own_variables(own) | {"OUTLIVE_PROTOCOL": own.protocol}
        tunables = ":".join(filter(None, (variables.get("GLIBC_TUNABLES"), UNCACHED)))
        return (
            folders
            | variables
            | ({"OUTLIVE_PEER": self.peer.ports} if self.peer else {})
            | {
                SOCKET: probe,
                "OUTLIVE_REQUEST_COUNTER": self.worker.request_counter,
                "OUTLIVE_RENEWED": self.worker.renewed,
                "PYTHONHASHSEED": "0",
                "PYTHONDONTWRITEBYTECODE": "1",
            }
            | ({"OUTLIVE_GC": self._policy} if self._policy else {"GLIBC_TUNABLES": tunables})
        )

    def wait_for_worker(self) -> socket.socket:
        """Return the connection to the probe of the next worker that has loaded the app.

        Raises FaultError, with the error from the server's log, if the app or the server does not start.
        """
        assert self.process is not None
        limit = self.app.own.start_limit if self.app.own else BOOT_LIMIT
        deadline = time.monotonic() + limit
        while not select.select([self.probes], [], [], 0.02)[0]:
            if (status := self.process.poll()) is not None:
                ending = f"it {processes.ending(status)} while it was loaded"
                complaint = raised(self._shown_log, self._code) or f"{ending}: {self.last_words()}"
                hint = absent(self.app.own, self._copy, complaint) if self.app.own else ""
                raise FaultError(f"{self.app.framework} app does not start: {complaint}{hint}")
            if time.monotonic() > deadline:
                hint = ": start_limit in outlive.toml gives it more" if self.app.own else ""
                how = self._logged(r"\d+")
                why = f"the last one died ({how})" if how else self.last_words()
                raise FaultError(f"no worker within {limit:g} s{hint}: {why}")
        return self.probes.accept()[0]

    @property
    def log(self) -> str:
        """The text of the server's log so far."""
        return self._log_path.read_text(errors="replace")

    def how_it_ended(self, pid: int) -> str:
        """Return how a worker ended, as in `exit code 3`; empty if gunicorn does not log it in time."""
        assert self.process is not None
        deadline = time.monotonic() + REAPED
        while not (how := self._logged(str(pid))) and time.monotonic() < deadline:
            if (status := self.process.poll()) is not None:  # workers end with their master
                return f"gunicorn's master {processes.ending(status)}"
            time.sleep(0.05)
        return how

    def _logged(self, pid: str) -> str:
        """Return how the last worker with a process id of this pattern ended, or an empty text."""
        ends = list(re.finditer(LAST_WORDS.format(pid), self.log))
        if not ends:
            return ""
        signal, code = ends[-1].group("signal", "code")
        return f"exit code {code}" if code else f"{signal}{OUT_OF_MEMORY if signal == 'SIGKILL' else ''}"

    @property
    def _shown_log(self) -> str:
        """The server's log without the values of the app's secrets."""
        return without_secrets(self.app.own, self.log) if self.app.own else self.log

    @property
    def _code(self) -> Path:
        """The folder of the code that is served."""
        return self._copy if self.app.own else self.app_folder

    @property
    def raised(self) -> str:
        """The last exception that the user's own application raised; empty for reference apps."""
        if not self.app.own:
            return ""
        complaint = raised(self._shown_log, self._code)
        return complaint + absent(self.app.own, self._copy, complaint)

    def last_words(self) -> str:
        """Return the line of the server's log that most likely says what went wrong."""
        return last_words(self._shown_log, self._code)


class Server(Gunicorn):
    """gunicorn with one worker at a time; each `fresh_worker()` is forked anew from the same master."""

    def __init__(self, environment: Environment, app: App, worker: Worker, folder: Path) -> None:
        options = ("--workers", "1", *((PRELOAD,) if worker.preload else ()))
        super().__init__(environment, app, worker, folder, options=options)
        self._line: ProbeLine | None = None

    def __exit__(self, *_: object) -> None:
        self.kill()
        if self._line is not None:
            self._line.close()
        super().__exit__()

    def rest(self) -> None:
        """Wait until the worker and its peer have handled everything that they were sent."""
        assert self._line is not None
        self._line.rest()
        if self.peer is not None:  # worker and peer can still have sent something to each other
            for _ in range(2):
                self.peer.rest()
                self._line.rest()

    def settle(self) -> None:
        """Wait for the worker and its peer, if any: a late answer would count for the next phase."""
        if self.peer is not None:
            self.rest()

    def where(self) -> str:
        """Return where in the user's own application the worker hangs, in brackets; empty if unknown."""
        if self._line is not None and self.app.own:
            with contextlib.suppress(FaultError):
                return hangs(self._line.where().stacks, self._copy)
        return ""

    @property
    def graph_path(self) -> Path:
        """The file to which a worker writes the graph of the survivors; it is deleted with the server."""
        return self._folder / "graph.json"

    def fresh_worker(self) -> ProbeLine:
        """End the present worker, if any, and return the line to the probe of the next one.

        If the app started threads in the master, workers do not inherit them, so each worker loads the app by
        itself instead. Raises FaultError as `wait_for_worker` does.
        """
        if self._line is not None:
            self._line.close()
            self._line = None
        self._line = ProbeLine(self.wait_for_worker(), self.how_it_ended)
        if self._line.hello.lost and PRELOAD in self._options:
            self.kill()
            self._line.close()
            self._options = tuple(option for option in self._options if option != PRELOAD)
            self._launch()
            self._line = ProbeLine(self.wait_for_worker(), self.how_it_ended)
        return self._line
