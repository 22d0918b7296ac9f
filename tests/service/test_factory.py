"""Async factories of applications are awaited: at once for WSGI, on the server's event loop for ASGI."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from outlive.worker.factory import made

LOOPS: list[asyncio.AbstractEventLoop] = []


def wsgi(_environ: object, _start_response: object) -> list[bytes]:
    return []


async def asgi(scope: dict[str, Any], _receive: object, send: Any) -> None:
    await send(scope["path"])


async def make_wsgi() -> object:
    await asyncio.sleep(0)
    return wsgi


async def make_asgi(_debug: bool = False) -> object:
    await asyncio.sleep(0)
    LOOPS.append(asyncio.get_running_loop())
    return asgi


@pytest.mark.parametrize("protocol", ["wsgi", "asgi", "aiohttp", ""])
def test_what_is_no_async_factory_is_as_it_was(protocol: str) -> None:
    assert made(wsgi, protocol) is wsgi
    assert made(asgi, protocol) is asgi


def test_wsgi() -> None:
    assert made(make_wsgi, "wsgi") is wsgi


def test_who_awaits_it_itself_gets_the_factory() -> None:
    assert made(make_wsgi, "aiohttp") is make_wsgi


def test_asgi_is_made_once_on_the_loop_that_serves_it() -> None:
    application = made(make_asgi, "asgi")
    answers: list[str] = []

    async def send(answer: str) -> None:
        answers.append(answer)
        await asyncio.sleep(0)

    async def serve() -> asyncio.AbstractEventLoop:
        both = (application({"path": path}, None, send) for path in ("/a", "/b"))
        await asyncio.gather(*both)
        return asyncio.get_running_loop()

    LOOPS.clear()
    assert [asyncio.run(serve())] == LOOPS
    assert answers == ["/a", "/b"]


def test_a_factory_that_fails_says_why_each_time() -> None:
    async def broken() -> object:
        await asyncio.sleep(0)
        raise RuntimeError("no database")

    application = made(broken, "asgi")

    async def serve() -> None:
        for _ in range(2):
            with pytest.raises(RuntimeError, match="no database"):
                await application({}, None, None)

    asyncio.run(serve())
