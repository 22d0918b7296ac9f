"""Where verbs are made to fail: checkouts with folders of their own, and what must hold there afterwards."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import psutil

from outlive.errors import FaultError
from outlive.replay.store import read

CHECKOUT = Path(__file__).parents[2]
RELEASE = "flask==3.1.3"
CELL = ("--scenario", "ok", "--connection", "close", "--gc", "off", "--python", "3.11")
SURVIVORS = 8.0
"""What RELEASE leaves for each request of the cell."""
LONGEST = 600.0
"""Seconds after which a verb counts as hanging; on a busy machine a gate is long."""
GONE = 10.0
"""Seconds in which the processes of a verb that has ended are gone."""
BUSY = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"
NOT_OURS = frozenset({".gitignore", ".git"})
"""Hidden files that are meant to stay; others are what a writer has not removed."""


class Ground:
    """A checkout in which nothing was measured yet, with a temporary folder of its own."""

    def __init__(self, folder: Path, variables: Mapping[str, str | Path] | None = None) -> None:
        self.root, self.temporary = folder / "checkout", folder / "tmp"
        self.cwd = self.root
        self.root.mkdir()
        self.temporary.mkdir()
        for name in ("apps", "loadtests", "releases", "benchmarks", "asv.conf.json"):
            (self.root / name).symlink_to(CHECKOUT / name)
        own = {"OUTLIVE_ROOT": self.root, "TMPDIR": self.temporary} | dict(variables or {})
        self.env = os.environ | {name: str(value) for name, value in own.items()}

    def start(self, words: Sequence[str], before: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """Start a verb, or, with words `before` it, the program that these run it by."""
        argv = [*before, sys.executable, "-m", "outlive", *words]
        return subprocess.Popen(
            argv, env=self.env, cwd=self.cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def processes(self) -> Iterator[psutil.Process]:
        """Yield the live processes whose temporary files are here."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                own = process.environ().get("TMPDIR", "")
                if own.startswith(str(self.temporary)) and process.status() != psutil.STATUS_ZOMBIE:
                    yield process

    def alive(self) -> list[str]:
        """Return what is wrong if processes of a verb that has ended do not end within a while."""
        deadline = time.monotonic() + GONE
        while (alive := [one.pid for one in self.processes()]) and time.monotonic() < deadline:
            time.sleep(0.1)
        return [f"{len(alive)} processes are left"] * bool(alive)

    def left(self) -> list[str]:
        """Return what is wrong if there are temporary files."""
        left = sorted(path.name for path in self.temporary.iterdir())
        return [f"{len(left)} temporary files are left"] * bool(left)

    def wrong(self) -> Iterator[str]:
        """Yield what was stored and is not whole or not exact."""
        for path in self.root.glob(".outlive/**/.*"):
            if path.is_file() and path.name not in NOT_OURS:
                yield f"{path.name} is left"
        release = RELEASE.partition("==")[2]
        for path in self.root.glob(f"**/measurements/flask/{release}/*.json"):
            try:
                measurements = read(path).measurements
            except FaultError as error:
                yield str(error)
                continue
            for found in measurements:
                cell = (found.scenario, found.connection, found.gc)
                if cell == ("ok", "close", "off") and found.survivors_per_request != SURVIVORS:
                    yield f"{found.survivors_per_request} survivors"


@contextlib.contextmanager
def busy() -> Iterator[None]:
    """Keep each core busy."""
    loops = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for process in loops:
            process.kill()
            process.wait()


class Ended(msgspec.Struct, frozen=True):
    """How a verb ended: its exit code, its standard output and error, and what is wrong with that."""

    code: int
    shown: str
    said: str
    faults: tuple[str, ...]

    @property
    def line(self) -> str:
        """What it says on standard error at its end; empty if it says nothing."""
        return next((line for line in self.said.splitlines() if line.startswith("outlive: ")), "")


def ended(process: subprocess.Popen[bytes]) -> Ended:
    """Wait for a verb and return how it ended."""
    faults = []
    try:
        out, err = process.communicate(timeout=LONGEST)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        faults.append("hangs")
    said = err.decode(errors="replace")
    if "Traceback" in said or "fault of outlive" in said or said.count("outlive: ") > 1:
        faults.append(f"says {said[-300:]!r}")
    return Ended(process.returncode, out.decode(errors="replace"), said, tuple(faults))


def table(names: Sequence[str], rows: Sequence[tuple[tuple[str, ...], int, bool]]) -> str:
    """Return how often each kind was tried, with which exit codes, and what did not hold, as Markdown.

    A row is a kind, an exit code, and whether all held.
    """
    lines = [f"| {' | '.join(names)} | tried | exit codes | did not hold |"]
    lines.append(f"|{' --- |' * len(names)} --: | --- | --: |")
    for kind in sorted({kind for kind, *_ in rows}):
        mine = [(code, held) for other, code, held in rows if other == kind]
        counts = sorted(Counter(code for code, _ in mine).items())
        codes = ", ".join(f"{code}: {count}" for code, count in counts)
        broken = sum(not held for _, held in mine)
        lines.append(f"| {' | '.join(kind)} | {len(mine)} | {codes} | {broken} |")
    return "\n".join(lines)
