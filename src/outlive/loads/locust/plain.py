"""FastHttpUser's client, sending the bytes of a scenario and nothing else. Imported by locust only.

By default it adds headers, which a server that leaks requests would also keep, so that load and replay could
not be compared. It also breaks off answers whose status it considers an error.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import IO, Any

import gevent
from gevent.socket import wait_read
from geventhttpclient.client import HTTPClient, HTTPClientPool
from geventhttpclient.header import Headers, HeadersDataType
from geventhttpclient.response import HTTPConnectionClosed, HTTPSocketPoolResponse
from geventhttpclient.url import URL
from locust.contrib.fasthttp import LocustUserAgent

from outlive.service import seal
from outlive.service.wire import TIMEOUT

UNASKED = ("User-Agent", "Accept-Encoding")

CLOSED = (HTTPConnectionClosed, ConnectionResetError, BrokenPipeError)

Body = str | bytes | bytearray | memoryview | IO[bytes] | Iterable[bytes] | None


class PlainClient(HTTPClient):
    """The connections to one server."""

    DEFAULT_HEADERS = Headers()
    reused = False

    def request(
        self, method: str, request_uri: str, body: Body = b"", headers: HeadersDataType | None = None
    ) -> HTTPSocketPoolResponse:
        """Send the request with only the headers of its scenario.

        Servers can close a kept connection silently, as gunicorn does after answering a large body that was
        not read. The next request was then never seen and is sent again, as in a replay.
        """
        fields = Headers(headers or {})
        for name in UNASKED:
            fields.discard(name)
        reused, self.reused = self.reused, False
        try:
            response = super().request(method, request_uri, body, fields)
        except CLOSED:
            if not reused:
                raise
            response = super().request(method, request_uri, body, fields)
        self.reused = True
        return response


class PlainPool(HTTPClientPool):
    """The pool of one client: one connection at a time to each server."""

    def __init__(self) -> None:
        super().__init__(concurrency=1, connection_timeout=TIMEOUT, network_timeout=TIMEOUT)

    def get_client(self, url: str | URL) -> HTTPClient:
        """Return the client for the server of `url`."""
        split = url if isinstance(url, URL) else URL(url)
        key = split.host, split.port
        if key not in self.clients:
            self.clients[key] = client = PlainClient.from_url(split, **self.client_args)
            client._connection_pool._connect_socket = _connected  # type: ignore[method-assign]
        return self.clients[key]

    def idle(self) -> list[gevent.socket.socket]:
        """Return the open connections that are not in use."""
        pools = [client._connection_pool for client in self.clients.values()]
        return [sock for pool in pools for sock in pool._socket_queue.queue if sock.fileno() >= 0]


def _connected(sock: gevent.socket.socket, address: Any) -> gevent.socket.socket:
    seal.connect(sock, seal.given(*address[:2]))
    return sock


class PlainAgent(LocustUserAgent):
    """Accepts every status: the scenario decides whether an answer is right."""

    valid_response_codes = frozenset(range(100, 600))
    redirect_response_codes = frozenset()

    def __init__(self) -> None:
        self.pool = PlainPool()
        super().__init__(client_pool=self.pool, max_retries=0)

    @contextlib.contextmanager
    def minded(self) -> Iterator[None]:
        """Close idle connections as soon as the server does, as clients with an event loop do.

        gunicorn's serving thread waits up to 2 s for that. A client that continues over another connection
        would wait for itself, and with a single thread so would every other client.
        """
        minding = [gevent.spawn(_close_after, sock) for sock in self.pool.idle()]
        try:
            yield
        finally:
            gevent.killall(minding)


def _close_after(sock: gevent.socket.socket) -> None:
    """Wait for the server to close an idle connection, and close it."""
    wait_read(sock.fileno())
    sock.close()
