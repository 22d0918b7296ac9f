"""A load test's mix one request at a time: what is sent over which connections, and what counts say."""

from __future__ import annotations

import pytest

from loading import Stub
from measuring import CHECKOUT, SCENARIOS
from outlive.errors import FaultError
from outlive.load.sequence import LENGTHS, Left, send
from outlive.load.traffic import Deck, weights
from outlive.measurement import CONNECTIONS, Connection

WEIGHTS = weights(CHECKOUT.loadtests, "ErrorHeavy")
OWN = tuple(scenario.name for scenario in SCENARIOS if not scenario.ordinary)


def sent(stub: Stub, connection: Connection, names: dict[str, int], requests: int = 200) -> None:
    mine = [scenario for scenario in SCENARIOS if scenario.name in names]
    send(stub.address, mine, Deck(names, "ErrorHeavy 0"), requests=requests, clients=5, connection=connection)


@pytest.mark.parametrize("connection", CONNECTIONS)
def test_the_mix_is_sent_exactly_over_as_many_connections(connection: Connection) -> None:
    with Stub() as stub:
        sent(stub, connection, WEIGHTS)
    assert (stub.strange, dict(stub.seen)) == ([], {name: 2 * weight for name, weight in WEIGHTS.items()})
    if connection == "close":
        assert stub.connections == 200
    else:  # one for each client, one after each answer that breaks off, and those of clients that misbehave
        ended = stub.seen["stream-error"] + sum(stub.seen[name] for name in OWN)
        assert ended < stub.connections <= 5 + ended


def test_a_wrong_answer_is_a_fault() -> None:
    with Stub(wrong={"ok": "500"}) as stub, pytest.raises(FaultError, match=r"^ok was answered '500'"):
        sent(stub, "keep-alive", {"ok": 1}, requests=3)


def test_what_connections_left_is_told_from_what_requests_left() -> None:
    left = Left.of([26 * requests + 160 for requests in LENGTHS])
    assert left == Left(per_request=26.0, once=160.0)
    assert left.after(1600) == pytest.approx(26.1)
    assert left.after(16) == pytest.approx(36)
