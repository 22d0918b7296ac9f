"""FastHttpUser's client, sending the bytes of a scenario and nothing else. Imported by locust only.

Left to itself it adds headers of its own, which the server would keep with a request that it leaks: load and
replay could not be compared. And it breaks off the answers whose status it takes for an error.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO

from geventhttpclient.client import HTTPClient, HTTPClientPool
from geventhttpclient.header import Headers, HeadersDataType
from geventhttpclient.response import HTTPConnectionClosed, HTTPSocketPoolResponse
from geventhttpclient.url import URL
from locust.contrib.fasthttp import LocustUserAgent

from outlive.wire import TIMEOUT

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
        """Send the request with only those headers that a scenario has.

        Servers close a kept connection without a word; gunicorn does after an answer to a large body that
        was not read. The next request then was never seen and is sent again, as a replay does.
        """
        asked = Headers(headers or {})
        for name in UNASKED:
            asked.discard(name)
        reused, self.reused = self.reused, False
        try:
            response = super().request(method, request_uri, body, asked)
        except CLOSED:
            if not reused:
                raise
            response = super().request(method, request_uri, body, asked)
        self.reused = True
        return response


class PlainPool(HTTPClientPool):
    """One connection at a time to each server: that of one client."""

    def __init__(self) -> None:
        super().__init__(concurrency=1, connection_timeout=TIMEOUT, network_timeout=TIMEOUT)

    def get_client(self, url: str | URL) -> HTTPClient:
        """Return the client for the server of `url`."""
        split = url if isinstance(url, URL) else URL(url)
        key = split.host, split.port
        if key not in self.clients:
            self.clients[key] = PlainClient.from_url(split, **self.client_args)
        return self.clients[key]


class PlainAgent(LocustUserAgent):
    """Takes every answer as it comes: the scenario decides whether it is right."""

    valid_response_codes = frozenset(range(100, 600))
    redirect_response_codes = frozenset()

    def __init__(self) -> None:
        super().__init__(client_pool=PlainPool(), max_retries=0)
