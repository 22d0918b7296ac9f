# /// script
# requires-python = "==3.11.*"
# dependencies = ["aiohappyeyeballs==2.7.1", "aiohttp==3.14.5", "aiosignal==1.4.0", "attrs==26.1.0", "frozenlist==1.8.0", "idna==3.20", "multidict==7.1.0", "propcache==0.5.4", "typing-extensions==4.16.0", "yarl==1.25.1"]
# ///
"""What aiohttp 3.14.5 keeps of a request, which Python frees only when it collects.

   ┌▶ aiohttp.http_exceptions.BadHttpMessage
   │      .__traceback__
   │  frame of aiohttp.web_protocol.RequestHandler.data_received
   │    aiohttp/web_protocol.py:472
   │      local msg
   │  aiohttp.web_protocol._ErrInfo
   └─     .exc  ◀ suspect

outlive calls it afd84ab064bc and saw it in a run of this script.
"""
import asyncio
import collections
import contextlib
import gc
import logging
import queue
import socket
import threading
import time
from aiohttp import web


def create_app():
    app = web.Application()
    return app


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


REQUEST = (
    b'GET /ok HTTP/1.1\r\n'
    b'Host: localhost\r\n'
    b'no colon in this line\r\n'
    b'\r\n'
)


def send(address, times):
    for _ in range(times):
        with socket.socket() as client:
            client.connect(address)
            client.sendall(REQUEST)
            answer = b""
            with contextlib.suppress(ConnectionError):
                while chunk := client.recv(65536):
                    answer += chunk
    return answer[9:12].decode()


def main():
    with serve(create_app()) as address:
        send(address, 30)  # lazy imports, caches
        gc.collect()
        gc.disable()
        gc.freeze()
        send(address, 100)
        time.sleep(0.5)
        left = gc.get_objects()
        types = collections.Counter(f"{type(one).__module__}.{type(one).__qualname__}" for one in left)
        count = len(left)
        del left
        freed = gc.collect()
        print(f"{count} objects are left of 100 requests; a full collection frees {freed}. Most of them:")
        for name, objects in types.most_common(10):
            print(f"{objects:6} {name}")


if __name__ == "__main__":
    main()
