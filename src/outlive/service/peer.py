"""The peer of apps that call out: a process that dies with us, beside the server; see `chaos`."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from outlive import processes
from outlive.errors import FaultError

CHAOS = Path(__file__).with_name("chaos.py")
REST_LIMIT = 5.0
"""Seconds that the peer may take to do all it was asked for."""
POLL = 0.0002


class Peer:
    """A running peer. `ports` is the JSON that says where it listens."""

    def __init__(self, certificate: Path) -> None:
        """Start it; raises FaultError where it does not start."""
        self._process = processes.start(
            [sys.executable, "-I", CHAOS, certificate], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self._process.stdout is not None
        self.ports = self._process.stdout.readline().decode().strip()
        if not self.ports:
            self.close()
            raise FaultError("the peer that the app calls does not start")
        self._stat = Path(f"/proc/{self._process.pid}/stat")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def rest(self) -> None:
        """Wait until it has done all that it was asked for: it is one thread, so it rests when that sleeps.

        Raises FaultError where it has died or never rests.
        """
        deadline = time.monotonic() + REST_LIMIT
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            if self._stat.read_bytes().rpartition(b")")[2].split()[0] == b"S":
                return
            time.sleep(POLL)
        raise FaultError("the peer that the app calls has died or never rests")

    def close(self) -> None:
        """End it."""
        processes.kill(self._process)
