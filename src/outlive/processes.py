"""Starts processes in their own sessions: Ctrl-C reaches only us, and they end with us.

Each is tied to the *thread* that started it (see `outlive.worker.lifeline`): start long-lived processes from
a thread that lives as long.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TypedDict, Unpack

from outlive.errors import FaultError

LIFELINE = Path(__file__).with_name("worker") / "lifeline.py"
GRACE = 5.0  # seconds between SIGTERM and SIGKILL
LOOK = 0.005  # seconds between two checks for daemons

Stream = int | IO[bytes] | None


class PopenOptions(TypedDict, total=False):
    """The supported options of `subprocess.Popen`. The default `stdin` is the null device."""

    env: Mapping[str, str] | None
    cwd: Path | None
    stdin: Stream
    stdout: Stream
    stderr: Stream
    pass_fds: Sequence[int]


def start(argv: Sequence[str | Path], **options: Unpack[PopenOptions]) -> subprocess.Popen[bytes]:
    """Start `argv` as the leader of a new process group, and return the process; its streams are bytes.

    The caller must end it with `stop`, or use `running` instead. A program that does not exist ends with
    status 1.
    """
    lifeline = [sys.executable, "-I", "-S", str(LIFELINE), str(os.getpid()), "--"]
    options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.Popen([*lifeline, *map(str, argv)], start_new_session=True, **options)


@contextlib.contextmanager
def running(
    argv: Sequence[str | Path], *, grace: float = GRACE, **options: Unpack[PopenOptions]
) -> Iterator[subprocess.Popen[bytes]]:
    """Start `argv`, yield the process, and finally end its whole group, whatever happens."""
    process = start(argv, **options)
    try:
        yield process
    except BaseException:
        kill(process)
        raise
    finally:
        stop(process, grace)


def run(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    text: str = "",
    timeout: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run `argv` with `text` on its standard input; return what it printed (as UTF-8) and its exit status.

    Raises FaultError if it takes longer than `timeout` seconds. On any exception its whole group is killed.
    """
    process = start(
        argv, env=env, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        stdout, stderr = process.communicate(text.encode(), timeout)
    except subprocess.TimeoutExpired:
        kill(process)
        raise FaultError(f"{Path(argv[0]).name} did not end within {timeout:g} seconds") from None
    except BaseException:
        kill(process)
        raise
    return subprocess.CompletedProcess(
        [str(part) for part in argv],
        process.returncode,
        stdout.decode(errors="replace"),
        stderr.decode(errors="replace"),
    )


def ending(status: int) -> str:
    """Return how a process with this exit status ended, as in `was killed by signal 9`."""
    return f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    """Return why a program failed: its last line on standard error, or its exit status."""
    return (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]


def stop(process: subprocess.Popen[bytes], grace: float = GRACE) -> None:
    """Ask the leader of the group to end, and kill the rest of the group after at most `grace` seconds.

    Nothing happens to a process that has already ended.
    """
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace)
    kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the whole group of `process`, wait until it has ended and close our ends of its pipes."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: EPERM for a group of zombies
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + GRACE
    while _lives_on(process.pid) and time.monotonic() < deadline:
        time.sleep(LOOK)
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream:
            with contextlib.suppress(BrokenPipeError):
                stream.close()


def kill_daemons(name: str, value: str) -> None:
    """Kill processes that started with a variable, and wait until they have ended: at most `GRACE` seconds.

    A daemon leaves its group, but keeps its environment. Does nothing on a system without /proc.
    """
    variable = f"{name}={value}".encode()
    killed: set[Path] = set()
    deadline = time.monotonic() + GRACE
    while time.monotonic() < deadline:
        daemons = {folder for folder in Path("/proc").glob("[0-9]*") if variable in _variables(folder)}
        for folder in daemons:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(folder.name), signal.SIGKILL)
        killed |= daemons  # each runs on until it is scheduled
        if not daemons and not any(map(_is_running, killed)):
            return
        time.sleep(LOOK)


def _variables(folder: Path) -> list[bytes]:
    """Return the initial environment of a process; empty if it has ended or belongs to another user."""
    try:
        return (folder / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _lives_on(group: int) -> bool:
    """Return whether a process of a group has not ended: one that was killed runs until it is scheduled."""
    try:
        os.killpg(group, 0)
    except OSError:
        return False
    return any(
        status[2] == b"%d" % group and status[0] != b"Z"
        for folder in Path("/proc").glob("[0-9]*")
        if (status := _status(folder))
    )


def _is_running(folder: Path) -> bool:
    """Return whether a process has not ended; a zombie has."""
    return _status(folder)[:1] not in ([], [b"Z"])


def _status(folder: Path) -> list[bytes]:
    """Return state, parent, group and more of a process; empty if it has gone."""
    try:
        return (folder / "stat").read_bytes().rpartition(b") ")[2].split()
    except OSError:
        return []
