"""Drives an aiohttp app without gunicorn: over one loopback connection to aiohttp's own server."""

import asyncio

from aiohttp import web


def drive(app, path, requests):
    """Return the statuses of all answers."""
    return asyncio.run(over_loopback(app, path, requests))


async def over_loopback(app, path, requests):
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
    statuses = set()
    for _ in range(requests):
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
        await reader.readexactly(int(fields[b"content-length"]))
        statuses.add(int(head.split()[1]))
        if fields.get(b"connection") == b"close":  # aiohttp closes after an error in a handler
            writer.close()
            reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
    writer.close()
    await runner.cleanup()
    return statuses
