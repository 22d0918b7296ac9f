"""A peer that fails on request: `python -I chaos.py CERTIFICATE` prints its ports as JSON and serves.

It runs as a separate process on loopback and uses the standard library only. Apps that call another service
get the ports in OUTLIVE_PEER: `http` does what the path says, `tls` does so over TLS with an untrusted
certificate, `refused` takes no connection, and attempts to connect to `full` hang.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import hashlib
import json
import re
import socket
import ssl
import struct
import sys
from collections.abc import Awaitable, Callable

HOST = "127.0.0.1"
WEBSOCKET = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
PART = b"\x5a" * 1000
LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
LINGER_ZERO = struct.pack("ii", 1, 0)
"""SO_LINGER 0: closing sends a reset."""
ANNOUNCED = asyncio.Semaphore(0)
"""Counts requests that have arrived and will not be answered."""
INFLATED = gzip.compress(bytes(1 << 20), mtime=0)
"""1 MiB compressed to 1 KiB."""
ENCODED = {"/inflated": INFLATED, "/bad-gzip": INFLATED[:20] + b"\xff" * (len(INFLATED) - 20)}
LONG_CHUNKS = 64
"""Chunks of 4 KiB: the answer is longer than a client's read buffer."""

Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def gone(_: Wire, __: bytes) -> None:
    """Close without an answer."""


async def reset(wire: Wire, _: bytes) -> None:
    """Reset the connection without an answer."""
    wire[1].get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)


async def cut(wire: Wire, _: bytes) -> None:
    """Close in the middle of the answer."""
    wire[1].write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + PART)


async def cut_chunks(wire: Wire, _: bytes) -> None:
    """Close in the middle of a chunk."""
    wire[1].write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n" + PART)


async def malformed(wire: Wire, _: bytes) -> None:
    """Answer with something that is not HTTP."""
    wire[1].write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")


async def bad_chunk(wire: Wire, _: bytes) -> None:
    """Answer with a chunk whose size is not a number."""
    wire[1].write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nmany\r\nok\r\n0\r\n\r\n")


async def stall(wire: Wire, _: bytes) -> None:
    """Never answer."""
    await wire[0].read()


async def stall_announced(wire: Wire, _: bytes) -> None:
    """Never answer, but release the answer to one request for `/announced`."""
    ANNOUNCED.release()
    await wire[0].read()


async def stall_in_body(wire: Wire, _: bytes) -> None:
    """Begin an answer and never finish it."""
    wire[1].write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + PART)
    await wire[0].read()


async def websocket(wire: Wire, head: bytes) -> None:
    """Accept a WebSocket, answer its first message, then drop the connection."""
    reader, writer = wire
    fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
    key = {name.lower(): value for name, value in fields.items()}[b"sec-websocket-key"]
    accept = base64.b64encode(hashlib.sha1(key + WEBSOCKET, usedforsecurity=False).digest())
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
    await reader.readexactly(6)
    writer.write(b"\x81\x05hello")


FAULTS: dict[str, Callable[[Wire, bytes], Awaitable[None]]] = {
    "/gone": gone,
    "/reset": reset,
    "/cut": cut,
    "/cut-chunks": cut_chunks,
    "/malformed": malformed,
    "/bad-chunk": bad_chunk,
    "/stall": stall,
    "/stall-announced": stall_announced,
    "/stall-in-body": stall_in_body,
    "/websocket": websocket,
}
"""What each path does; all of these end the connection."""


def answer(path: str) -> bytes:
    """Return the answer to a path that does not fail; the connection stays open."""
    if path == "/long":
        chunk = b"1000\r\n" + b"\x5a" * 4096 + b"\r\n"
        return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * LONG_CHUNKS + b"0\r\n\r\n"
    if path in ENCODED:
        body = ENCODED[path]
        return b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    status = "500 Internal Server Error" if path == "/error" else "200 OK"
    name = path.rpartition("/")[2]
    cookie = ""
    if path.startswith(("/cookies/", "/unreturned-cookies/")):
        secure = "; Secure" if path.startswith("/unreturned") else ""  # never sent back over plain HTTP
        cookie = f"Set-Cookie: seen-{name}=yes; Path=/{secure}\r\n"
    return f"HTTP/1.1 {status}\r\n{cookie}Content-Length: 2\r\n\r\nok".encode()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one connection."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError, ssl.SSLError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            if length := LENGTH.search(head):
                await reader.readexactly(int(length[1]))
            path = head.split(b" ", 2)[1].decode()
            if path in FAULTS:
                await FAULTS[path]((reader, writer), head)
                break
            if path == "/announced":
                await ANNOUNCED.acquire()
            writer.write(answer(path))
            await writer.drain()
    with contextlib.suppress(OSError, ssl.SSLError):
        writer.close()
        await writer.wait_closed()


async def main(certificate: str) -> None:
    """Open all ports, print them as JSON and serve for ever."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    http = await asyncio.start_server(serve, HOST, 0)
    tls = await asyncio.start_server(serve, HOST, 0, ssl=context)
    refused, full, queued = socket.socket(), socket.socket(), socket.socket()
    refused.bind((HOST, 0))  # bound, so that no other process takes the port, but not listening
    full.bind((HOST, 0))
    full.listen(0)
    queued.connect(full.getsockname())  # the queue is full now: the kernel drops further attempts
    listening = {"http": http.sockets[0], "tls": tls.sockets[0], "refused": refused, "full": full}
    print(json.dumps({name: server.getsockname()[1] for name, server in listening.items()}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
