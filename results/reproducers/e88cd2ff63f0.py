# /// script
# requires-python = "==3.11.*"
# dependencies = ["aiohappyeyeballs==2.4.3", "aiohttp==3.10.10", "aiosignal==1.3.1", "attrs==24.2.0", "frozenlist==1.4.1", "idna==3.10", "multidict==6.1.0", "propcache==0.2.0", "yarl==1.14.0"]
# ///
"""What aiohttp 3.10.10 keeps of a request, which Python never frees.

      module aiohttp.web_app
          global _build_middlewares
      lru_cache of aiohttp.web_app._build_middlewares
          cached call
      dict
          [<tuple>]  ◀ suspect
      functools.partial

outlive calls it e88cd2ff63f0 and saw it in a run of this script.
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
    app = web.Application(middlewares=[start_request])
    return app


@web.middleware
async def start_request(request, handler):
    return await handler(request)


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
    b'GET /no-such-page HTTP/1.1\r\n'
    b'Host: localhost\r\n'
    b'Connection: close\r\n'
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
