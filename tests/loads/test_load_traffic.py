"""What is sent, when, and how answers are counted: everything about load that needs no process."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from measuring import CHECKOUT, SCENARIOS
from outlive.errors import UsageError
from outlive.loads.locust.arrivals import Arrivals, Share, shares
from outlive.loads.locust.tally import MOST_FAULTS, WIDTH, ScenarioTally, Sent, merged
from outlive.records.load import Traffic, percentile
from outlive.service.users import Deck, check, mix, weights

LOADTESTS = CHECKOUT.loadtests
USERS = ("ErrorHeavy", "ErrorStorm", "Steady")
FINE = {"ok", "upload"}
seconds = st.floats(1e-6, 1e4)


class TestMix:
    @pytest.mark.parametrize("user", USERS)
    def test_shares_sum_up_to_1_and_weights_are_percentages(self, user: str) -> None:
        assert sum(weights(LOADTESTS, user).values()) == 100
        assert math.isclose(sum(mix(LOADTESTS, user).values()), 1)

    @pytest.mark.parametrize(("user", "errors"), [("ErrorHeavy", 0.4), ("ErrorStorm", 0.95), ("Steady", 0)])
    def test_errors(self, user: str, errors: float) -> None:
        found = mix(LOADTESTS, user)
        assert math.isclose(sum(share for name, share in found.items() if name not in FINE), errors)

    @pytest.mark.parametrize("user", ["ErrorHeavy", "ErrorStorm"])
    def test_the_error_users_send_every_scenario_of_the_published_set(self, user: str) -> None:
        assert set(mix(LOADTESTS, user)) >= {"not-found", "abort-upload", "malformed-request", "stream-error"}
        assert len(mix(LOADTESTS, user)) == 16

    def test_the_table_in_the_documentation(self) -> None:
        text = (CHECKOUT.root / "docs" / "load.md").read_text()
        table = [line.strip("|") for line in text.splitlines() if line.startswith("|")]
        rows = [[cell.strip() for cell in row.split("|")] for row in table]
        assert rows[0] == ["scenario", *USERS]
        for column, user in enumerate(USERS, 1):
            found = {row[0]: int(row[column]) for row in rows[2:] if row[column].isdecimal()}
            assert found == weights(LOADTESTS, user)

    def test_patterns_narrow_the_mix_in_proportion(self) -> None:
        found = weights(LOADTESTS, "ErrorHeavy", ("not-found", "http-*"))
        assert found == {"not-found": 8, "http-error": 4}

    def test_a_scenario_that_the_user_does_not_send_can_be_asked_for(self) -> None:
        assert weights(LOADTESTS, "Steady", ("ok", "not-found")) == {"ok": 80, "not-found": 1}

    def test_an_unknown_user_gets_the_nearest_name(self) -> None:
        with pytest.raises(UsageError) as caught:
            mix(LOADTESTS, "ErrorHevy")
        assert str(caught.value) == "no user 'ErrorHevy'; try ErrorHeavy, ErrorStorm"

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("[User]\nno-such = 1", "User sends no-such: not a scenario"),
            ("[User]\nok = 0", "User sends nothing: not a scenario"),
            ("[User]\nok = -1", "not a file of users: Expected `int` >= 0 - at `$[...][...]`"),
            ("[User]\nok = 'a'", "not a file of users: Expected `int`, got `str` - at `$[...][...]`"),
        ],
    )
    def test_a_file_that_is_wrong(self, tmp_path: Path, text: str, reason: str) -> None:
        (tmp_path / "scenarios.toml").write_text(CHECKOUT.scenarios.read_text())
        (tmp_path / "users.toml").write_text(text)
        with pytest.raises(UsageError) as caught:
            mix(tmp_path, "User")
        assert str(caught.value) == f"{tmp_path / 'users.toml'}: {reason}"


class TestTraffic:
    @pytest.mark.parametrize(
        ("traffic", "reason"),
        [
            (Traffic(), "a load test has either a number of requests or a duration"),
            (Traffic(requests=1, seconds=1), "a load test has either a number of requests or a duration"),
            (Traffic(requests=0), "requests is 0: it must be more than 0, and finite"),
            (Traffic(seconds=math.nan), "seconds is nan: it must be more than 0, and finite"),
            (
                Traffic(requests=1, rate=1e300),
                "rate is 1e+300: it must be at most 1,000,000 a second",
            ),
            (Traffic(requests=1, rate=-2.5), "rate is -2.5: it must be more than 0, and finite"),
            (Traffic(requests=1, workers=0), "workers is 0: at least one process has to send"),
            (Traffic(requests=9, clients=2, workers=3), "2 clients cannot be spread over 3 workers"),
            (Traffic(requests=9, scenarios=("not-fund",)), "no scenario 'not-fund'; try not-found"),
        ],
    )
    def test_what_cannot_be_sent(self, traffic: Traffic, reason: str) -> None:
        with pytest.raises(UsageError) as caught:
            check(LOADTESTS, traffic)
        assert str(caught.value).startswith(reason)

    @pytest.mark.parametrize("name", ["a,b.py", "a\udcff.py"])
    def test_a_locustfile_whose_name_locust_cannot_read(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).touch()
        with pytest.raises(UsageError, match=r"locust cannot read a file of that name: rename it$"):
            check(LOADTESTS, Traffic(user=name, seconds=1), folder=tmp_path)

    def test_what_can(self) -> None:
        check(LOADTESTS, Traffic(requests=1))
        steady = Traffic(user="Steady", clients=2, seconds=0.5, rate=1, workers=2, scenarios=("ok",))
        check(LOADTESTS, steady)


class TestDeck:
    @given(st.dictionaries(st.sampled_from([s.name for s in SCENARIOS]), st.integers(1, 9), min_size=1))
    def test_each_round_holds_the_mix_exactly(self, mixed: dict[str, int]) -> None:
        deck = Deck(mixed, "seed")
        for _ in range(3):
            assert Counter(deck.draw() for _ in range(sum(mixed.values()))) == mixed

    def test_the_same_seed_deals_the_same_cards(self) -> None:
        decks = [Deck(weights(LOADTESTS, "ErrorHeavy"), seed) for seed in ("a", "a", "b")]
        first, again, other = ([deck.draw() for _ in range(150)] for deck in decks)
        assert first == again != other


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def taken(arrivals: Arrivals) -> Iterator[float]:
    while True:
        with arrivals.take() as due:
            if due is None:
                return
            yield due


class TestArrivals:
    @given(st.integers(0, 200), st.integers(1, 9))
    def test_the_shares_of_all_processes_are_the_exact_number(self, requests: int, processes: int) -> None:
        arrivals = [Arrivals(share) for share in shares(requests, None, processes)]
        assert sum(len(list(taken(one))) for one in arrivals) == requests
        assert all(one.over for one in arrivals)

    @given(st.integers(1, 60), st.floats(0.5, 1000), st.integers(1, 5))
    def test_processes_take_turns_at_a_constant_rate(
        self, requests: int, rate: float, processes: int
    ) -> None:
        dues: list[float] = []
        for share in shares(requests, rate, processes):
            clock = Clock()
            dues += taken(Arrivals(share, clock, clock.sleep))
        expected = [100 + number / rate for number in range(requests)]
        assert sorted(dues) == pytest.approx(expected)

    def test_a_request_is_due_at_its_time_also_when_no_client_was_free(self) -> None:
        clock = Clock()
        arrivals = Arrivals(Share(requests=3, rate=10), clock, clock.sleep)
        due = taken(arrivals)
        assert next(due) == 100
        clock.now += 60  # the server stalls
        assert [next(due), next(due)] == pytest.approx([100.1, 100.2])

    def test_without_a_rate_a_request_is_due_when_a_client_is_free(self) -> None:
        clock = Clock()
        due = taken(Arrivals(Share(), clock, clock.sleep))
        assert next(due) == 100
        clock.now += 60
        assert next(due) == 160

    def test_it_is_over_when_the_last_request_is_done_with(self) -> None:
        arrivals = Arrivals(Share(requests=1))
        with arrivals.take():
            assert not arrivals.over
        assert arrivals.over

    def test_a_request_that_a_client_is_torn_from_is_done_with(self) -> None:
        arrivals = Arrivals(Share(requests=1))
        with pytest.raises(KeyboardInterrupt), arrivals.take():
            raise KeyboardInterrupt
        assert arrivals.over

    def test_closed_no_more_begin_and_those_due_are_counted(self) -> None:
        clock = Clock()
        arrivals = Arrivals(Share(rate=10), clock, clock.sleep)
        with arrivals.take():
            clock.now += 0.95
            arrivals.close()
            assert not arrivals.over
        assert (list(taken(arrivals)), arrivals.over, arrivals.unsent) == ([], True, 9)

    def test_closed_nothing_is_unsent_where_clients_wait_for_the_next(self) -> None:
        clock = Clock()
        arrivals = Arrivals(Share(rate=10), clock, clock.sleep)
        due = taken(arrivals)
        assert [next(due), next(due)] == pytest.approx([100, 100.1])
        arrivals.close()
        assert (arrivals.unsent, list(due)) == (0, [])


class TestTally:
    @given(st.lists(seconds, min_size=1), st.sampled_from([50, 95, 99, 100]))
    def test_percentiles_are_those_of_the_sorted_latencies_within_a_bucket(
        self, latencies: list[float], percent: int
    ) -> None:
        tally = ScenarioTally()
        for one in latencies:
            tally.add(one, expected=True)
        exact = sorted(latencies)[math.ceil(len(latencies) * percent / 100) - 1]
        traffic = tally.traffic("ok")
        found = {50: traffic.p50, 95: traffic.p95, 99: traffic.p99, 100: traffic.longest}[percent]
        assert exact * (1 - 1e-9) <= found <= max(exact * WIDTH * (1 + 1e-9), 1e-5)

    @given(st.lists(seconds), st.lists(seconds))
    def test_merging_is_counting_together(self, some: list[float], others: list[float]) -> None:
        one, two, both = ScenarioTally(), ScenarioTally(), ScenarioTally()
        for tally, latencies in ((one, some), (two, others), (both, some + others)):
            for latency in latencies:
                tally.add(latency, expected=latency < 1)
        total = merged([{"ok": one}, {"ok": two, "upload": two}])
        assert (total["ok"].requests, total["ok"].unexpected) == (both.requests, both.unexpected)
        assert total["ok"].histogram() == both.histogram()
        assert total["ok"].total == pytest.approx(both.total)
        assert total["ok"].longest == both.longest
        assert total["upload"].histogram() == two.histogram()

    def test_a_histogram_says_how_many_were_at_most_so_slow(self) -> None:
        tally = ScenarioTally()
        for latency in (0.001, 0.001, 0.5):
            tally.add(latency, expected=True)
        assert [(round(upper, 2), count) for upper, count in tally.histogram()] == [(0.0, 2), (0.5, 1)]
        assert percentile(ScenarioTally().histogram(), 99) == 0

    def test_texts_of_faults_are_counted_and_bounded(self) -> None:
        sent = Sent()
        for number in range(100):
            sent.add("ok", 0.1, f"odd {number}")
            sent.add("ok", 0.1, "odd 0")
            sent.add("ok", 0.1, None)
        assert (len(sent.faults), sent.faults["odd 0"]) == (MOST_FAULTS, 101)
        assert (sent.scenarios["ok"].requests, sent.scenarios["ok"].unexpected) == (300, 200)
