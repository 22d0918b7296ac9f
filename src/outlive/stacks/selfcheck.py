"""Self-check: whether the probe sees what is planted in an interpreter on which it is not tested."""

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
"""Seconds that the self-check may take; it usually takes a fraction of a second."""


def wrong(python: str, digest: str) -> str | None:
    """Return what the probe misses in the interpreter `python`, or None if it sees everything.

    The answer is kept for each build (`digest`) and each version of the counting rules.
    """
    path = cache_dir() / "selfchecks" / f"{digest}-{COUNTING}.json"
    with contextlib.suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode(path.read_bytes(), type=str) or None
    error = _error(python)
    with contextlib.suppress(FaultError):  # a full disk only makes the next call slow
        write_text(path, msgspec.json.encode(error).decode())
    return error or None


def _error(python: str) -> str:
    try:
        done = processes.run([python, "-I", SCRIPT], timeout=LIMIT)
        planted = msgspec.json.decode(done.stdout, type=dict[str, tuple[int, int]])
    except FaultError as error:
        return str(error)
    except msgspec.DecodeError:
        return f"the probe does not run in it: {one_line(processes.complaint(done))}"
    missed = [f"{seen} of {number} {kind}" for kind, (number, seen) in planted.items() if seen != number]
    return f"of what was planted it sees {', '.join(missed)}" if missed else ""
