"""Asking the probes of a service: which sockets are theirs, what they say, and that as text for Prometheus.

A probe greets who connects, waits for ASK, and answers with one line of JSON, a `Reading`.
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
"""The name of a probe's socket: nobody else's is ever connected to, which could stall its service."""
LONGEST_PATH = 107
"""Bytes of a path that the system takes for a socket; Linux has a way round it."""
GREETING = b"outlive-probe 1\n"
ASK = b"read\n"
GREETED = 5.0
"""Seconds that whoever asks waits for the greeting: others may be before him."""
ANSWERED = 30.0
"""Seconds that he waits for the answer then: a process that is busy answers late."""
AT_ONCE = 32
"""Processes that are asked at a time."""
LONGEST_ANSWER = 1 << 20
"""Bytes of an answer; a hundred types take about ten thousand."""


class Reading(TypedDict):
    """What one process says of itself, at `time` in seconds since the epoch.

    `objects` are the gc-tracked objects alive, with the `frozen` ones. `growth` is how many more of a type
    are alive than at the first count, by type name: what has outlived its request is in there, and so are
    requests that are being served and, with a collector that is on, garbage that it has not come to. The
    counts are `age` seconds old and took `took` seconds. Pauses are in seconds, memory in bytes; None is what
    the system does not tell.
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
    """Return what the process with this socket says.

    Raises OSError where it does not answer, or not as a probe does; the socket of a dead one is removed.
    """
    path = Path(path)
    named = NAME.fullmatch(path.name)
    if not named:
        raise OSError(f"{path}: no name of a probe's socket")
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
    """Return the line that is behind a socket. Raises OSError where there is none in time."""
    with socket.socket(socket.AF_UNIX) as connection:
        deadline = time.monotonic() + GREETED
        _connect(connection, path, deadline)
        if _receive(connection, len(GREETING), deadline) != GREETING:
            raise OSError("no probe answers")
        connection.sendall(ASK)
        return _receive(connection, LONGEST_ANSWER, time.monotonic() + ANSWERED)


def _connect(connection: socket.socket, path: Path, deadline: float) -> None:
    """Connect, waiting for a turn where many ask at once."""
    connection.setblocking(False)
    while True:
        try:
            return reach(connection, path)
        except BlockingIOError:  # the queue is full
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _receive(connection: socket.socket, most: int, deadline: float) -> bytes:
    """Return the next line, or what there is of it where it is longer than `most` or the other side ends."""
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
    """Return the reading that a line is. Raises ValueError or RecursionError where it is none."""
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
    """Return what each process with a socket in `folder` says, those that answer, by process id."""
    return [answer for answer in answers(Path(folder)) if not isinstance(answer, OSError)]


def answers(folder: Path) -> list[Reading | OSError]:
    """Return what each process says, by process id, or why it does not; those that have died are left out."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - only who asks needs it

    def answer(path: Path) -> Reading | OSError | None:
        try:
            return read(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return None
        except OSError as error:
            return error

    paths = sorted(sockets(folder), key=lambda path: int(path.stem.rpartition("-")[2]))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [found for found in pool.map(answer, paths) if found is not None]


def sockets(folder: Path) -> list[Path]:
    """Return the sockets of probes in a folder: by name, and no other kind of file."""
    found: list[Path] = []
    for path in folder.glob("outlive-*.sock"):
        with contextlib.suppress(OSError):
            if NAME.fullmatch(path.name) and stat.S_ISSOCK(path.lstat().st_mode):
                found.append(path)
    return sorted(found)


def reach(connection: socket.socket, path: Path) -> None:
    """Connect to a probe's socket; one at which nobody listens any more is removed. Raises OSError."""
    with short_name(path) as name:
        try:
            connection.connect(name)
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def short_name(path: Path) -> Iterator[str]:
    """Yield a name of `path` that is short enough for a socket. Raises OSError where there is none."""
    if len(os.fsencode(path)) <= LONGEST_PATH:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        by_number = Path(f"/proc/self/fd/{folder}")
        if not by_number.is_dir():
            raise OSError(f"{path}: {LONGEST_PATH} bytes are the most for a socket's path here")
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
"""Name, field of a `Reading`, type and help of each metric that has one value for a process."""


def prometheus(readings: Sequence[Reading]) -> str:
    """Return the readings in Prometheus' text form, a sample for each process with its id as `worker`."""
    return "".join(f"{line}\n" for line in _lines(readings))


def _lines(readings: Sequence[Reading]) -> Iterator[str]:
    values: Iterable[dict[str, Any]] = [dict(reading) for reading in readings]
    for name, field, kind, text in METRICS:
        samples = [(one["pid"], one[field]) for one in values if one[field] is not None]
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
