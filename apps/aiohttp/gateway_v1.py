"""Reference app for aiohttp: a gateway, whose handlers call another service with aiohttp's client.

It runs on aiohttp 3.8.0 and newer, Python 3.8 and newer. Errors are caught and answered with a 502 or a 504
without an exception, so that what stays in memory is what the client side keeps. OUTLIVE_PEER holds the ports
of the other service as JSON, by what they do.
"""

import asyncio
import json
import os
import socket

import aiohttp
from aiohttp import web
from aiohttp.abc import AbstractResolver

PEER = json.loads(os.environ["OUTLIVE_PEER"])
SHORT = 0.01  # seconds to wait for something that never comes
READ = 0.002  # the same, after a request has gone out
TOTAL = 0.02  # longer than connecting takes, which does succeed
HOP_BY_HOP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "host"}


class Resolver(AbstractResolver):
    """Knows every host in `.test`, at the peer's address, and no other."""

    async def resolve(self, host, port=0, family=socket.AF_INET):
        if not host.endswith(".test"):
            raise OSError(socket.EAI_NONAME, "Name or service not known")
        return [
            {
                "hostname": host,
                "host": "127.0.0.1",
                "port": port,
                "family": family,
                "proto": 0,
                "flags": socket.AI_NUMERICHOST,
            }
        ]

    async def close(self):
        pass


class Gateway:
    """The handlers, with the session that they share."""

    async def sessions(self, app):
        connector = aiohttp.TCPConnector(resolver=Resolver())
        async with aiohttp.ClientSession(connector=connector) as self.session:
            yield

    async def passing_sessions(self, app):
        # Connections to hosts that are asked only once would stay open for another 15 seconds.
        connector = aiohttp.TCPConnector(resolver=Resolver(), force_close=True)
        async with aiohttp.ClientSession(connector=connector) as self.passing_session:
            yield

    async def call(self, path="/ok", peer="http", scheme="http", host="127.0.0.1", **options):
        try:
            async with self.session.get(f"{scheme}://{host}:{PEER[peer]}{path}", **options) as response:
                return answer(response.status, await response.read())
        except asyncio.TimeoutError:
            return answer(504)
        except aiohttp.ClientError as error:
            return answer(502, type(error).__name__.encode())

    # The connection

    async def ok(self, request):
        return await self.call()

    async def refused(self, request):
        return await self.call(peer="refused")

    async def dns_failure(self, request):
        return await self.call(host="no-such-host.invalid")

    async def connect_timeout(self, request):
        return await self.call(peer="full", timeout=aiohttp.ClientTimeout(sock_connect=SHORT))

    async def tls_failure(self, request):
        return await self.call(peer="tls", scheme="https")

    # The answer

    async def fault(self, request):
        return await self.call("/" + request.match_info["kind"])

    async def read_timeout(self, request):
        return await self.call("/stall", timeout=aiohttp.ClientTimeout(sock_read=READ))

    async def total_timeout(self, request):
        return await self.call("/stall", timeout=aiohttp.ClientTimeout(total=TOTAL))

    async def body_timeout(self, request):
        # Not sock_read: the answer's head would have to arrive within it too.
        async with self.session.get(f"http://127.0.0.1:{PEER['http']}/stall-in-body") as response:
            try:
                return answer(200, await asyncio.wait_for(response.read(), SHORT))
            except asyncio.TimeoutError:
                return answer(504)

    async def status_error(self, request):
        return await self.call("/error", raise_for_status=True)

    async def cancelled_task(self, request):
        call = asyncio.ensure_future(self.call("/stall-announced"))
        await self.call("/announced")  # answered once the call has come to the service
        call.cancel()
        await asyncio.wait([call])
        return answer(504)

    async def stall(self, request):
        return await self.call("/stall")

    # The session

    async def uncaught(self, request):
        async with self.session.get(f"http://127.0.0.1:{PEER['refused']}/") as response:
            return answer(response.status)

    async def session_per_request(self, request):
        url = f"http://127.0.0.1:{PEER['http']}/ok"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return answer(response.status, await response.read())

    async def session_not_closed(self, request):
        session = aiohttp.ClientSession()
        async with session.get(f"http://127.0.0.1:{PEER['http']}/ok") as response:
            return answer(response.status, await response.read())

    async def response_not_read(self, request):
        response = await self.session.get(f"http://127.0.0.1:{PEER['http']}/ok")
        return answer(response.status)

    async def websocket_dropped(self, request):
        async with self.session.ws_connect(f"http://127.0.0.1:{PEER['http']}/websocket") as websocket:
            await websocket.send_str("")
            kinds = [message.type.name async for message in websocket]
        return answer(200, " ".join(kinds).encode())

    # Names

    async def new_path(self, request):
        return await self.call("/things/" + request.match_info["name"])

    async def new_host(self, request):
        url = f"http://host-{request.match_info['name']}.test:{PEER['http']}/ok"
        async with self.passing_session.get(url) as response:
            return answer(response.status, await response.read())

    async def cookie(self, request):
        return await self.call("/cookies/" + request.match_info["name"], host="shop.test")

    async def new_cookie(self, request):
        # If they were all sent back, the head of a request would soon be too long.
        return await self.call("/unreturned-cookies/" + request.match_info["name"], host="shop.test")

    # The reverse proxy: headers are copied both ways, without those that are about the connection

    async def proxy(self, request):
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        url = f"http://127.0.0.1:{PEER['http']}/{request.match_info['path']}"
        body = await request.read()
        try:
            upstream = await self.session.request(request.method, url, headers=headers, data=body)
        except aiohttp.ClientError as error:
            return answer(502, type(error).__name__.encode())
        async with upstream:  # what goes wrong from here on breaks off the answer
            response = web.StreamResponse(status=upstream.status)
            for name, value in upstream.headers.items():
                if name.lower() not in HOP_BY_HOP | {"content-length"}:
                    response.headers.add(name, value)
            await response.prepare(request)
            async for chunk in upstream.content.iter_chunked(16384):
                await response.write(chunk)
            await response.write_eof()
            return response


def answer(status, body=b""):
    return web.Response(status=status, body=body)


def create_app():
    """Return the gateway as an application that is bound to no event loop yet: it survives a fork."""
    gateway = Gateway()
    app = web.Application()
    app.cleanup_ctx.extend([gateway.sessions, gateway.passing_sessions])
    app.add_routes(
        [
            web.get("/ok", gateway.ok),
            web.get("/refused", gateway.refused),
            web.get("/dns-failure", gateway.dns_failure),
            web.get("/connect-timeout", gateway.connect_timeout),
            web.get("/tls-failure", gateway.tls_failure),
            web.get("/fault/{kind}", gateway.fault),
            web.get("/read-timeout", gateway.read_timeout),
            web.get("/total-timeout", gateway.total_timeout),
            web.get("/body-timeout", gateway.body_timeout),
            web.get("/status-error", gateway.status_error),
            web.get("/stall", gateway.stall),
            web.get("/cancelled-task", gateway.cancelled_task),
            web.get("/uncaught", gateway.uncaught),
            web.get("/session-per-request", gateway.session_per_request),
            web.get("/session-not-closed", gateway.session_not_closed),
            web.get("/response-not-read", gateway.response_not_read),
            web.get("/websocket-dropped", gateway.websocket_dropped),
            web.get("/new-path/{name}", gateway.new_path),
            web.get("/new-host/{name}", gateway.new_host),
            web.get("/cookie/{name}", gateway.cookie),
            web.get("/new-cookie/{name}", gateway.new_cookie),
            web.route("*", "/proxy/{path:.*}", gateway.proxy),
        ]
    )
    return app


async def cancelling():
    """Return the gateway in a server that cancels the handler of a client that has gone."""
    return web.AppRunner(create_app(), handler_cancellation=True, access_log=None, keepalive_timeout=600)


app = create_app()
