# /// script
# dependencies = ["aiohttp-session[secure]"]
# ///
"""aiohttp-session as its guide has it, in an encrypted cookie."""

import aiohttp_session
from aiohttp import web
from aiohttp_session.cookie_storage import EncryptedCookieStorage


def session(app):
    """Keep a session in a cookie; each request writes to it, and clients send no cookie back."""

    @web.middleware
    async def visit(request, handler):
        current = await aiohttp_session.get_session(request)
        current["visits"] = current.get("visits", 0) + 1
        return await handler(request)

    app.middlewares.insert(0, visit)
    app.middlewares.insert(0, aiohttp_session.session_middleware(EncryptedCookieStorage(b"k" * 32)))
