"""Reference app for aiohttp: a web site with parts of the framework that the main reference app does not use.

Sub-applications with no, one and many middlewares, class-based views, WebSockets, time-outs, static files,
cookies. It runs on aiohttp 3.8.0 and newer, Python 3.8 and newer, and has no middlewares of its own. Where a
route is also in `apps/flask/site_v1.py`, it behaves as there.
"""

import asyncio
import pathlib
import tempfile

from aiohttp import web
from multidict import CIMultiDict

BODY_LIMIT = 256 * 1024
CHUNK = b"\x5a" * (64 * 1024)
STREAM_CHUNKS = 64  # 4 MiB is more than socket buffers hold: a client that reads slowly is noticed
BIG_BODY_LIMIT = 2 * 1024 * 1024
MIDDLEWARES = 10
SHORT = 0.01  # seconds to wait for something that never comes


class TokenError(Exception):
    """Nobody is logged in."""


NO_TOKEN = TokenError("no token")  # one for all requests, as code often has it: its traceback grows with each


def create_app():
    """Return the site as an application that is bound to no event loop yet: it survives a fork."""
    app = web.Application(client_max_size=BODY_LIMIT)
    app.add_routes(
        [
            *common(),
            *answers(),
            *headers(),
            *sockets(),
            web.view("/view", OrdersView),
            web.static("/static", files()),
        ]
    )
    for name, number in (("none", 0), ("one", 1), ("many", MIDDLEWARES)):
        part = web.Application(middlewares=[passing() for _ in range(number)])
        part.add_routes(common())
        app.add_subapp(f"/{name}", part)
    return app


def common():
    return [
        web.get("/ok", ok),
        web.get("/fail", fail),
        web.post("/images", upload_image),
        web.post("/json", read_json),
        web.get("/stream", stream),
        web.get("/pages/{name}", page),
        web.get("/cookies", cookies),
        web.get("/timeout", timeout),
        web.get("/timeout-uncaught", timeout_uncaught),
        web.post("/slow-body", slow_body),
        web.get("/wait", wait),
    ]


def answers():
    return [
        web.get("/forbidden", forbidden),
        web.get("/no-content", no_content),
        web.get("/login", login),
        web.get("/account", account),
        web.post("/uploads/images", upload_big_image),
    ]


def files():
    """Return a folder with one file; it stays as long as this process' temporary folder."""
    folder = pathlib.Path(tempfile.mkdtemp())
    (folder / "page.html").write_bytes(b"<p>hello</p>\n" * 100)
    return folder


def passing():
    @web.middleware
    async def middleware(request, handler):
        response = await handler(request)
        response.headers["X-Passed"] = str(int(response.headers.get("X-Passed", "0")) + 1)
        return response

    return middleware


# Pages


async def ok(request):
    return web.json_response({"status": "ok"})


async def fail(request):
    raise RuntimeError("the warehouse does not answer")


async def forbidden(request):
    raise web.HTTPForbidden()


async def no_content(request):
    return web.Response(status=204)


async def login(request):
    raise web.HTTPFound("/ok")  # as a decorator does that finds nobody logged in


async def account(request):
    try:
        return await user(request)
    except TokenError as error:
        return web.json_response({"error": str(error)}, status=401)


async def user(request):
    raise NO_TOKEN


async def page(request):
    return web.Response(text=request.match_info["name"])


async def cookies(request):
    response = web.Response(text=" ".join(sorted(request.cookies)))
    response.set_cookie("visits", str(len(request.cookies)), httponly=True)
    response.del_cookie("old")
    return response


class OrdersView(web.View):
    """A class-based view."""

    async def get(self):
        if "fail" in self.request.query:
            raise RuntimeError("the warehouse does not answer")
        return web.json_response({"orders": []})

    async def post(self):
        raise web.HTTPConflict()


# Bodies


async def upload_big_image(request):
    return await upload_image(request.clone(client_max_size=BIG_BODY_LIMIT))


async def upload_image(request):
    form = await request.post()  # as against request.multipart(), this enforces client_max_size
    if not isinstance(form.get("image"), web.FileField):
        raise web.HTTPBadRequest()
    return web.json_response({"size": len(form["image"].file.read())}, status=201)


async def read_json(request):
    try:
        return web.json_response(await request.json())
    except ValueError as error:
        raise web.HTTPBadRequest() from error


async def stream(request):
    response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
    await response.prepare(request)
    for _ in range(STREAM_CHUNKS):
        await response.write(CHUNK)
    await response.write_eof()
    return response


# Headers, as a gateway handles them


def headers():
    return [web.get("/headers/" + kind.__name__, on_headers(kind)) for kind in HEADERS]


def on_headers(kind):
    async def handler(request):
        kind(request.headers)
        return web.Response()

    return handler


def copied(fields):
    fields.copy()


def built(fields):
    CIMultiDict(fields, Via="1.1 gateway")


def popped(fields):
    fields.copy().pop("X-Trace")


def popped_missing(fields):
    fields.copy().pop("X-None", None)


def popped_all(fields):
    fields.copy().popall("X-Trace")


def popped_item(fields):
    fields.copy().popitem()


def deleted(fields):
    del fields.copy()["X-Trace"]


def replaced(fields):
    fields.copy()["X-Trace"] = "off"


def updated(fields):
    fields.copy().update({"X-Trace": "off", "Via": "1.1 gateway"})


def extended(fields):
    fields.copy().extend([("Via", "1.1 gateway"), ("Via", "1.1 proxy")])


def compared(fields):
    fields.copy() == fields  # noqa: B015 - only what comparing leaves is wanted


def compared_with_dict(fields):
    fields == {"X-Trace": "on"}  # noqa: B015


def key_sets(fields):
    fields.keys() & {"X-Trace"}
    fields.keys() | {"Via"}
    fields.keys() - {"Host"}
    fields.keys() ^ {"Host"}
    fields.keys().isdisjoint({"Via"})


def item_sets(fields):
    fields.items() & {("X-Trace", "on")}
    fields.items() | {("Via", "1.1 gateway")}
    fields.items() - {("X-Trace", "on")}
    fields.items() ^ {("X-Trace", "on")}
    fields.items().isdisjoint({("Via", "1.1 gateway")})


HEADERS = (
    copied,
    built,
    popped,
    popped_missing,
    popped_all,
    popped_item,
    deleted,
    replaced,
    updated,
    extended,
    compared,
    compared_with_dict,
    key_sets,
    item_sets,
)


# Time


async def timeout(request):
    try:
        await asyncio.wait_for(asyncio.Event().wait(), SHORT)
    except asyncio.TimeoutError:
        return web.Response(status=504)


async def timeout_uncaught(request):
    await asyncio.wait_for(asyncio.Event().wait(), SHORT)


async def slow_body(request):
    try:
        await asyncio.wait_for(request.read(), SHORT)
    except asyncio.TimeoutError:
        raise web.HTTPRequestTimeout() from None
    return web.Response(status=201)


async def wait(request):
    await asyncio.Event().wait()


# WebSockets


def sockets():
    return [web.get("/socket", socket), web.get("/socket-fail", socket_fail)]


async def socket(request):
    websocket = web.WebSocketResponse()
    await websocket.prepare(request)
    async for message in websocket:
        if message.type is web.WSMsgType.TEXT:
            await websocket.send_str(message.data)
    return websocket


async def socket_fail(request):
    websocket = web.WebSocketResponse()
    await websocket.prepare(request)
    await websocket.receive_str()
    raise RuntimeError("the warehouse does not answer")


async def cancelling():
    """Return the site in a server that cancels the handler of a client that has gone."""
    return web.AppRunner(create_app(), handler_cancellation=True, access_log=None, keepalive_timeout=600)


app = create_app()
