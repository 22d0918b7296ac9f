"""Exactness under attack: cells are measured again and again, and a count is the same, or a fault is said.

    python tests/faults/attack.py
    python tests/faults/attack.py --runs 2 --scenario ok --scenario not-found

First all cells are measured in peace. Then, run after run, with each core kept busy, strangers send requests
to every port that the servers listen on, and in every other run the disk with the results, or the one with
the temporary files, gets full at a random moment. A run that ends with 0 must have all cells, each with the
counts that it has in peace; one that ends otherwise must say why in one line, and what it has stored must
have these counts too. Ends with what came of it, and with status 1 if a count was wrong or nothing was said.
Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import psutil
from grounds import Ground, busy, ended
from mounts import NOWHERE, Disk, options_apart

from outlive.records.measurement import Cell, Measurement
from outlive.replay.store import read

STACKS = ("flask==3.1.3", "aiohttp==3.14.5")
SCENARIOS = ("ok", "not-found", "handler-error", "upload", "method-not-allowed")
OPTIONS = [
    "--connection",
    "keep-alive",
    "--connection",
    "close",
    "--gc",
    "off",
    "--gc",
    "on",
    "--python",
    "3.11",
    "--fresh",
]
STRANGERS = 4
WAIT = 0.1
"""Seconds that a stranger waits for an answer, or for the next server."""
REQUEST = b"GET /missing HTTP/1.1\r\nHost: localhost\r\n\r\n"
COUNTS = ("status", "growth", "survivors_per_request", "leaked_per_request", "cyclic_per_request")
"""What must be the same; with gc on, a collection that the collector starts frees what it finds."""

Counts = dict[tuple[str, Cell], tuple[object, ...]]


class Strangers:
    """A context manager: threads that send requests to whatever port the children of a process listen on."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.seen: Counter[str] = Counter()
        self.ports: list[int] = []
        self.over = threading.Event()
        tasks = [self._look, *[self._send] * STRANGERS]
        self.threads = [threading.Thread(target=task) for task in tasks]

    def __enter__(self) -> Self:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()

    def _look(self) -> None:
        while not self.over.wait(WAIT):
            ports = set()
            with contextlib.suppress(psutil.Error):
                for process in psutil.Process(self.pid).children(recursive=True):
                    with contextlib.suppress(psutil.Error):
                        found = process.net_connections("tcp4")
                        ports |= {one.laddr.port for one in found if one.status == psutil.CONN_LISTEN}
            self.ports = sorted(ports)

    def _send(self) -> None:
        while not self.over.is_set():
            for port in self.ports or [0]:
                if not port:
                    time.sleep(WAIT)
                    continue
                self.seen["tried"] += 1
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), WAIT) as one:
                    self.seen["connected"] += 1
                    one.sendall(REQUEST)
                    if one.recv(1):
                        self.seen["answered"] += 1


def stored(ground: Ground) -> Counts:
    """Return the counts that are stored on a ground, by release and cell."""
    found: Counts = {}
    for path in ground.root.glob(".outlive/results/measurements/**/*.json"):
        for one in read(path).measurements:
            found[one.framework, Cell.of(one)] = counts(one)
    return found


def counts(measurement: Measurement) -> tuple[object, ...]:
    return tuple(getattr(measurement, name) for name in COUNTS)


@contextlib.contextmanager
def filling(after: float | None, place: Path) -> Iterator[None]:
    """Within the context a disk gets full after so many seconds, or never."""
    with Disk(place) as disk:
        timer = threading.Timer(after or 0, disk.limit, (0,))
        if after is not None:
            timer.start()
        try:
            yield
        finally:
            timer.cancel()
            if after is not None:
                timer.join()
        disk.mend()


def run(folder: Path, words: list[str], expected: Counts, after: float | None, place: str) -> list[str]:
    """Measure all cells once; return what is wrong."""
    ground = Ground(folder)
    ground.cwd = NOWHERE
    work = ground.root / ".outlive"
    work.mkdir()
    began = time.monotonic()
    with filling(after, work if place == "results" else ground.temporary):
        process = ground.start(words)
        with Strangers(process.pid) as strangers:
            end = ended(process)
        found = stored(ground)
    wrong = [cell for cell in found if found[cell] != expected.get(cell)]
    faults = [*end.faults, *(f"{cell}: {found[cell]}, not {expected.get(cell)}" for cell in wrong)]
    missing = len(expected.keys() - found.keys())
    if end.code not in {0, 4}:
        faults.append(f"ends with {end.code}")
    elif missing and not end.code:
        faults.append(f"{missing} cells are missing without a word")
    elif end.code and not (end.line or "failed" in end.shown):
        faults.append("says nothing")
    full = "" if after is None else f", {place} full after {after:.0f} s"
    print(
        f"{time.monotonic() - began:.0f} s{full}: exit code {end.code}, {len(found) - len(wrong)} cells the "
        f"same, {len(wrong)} others, {missing} missing; strangers {dict(strangers.seen)}; {end.line}",
        flush=True,
    )
    return faults


def main() -> int:
    """Measure, and say what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--scenario", action="append", help="in place of ours; may be repeated")
    parser.add_argument("--seed", type=int, default=1)
    options = options_apart(parser)
    chance = random.Random(options.seed)
    words = ["measure", *STACKS, *OPTIONS, "--python", "3.11", "--fresh"]
    words += [word for name in options.scenario or SCENARIOS for word in ("--scenario", name)]
    with tempfile.TemporaryDirectory(dir=options.apart) as folder:
        ground = Ground(Path(folder))
        began = time.monotonic()
        end = ended(ground.start(words))
        seconds = time.monotonic() - began
        expected = stored(ground)
        print(f"in peace: {seconds:.0f} s, exit code {end.code}, {len(expected)} cells", flush=True)
        if end.code:
            raise SystemExit(f"attack: {end.said}{end.shown}")
    faults = []
    with busy():
        for number in range(options.runs):
            after = chance.uniform(1, seconds) if number % 2 else None
            with tempfile.TemporaryDirectory(dir=options.apart) as folder:
                faults += run(Path(folder), words, expected, after, chance.choice(("results", "temporary")))
    print("\n".join(faults) or "every count the same, or the run said why there is none")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
