"""Reference app for Starlette, version 1: a small service that takes orders and images.

It behaves as `apps/flask/v1.py` does, on Starlette 0.40 and newer, Python 3.8 and newer. Nothing here
outlives its request: what stays in memory afterwards is what Starlette, or something below it, keeps.
"""

import hashlib
import time
import uuid

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders, UploadFile
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

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
    """Return the service as an ASGI application that is bound to no event loop yet: it survives a fork."""
    return Starlette(
        routes=[
            Route("/ok", ok),
            Route("/fail", fail),
            Route("/forbidden", forbidden),
            Route("/orders", create_order, methods=["POST"]),
            Route("/nested", sales_report),
            Route("/json", quote, methods=["POST"]),
            Route("/images", upload_image, methods=["POST"]),
            Route("/stream", stream),
            Route("/stream-error", stream_error),
        ],
        middleware=[Middleware(RequestHeaders)],
        exception_handlers={OutOfStock: answer_out_of_stock, HTTPException: answer_http_error},
    )


# Around every request


class RequestHeaders:
    """Gives each answer the request's id and the time that it took."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1") or uuid.uuid4().hex

        async def send_with_headers(message):
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                headers["Server-Timing"] = f"app;dur={(time.perf_counter() - started) * 1000:.2f}"
            await send(message)

        await self.app(scope, receive, send_with_headers)


async def answer_out_of_stock(request, error):
    return JSONResponse({"error": str(error), "item": error.item}, 409)


async def answer_http_error(request, error):
    # Not an ordinary exception: Starlette makes a plain-text 500 of it, and the server logs the traceback.
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)


# Orders


async def ok(request):
    return JSONResponse({"status": "ok"})


async def fail(request):
    raise RuntimeError("the warehouse does not answer")


async def forbidden(request):
    raise HTTPException(403)


async def quote(request):
    item, quantity = await read_order(request)
    return JSONResponse({"item": item, "quantity": quantity, "total": PRICES.get(item, 0) * quantity})


async def create_order(request):
    item, quantity = await read_order(request)
    if quantity > STOCK.get(item, 0):
        raise OutOfStock(item, quantity)
    return JSONResponse({"item": item, "quantity": quantity}, 201)


async def read_order(request):
    try:
        order = await request.json()
        return order["item"], int(order["quantity"])
    except (KeyError, TypeError, ValueError) as error:  # a body that is not JSON is a ValueError
        raise HTTPException(400) from error


# The sales report: an error from several frames down, with a large buffer among the locals


async def sales_report(request):
    return JSONResponse({"size": len(render_report(["widget", "gizmo"]))})


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


async def upload_image(request):
    if int(request.headers.get("Content-Length", 0)) > BODY_LIMIT:  # Starlette itself limits no file's size
        raise HTTPException(413)
    async with request.form() as form:
        if not isinstance(form.get("image"), UploadFile):
            raise HTTPException(400)
        image = await form["image"].read()
    return JSONResponse({"size": len(image), "sha256": hashlib.sha256(image).hexdigest()}, 201)


async def stream(request):
    return StreamingResponse(chunks(), media_type="application/octet-stream")


async def chunks():
    for _ in range(STREAM_CHUNKS):
        yield CHUNK


async def stream_error(request):
    return StreamingResponse(broken_chunks(), media_type="application/octet-stream")


async def broken_chunks():
    yield CHUNK
    raise RuntimeError("the image store does not answer")


app = create_app()
