"""Errors do not keep a server from ending in good order: what is under way is answered, then it is gone."""

from __future__ import annotations

import http.client
import signal
import socket
import threading
import time

import pytest

from measuring import CHECKOUT, environment
from outlive.service import app as apps
from outlive.service import seal
from outlive.service.gunicorn import Server
from outlive.service.seal import Address

pytestmark = pytest.mark.real

AT_ONCE = 8
GRACE = 20.0
"""Seconds that the server may take; gunicorn's own limit for what is under way is 30."""


class Connection(http.client.HTTPConnection):
    def __init__(self, address: Address) -> None:
        super().__init__(*address[:2], timeout=GRACE)
        self.address = address

    def connect(self) -> None:
        self.sock = socket.socket()
        self.sock.settimeout(GRACE)
        seal.connect(self.sock, self.address)


@pytest.mark.parametrize(
    ("framework", "path", "answers"),
    [("aiohttp", "/timeout-uncaught", {504}), ("aiohttp", "/fail", {500}), ("flask", "/fail", {500})],
)
def test_errors_under_way_are_answered_and_the_server_ends(
    framework: str, path: str, answers: set[int]
) -> None:
    app = apps.load(CHECKOUT, framework, "site")
    worker = app.worker("keep-alive")
    assert worker is not None
    seen: list[int] = []
    ending = threading.Event()

    def keep_asking(address: Address) -> None:
        """Ask until the server is about to end; what is under way then is answered whole."""
        connection = Connection(address)
        while not ending.is_set():
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            seen.append(answer.status)
        connection.close()

    with Server(environment(framework), app, worker, CHECKOUT.apps / framework) as server:
        server.fresh_worker()
        clients = [threading.Thread(target=keep_asking, args=(server.address,)) for _ in range(AT_ONCE)]
        for client in clients:
            client.start()
        while len(seen) < 3 * AT_ONCE:
            time.sleep(0.01)
        assert server.process is not None
        ending.set()  # first: a connection at rest may be closed before its next request
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(GRACE) == 0
        for client in clients:
            client.join(GRACE)
        assert not any(client.is_alive() for client in clients)
    assert set(seen) == answers
