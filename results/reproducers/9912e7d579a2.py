# /// script
# requires-python = "==3.11.*"
# dependencies = ["blinker==1.9.0", "click==8.3.1", "flask==3.1.3", "itsdangerous==2.2.0", "jinja2==3.1.6", "markupsafe==3.0.3", "werkzeug==3.1.6"]
# ///
"""What flask 3.1.3 keeps of a request, which Python frees only when it collects.

   ┌▶ RuntimeError
   │      .__traceback__
   │  frame of flask.app.Flask.wsgi_app  flask/app.py:1527
   └─     local error  ◀ suspect

outlive calls it 9912e7d579a2 and saw it in a run of this script.
"""
import collections
import contextlib
import gc
import logging
import socket
import threading
import time
from flask import Flask
from wsgiref.simple_server import WSGIRequestHandler, make_server


def create_app():
    app = Flask(__name__)
    app.add_url_rule('/fail', view_func=fail)
    return app


def fail():
    raise RuntimeError('the warehouse does not answer')


class QuietHandler(WSGIRequestHandler):
    def log_message(self, *args):
        pass


@contextlib.contextmanager
def serve(app):
    logging.disable(logging.CRITICAL)
    server = make_server("127.0.0.1", 0, app, handler_class=QuietHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address
    server.shutdown()


REQUEST = (
    b'GET /fail HTTP/1.1\r\n'
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
