"""Trials of remedies: the plain release and each remedy take turns under the same load.

A round runs the plain release, each remedy, and the plain release again; every other round runs backwards.
Every A/B therefore has an A/A beside it, as in `comparison.rounds`, and one A/A serves all remedies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from outlive.comparison.noisy.metrics import readings
from outlive.comparison.noisy.remedies import CPU, Trial, TrialRound, judged
from outlive.errors import FaultError
from outlive.loads.plan import LoadTest
from outlive.project import Project
from outlive.records.load import Deployment, Traffic
from outlive.stacks.prepare import Prepared

if TYPE_CHECKING:
    from outlive.loads.run import Watching  # its dependencies are an extra


class Arm(msgspec.Struct, frozen=True):
    """One side of a trial: a stack, with or without a remedy, and its gc policy."""

    stack: Prepared
    policy: str

    @property
    def name(self) -> str | None:
        """The remedy's name, None for the plain release."""
        return self.stack.remedy_name

    def __str__(self) -> str:
        return f"{self.name or 'the unchanged release'}, gc {self.policy}"


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """The load on each arm: gunicorn's worker, the traffic, and the number of rounds."""

    worker: str
    traffic: Traffic
    rounds: int


def run(
    project: Project, plain: Arm, arms: Sequence[Arm], load: Load, watch: Watching
) -> dict[str | None, Trial]:
    """Return the trials by the remedy's name, None for the plain release; each load test is watched.

    Raises FaultError if a load test fails, and UsageError for traffic that does not exist.
    """
    from outlive.loads.run import run as load_test  # noqa: PLC0415 - its dependencies are an extra

    seen: list[TrialRound] = []
    for number, arm in order(plain, arms, load.rounds):
        deployment = Deployment(worker=load.worker, gc=arm.policy, remedy=arm.name)
        test = LoadTest(arm.stack, deployment, load.traffic)
        measured = load_test(
            project, test, watch=watch(f"{arm}, round {number} of {load.rounds}", load.traffic)
        )
        if measured.status != "measured":
            raise FaultError(f"round {number}, {arm}: {measured.status}: {measured.reason}")
        values = readings(measured)
        if measured.server_cores:
            values[CPU] = measured.server_cores * measured.seconds / measured.requests
        seen.append((number, arm.name, values))
    return judged({arm.name: arm.policy for arm in (plain, *arms)}, load.traffic, seen)


def order(plain: Arm, arms: Sequence[Arm], rounds: int) -> Iterator[tuple[int, Arm]]:
    """Yield each round's number, from 1, with the arm whose turn it is."""
    arms_in_turn = [plain, *arms, plain]
    for number in range(1, rounds + 1):
        for arm in arms_in_turn if number % 2 else arms_in_turn[::-1]:
            yield number, arm
