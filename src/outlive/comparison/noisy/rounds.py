"""Rounds: the order in which two stacks take turns under load, and the resulting samples. Pure.

The stack before (A) runs twice in each round (A and A'), so that every A/B has an A/A beside it. Every other
round runs backwards: A B A', A' B A, and so on. So neither side always runs later, and slow changes (a
machine that warms up, a noisy neighbour) affect both sides equally.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from outlive.comparison.noisy.noise import Metric, Round, Samples

Arm = Literal["before", "after", "again"]
Readings = Mapping[Metric, float]

FORWARDS: tuple[Arm, ...] = ("before", "after", "again")
"""The order of the first round; every other round reverses it."""


class Turn(msgspec.Struct, frozen=True):
    """One run: the number of its round, from 1, and whose turn it is."""

    round: int
    arm: Arm

    def __str__(self) -> str:
        return f"round {self.round}, {self.arm}"


def order(rounds: int) -> tuple[Turn, ...]:
    """Return the turns of that many rounds, in their order."""
    return tuple(
        Turn(number, arm)
        for number in range(1, rounds + 1)
        for arm in (FORWARDS if number % 2 else FORWARDS[::-1])
    )


def samples(runs: Sequence[tuple[Turn, Readings]], metrics: Sequence[Metric] = ()) -> tuple[Samples, ...]:
    """Return the samples of some metrics or of all, from the rounds in which all three runs have them.

    All are in the order in which they first appear; one without a complete round has no rounds.
    """
    by_turn = dict(runs)
    appearing = dict.fromkeys(metric for _, readings in runs for metric in readings)
    numbers = sorted({turn.round for turn, _ in runs})
    by_metric = []
    for metric in metrics or appearing:
        values = [[by_turn.get(Turn(number, arm), {}).get(metric) for arm in FORWARDS] for number in numbers]
        whole = (Round(*row) for row in values if None not in row)  # type: ignore[arg-type]
        by_metric.append(Samples(metric, tuple(whole)))
    return tuple(by_metric)
