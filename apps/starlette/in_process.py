"""Drives a Starlette app without a server: its ASGI callable is called."""

import asyncio
from contextlib import suppress


def drive(app, path, requests):
    """Return the statuses of all answers."""
    return asyncio.run(by_asgi(app, path, requests))


async def by_asgi(app, path, requests):
    statuses = set()

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        if message["type"] == "http.response.start":
            statuses.add(message["status"])

    for _ in range(requests):
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"localhost")],
            "server": ("localhost", 80),
            "client": ("localhost", 50000),
        }
        with suppress(RuntimeError):  # what the handler raised: a server logs it
            await app(scope, receive, send)
    return statuses
