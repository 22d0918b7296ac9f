"""The exact load against a scripted server: what a client sees, and how many connections it takes."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from outlive.errors import FaultError
from outlive.records.measurement import Connection
from outlive.replay import client as replaying
from outlive.service import wire
from outlive.service.scenarios import Client, ClientStep, Request, Scenario
from outlive.service.seal import Address

Script = Callable[[socket.socket, list[bytes]], None]
"""Serves one connection and notes what it received."""

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@contextmanager
def serving(script: Script) -> Iterator[tuple[Address, list[bytes]]]:
    """Yield the address of a server that serves one connection after the other, and what it received."""
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    script(connection, received)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname(), received
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)
        assert not thread.is_alive()


def answering(*answers: bytes, requests: int = 1000) -> Script:
    """Answer each request, the last answer again and again; close after so many requests."""

    def script(connection: socket.socket, received: list[bytes]) -> None:
        for number in range(requests):
            data = b""
            while b"\r\n\r\n" not in data:
                try:
                    more = connection.recv(65536)
                except ConnectionResetError:
                    received.append(b"reset")
                    return
                if not more:
                    received.append(data + b"end")
                    return
                data += more
            received.append(data)
            connection.sendall(answers[min(number, len(answers) - 1)])

    return script


def scenario(*expect: str, client: Client = "complete", **request: object) -> Scenario:
    return Scenario("one", "a summary", Request(**request), expect or ("200",), client)  # type: ignore[arg-type]


def nothing() -> None:
    pass


def replay(
    address: Address, one: Scenario, over: Connection, requests: int, rest: Callable[[], object]
) -> int:
    return replaying.Client(address, one, over, rest).replay(requests)


def verify(address: Address, one: Scenario, over: Connection, rest: Callable[[], object]) -> str:
    with replaying.Client(address, one, over, rest) as client:
        return client.ask()


def seen(script: Script, one: Scenario, connection: Connection = "close") -> str:
    """Return what the client sees, whatever was expected."""
    with serving(script) as (address, _), replaying.Client(address, one, connection, nothing) as client:
        return client.send()


class TestConnections:
    def test_keep_alive_takes_one(self) -> None:
        with serving(answering(OK)) as (address, received):
            assert replay(address, scenario(), "keep-alive", 20, nothing) == 1
        assert received[:20] == [scenario().message("keep-alive")] * 20

    def test_close_takes_one_each(self) -> None:
        with serving(answering(OK, requests=1)) as (address, received):
            assert replay(address, scenario(), "close", 20, nothing) == 20
        assert received == [scenario().message("close")] * 20

    def test_a_connection_that_the_server_closed_meanwhile_is_opened_again(self) -> None:
        with serving(answering(OK, requests=5)) as (address, received):
            assert replay(address, scenario(), "keep-alive", 20, nothing) == 4
        assert len(received) == 20

    def test_a_server_that_says_close_is_believed(self) -> None:
        answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        with serving(answering(answer, requests=1)) as (address, _):
            assert replay(address, scenario(), "keep-alive", 3, nothing) == 3

    def test_a_client_that_closes_waits_until_the_server_has(self) -> None:
        one = scenario()
        with (
            serving(answering(OK)) as (address, received),
            replaying.Client(address, one, "client-close", nothing) as client,
        ):
            for number in range(1, 4):
                assert client.send() == "200"
                assert received == [one.message("client-close"), b"end"] * number
            assert client.connections == 3

    def test_a_client_that_resets_waits_until_the_server_has_noticed(self) -> None:
        one = scenario()
        noticed = threading.Semaphore(1)  # the first wait is for the server to finish its answer

        def script(connection: socket.socket, received: list[bytes]) -> None:
            answering(OK)(connection, received)
            noticed.release()
            noticed.release()

        with serving(script) as (address, received):
            assert replay(address, one, "client-reset", 3, lambda: noticed.acquire(timeout=10)) == 3
            assert received == [one.message("client-reset"), b"reset"] * 3


class TestAnswers:
    @pytest.mark.parametrize(
        ("answer", "expected"),
        [
            (OK, "200"),
            (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "404"),
            (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, "200"),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n3;x=y\r\nyes\r\n0\r\n\r\n",
                "200",
            ),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", "200 cut"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nok", "200 cut"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok", "200 cut"),
            (b"HTTP/1.0 500 Oh\r\n\r\nall until the end", "500"),
            (b"HTTP/1.1 400 Bad\r\nContent-Length: 3\r\n\nbad", "400"),  # gunicorn on Python 3.14
            (b"HTTP/1.1 200 OK\r\nContent-Le", "closed"),
            (b"", "closed"),
        ],
    )
    def test_what_a_client_sees(self, answer: bytes, expected: str) -> None:
        assert seen(answering(answer, requests=1), scenario()) == expected

    def test_a_head_in_pieces(self) -> None:
        def script(connection: socket.socket, received: list[bytes]) -> None:
            connection.recv(65536)
            for byte in OK:
                connection.sendall(bytes([byte]))

        assert seen(script, scenario()) == "200"

    def test_an_answer_to_head_has_no_body(self) -> None:
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n"
        assert seen(answering(answer, requests=1), scenario(method="HEAD")) == "200"

    def test_half_an_answer_on_a_connection_in_use_is_not_asked_for_again(self) -> None:
        with (
            serving(answering(OK, b"HTTP/1.1 2", requests=2)) as (address, received),
            pytest.raises(FaultError, match="answered 'closed'"),
        ):
            replay(address, scenario(), "keep-alive", 2, nothing)
        assert len(received) == 2


class TestClients:
    def test_half_close_sends_half_and_reads_on(self) -> None:
        one = scenario("closed", client="half-close", method="POST", body="json")

        def script(connection: socket.socket, received: list[bytes]) -> None:
            data = b""
            while more := connection.recv(65536):
                data += more
            received.append(data)

        with serving(script) as (address, received):
            replay(address, one, "keep-alive", 2, nothing)
        assert received == [one.cut("keep-alive")] * 2

    def test_leave_in_body_sends_half_and_resets(self) -> None:
        one = scenario("aborted", client="leave-in-body", method="POST", body="json")
        seen = threading.Semaphore(0)

        def script(connection: socket.socket, received: list[bytes]) -> None:
            data = b""
            while len(data) < len(one.cut("close")):
                data += connection.recv(65536)
            received.append(data)
            seen.release()
            with pytest.raises(ConnectionResetError):
                connection.recv(65536)
            received.append(b"reset")
            seen.release()

        with serving(script) as (address, received):
            # The client waits for the server before it leaves and afterwards.
            replay(address, one, "close", 1, lambda: seen.acquire(timeout=10))
            assert received == [one.cut("close"), b"reset"]

    def test_leave_in_answer_reads_the_first_bytes_and_resets(self) -> None:
        one = scenario("aborted", client="leave-in-answer")

        def script(connection: socket.socket, received: list[bytes]) -> None:
            connection.recv(65536)
            try:
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                while True:
                    connection.sendall(b"x" * 65536)
            except ConnectionError as error:
                received.append(type(error).__name__.encode())

        with serving(script) as (address, received):
            assert replay(address, one, "close", 2, nothing) == 2
        assert len(received) == 2

    def test_an_answer_that_ends_before_the_client_leaves_is_no_abort(self) -> None:
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n"
        assert seen(answering(answer, requests=1), scenario(client="leave-in-answer")) == "200 cut"


class TestFaults:
    def fault(self, script: Script, one: Scenario | None = None) -> str:
        with serving(script) as (address, _), pytest.raises(FaultError) as caught:
            verify(address, one or scenario(), "close", nothing)
        return str(caught.value)

    def test_another_answer(self) -> None:
        message = self.fault(answering(OK, requests=1), scenario("404", "closed"))
        assert message == "one was answered '200', not '404 or closed': the app or the server is wrong"

    def test_the_replay_stops_at_the_first(self) -> None:
        with (
            serving(answering(OK, OK, b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n")) as (
                address,
                received,
            ),
            pytest.raises(FaultError, match="answered '500"),
        ):
            replay(address, scenario(), "keep-alive", 20, nothing)
        assert len(received) <= 4

    def test_silence(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in (replaying, wire):
            monkeypatch.setattr(module, "TIMEOUT", 0.2)
        gone = threading.Event()

        def script(connection: socket.socket, received: list[bytes]) -> None:
            gone.wait(10)

        with serving(script) as (address, _):
            with pytest.raises(FaultError) as caught:
                verify(address, scenario(), "close", nothing)
            gone.set()
        assert str(caught.value) == "one: no answer within 0.2 s: the server hangs"

    def test_nobody_there(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = listener.getsockname()
        with pytest.raises(FaultError) as caught:
            verify(address, scenario(), "close", nothing)
        assert str(caught.value) == "one: the server refuses connections (Connection refused): it has died"

    @pytest.mark.parametrize(
        "answer",
        [
            b"hello\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nmany\r\n",
        ],
    )
    def test_an_answer_that_is_not_http(self, answer: bytes) -> None:
        assert self.fault(answering(answer, requests=1)) == "one: the server's answer is not HTTP"


class TestSteps:
    """Clients whose behaviour is a list of steps."""

    def exchange(
        self, script: Script, *steps: ClientStep, then: tuple[Request, ...] = (), **request: object
    ) -> tuple[str, list[bytes]]:
        """Return what the client notes and what the server received."""
        one = Scenario("one", "a summary", Request(**request), ("200",), steps, then)  # type: ignore[arg-type]
        with serving(script) as (address, received):
            with replaying.Client(address, one, "keep-alive", nothing) as client:
                seen = client.send()
            return seen, received

    def test_halves_come_in_order(self) -> None:
        pieces = threading.Semaphore(0)

        def script(connection: socket.socket, received: list[bytes]) -> None:
            for _ in range(4):
                received.append(connection.recv(65536))
                pieces.release()
            connection.sendall(OK)

        one = Scenario(
            "one",
            "a summary",
            Request(method="POST", body="json"),
            ("200",),
            ("send-half-head", "rest", "send-head", "rest", "send-half", "rest", "send", "receive"),
        )
        with serving(script) as (address, received):
            # Each piece is sent only when the server has the one before it.
            assert verify(address, one, "close", lambda: pieces.acquire(timeout=10)) == "200"
        whole = one.message("close")
        assert b"".join(received) == whole
        head = whole.index(b"\r\n\r\n") + 4
        assert [len(piece) for piece in received[:2]] == [head // 2, head - head // 2]

    def test_several_requests_in_one_piece(self) -> None:
        def script(connection: socket.socket, received: list[bytes]) -> None:
            received.append(connection.recv(65536))
            connection.sendall(OK + b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n" + OK)

        seen, received = self.exchange(
            script,
            *("send-all", "receive", "receive", "receive"),
            then=(Request(path="/fail"), Request(path="/two")),
        )
        assert seen == "200 500 200"
        assert [line.split()[1] for line in received[0].splitlines() if line.startswith(b"GET")] == [
            b"/",
            b"/fail",
            b"/two",
        ]

    def test_a_100_before_the_body(self) -> None:
        def script(connection: socket.socket, received: list[bytes]) -> None:
            received.append(connection.recv(65536))
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            received.append(connection.recv(65536))
            connection.sendall(OK)

        seen, received = self.exchange(
            script,
            *("send-head", "receive-head", "send", "receive"),
            method="POST",
            body="json",
            headers={"Expect": "100-continue"},
        )
        assert seen == "100 200"
        assert received[0].endswith(b"Expect: 100-continue\r\n\r\n")
        assert received[1] == b'{"item": "widget", "quantity": 3}'

    @pytest.mark.parametrize(
        ("frames", "seen"),
        [
            (b"\x81\x02hi\x88\x00", "101 text close"),
            (b"\x8a\x00\x82\x01x", "101 pong binary"),
            (b"\x81\x05he", "101 closed"),
        ],
    )
    def test_frames(self, frames: bytes, seen: str) -> None:
        def script(connection: socket.socket, received: list[bytes]) -> None:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n" + frames)

        assert self.exchange(script, "send", "receive-head", "receive-frame", "receive-frame")[0] == seen

    def test_no_step_follows_a_connection_that_broke_off(self) -> None:
        def script(connection: socket.socket, received: list[bytes]) -> None:
            received.append(connection.recv(65536))
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok")

        seen, received = self.exchange(
            script, "send", "receive", "send", "receive", then=(Request(path="/two"),)
        )
        assert seen == "200 cut"
        assert len(received) == 1

    def test_an_answer_is_read_on_after_its_first_bytes(self) -> None:
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200000
        assert self.exchange(answering(answer), "send", "receive-some", "rest", "receive")[0] == "200"

    @pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
    def test_an_answer_without_a_body(self, status: bytes) -> None:
        assert seen(answering(b"HTTP/1.1 " + status + b"\r\n\r\n"), scenario(), "keep-alive") == (
            status[:3].decode()
        )


class TestNumbers:
    def test_each_request_has_its_own(self) -> None:
        one = scenario(path="/things/{n}", headers={"Host": "host-{n}.test"})
        with serving(answering(OK)) as (address, received):
            numbers = itertools.count(7)
            replaying.Client(address, one, "keep-alive", nothing, numbers=numbers).replay(2)
            replaying.Client(address, one, "keep-alive", nothing, numbers=numbers).replay(1)
        asked = [data for data in received if data.startswith(b"GET")]
        assert [data.split()[1] for data in asked] == [
            b"/things/000007",
            b"/things/000008",
            b"/things/000009",
        ]
        assert [b"Host: host-%06d.test" % number in data for number, data in enumerate(asked, 7)] == [
            True
        ] * 3

    def test_one_that_is_sent_again_keeps_its_number(self) -> None:
        one = scenario(path="/things/{n}")
        with serving(answering(OK, requests=1)) as (address, received):
            assert replay(address, one, "keep-alive", 2, nothing) == 2
        assert [data.split()[1] for data in received] == [b"/things/000000", b"/things/000001"]
