"""The service that apps call: a process beside the server that dies with this process; see `chaos`."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

from outlive import processes
from outlive.errors import FaultError
from outlive.service.stillness import Stillness

CHAOS = Path(__file__).with_name("chaos.py")


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
            processes.kill(self._process)
            raise FaultError("the peer that the app calls does not start")
        self._stillness = Stillness(self._process.pid)

    def rest(self) -> None:
        """Wait until the peer has done what it was asked to. Raises FaultError if it dies or never rests."""
        with contextlib.suppress(OSError):  # it has died
            if self._stillness.wait():
                return
        raise FaultError("the peer that the app calls has died or never rests")

    def close(self) -> None:
        """End the peer."""
        processes.kill(self._process)
        self._stillness.close()
