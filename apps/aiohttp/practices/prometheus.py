# /// script
# dependencies = ["prometheus-async[aiohttp]"]
# ///
"""prometheus-async as its guide has it: /metrics, and a histogram of all requests."""

from aiohttp import web
from prometheus_async.aio import count_exceptions, time
from prometheus_async.aio.web import server_stats
from prometheus_client import CollectorRegistry, Counter, Histogram


def metrics(app):
    """Time each request, and count what is raised."""
    registry = CollectorRegistry()
    seconds = Histogram("request_seconds", "Time of a request.", registry=registry)
    raised = Counter("request_exceptions_total", "Exceptions in handlers.", registry=registry)

    @web.middleware
    async def timed(request, handler):
        answered = count_exceptions(raised)(handler)
        return await time(seconds)(answered)(request)

    app.middlewares.insert(0, timed)
    app.router.add_get("/metrics", server_stats)
