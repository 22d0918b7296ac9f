"""The order of rounds, and the samples that come of it."""

from __future__ import annotations

from outlive.comparison.noisy import metrics
from outlive.comparison.noisy.noise import Round
from outlive.comparison.noisy.rounds import FORWARDS, Turn, order, samples

P50 = metrics.latency("p50")
PEAK = metrics.memory("peak RSS")


def test_every_other_round_runs_backwards() -> None:
    said = " ".join({"before": "A", "after": "B", "again": "C"}[turn.arm] for turn in order(4))
    assert said == "A B C C B A A B C C B A"
    assert [turn.round for turn in order(2)] == [1, 1, 1, 2, 2, 2]
    assert order(0) == ()


def test_a_steady_drift_weighs_on_both_sides_alike() -> None:
    for rounds in (4, 6, 8):
        at = {turn: time for time, turn in enumerate(order(rounds))}
        sums = {arm: sum(at[Turn(number, arm)] for number in range(1, rounds + 1)) for arm in FORWARDS}
        assert len(set(sums.values())) == 1


def test_only_rounds_that_are_whole_count() -> None:
    runs = [(turn, {P50: 1.0 + turn.round, PEAK: 7.0}) for turn in order(3)]
    del runs[-1][1][P50]
    found = samples(runs[:-2] + runs[-1:])
    assert [(one.metric, len(one.rounds)) for one in found] == [(P50, 2), (PEAK, 2)]
    assert found[0].rounds == (Round(2, 2, 2), Round(3, 3, 3))
    assert samples([]) == ()
