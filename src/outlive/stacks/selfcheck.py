"""Self-check: whether the probe sees what is planted in an interpreter that it was not tried on."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from outlive import processes
from outlive.errors import FaultError
from outlive.files import write_text
from outlive.project import cache_dir
from outlive.wording import one_line
from outlive.worker.probe import COUNTING

SCRIPT = Path(__file__).parents[1] / "worker" / "selfcheck.py"
LIMIT = 60.0
"""Seconds that it may take; a fraction of one is usual."""


def wrong(python: str, digest: str) -> str | None:
    """Return what the probe does not see in the interpreter `python`, or None where it sees everything.

    That is kept for each build, which `digest` tells apart, and for each version of the counting rules.
    """
    path = cache_dir() / "selfchecks" / f"{digest}-{COUNTING}.json"
    with contextlib.suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode(path.read_bytes(), type=str) or None
    said = _look(python)
    with contextlib.suppress(OSError):
        write_text(path, msgspec.json.encode(said).decode())
    return said or None


def _look(python: str) -> str:
    try:
        done = processes.run([python, "-I", SCRIPT], timeout=LIMIT)
        found = msgspec.json.decode(done.stdout, type=dict[str, tuple[int, int]])
    except FaultError as error:
        return str(error)
    except msgspec.DecodeError:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        return f"the probe does not run in it: {one_line(last)}"
    missed = [f"{seen} of {planted} {kind}" for kind, (planted, seen) in found.items() if seen != planted]
    return f"of what was planted it sees {', '.join(missed)}" if missed else ""
