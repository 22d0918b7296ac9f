"""Trials: the release as it is and with each remedy take turns under the same load.

A round is: the release as it is, each remedy, the release as it is once more; every other round runs
backwards. So an A/A stands beside every A/B, as in `comparison.rounds`, and one of them serves all remedies.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence

import msgspec

from outlive.comparison.metrics import readings
from outlive.comparison.remedies import CPU, Seen, Trial, judged
from outlive.errors import FaultError
from outlive.load.plan import LoadTest
from outlive.project import Project
from outlive.records.load import Deployment, Generated, Traffic
from outlive.stacks.prepare import Prepared


class Arm(msgspec.Struct, frozen=True):
    """One that takes its turn: a stack, with a remedy or without, and its gc policy."""

    stack: Prepared
    policy: str

    @property
    def name(self) -> str | None:
        """The remedy's name, None for the release as it is."""
        return self.stack.remedy_name


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """The load that arms are put under: gunicorn's worker, what is sent, and how often."""

    worker: str
    traffic: Traffic
    rounds: int


Watch = Callable[[int, Arm, Generated], object]
"""Is told of the round, whose turn it is, and what was sent so far."""


def run(
    project: Project, plain: Arm, arms: Sequence[Arm], load: Load, watch: Watch
) -> dict[str | None, Trial]:
    """Return what the rounds gave, by the name of the remedy; that of the plain release is None.

    Raises FaultError where a load test fails, and UsageError for traffic that does not exist.
    """
    from outlive.load.run import run as load_test  # noqa: PLC0415 - what it needs comes with an extra

    seen: list[Seen] = []
    for number, arm in order(plain, arms, load.rounds):
        deployment = Deployment(worker=load.worker, gc=arm.policy, remedy=arm.name)
        test = LoadTest(arm.stack, deployment, load.traffic)
        measured = load_test(project, test, watch=functools.partial(watch, number, arm))
        if measured.status != "measured":
            name = arm.name or "the release as it is"
            raise FaultError(f"round {number}, {name}, gc {arm.policy}: {measured.status}: {measured.reason}")
        found = readings(measured)
        if measured.server_cores:
            found[CPU] = measured.server_cores * measured.seconds / measured.requests
        seen.append((number, arm.name, found))
    return judged({arm.name: arm.policy for arm in (plain, *arms)}, load.traffic, seen)


def order(plain: Arm, arms: Sequence[Arm], rounds: int) -> Iterator[tuple[int, Arm]]:
    """Yield the number of the round, from 1, and whose turn it is."""
    whole = [plain, *arms, plain]
    for number in range(1, rounds + 1):
        for arm in whole if number % 2 else whole[::-1]:
            yield number, arm
