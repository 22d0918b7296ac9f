"""What aiohttp does to requests that come while a worker is replaced, without gunicorn: aiohttp alone.

    pip install aiohttp==3.14.5
    python recycling.py

Both are about `AppRunner.cleanup()`, which gunicorn's worker awaits when it has served `--max-requests`:

- *accepted*: a client connects and sends its request in the turn of the loop before `cleanup()`. The
  connection is accepted, and then neither answered nor closed.
- *body*: a request's body is under way when `cleanup()` begins. What comes after `pre_shutdown()` is dropped,
  so the handler waits for it until the whole shutdown timeout is over, and so does the worker's replacement.

Prints one line for each and ends with status 1 if either is still so.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time

from aiohttp import __version__, web

SHUTDOWN_TIMEOUT = 3.0
PATIENCE = 1.0
"""Seconds in which an answer, or the end of the connection, would have come."""
TURNS = 2
"""Turns of the loop in which a connection is accepted, but not yet heard by aiohttp."""
BODY = b"x" * 100_000


async def read(request: web.Request) -> web.Response:
    """Answer with the length of the body."""
    return web.Response(text=str(len(await request.read())))


async def started() -> tuple[web.AppRunner, tuple[str, int]]:
    """Return a running server and its address."""
    app = web.Application()
    app.router.add_route("*", "/", read)
    runner = web.AppRunner(app, shutdown_timeout=SHUTDOWN_TIMEOUT)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, runner.addresses[0]


async def heard(client: socket.socket) -> str:
    """Return what the client sees within its patience."""
    try:
        data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 1000), PATIENCE)
    except asyncio.TimeoutError:
        return "nothing"
    except ConnectionError:
        return "reset"
    return data.split(b"\r\n")[0].decode() if data else "closed"


async def accepted() -> str:
    """Return what a client hears that connects in the turn before the server stops."""
    runner, address = await started()
    client = socket.create_connection(address)
    client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    client.setblocking(False)
    for _ in range(TURNS):
        await asyncio.sleep(0)
    await runner.cleanup()
    return await heard(client)


async def body() -> tuple[str, float]:
    """Return what a client hears whose body was under way as the server stopped, and how long that took."""
    runner, address = await started()
    client = socket.create_connection(address)
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(BODY)
    client.sendall(head + BODY[:1000])
    client.setblocking(False)
    await asyncio.sleep(0.1)  # the handler waits for the rest
    cleanup = asyncio.ensure_future(runner.cleanup())
    await asyncio.sleep(0.1)
    began = time.monotonic()
    try:
        await asyncio.get_running_loop().sock_sendall(client, BODY[1000:])
        await cleanup
        return await heard(client), time.monotonic() - began
    except ConnectionError:
        return "reset", time.monotonic() - began


def main() -> int:
    """Run both and print what came of them."""
    silent = asyncio.run(accepted())
    print(f"aiohttp {__version__}: accepted before cleanup(): the client hears {silent}")
    answer, seconds = asyncio.run(body())
    print(f"aiohttp {__version__}: body under way: the client hears {answer} after {seconds:.1f} s")
    return int(silent == "nothing" or "200" not in answer)


if __name__ == "__main__":
    sys.exit(main())
