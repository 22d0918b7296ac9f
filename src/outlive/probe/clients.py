"""Clients of a WSGI, ASGI or aiohttp application in this process that leave as little as possible themselves.

The context managers `wsgi`, `asgi` and `aiohttp` start an application, or what a factory returns, and yield a
function that turns a request into a function that sends it. An error that the application raises is treated
as servers treat it: it is dropped, and the answer is 500 if none was begun.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import io
import socket
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple
from urllib.parse import unquote
from wsgiref.util import setup_testing_defaults

import msgspec

from outlive.errors import FaultError
from outlive.service.scenarios import expected
from outlive.wording import one_line


class ClientRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request; `path` may have a query. `whole`: its answer has headers and body, too."""

    path: str = "/"
    method: str = "GET"
    headers: Mapping[str, str] = {}
    body: bytes = b""
    whole: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class ClientAnswer(NamedTuple):
    """An answer's status, and the class name of the error that the application raised, if any.

    `headers` and `body` are those of a whole answer.
    """

    status: int
    raised: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


RAISED = (Exception, asyncio.CancelledError)
"""Errors of an ASGI application that servers drop; Ctrl-C is none of them."""
Send = Callable[[], ClientAnswer]
"""Sends one request and returns its answer."""
Open = Callable[[ClientRequest], Send]
"""Returns a function that sends the request."""


def check(send: Send, request: str, right: Sequence[str]) -> None:
    """Send a request once. Raises FaultError for an answer that is not `right`, if any is named."""
    answer = send()
    if right and not expected(right, str(answer.status)):
        why = f" ({answer.raised})" if answer.raised else ""
        raise FaultError(
            f"{request} was answered {answer.status}{why}, not {' or '.join(right)}: nothing was counted"
        )


@contextmanager
def event_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Yield a new event loop and close it in good order afterwards; the current loop is left alone."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        yield runner.get_loop()


def made(app: Any, loop: asyncio.AbstractEventLoop) -> Any:
    """Return the application; a factory, which can be called without arguments, is called and awaited."""
    try:
        inspect.signature(app).bind()
    except (TypeError, ValueError):
        return app
    product = app()
    return loop.run_until_complete(product) if inspect.isawaitable(product) else product


def _called_with(app: Any, kind: str, *arguments: str) -> Any:
    """Return the application. Raises FaultError if it does not take these arguments.

    Each answer would be 500, and would leave nothing.
    """
    try:
        inspect.signature(app).bind(*arguments)
    except TypeError:
        name = one_line(repr(app))
        raise FaultError(f"no {kind} application, which takes ({', '.join(arguments)}): {name}") from None
    except ValueError:  # code in C need not tell
        pass
    return app


@contextmanager
def wsgi(app: Any, loop: asyncio.AbstractEventLoop) -> Iterator[Open]:
    """Yield the `Open` of a WSGI application. Raises FaultError if it cannot be one."""
    target = _called_with(made(app, loop), "WSGI", "environ", "start_response")
    yield lambda request: _wsgi_send(target, request)


def _wsgi_send(app: Callable[..., Any], request: ClientRequest) -> Send:
    path, _, query = request.path.partition("?")
    fixed = {
        "REQUEST_METHOD": request.method,
        "PATH_INFO": unquote(path, "latin-1"),
        "QUERY_STRING": query,
        "CONTENT_LENGTH": str(len(request.body)),
    }
    for name, value in request.headers.items():
        key = name.upper().replace("-", "_")
        fixed[key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"] = value

    def send() -> ClientAnswer:
        environ: dict[str, Any] = dict(fixed)
        environ["wsgi.input"] = io.BytesIO(request.body)
        setup_testing_defaults(environ)
        status = 500
        raised = ""

        headers: list[tuple[str, str]] = []
        body = b""

        def start_response(line: str, fields: list[tuple[str, str]], *_: object) -> Callable[[bytes], object]:
            nonlocal status
            status = int(line.partition(" ")[0])
            if request.whole:
                headers[:] = fields
            return len

        try:
            parts = app(environ, start_response)
            try:
                for part in parts:
                    if request.whole:
                        body += part
            finally:
                if hasattr(parts, "close"):
                    parts.close()
        except Exception as error:  # noqa: BLE001 - whatever the application raises
            raised = type(error).__name__
        return ClientAnswer(status, raised, tuple(headers), body)

    return send


@contextmanager
def asgi(app: Any, loop: asyncio.AbstractEventLoop) -> Iterator[Open]:
    """Yield the `Open` of an ASGI 3 application; it is started before and shut down after.

    Raises FaultError if it cannot be one.
    """
    target = _called_with(made(app, loop), "ASGI", "scope", "receive", "send")
    with _lifespan(target, loop):
        yield lambda request: _asgi_send(target, request, loop)


def _asgi_send(app: Callable[..., Any], request: ClientRequest, loop: asyncio.AbstractEventLoop) -> Send:
    path, _, query = request.path.partition("?")
    headers = [(name.lower().encode(), value.encode()) for name, value in request.headers.items()]
    if request.body:
        headers.append((b"content-length", str(len(request.body)).encode()))

    def scope() -> MutableMapping[str, Any]:
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": headers,
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }

    async def serve() -> ClientAnswer:
        unread = [{"type": "http.request", "body": request.body, "more_body": False}]
        status = 500
        raised = ""

        async def receive() -> dict[str, Any]:
            return unread.pop() if unread else {"type": "http.disconnect"}

        fields: list[tuple[str, str]] = []
        body = b""

        async def answer(message: Mapping[str, Any]) -> None:
            nonlocal status, body
            status = message.get("status", status)
            if request.whole:
                fields.extend((k.decode(), v.decode("latin-1")) for k, v in message.get("headers", ()))
                body += message.get("body", b"")

        try:
            await app(scope(), receive, answer)
        except RAISED as error:  # Starlette re-raises what it has answered with 500
            raised = type(error).__name__
        return ClientAnswer(status, raised, tuple(fields), body)

    return lambda: loop.run_until_complete(serve())


@contextmanager
def _lifespan(app: Callable[..., Any], loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Start the application and shut it down, if it knows the lifespan protocol."""
    events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    answers: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()

    async def answer(message: Mapping[str, Any]) -> None:
        answers.put_nowait(message)

    async def live() -> None:
        try:
            await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, events.get, answer)
        except RAISED:  # by the specification, an application without lifespan raises
            answers.put_nowait({"type": "unknown"})

    async def tell(kind: str) -> str:
        events.put_nowait({"type": kind})
        done, _ = await asyncio.wait(
            [task, reply := asyncio.ensure_future(answers.get())], return_when=asyncio.FIRST_COMPLETED
        )
        if reply not in done:
            reply.cancel()
            return "unknown"
        return str(reply.result()["type"])

    task = loop.create_task(live())
    started = loop.run_until_complete(tell("lifespan.startup"))
    if started == "lifespan.startup.failed":
        raise RuntimeError("the application says that it cannot start (lifespan.startup.failed)")
    try:
        yield
    finally:
        if started == "lifespan.startup.complete":
            loop.run_until_complete(tell("lifespan.shutdown"))
        loop.run_until_complete(task)


@contextmanager
def aiohttp(app: Any, loop: asyncio.AbstractEventLoop) -> Iterator[Open]:
    """Yield the `Open` of an aiohttp application, over a socket; connections are kept alive."""
    # only those who test an aiohttp application have it installed
    web = importlib.import_module("aiohttp.web")

    runner = web.AppRunner(made(app, loop), access_log=None)
    loop.run_until_complete(runner.setup())
    loop.run_until_complete(web.TCPSite(runner, "127.0.0.1", 0).start())
    with ExitStack() as clients:
        clients.callback(lambda: loop.run_until_complete(runner.cleanup()))

        def open_(request: ClientRequest) -> Send:
            client = _Client(runner.addresses[0], request, loop)
            clients.callback(client.close)
            return lambda: loop.run_until_complete(client.send())

        yield open_


class _Client:
    """A client with a bare socket: asyncio's streams would leave objects of their own."""

    def __init__(
        self, address: tuple[str, int], request: ClientRequest, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.address = address
        self.loop = loop
        self.socket: socket.socket | None = None
        self.buffer = b""
        self.whole = request.whole
        headers = {"Host": "localhost", **request.headers}
        if request.body:
            headers["Content-Length"] = str(len(request.body))
        lines = [f"{request.method} {request.path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
        self.message = "\r\n".join([*lines, "", ""]).encode() + request.body

    def close(self) -> None:
        if self.socket:
            self.socket.close()
        self.socket = None
        self.buffer = b""

    async def send(self) -> ClientAnswer:
        sock = self.socket
        if sock is None:
            sock = self.socket = socket.socket()
            sock.setblocking(False)
            await self.loop.sock_connect(sock, self.address)
        await self.loop.sock_sendall(sock, self.message)
        text = (await self._until(sock, b"\r\n\r\n")).decode("latin-1")
        head = text.lower()
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        body = b""
        if self.message.startswith(b"HEAD "):
            pass  # the length is that of the body which GET would get
        elif "content-length" in fields:
            body = await self._take(sock, int(fields["content-length"]))
        elif "chunked" in fields.get("transfer-encoding", ""):
            while size := int(await self._until(sock, b"\r\n"), 16):
                body += (await self._take(sock, size + 2))[:-2]
            await self._take(sock, 2)
        if fields.get("connection") == "close":
            while await self.loop.sock_recv(sock, 65536):
                pass
            self.close()
        status = int(head.split(" ")[1])
        if not self.whole:
            return ClientAnswer(status)
        lines = (line.split(": ", 1) for line in text.split("\r\n")[1:] if line)
        return ClientAnswer(status, "", tuple((name, value) for name, value in lines), body)

    async def _until(self, sock: socket.socket, end: bytes) -> bytes:
        while end not in self.buffer:
            await self._more(sock)
        text, _, self.buffer = self.buffer.partition(end)
        return text

    async def _take(self, sock: socket.socket, length: int) -> bytes:
        while len(self.buffer) < length:
            await self._more(sock)
        taken, self.buffer = self.buffer[:length], self.buffer[length:]
        return taken

    async def _more(self, sock: socket.socket) -> None:
        data = await self.loop.sock_recv(sock, 65536)
        if not data:
            raise ConnectionError("the application closed the connection before its answer was complete")
        self.buffer += data
