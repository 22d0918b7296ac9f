"""Asks the probes of a service: finds their sockets, reads them, and writes readings for Prometheus.

A probe sends GREETING to a client, waits for ASK, and answers with a `Reading`, one line of JSON.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import socket
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypedDict, cast, get_type_hints

NAME = re.compile(r"outlive-([0-9]+)\.sock")
"""The name of a probe's socket. We never connect to any other, which could stall its service."""
LONGEST_PATH = 107
"""Most bytes of a socket's path; Linux offers a way around that."""
GREETING = b"outlive-probe 1\n"
ASK = b"read\n"
GREETED = 5.0
"""Seconds to wait for the greeting: other clients may be served first."""
ANSWERED = 30.0
"""Seconds to wait for the answer after that: a busy process answers late."""
AT_ONCE = 32
"""Most processes that are asked at the same time."""
LONGEST_ANSWER = 1 << 20
"""Most bytes of an answer; one with a hundred types has about ten thousand."""


class Reading(TypedDict):
    """The state of one process at `time`, in seconds since the epoch.

    `objects` is the number of gc-tracked objects alive, including the `frozen` ones. `growth` is how many
    more of a type are alive than at the first count, by type name: what has outlived its request, but also
    requests that are being served and garbage that the collector has not reached. The counts are `age`
    seconds old and took `took` seconds. Pauses are in seconds, memory is in bytes; None means that the system
    does not say.
    """

    pid: int
    time: float
    uptime: float
    age: float
    took: float
    objects: int
    frozen: int
    growth: dict[str, int]
    gc_enabled: bool
    collections: int
    freed: int
    pause: float
    longest_pause: float
    resident: int | None
    peak: int | None
    heap: int | None
    blocks: int
    open_files: int | None
    threads: int


def read(path: str | os.PathLike[str]) -> Reading:
    """Return the reading of the process with this socket.

    Raises OSError if it does not answer, or not as a probe would; the socket of a dead process is removed.
    """
    path = Path(path)
    named = NAME.fullmatch(path.name)
    if not named:
        raise OSError(f"{path}: not the name of a probe's socket")
    try:
        reading = _reading(_line(path))
    except (ConnectionRefusedError, FileNotFoundError):
        raise
    except OSError as error:
        raise OSError(f"{path}: {error.strerror or error}") from error
    except (ValueError, RecursionError):
        raise OSError(f"{path}: not the answer of a probe") from None
    if reading["pid"] != int(named[1]):
        raise OSError(f"{path}: the answer of process {reading['pid']}")
    return reading


def _line(path: Path) -> bytes:
    """Return the line that a probe answers with. Raises OSError if it does not come in time."""
    with socket.socket(socket.AF_UNIX) as connection:
        deadline = time.monotonic() + GREETED
        _connect(connection, path, deadline)
        if _receive(connection, len(GREETING), deadline) != GREETING:
            raise OSError("no probe answers")
        connection.sendall(ASK)
        return _receive(connection, LONGEST_ANSWER, time.monotonic() + ANSWERED)


def _connect(connection: socket.socket, path: Path, deadline: float) -> None:
    """Connect; if many clients ask at once, wait for a turn until `deadline`."""
    connection.setblocking(False)
    while True:
        try:
            return reach(connection, path)
        except BlockingIOError:  # the queue is full
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _receive(connection: socket.socket, most: int, deadline: float) -> bytes:
    """Return the next line; it is incomplete if it has more than `most` bytes or the other side closes."""
    data = bytearray()
    while len(data) < most and not data.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        connection.settimeout(left)
        part = connection.recv(min(65536, most - len(data)))
        if not part:
            break
        data += part
    return bytes(data)


def _reading(line: bytes) -> Reading:
    """Return the reading in a line. Raises ValueError or RecursionError if the line is not one."""
    answer = json.loads(line)
    fields = get_type_hints(Reading)
    if not isinstance(answer, dict) or answer.keys() != fields.keys():
        raise ValueError(line)
    for name, kind in fields.items():
        value = answer[name]
        if not (_is_growth(value) if name == "growth" else isinstance(value, kind)):
            raise ValueError(name)
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(name)
    reading: Any = answer
    return cast("Reading", reading)


def _is_growth(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(number, int) for number in value.values())


def ask(folder: str | os.PathLike[str]) -> list[Reading]:
    """Return the readings of all processes with a socket in `folder` that answer, by process id."""
    return [answer for answer in answers(Path(folder)) if not isinstance(answer, OSError)]


def answers(folder: Path) -> list[Reading | OSError]:
    """Return each process's reading, or the error if it gives none, by process id; skip dead processes."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - a service itself does not need it

    def answer(path: Path) -> Reading | OSError | None:
        try:
            return read(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return None
        except OSError as error:
            return error

    paths = sorted(sockets(folder), key=lambda path: int(path.stem.rpartition("-")[2]))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [result for result in pool.map(answer, paths) if result is not None]


def sockets(folder: Path) -> list[Path]:
    """Return the probes' sockets in a folder, sorted; other files of such names are skipped."""
    paths: list[Path] = []
    for path in folder.glob("outlive-*.sock"):
        with contextlib.suppress(OSError):
            if NAME.fullmatch(path.name) and stat.S_ISSOCK(path.lstat().st_mode):
                paths.append(path)
    return sorted(paths)


def reach(connection: socket.socket, path: Path) -> None:
    """Connect to a probe's socket; if nobody listens any more, remove it. Raises OSError."""
    with short_name(path) as name:
        try:
            connection.connect(name)
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def short_name(path: Path) -> Iterator[str]:
    """Yield a name for `path` that is short enough for a socket. Raises OSError if there is none."""
    if len(os.fsencode(path)) <= LONGEST_PATH:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        by_number = Path(f"/proc/self/fd/{folder}")
        if not by_number.is_dir():
            raise OSError(f"{path}: a socket's path can have {LONGEST_PATH} bytes at most here")
        yield str(by_number / path.name)
    finally:
        os.close(folder)


METRICS: tuple[tuple[str, str, str, str], ...] = (
    ("objects", "objects", "gauge", "gc-tracked objects alive"),
    ("frozen_objects", "frozen", "gauge", "objects in the permanent generation (gc.freeze)"),
    ("gc_enabled", "gc_enabled", "gauge", "whether automatic collection is on"),
    ("gc_collections_total", "collections", "counter", "collections since the probe was started"),
    ("gc_freed_objects_total", "freed", "counter", "objects that collections freed"),
    ("gc_pause_seconds_total", "pause", "counter", "seconds paused by collections"),
    ("gc_longest_pause_seconds", "longest_pause", "gauge", "longest pause by a collection"),
    ("resident_bytes", "resident", "gauge", "resident memory"),
    ("peak_resident_bytes", "peak", "gauge", "peak resident memory"),
    ("heap_bytes", "heap", "gauge", "C heap in use"),
    ("memory_blocks", "blocks", "gauge", "blocks allocated by Python's allocator"),
    ("open_files", "open_files", "gauge", "open file descriptors"),
    ("threads", "threads", "gauge", "threads"),
    ("count_seconds", "took", "gauge", "seconds that the last count of objects took"),
)
"""(name, field of a `Reading`, type, help) of each metric that has one value per process."""


def prometheus(readings: Sequence[Reading]) -> str:
    """Return the readings in Prometheus' text format; the label `worker` is a process's id."""
    return "".join(f"{line}\n" for line in _lines(readings))


def _lines(readings: Sequence[Reading]) -> Iterator[str]:
    values: Iterable[dict[str, Any]] = [dict(reading) for reading in readings]
    for name, field, kind, text in METRICS:
        samples = [(value["pid"], value[field]) for value in values if value[field] is not None]
        if samples:
            yield f"# HELP outlive_{name} {text}"
            yield f"# TYPE outlive_{name} {kind}"
            yield from (f'outlive_{name}{{worker="{pid}"}} {value + 0}' for pid, value in samples)
    if readings:
        yield "# HELP outlive_object_growth objects alive more than at the first count, by type"
        yield "# TYPE outlive_object_growth gauge"
    for reading in readings:
        for name, number in reading["growth"].items():
            label = name.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
            yield f'outlive_object_growth{{worker="{reading["pid"]}",type="{label}"}} {number}'
