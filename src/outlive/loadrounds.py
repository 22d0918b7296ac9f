"""Running a load comparison: two stacks take turns under the same load, each run on a fresh server."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import msgspec

from outlive.engine import Pair
from outlive.errors import FaultError
from outlive.load.generator import Generated
from outlive.load.plan import LoadTest
from outlive.load.record import Deployment
from outlive.load.run import run
from outlive.load.traffic import Traffic
from outlive.loadcomparison import Run
from outlive.project import Project
from outlive.rounds import Turn, order

REQUESTS = 4000
"""Requests of each run without --requests: enough that p99 is not the luck of a few."""


class Plan(msgspec.Struct, frozen=True):
    """What is compared: two stacks, each deployed and loaded alike, over so many rounds."""

    pair: Pair
    deployment: Deployment
    traffic: Traffic
    rounds: int

    @property
    def turns(self) -> tuple[Turn, ...]:
        """All runs in their order."""
        return order(self.rounds)

    def test(self, turn: Turn) -> LoadTest:
        """Return the load test of a turn."""
        stack = self.pair.after if turn.arm == "after" else self.pair.before
        return LoadTest(stack, self.deployment, self.traffic)


def runs(
    project: Project, plan: Plan, watch: Callable[[Turn, Generated], object] = lambda *_: None
) -> Iterator[Run]:
    """Run and yield one load test after the other; each is stored as it is ready.

    `watch` is told how far each has come. Raises FaultError where one fails, once its record is stored, and
    as `load.run.run` does.
    """
    for turn in plan.turns:
        found = run(project, plan.test(turn), watch=functools.partial(watch, turn))
        if found.status != "measured":
            stack = f"{found.framework} {found.release}"
            raise FaultError(f"round {turn.round}, {turn.arm}: {stack} {found.status}: {found.reason}")
        yield Run(turn, found)
