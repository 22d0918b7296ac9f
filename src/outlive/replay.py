"""The exact load: a fixed number of requests, in order, one at a time, over raw loopback sockets."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Self

import msgspec

from outlive.errors import FaultError
from outlive.measurement import Connection
from outlive.scenarios import Answer, Scenario

TIMEOUT = 20.0
"""Seconds for any one socket operation; a server that takes longer is a fault, not a slow measurement."""
SMALL_WINDOW = 16384
"""Receive buffer of a client that leaves in the answer: the server must still be sending when it does."""
LINGER_ZERO = struct.pack("ii", 1, 0)
"""SO_LINGER 0: close() sends a reset, as the kernel does for a client process that died."""

Address = tuple[str, int]


class Head(msgspec.Struct, frozen=True):
    """What of an answer's head decides how to read its body."""

    status: str
    length: int | None
    chunked: bool
    close: bool


class Client:
    """A client that sends one scenario again and again and says what it sees."""

    def __init__(
        self, address: Address, scenario: Scenario, connection: Connection, rest: Callable[[], object]
    ) -> None:
        self.address = address
        self.rest = rest
        self.scenario = scenario
        self.connection = connection
        self.whole = scenario.message(connection)
        self.cut = scenario.cut(connection)
        self.bodyless = scenario.request.method == "HEAD"
        self.socket: socket.socket | None = None
        self.buffer = b""
        self.connections = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self) -> Answer:
        """Send the scenario once; return what a client sees: `404`, `200 cut`, `closed` or `aborted`.

        Raises FaultError if the server does not answer in time or takes no connection.
        """
        try:
            return self._send()
        except TimeoutError:
            raise FaultError(
                f"{self.scenario.name}: no answer within {TIMEOUT:g} s: the server hangs"
            ) from None
        except OSError as error:
            raise FaultError(
                f"{self.scenario.name}: the server takes no connection ({error.strerror}): it has died"
            ) from None
        except (ValueError, IndexError):
            raise FaultError(f"{self.scenario.name}: the server's answer is not HTTP") from None

    def close(self) -> None:
        """Close the connection in good order, if there is one."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None
        self.buffer = b""

    def _send(self) -> Answer:
        kind = self.scenario.client
        reused = self.socket is not None
        sock = self._open()
        try:
            sock.sendall(self.whole if kind in ("complete", "leave-in-answer") else self.cut)
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise
            # The server may have answered and closed before it read all: the answer is still to be read.
        if kind == "leave-in-body":
            return self._leave()
        if kind == "half-close":
            with contextlib.suppress(OSError):  # the same
                sock.shutdown(socket.SHUT_WR)
        head = self._head()
        if head is None:
            untouched = reused and not self.buffer
            self.close()
            if untouched:  # the server closed an idle connection: the request was never seen
                return self._send()
            return "closed"
        if kind == "leave-in-answer":
            return self._leave() if self._more() else f"{head.status} cut"
        whole = self._body(head)
        if head.close or not whole or kind != "complete" or self.connection == "close":
            self._drain()
        return head.status if whole else f"{head.status} cut"

    def _open(self) -> socket.socket:
        if self.socket is None:
            self.socket = socket.socket()
            self.socket.settimeout(TIMEOUT)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.scenario.client == "leave-in-answer":
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_WINDOW)
            self.socket.connect(self.address)
            self.connections += 1
        return self.socket

    def _leave(self) -> Answer:
        assert self.socket is not None
        # The server must have met the state that the client leaves it in, or the count is a race.
        self.rest()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
        self.close()
        self.rest()
        return "aborted"

    def _more(self) -> bool:
        """Receive something into the buffer; False once the server has closed or reset."""
        assert self.socket is not None
        try:
            data = self.socket.recv(65536)
        except ConnectionError:
            return False
        self.buffer += data
        return bool(data)

    def _head(self) -> Head | None:
        while True:
            while b"\r\n\r\n" not in self.buffer:
                if not self._more():
                    return None
            text, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
            lines = text.decode("latin-1").split("\r\n")
            status = lines[0].split(" ")[1]
            if not status.startswith("1"):
                break
        fields = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            fields[name.lower()] = value.strip().lower()
        length = fields.get("content-length")
        return Head(
            status,
            0 if self.bodyless else None if length is None else int(length),
            "chunked" in fields.get("transfer-encoding", ""),
            fields.get("connection") == "close" or lines[0].startswith("HTTP/1.0"),
        )

    def _body(self, head: Head) -> bool:
        """Read the body; return whether it came whole."""
        if head.chunked:
            return self._chunks()
        if head.length is not None:
            return self._take(head.length)
        while self._more():
            self.buffer = b""
        return True

    def _chunks(self) -> bool:
        while True:
            while b"\r\n" not in self.buffer:
                if not self._more():
                    return False
            size, _, self.buffer = self.buffer.partition(b"\r\n")
            length = int(size.split(b";")[0], 16)
            if not self._take(length + 2):
                return False
            if not length:
                return True

    def _take(self, length: int) -> bool:
        while len(self.buffer) < length:
            if not self._more():
                return False
        self.buffer = self.buffer[length:]
        return True

    def _drain(self) -> None:
        """Wait for the server to close, so that it is done with this request when the next one comes."""
        if self.socket is None:
            return
        while self._more():
            self.buffer = b""
        self.close()


def replay(
    address: Address, scenario: Scenario, connection: Connection, requests: int, rest: Callable[[], object]
) -> int:
    """Send `requests` requests one after the other and close; return how many connections it took.

    `rest` returns when the server has nothing left to do; a client that leaves waits for it.

    Raises FaultError as soon as an answer is not one that the scenario expects.
    """
    with Client(address, scenario, connection, rest) as client:
        for _ in range(requests):
            check(scenario, client.send())
        return client.connections


def verify(
    address: Address, scenario: Scenario, connection: Connection, rest: Callable[[], object]
) -> Answer:
    """Send the scenario once and return the answer; raises FaultError if it is not an expected one."""
    with Client(address, scenario, connection, rest) as client:
        answer = client.send()
    check(scenario, answer)
    return answer


def check(scenario: Scenario, answer: Answer) -> None:
    """Raise FaultError if the scenario does not expect this answer."""
    if answer not in scenario.expect:
        expected = " or ".join(scenario.expect)
        raise FaultError(
            f"{scenario.name} was answered {answer!r}, not {expected!r}: the app or the server is wrong"
        )
