"""Checks what the probe sees of objects, cycles, bytes and a thread planted in a bare interpreter.

Runs in an interpreter on which the probe has not been tested. Prints one JSON object: (expected, seen) for
each kind of thing planted.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from array import array

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from outlive.worker.probe import Probe

ROUNDS = (1, 1, 2, 13, 35)
"""How many of each kind are planted in each phase."""
FIRST = 3
"""The first phase that counts; what is made only once is made before it."""
KINDS = {"objects": 1, "objects in cycles": 2, "byte strings": 1}
"""What is planted, and how many objects of it each time."""
OWN_BLOCKS = 1
"""Pairs of blocks by which a phase may differ: the interpreter's own, more where it has just compiled us."""
BYTES = 2**20
"""Length of the long byte string: too long for the heap that the C library already has."""


class Planted:
    """One gc-tracked object. With slots it has no dictionary, which would count too."""

    __slots__ = ("other",)

    other: Planted


def plant(planted: list[Any], first: int, number: int) -> None:
    """Put `number` objects and byte strings into `kept`, from place `first` on, and leave as many cycles."""
    for place in range(first, first + number):
        planted[2 * place] = Planted()
        planted[2 * place + 1] = os.urandom(100)
        left, right = Planted(), Planted()
        left.other, right.other = right, left


def seen(probe: Probe) -> dict[str, tuple[int, int]]:
    """Return (expected, seen) for each kind, from the first phase that is wrong, else from the last."""
    planted: list[Any] = [None] * (2 * sum(ROUNDS) + 1)
    phases = array("q", [0] * (3 * len(ROUNDS)))  # unlike a list it keeps no number as an object
    probe.do_begin("off")
    for place, number in enumerate(ROUNDS):
        plant(planted, sum(ROUNDS[:place]), number)
        count = probe.do_count()
        phases[3 * place] = count["leaked"]
        phases[3 * place + 1] = count["survivors"] - count["leaked"]
        blocks = count["blocks_kept"] // 2  # an object takes a block too
        phases[3 * place + 2] = number if abs(blocks - number) <= OWN_BLOCKS else blocks
        del count
    counts = {}
    for column, (name, each) in enumerate(KINDS.items()):
        pairs = [(each * n, phases[3 * place + column]) for place, n in enumerate(ROUNDS)][FIRST:]
        counts[name] = next((pair for pair in pairs if pair[0] != pair[1]), pairs[-1])
    planted[-1] = os.urandom(BYTES)
    count = probe.do_count()
    if count["heap_kept"] is not None:
        counts["MiB of bytes"] = (1, count["heap_kept"] // BYTES)
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    counts["threads"] = (1, probe.do_count()["threads"] - count["threads"])
    end.set()
    thread.join()
    return counts


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from collector import CollectorLog  # type: ignore[import-not-found]
    from holdings import Holdings  # type: ignore[import-not-found]
    from idle import IdleWatch  # type: ignore[import-not-found]
    from probe import Probe as Counter  # type: ignore[import-not-found]

    own = Counter(Holdings(), None, CollectorLog())
    own.idle = IdleWatch(threading.get_native_id())
    print(json.dumps(seen(own)))
