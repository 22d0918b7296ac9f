"""Async factories of applications: gunicorn calls a factory, but awaits none."""

from __future__ import annotations

import asyncio
import inspect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Awaited:
    """An ASGI application that a factory makes on the server's own event loop, when it starts up."""

    def __init__(self, factory: Any) -> None:
        self._factory = factory
        self._making: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve as the application does, made the first time."""
        if self._making is None:
            self._making = asyncio.ensure_future(self._factory())
        application = await self._making
        await application(scope, receive, send)


def made(target: Any, protocol: str) -> Any:
    """Return what serves requests: the target itself, or what it makes if it is an async factory.

    Workers of other protocols await factories themselves.
    """
    if protocol not in ("wsgi", "asgi") or not inspect.iscoroutinefunction(target):
        return target
    try:
        inspect.signature(target).bind()
    except TypeError:
        return target  # `async def app(scope, receive, send)`
    return Awaited(target) if protocol == "asgi" else asyncio.run(target())
