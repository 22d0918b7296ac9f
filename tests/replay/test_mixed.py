"""A load test's mix one request at a time: what is sent over which connections, and what counts say."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from loading import Stub, read
from measuring import CHECKOUT, OK, SCENARIOS
from outlive.errors import FaultError
from outlive.records.measurement import ASKED, Connection
from outlive.replay.mixed import LENGTHS, MixResidue, send
from outlive.service.users import Deck, weights

WEIGHTS = weights(CHECKOUT.loadtests, "ErrorHeavy")
OWN = tuple(scenario.name for scenario in SCENARIOS if not scenario.ordinary)


def sent(stub: Stub, connection: Connection, names: dict[str, int], requests: int = 200) -> None:
    mine = [scenario for scenario in SCENARIOS if scenario.name in names]
    send(stub.address, mine, Deck(names, "ErrorHeavy 0"), requests=requests, clients=5, connection=connection)


@pytest.mark.parametrize("connection", ASKED)
def test_the_mix_is_sent_exactly_over_as_many_connections(connection: Connection) -> None:
    with Stub() as stub:
        sent(stub, connection, WEIGHTS)
    assert (stub.strange, dict(stub.seen)) == ([], {name: 2 * weight for name, weight in WEIGHTS.items()})
    if connection == "close":
        assert stub.connections == 200
    else:  # one for each client, one after each answer that breaks off, and those of clients that misbehave
        ended = stub.seen["stream-error"] + sum(stub.seen[name] for name in OWN)
        assert ended < stub.connections <= 5 + ended


def test_a_server_with_one_thread_that_closes_does_not_wait_for_clients_that_take_turns() -> None:
    """It says that it keeps the connection, closes all the same, and waits for the client to close, too."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(4):
                connection, _ = listener.accept()
                with connection:
                    read(connection)
                    # One packet for the answer and the end: nobody can look between them.
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", socket.MSG_MORE)
                    connection.shutdown(socket.SHUT_WR)
                    assert connection.recv(1) == b""

        with ThreadPoolExecutor(1) as pool:
            served = pool.submit(serve)
            deck = Deck({"ok": 1}, "")
            send(listener.getsockname(), [OK], deck, requests=4, clients=2, connection="keep-alive")
            served.result(20)


def test_a_wrong_answer_is_a_fault() -> None:
    with Stub(wrong={"ok": "500"}) as stub, pytest.raises(FaultError, match=r"^ok was answered '500'"):
        sent(stub, "keep-alive", {"ok": 1}, requests=3)


def test_what_connections_left_is_told_from_what_requests_left() -> None:
    left = MixResidue.of([26 * requests + 160 for requests in LENGTHS])
    assert left == MixResidue(per_request=26.0, once=160.0)
    assert left.after(1600) == pytest.approx(26.1)
    assert left.after(16) == pytest.approx(36)
