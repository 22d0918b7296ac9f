"""Compares releases with themselves, many times: nothing may change, and each cell has one class.

    python tests/faults/self_comparisons.py 20

Half of the runs are Flask's, half aiohttp's; each takes a part of all scenarios, default and extended, over
one kind of connection, with gc on and off, so that the runs of a framework go through all scenarios once.
The last run has both cores kept busy. It ends with 1 where a cell changed.
"""

from __future__ import annotations

import contextlib
import sys

from grounds import busy

import outlive
from outlive.project import Project
from outlive.records.measurement import CONNECTIONS
from outlive.replay import engine
from outlive.service.scenarios import load_set

STACKS = ("flask==3.1.3,python==3.11", "aiohttp==3.14.5,python==3.11")


def main(runs: int) -> int:
    """Run so many comparisons and print what came of each; return how many cells changed."""
    project = Project.find()
    wrong = 0
    for run in range(runs):
        stack = STACKS[run % 2]
        served = engine.serving(project, stack.partition("=")[0], load_set(project.scenarios, "all"))
        mine = sorted(served)[run // 2 :: max(1, runs // 2)]
        connection = CONNECTIONS[run // 2 % len(CONNECTIONS)]
        last = run == runs - 1
        with busy() if last else contextlib.nullcontext():
            found = outlive.compare(
                stack, stack, scenarios=mine, connections=[connection], fresh=True
            ).comparison
        wrong_rows = [
            row for row in found.rows if row.direction != "same" or row.before.kind != row.after.kind
        ]
        inexact = sum(row.before.amounts["objects"].error > 0 for row in found.rows)
        name = f"{stack}, {connection}{' at full load' if last else ''}"
        print(
            f"{run + 1:2} {name}: {len(found.rows)} cells, {inexact} of them not exact; "
            f"{len(found.unmeasured)} not compared; {len(wrong_rows)} changed",
            flush=True,
        )
        for row in wrong_rows:
            told = {name: (row.before.value(name), row.after.value(name)) for name in row.told}
            print(
                f"   {row.scenario}, {row.connection}, {row.gc}: {row.before.kind}, {row.after.kind}, {told}"
            )
        wrong += len(wrong_rows)
    print(f"{wrong} of all cells changed")
    return wrong


if __name__ == "__main__":
    raise SystemExit(1 if main(int(sys.argv[1])) else 0)
