"""Peak memory as asv itself takes it: the app is driven in the benchmark's process, without a server."""

import asyncio
import gc
import importlib.util
import io
import logging
import os
import sys
from pathlib import Path
from wsgiref.util import setup_testing_defaults

from ._harness import APP_VERSIONS, FRAMEWORK

REQUESTS = 500
SCENARIOS = {"ok": ("/ok", 200), "not-found": ("/no-such-page", 404), "handler-error": ("/fail", 500)}


class _Driven:
    """Base of the benchmarks: `drive` sends the requests."""

    framework = None
    params = (tuple(SCENARIOS), ("on", "off"))
    param_names = ("scenario", "gc")

    def setup(self, *_):
        """Skip the other framework's releases."""
        if self.framework != FRAMEWORK:
            raise NotImplementedError(self.framework)

    def peak(self, scenario, policy):
        """Import the app and serve all requests: the peak of the process is the benchmark."""
        logging.basicConfig(filename=os.devnull)  # tracebacks are formatted, as in a real service
        if policy == "off":
            gc.disable()
        path, status = SCENARIOS[scenario]
        statuses = self.drive(_app(self.framework), path)
        if statuses != {status}:
            raise RuntimeError(f"answered {statuses} instead of {status}")


class Aiohttp(_Driven):
    """aiohttp's own server, by one connection over the loopback."""

    framework = "aiohttp"

    def peakmem_requests(self, scenario, policy):
        """Serve all requests."""
        self.peak(scenario, policy)

    peakmem_requests.framework = framework
    peakmem_requests.pretty_name = "aiohttp: peak memory without a server"
    peakmem_requests.version = f"app {APP_VERSIONS[framework]}"

    def drive(self, app, path):
        """Return the statuses of all answers."""
        return asyncio.run(_over_loopback(app, path))


class Flask(_Driven):
    """Flask's WSGI callable."""

    framework = "flask"

    def peakmem_requests(self, scenario, policy):
        """Serve all requests."""
        self.peak(scenario, policy)

    peakmem_requests.framework = framework
    peakmem_requests.pretty_name = "flask: peak memory without a server"
    peakmem_requests.version = f"app {APP_VERSIONS[framework]}"

    def drive(self, app, path):
        """Return the statuses of all answers."""
        return {_by_wsgi(app, path) for _ in range(REQUESTS)}


async def _over_loopback(app, path):
    from aiohttp import web  # noqa: PLC0415 - only its own releases have it

    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
    statuses = set()
    for _ in range(REQUESTS):
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
        await reader.readexactly(int(fields[b"content-length"]))
        statuses.add(int(head.split()[1]))
        if fields.get(b"connection") == b"close":  # aiohttp closes after an error in a handler
            writer.close()
            reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
    writer.close()
    await runner.cleanup()
    return statuses


def _by_wsgi(app, path):
    environ = {"PATH_INFO": path, "wsgi.errors": io.StringIO()}
    setup_testing_defaults(environ)
    answered = []
    body = app(environ, lambda status, *_: answered.append(int(status.split()[0])))
    try:
        b"".join(body)
    finally:
        if hasattr(body, "close"):
            body.close()
    return answered[-1]


def _app(framework):
    name = f"v{APP_VERSIONS[framework]}"
    path = Path(os.environ["OUTLIVE_ROOT"], "apps", framework, f"{name}.py")
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module.app
