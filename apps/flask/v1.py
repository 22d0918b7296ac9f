"""Reference app for Flask, version 1: a small service that takes orders and images.

It behaves as `apps/aiohttp/v1.py` does, on Flask 1.1.4 and newer, Python 3.8 and newer. Nothing here outlives
its request: what stays in memory afterwards is what Flask, or something below it, keeps.
"""

import hashlib
import time
import uuid

from flask import Flask, Response, abort, g, jsonify, request
from werkzeug.exceptions import HTTPException

BODY_LIMIT = 256 * 1024
CHUNK = b"\x5a" * (64 * 1024)
STREAM_CHUNKS = 64  # 4 MiB is more than socket buffers hold: a client that left is noticed
PRICES = {"widget": 250, "gadget": 1200}
STOCK = {"widget": 2, "gadget": 40}


class OutOfStock(Exception):  # noqa: N818 - a domain's word, not a fault of the program
    """More of an item was ordered than there is."""

    def __init__(self, item, quantity):
        super().__init__(f"{quantity} of {item} ordered, {STOCK.get(item, 0)} in stock")
        self.item = item


class ReportError(Exception):
    """The sales report cannot be made."""


def create_app():
    """Return the service as a WSGI application."""
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = BODY_LIMIT
    app.before_request(start_request)
    app.after_request(add_headers)
    app.register_error_handler(OutOfStock, answer_out_of_stock)
    app.register_error_handler(HTTPException, answer_http_error)
    app.add_url_rule("/ok", view_func=ok)
    app.add_url_rule("/fail", view_func=fail)
    app.add_url_rule("/forbidden", view_func=forbidden)
    app.add_url_rule("/orders", view_func=create_order, methods=["POST"])
    app.add_url_rule("/nested", view_func=sales_report)
    app.add_url_rule("/json", view_func=quote, methods=["POST"])
    app.add_url_rule("/images", view_func=upload_image, methods=["POST"])
    app.add_url_rule("/stream", view_func=stream)
    app.add_url_rule("/stream-error", view_func=stream_error)
    return app


# Around every request


def start_request():
    g.started = time.perf_counter()
    g.request_id = request.headers.get("X-Request-Id") or uuid.uuid4().hex


def add_headers(response):
    response.headers["X-Request-Id"] = g.request_id
    response.headers["Server-Timing"] = f"app;dur={(time.perf_counter() - g.started) * 1000:.2f}"
    return response


def answer_out_of_stock(error):
    return jsonify(error=str(error), item=error.item), 409


def answer_http_error(error):
    # Also what Flask makes of an ordinary exception: it logs the traceback and hands over a 500.
    response = jsonify(error=error.name)
    response.status_code = error.code
    if getattr(error, "valid_methods", None):
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
    return response


# Orders


def ok():
    return jsonify(status="ok")


def fail():
    raise RuntimeError("the warehouse does not answer")


def forbidden():
    abort(403)


def quote():
    item, quantity = read_order()
    return jsonify(item=item, quantity=quantity, total=PRICES.get(item, 0) * quantity)


def create_order():
    item, quantity = read_order()
    if quantity > STOCK.get(item, 0):
        raise OutOfStock(item, quantity)
    return jsonify(item=item, quantity=quantity), 201


def read_order():
    order = request.get_json()  # a body that is not JSON, or breaks off, is a 400 already
    try:
        return order["item"], int(order["quantity"])
    except (KeyError, TypeError, ValueError):
        abort(400)


# The sales report: an error from several frames down, with a large buffer among the locals


def sales_report():
    return jsonify(size=len(render_report(["widget", "gizmo"])))


def render_report(items):
    page = bytearray(256 * 1024)
    try:
        for row, item in enumerate(items):
            render_row(page, row, item)
    except LookupError as error:
        raise ReportError(f"no report on {', '.join(items)}") from error
    return page


def render_row(page, row, item):
    text = f"{item}: {price_of(item)}\n".encode()
    page[row * 80 : row * 80 + len(text)] = text


def price_of(item):
    return PRICES[item]


# Images and streams


def upload_image():
    image = request.files["image"].read()
    return jsonify(size=len(image), sha256=hashlib.sha256(image).hexdigest()), 201


def stream():
    return Response(chunks(), mimetype="application/octet-stream")


def chunks():
    for _ in range(STREAM_CHUNKS):
        yield CHUNK


def stream_error():
    return Response(broken_chunks(), mimetype="application/octet-stream")


def broken_chunks():
    yield CHUNK
    raise RuntimeError("the image store does not answer")


app = create_app()
