"""Serves an aiohttp app in a thread."""

import asyncio
import contextlib
import logging
import queue
import threading

from aiohttp import web


@contextlib.contextmanager
def serve(app):
    logging.disable(logging.CRITICAL)
    started = queue.Queue()

    async def run():
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        started.put(runner.addresses[0])
        await asyncio.Event().wait()

    threading.Thread(target=asyncio.run, args=(run(),), daemon=True).start()
    yield started.get()
