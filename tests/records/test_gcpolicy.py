"""gc policies: their text, what is wrong with a wrong one, and what a worker does under each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from measuring import FRAMEWORKS, cell, measured, planted, reference
from outlive.errors import UsageError
from outlive.records.gcpolicy import GcPolicy
from outlive.records.measurement import CONNECTIONS, Connection

NUMBER = st.integers(1, 999_999_999)


@given(
    st.sampled_from([GcPolicy("on"), GcPolicy("off"), GcPolicy("freeze")])
    | st.builds(lambda n: GcPolicy("periodic", (n,)), NUMBER)
    | st.builds(lambda *three: GcPolicy("thresholds", three), NUMBER, NUMBER, NUMBER)
)
def test_the_text_names_the_policy(policy: GcPolicy) -> None:
    assert GcPolicy.parse(str(policy)) == policy


def test_a_policy_has_one_text() -> None:
    assert str(GcPolicy.parse("periodic:0100")) == "periodic:100"
    assert str(GcPolicy.parse("thresholds:700,10,0")) == "thresholds:700,10,0"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("auto", "no gc policy 'auto'; try on, off, freeze, periodic:1000, thresholds:50000,20,100"),
        ("", "no gc policy ''; try on, off, freeze, periodic:1000, thresholds:50000,20,100"),
        ("on:1", "no gc policy 'on:1'; try on, off, freeze, periodic:1000, thresholds:50000,20,100"),
        ("periodic", "gc policy 'periodic' does not have the form of periodic:1000"),
        ("periodic:-1", "gc policy 'periodic:-1' does not have the form of periodic:1000"),
        ("periodic:1,2", "gc policy 'periodic:1,2' does not have the form of periodic:1000"),
        ("periodic:²", "gc policy 'periodic:²' does not have the form of periodic:1000"),
        ("periodic:0", "gc policy 'periodic:0': 0 means no collection at all, which is the policy off"),
        ("thresholds:7", "gc policy 'thresholds:7' does not have the form of thresholds:50000,20,100"),
        (
            "thresholds:9999999999,1,1",
            "gc policy 'thresholds:9999999999,1,1': a number has 9 digits at most",
        ),
    ],
)
def test_what_is_wrong_is_said_in_a_line(text: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        GcPolicy.parse(text)
    assert str(error.value) == said


@pytest.mark.real
@pytest.mark.parametrize("framework", FRAMEWORKS)
class TestServed:
    POLICIES = ("freeze", "periodic:50", "thresholds:100,2,2")

    def test_what_is_leaked_is_the_same_under_each(self, framework: str) -> None:
        found = measured(
            planted(framework, "three_a_connection"), *(cell(gc=policy) for policy in self.POLICIES)
        )
        assert {(one.growth, one.leaked_per_request) for one in found} == {("leak", 3.0)}
        assert len({one.fingerprints for one in found}) == 1

    def test_a_cycle_is_no_leak_and_the_collector_has_the_work(self, framework: str) -> None:
        found = measured(planted(framework, "cycle"), *(cell(gc=policy) for policy in self.POLICIES))
        assert {(one.growth, one.leaked_per_request) for one in found} == {("none", 0.0)}
        assert all(one.collector and one.collector.freed_per_request > 0 for one in found)

    @pytest.mark.parametrize("connection", CONNECTIONS)
    def test_periodic_collects_after_each_so_many_requests(
        self, framework: str, connection: Connection
    ) -> None:
        (found,) = measured(reference(framework), cell("not-found", connection, "periodic:73"))
        assert found.collector is not None
        collections = found.collector.collections_per_1000_requests * found.requests / 1000
        assert round(collections) == found.requests // 73
