"""Serves an ASGI app in a thread."""

import contextlib
import logging
import socket
import threading

import uvicorn


@contextlib.contextmanager
def serve(app):
    logging.disable(logging.CRITICAL)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True).start()
    yield listener.getsockname()
