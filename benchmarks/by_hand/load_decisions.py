"""Whether the rule for noisy metrics holds on this machine: A/A comparisons, and planted changes, for real.

Run by hand: `python benchmarks/by_hand/load_decisions.py COMPARISONS [STACK [ROUNDS [REQUESTS]]]`, on an idle
machine. Each comparison runs a stack against itself under load. Then once more with 5 % more peak memory
planted on one side, and once with 10 % more time for each request. Prints each decision.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path

import msgspec
from rich.console import Console

from outlive.comparison.noisy import load_text as report
from outlive.comparison.noisy.load import LoadComparison, Run, compare
from outlive.comparison.noisy.noise import ROUNDS
from outlive.comparison.noisy.rounds import order
from outlive.comparison.pair import Side
from outlive.gates import proof
from outlive.loads.plan import LoadTest
from outlive.loads.run import run
from outlive.project import Project
from outlive.records.load import Deployment, LoadMeasurement, Traffic
from outlive.records.stack import Stack
from outlive.service import app as apps
from outlive.service.app import App
from outlive.stacks.prepare import Prepared, prepare

STACK = "flask==3.1.3"
REQUESTS = 4000
MEMORY = 0.05
TIME = 0.1
PROJECT = Project(Path(__file__).parents[2])


class Bench(msgspec.Struct):
    """The stack that is compared with itself, and how."""

    stack: Prepared
    app: App
    rounds: int
    requests: int

    def measured(self, planted: str | None = None) -> LoadMeasurement:
        """Run one load test, with something planted in the app or nothing."""
        app = proof.planted(self.app, planted or "nothing")  # both sides alike, but for what is planted
        test = LoadTest(
            self.stack, Deployment(worker=app.workers[-1].name, gc="off"), Traffic(requests=self.requests)
        )
        found = run(PROJECT, test, app=app)
        assert found.status == "measured", found.reason
        return found

    def compared(self, planted: str | None = None) -> LoadComparison:
        """Return a comparison of the stack with itself; `planted` is on the side after."""
        runs = [
            Run(turn, self.measured(planted if turn.arm == "after" else None)) for turn in order(self.rounds)
        ]
        side = Side(self.stack.record, self.stack.release)
        return compare(side, side, runs)


def main() -> None:
    """Run all comparisons and say what was decided."""
    words = sys.argv[1:]
    comparisons = int(words[0])
    stack = prepare(PROJECT, Stack.parse(words[1] if words[1:] else STACK))
    app = apps.load(PROJECT, stack.release.framework)
    worker = app.worker("keep-alive")
    assert worker is not None
    bench = Bench(
        stack,
        msgspec.structs.replace(app, workers=(worker,)),
        int(words[2]) if words[2:] else ROUNDS,
        int(words[3]) if words[3:] else REQUESTS,
    )
    console = Console()
    decisions: Counter[str] = Counter()
    silent = 0
    for number in range(1, comparisons + 1):
        begun = time.monotonic()
        found = bench.compared()
        decisions.update(one.decision for one in found.decided)
        changed = [one for one in found.decided if one.decision == "changed"]
        silent += not changed
        console.print(f"A/A {number}, {time.monotonic() - begun:.0f} s: {found.headline}", highlight=False)
    console.print(
        f"A/A without a change: {silent} of {comparisons}; metrics: {dict(decisions)}", highlight=False
    )
    first = bench.measured()
    service = first.server_cores / first.throughput
    for planted in (f"memory:{int(MEMORY * (first.peak_rss_bytes or 0))}", f"work:{TIME * service}"):
        console.print(f"\nplanted {planted}", highlight=False)
        report.show(bench.compared(planted), console)


if __name__ == "__main__":
    main()
