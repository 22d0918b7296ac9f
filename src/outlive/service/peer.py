"""The service that apps call: a process beside the server, which dies with us; see `chaos`."""

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
"""Seconds that the peer may take to do everything that it was asked for."""
POLL = 0.0002


class Peer:
    """A running peer; `ports` is a JSON object of the ports on which it listens, by name."""

    def __init__(self, certificate: Path) -> None:
        """Start the peer. Raises FaultError if it does not start."""
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
        """Wait until the peer has done everything that it was asked for: its only thread is asleep.

        Raises FaultError if it has died or never rests.
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
        """End the peer."""
        processes.kill(self._process)
