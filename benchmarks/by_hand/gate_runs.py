"""Whether a gate flickers: the same gate, run often while all other cores are kept busy.

Run by hand: `python benchmarks/by_hand/gate_runs.py RUNS [WORDS OF outlive gate …]`, such as

    python benchmarks/by_hand/gate_runs.py 50 flask --gc off
    python benchmarks/by_hand/gate_runs.py 50 flask --gc off --scenario not-found --plant

Each run must be green on the unchanged release, and red where the words have --plant: one object for each 100
requests planted. Prints how many were, with what the others said, and exits with 1 if there are any.

A red run takes longer: whatever seems to leak is counted over 2,138 requests instead of 313, and then all of
it a second time in a fresh worker. Beside a busy core each request waits for its turn at the processor, so
plant in a few cells.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack

from outlive import processes
from outlive.errors import ExitCode

WORDS = ("flask", "--gc", "off")
BUSY = "while True: pass"


def keep_busy(stack: ExitStack) -> int:
    """Occupy all cores but one until `stack` closes, or we die; return how many."""
    cores = sorted(os.sched_getaffinity(0))[1:]
    for core in cores:
        spinning = processes.start([sys.executable, "-c", BUSY])
        stack.callback(processes.kill, spinning)
        os.sched_setaffinity(spinning.pid, {core})
    return len(cores)


def run(words: tuple[str, ...], expected: ExitCode) -> str | None:
    """Run one gate; return None, or its first line where it did not end as expected."""
    command = [sys.executable, "-m", "outlive", "gate", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == expected:
        return None
    said = (done.stdout or done.stderr).splitlines() or ["nothing"]
    return f"exit code {done.returncode}: {said[0]}"


def main() -> int:
    """Run all gates and say how they ended."""
    runs = int(sys.argv[1])
    words = tuple(sys.argv[2:]) or WORDS
    expected = ExitCode.REGRESSION if "--plant" in words else ExitCode.FINE
    with ExitStack() as stack:
        print(f"outlive gate {' '.join(words)}, {keep_busy(stack)} other cores kept busy", flush=True)
        begun = time.monotonic()
        others = Counter(filter(None, (run(words, expected) for _ in range(runs))))
        each = (time.monotonic() - begun) / runs
    colour = "red" if expected else "green"
    print(f"{colour}: {runs - others.total()} of {runs}, {each:.0f} s each", flush=True)
    for said, count in others.items():
        print(f"  {count} times {said}", flush=True)
    return 1 if others else 0


if __name__ == "__main__":
    sys.exit(main())
