"""What the tests of load share: a server that knows the scenarios by their bytes and remembers them."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Self

from measuring import SCENARIOS
from outlive.records.measurement import ASKED
from outlive.service.scenarios import Scenario

LONG_ANSWER = b"10000\r\n" + b"\x5a" * 65536 + b"\r\n"


class Stub:
    """Answers each scenario as it expects, at any address; `wrong` gives other statuses, `before` may delay.

    `seen` counts the messages by scenario, byte for byte as the scenario defines them; what is none of them
    is in `strange`. `connections` counts those, `peers` are the addresses that they come from.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        wrong: Mapping[str, str] | None = None,
        before: Callable[[int], object] = lambda _: None,
    ) -> None:
        self.known = {}
        for scenario in (one for one in SCENARIOS if not one.app):
            for connection in ASKED:
                cut = scenario.client in {"half-close", "leave-in-body"}
                self.known[(scenario.cut if cut else scenario.message)(connection)] = scenario
        self.wrong = wrong or {}
        self.before = before
        self.seen: Counter[str] = Counter()
        self.strange: list[bytes] = []
        self.connections = 0
        self.peers: set[str] = set()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server((host, 0), backlog=128)
        self.address: tuple[str, int] = self._listener.getsockname()

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)

    @property
    def requests(self) -> int:
        return self.seen.total() + len(self.strange)

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args)
        thread.start()
        self._threads.append(thread)

    def _accept(self) -> None:
        while True:
            try:
                connection, peer = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self.peers.add(peer[0])
                self._open.add(connection)
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while self._answer(connection):
                pass
        with self._lock:
            self._open.discard(connection)

    def _answer(self, connection: socket.socket) -> bool:
        """Answer one message; whether the connection stays open."""
        message = read(connection)
        if not message:
            return False
        with self._lock:
            scenario = self.known.get(message)
            if scenario is None:
                self.strange.append(message)
            else:
                self.seen[scenario.name] += 1
            number = self.requests
        self.before(number)
        if scenario is None or scenario.client == "leave-in-body":
            return False
        return self._send(connection, message, scenario)

    def _send(self, connection: socket.socket, message: bytes, scenario: Scenario) -> bool:
        answer = self.wrong.get(scenario.name, scenario.expect[0])
        if scenario.client == "leave-in-answer" or answer.endswith("cut"):
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + LONG_ANSWER)
            while scenario.client == "leave-in-answer":
                connection.sendall(LONG_ANSWER)
            return False
        stays = scenario.client == "complete" and b"Connection: keep-alive" in message
        connection.sendall(
            f"HTTP/1.1 {answer} Status\r\nContent-Length: 2\r\n"
            f"Connection: {'keep-alive' if stays else 'close'}\r\n\r\nok".encode()
        )
        return stays


class Lingering(Stub):
    """Answers one request at a time; after one of `closing` it closes and waits for the client to close.

    As gunicorn does in its one thread. `in_vain` counts how often no client did.
    """

    PATIENCE = 2.0

    def __init__(self, closing: str) -> None:
        super().__init__()
        self.closing = closing
        self.in_vain = 0
        self._turn = threading.Lock()

    def _send(self, connection: socket.socket, message: bytes, scenario: Scenario) -> bool:
        with self._turn:
            stays = super()._send(connection, message, scenario)
            if scenario.name != self.closing:
                return stays
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(self.PATIENCE)
            try:
                connection.recv(1)
            except TimeoutError:
                self.in_vain += 1
            return False


def read(connection: socket.socket) -> bytes:
    """Return the next message, or as much of it as the client sends."""
    data = b""
    length = None
    while length is None or len(data) < length:
        try:
            more = connection.recv(65536)
        except ConnectionError:
            return data
        if not more:
            return data
        data += more
        if length is None and b"\r\n\r\n" in data:
            head = data.partition(b"\r\n\r\n")[0]
            body = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
            length = len(head) + 4 + (int(body[0].split(b":")[1]) if body else 0)
    return data


class Stall:
    """Lets nobody through for `seconds` once request number `at` has come."""

    def __init__(self, at: int, seconds: float) -> None:
        self.at = at
        self.seconds = seconds
        self._until: float | None = None
        self._lock = threading.Lock()

    def __call__(self, number: int) -> None:
        with self._lock:
            if self._until is None and number >= self.at:
                self._until = time.monotonic() + self.seconds
        if self._until is not None:
            time.sleep(max(0.0, self._until - time.monotonic()))
