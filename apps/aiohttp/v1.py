"""Reference app for aiohttp, version 1: a small service that takes orders and images.

It behaves as `apps/flask/v1.py` does, on aiohttp 3.8.0 and newer, Python 3.8 and newer. Nothing here outlives
its request: what stays in memory afterwards is what aiohttp, or something below it, keeps.
"""

import hashlib
import time
import uuid

from aiohttp import web

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
    """Return the service as an application that is bound to no event loop yet: it survives a fork."""
    app = web.Application(client_max_size=BODY_LIMIT, middlewares=[start_request, answer_errors])
    app.on_response_prepare.append(add_headers)
    app.add_routes(
        [
            web.get("/ok", ok),
            web.get("/fail", fail),
            web.get("/forbidden", forbidden),
            web.post("/orders", create_order),
            web.get("/nested", sales_report),
            web.post("/json", quote),
            web.post("/images", upload_image),
            web.get("/stream", stream),
            web.get("/stream-error", stream_error),
        ]
    )
    return app


# Around every request


@web.middleware
async def start_request(request, handler):
    request["started"] = time.perf_counter()
    request["request_id"] = request.headers.get("X-Request-Id") or uuid.uuid4().hex
    return await handler(request)


@web.middleware
async def answer_errors(request, handler):
    # An ordinary exception passes through: aiohttp logs the traceback and makes a plain-text 500 of it.
    try:
        return await handler(request)
    except OutOfStock as error:
        return web.json_response({"error": str(error), "item": error.item}, status=409)
    except web.HTTPException as error:
        response = web.json_response({"error": error.reason}, status=error.status)
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response


async def add_headers(request, response):
    if "started" in request:  # a request that is refused before the middlewares has none
        response.headers["X-Request-Id"] = request["request_id"]
        response.headers["Server-Timing"] = f"app;dur={(time.perf_counter() - request['started']) * 1000:.2f}"


# Orders


async def ok(request):
    return web.json_response({"status": "ok"})


async def fail(request):
    raise RuntimeError("the warehouse does not answer")


async def forbidden(request):
    raise web.HTTPForbidden()


async def quote(request):
    item, quantity = await read_order(request)
    return web.json_response({"item": item, "quantity": quantity, "total": PRICES.get(item, 0) * quantity})


async def create_order(request):
    item, quantity = await read_order(request)
    if quantity > STOCK.get(item, 0):
        raise OutOfStock(item, quantity)
    return web.json_response({"item": item, "quantity": quantity}, status=201)


async def read_order(request):
    try:
        order = await request.json()
        return order["item"], int(order["quantity"])
    except (KeyError, TypeError, ValueError) as error:  # a body that is not JSON is a ValueError
        raise web.HTTPBadRequest() from error


# The sales report: an error from several frames down, with a large buffer among the locals


async def sales_report(request):
    return web.json_response({"size": len(render_report(["widget", "gizmo"]))})


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
    form = await request.post()  # as against request.multipart(), this enforces client_max_size
    if not isinstance(form.get("image"), web.FileField):
        raise web.HTTPBadRequest()
    image = form["image"].file.read()
    return web.json_response({"size": len(image), "sha256": hashlib.sha256(image).hexdigest()}, status=201)


async def stream(request):
    response = await open_stream(request)
    for _ in range(STREAM_CHUNKS):
        await response.write(CHUNK)
    await response.write_eof()
    return response


async def stream_error(request):
    response = await open_stream(request)
    await response.write(CHUNK)
    raise RuntimeError("the image store does not answer")


async def open_stream(request):
    response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
    await response.prepare(request)
    return response


app = create_app()
