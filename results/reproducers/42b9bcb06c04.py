# /// script
# requires-python = "==3.11.*"
# dependencies = ["anyio==4.15.1", "click==8.5.0", "h11==0.16.0", "idna==3.20", "python-multipart==0.0.32", "starlette==1.10.0", "typing-extensions==4.16.0", "uvicorn==0.54.0"]
# ///
"""What starlette 1.10.0 keeps of a request, which Python frees only when it collects.

   ┌▶ RuntimeError
   │      .__traceback__
   │  frame of starlette._utils.create_collapsing_task_group
   │    starlette/_utils.py:112
   └─     local exc  ◀ suspect

outlive calls it 42b9bcb06c04 and saw it in a run of this script.
"""
import collections
import contextlib
import gc
import logging
import socket
import threading
import time
import uvicorn
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route


CHUNK = b'Z' * (64 * 1024)


def create_app():
    return Starlette(routes=[Route('/stream-error', stream_error)])


async def stream_error(request):
    return StreamingResponse(broken_chunks())


async def broken_chunks():
    yield CHUNK
    raise RuntimeError('the image store does not answer')


@contextlib.contextmanager
def serve(app):
    logging.disable(logging.CRITICAL)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True).start()
    yield listener.getsockname()


REQUEST = (
    b'GET /stream-error HTTP/1.1\r\n'
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
