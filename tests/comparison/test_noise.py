"""The rule for noisy metrics: what is planted must be found, a stack held against itself must not change."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outlive.comparison.noisy import metrics
from outlive.comparison.noisy.noise import (
    LEAST_ROUNDS,
    MOST_ROUNDS,
    POWER,
    ROUNDS,
    Decided,
    Metric,
    Round,
    Samples,
    decide,
    rounds_needed,
)

PEAK = metrics.memory("peak RSS")
P50, P99 = metrics.latency("p50"), metrics.latency("p99")
OVERALL = (PEAK, metrics.GROWTH, metrics.THROUGHPUT, metrics.latency("mean"), P50, P99, metrics.PAUSES)
SCENARIOS = tuple(
    metrics.latency(name, scenario) for scenario in ("ok", "not-found", "upload") for name in ("p50", "p95")
)


def flat(*values: tuple[float, float, float], metric: Metric = P50) -> Samples:
    return Samples(metric, tuple(Round(*one) for one in values))


def noisy(
    metric: Metric, change: float = 0.0, *, seed: object, spread: float = 0.02, rounds: int = ROUNDS
) -> Samples:
    """Return made-up rounds whose runs differ by `spread`, as parts or in `told` of the metric."""
    chance = random.Random(f"{metric.name} {metric.scenario} {seed}")

    def run(shift: float) -> float:
        if metric.scale == "ratio":
            return 0.01 * (1 + shift) * math.exp(chance.gauss(0, spread))
        return 1.0 + shift + chance.gauss(0, metric.told)

    return Samples(metric, tuple(Round(run(0), run(change), run(0)) for _ in range(rounds)))


def one(samples: Samples) -> Decided:
    (found,) = decide([samples])
    return found


class TestDecisions:
    def test_twenty_comparisons_of_a_stack_with_itself_see_no_change(self) -> None:
        for seed in range(20):
            found = decide(
                [noisy(metric, seed=seed, spread=metric.wanted / 5) for metric in (*OVERALL, *SCENARIOS)]
            )
            assert {f.decision for f in found if f.metric.scenario is None} == {"no change seen"}
            assert "changed" not in {f.decision for f in found}

    @pytest.mark.parametrize(("metric", "change", "spread"), [(PEAK, 0.05, 0.012), (P50, 0.1, 0.025)])
    def test_a_planted_change_is_found_each_time(self, metric: Metric, change: float, spread: float) -> None:
        for seed in range(20):
            rounds = [noisy(other, seed=seed) for other in OVERALL if other != metric]
            *_, found = decide([*rounds, noisy(metric, change, seed=seed, spread=spread)])
            assert (found.decision, found.direction) == ("changed", "worse")
            assert found.change is not None
            assert found.change.low > 0
            assert found.change.low < change < found.change.high or abs(found.change.change - change) < 0.04

    def test_more_throughput_is_better(self) -> None:
        found = one(noisy(metrics.THROUGHPUT, 0.2, seed=1))
        assert (found.decision, found.direction) == ("changed", "better")

    def test_a_sure_change_of_less_than_is_told_is_none(self) -> None:
        found = one(flat(*[(1, 1.005, 1)] * ROUNDS, metric=PEAK))
        assert found.decision == "no change seen"
        assert found.smallest_seen == pytest.approx(metrics.MEMORY_TOLD)

    def test_a_change_that_hides_in_the_noise_is_inconclusive_and_says_what_would_do(self) -> None:
        found = one(noisy(P99, 0.02, seed=1, spread=0.06))
        assert found.decision == "inconclusive"
        assert found.smallest_seen is not None
        assert found.smallest_seen > metrics.TIME_WANTED
        assert found.reason in {f"{rounds} rounds would do" for rounds in range(ROUNDS, MOST_ROUNDS + 1, 2)}

    def test_hopeless_noise_is_not_worth_more_rounds(self) -> None:
        found = one(noisy(P99, seed=1, spread=0.5))
        assert (found.decision, found.reason) == (
            "inconclusive",
            "the runs differ too much: use an idle machine",
        )

    def test_a_stack_that_differs_from_itself_allows_no_decision(self) -> None:
        found = one(flat(*[(1, 1.5, 1.2)] * ROUNDS))
        assert (found.decision, found.reason) == ("inconclusive", "the same stack differs from itself")

    def test_the_means_are_those_that_the_change_is_between(self) -> None:
        found = one(flat((1, 2, 4), (1, 4, 4), (4, 4, 1), (1, 4, 1)))
        assert found.before is not None
        assert found.after is not None
        assert found.change is not None
        assert found.before == pytest.approx(2 ** (3 / 4))
        assert found.after / found.before - 1 == pytest.approx(found.change.change)

    def test_growth_may_be_nothing_and_less(self) -> None:
        found = one(flat(*[(-3, 4, 2), (5, -1, 0)] * 4, metric=metrics.GROWTH))
        assert found.decision == "no change seen"
        found = one(flat(*[(-3, 904, 2), (5, 900, 0)] * 4, metric=metrics.GROWTH))
        assert found.decision == "changed"
        assert found.change is not None
        assert found.change.change == pytest.approx(901)


class TestUnfit:
    @pytest.mark.parametrize(
        ("rounds", "reason"),
        [
            ([(1, 1, 1)] * (LEAST_ROUNDS - 1), "fewer than 4 rounds"),
            ([], "fewer than 4 rounds"),
            ([(1, 1, 1), (1, 0, 1)] * 3, "a run gave nothing above zero"),
            ([(1, 1, 1), (1, math.nan, 1)] * 3, "a run gave no number"),
        ],
    )
    def test_numbers_that_say_nothing(self, rounds: list[tuple[float, float, float]], reason: str) -> None:
        found = one(flat(*rounds))
        assert (found.decision, found.reason, found.change) == ("inconclusive", reason, None)


def test_the_smallest_change_seen_is_seen_as_often_as_is_said() -> None:
    spread, seen, runs = 0.03, 0, 150
    needed = rounds_needed(spread, P50, 0.005)
    assert needed is not None
    for seed in range(runs):
        found = decide([noisy(P50, P50.wanted, seed=seed, spread=spread, rounds=needed)])
        seen += found[0].decision == "changed"
    assert seen / runs > POWER - 0.07


values = st.floats(0.5, 2)
rounds = st.lists(st.builds(Round, values, values, values), min_size=LEAST_ROUNDS, max_size=12)


def mapped(samples: Samples, change: Callable[[Round], Round]) -> Samples:
    return Samples(samples.metric, tuple(change(one) for one in samples.rounds))


@given(rounds)
def test_changed_only_where_the_interval_is_off_zero_and_the_change_is_told(rounds: list[Round]) -> None:
    found = one(Samples(P50, tuple(rounds)))
    assert found.change is not None
    assert found.control is not None
    assert found.smallest_seen is not None
    sure = found.change.low > 0 or found.change.high < 0
    large = abs(found.change.change) >= P50.told
    calm = found.control.low <= 0 <= found.control.high or abs(found.control.change) < P50.told
    assert (found.decision == "changed") == (sure and large and calm)
    if found.decision == "no change seen":
        assert found.smallest_seen <= P50.wanted
    assert (found.reason is None) == (found.decision != "inconclusive")


@given(rounds, st.floats(0.01, 100))
def test_the_unit_of_a_ratio_does_not_matter(rounds: list[Round], factor: float) -> None:
    samples = Samples(P50, tuple(rounds))
    scaled = mapped(samples, lambda r: Round(r.before * factor, r.after * factor, r.again * factor))
    found, other = one(samples), one(scaled)
    assert found.change is not None
    assert other.change is not None
    assert other.change.change == pytest.approx(found.change.change, abs=1e-9)
    assert other.smallest_seen == pytest.approx(found.smallest_seen, abs=1e-9)


@given(rounds)
def test_the_order_of_rounds_and_of_the_two_runs_before_does_not_matter(rounds: list[Round]) -> None:
    samples = Samples(P50, tuple(rounds))
    turned = mapped(samples, lambda r: Round(r.again, r.after, r.before))
    backwards = Samples(P50, tuple(reversed(rounds)))
    for other in (one(turned), one(backwards)):
        assert other.change is not None
        found = one(samples)
        assert found.change is not None
        assert other.change.change == pytest.approx(found.change.change, abs=1e-9)
        assert other.smallest_seen == pytest.approx(found.smallest_seen, abs=1e-9)


@settings(max_examples=30)
@given(rounds, st.integers(1, 40))
def test_more_metrics_never_make_a_change_surer(rounds: list[Round], others: int) -> None:
    samples = Samples(P50, tuple(rounds))
    alone = one(samples)
    among = decide([samples, *[Samples(PEAK, tuple(rounds))] * others])[0]
    assert among.change is not None
    assert alone.change is not None
    assert among.change.low <= alone.change.low + 1e-12
    if among.decision == "changed":  # the interval of the A/A gets wider, too
        assert alone.decision == "changed" or alone.reason == "the same stack differs from itself"


@given(st.floats(0.001, 0.2), st.floats(0.0001, 0.05))
def test_rounds_that_are_advised_suffice_and_two_fewer_do_not(spread: float, alarm: float) -> None:
    needed = rounds_needed(spread, P50, alarm)
    easier = rounds_needed(spread / 2, P50, alarm)
    if needed is None:
        return
    assert LEAST_ROUNDS <= needed <= MOST_ROUNDS
    assert needed % 2 == 0
    assert easier is not None
    assert easier <= needed


def test_decisions_survive_json() -> None:
    found = one(noisy(P50, 0.1, seed=1))
    assert msgspec.json.decode(msgspec.json.encode(found), type=Decided) == found
