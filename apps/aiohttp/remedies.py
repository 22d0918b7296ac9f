"""Remedies for aiohttp, and practices that are said to leak: each function changes the served app.

They run in the worker after the app is loaded and before the first request, in the syntax of Python 3.8. Your
own service can do what their bodies do. `remedies.toml` says what each is and where it applies.
"""

import asyncio
import collections
import functools
import gc
import logging
import traceback

from aiohttp import web

KEPT_RECORDS = 100
PREPARED = "outlive.prepared"
SECONDS = 1.0
log = logging.getLogger("aiohttp.server")


def clear_error(app):
    """After each request, drop the traceback of its error, and with it all frames."""
    app.middlewares.insert(0, _afterwards(_drop_traceback))


def clear_frames(app):
    """After each request, clear the locals of all frames in the traceback of its error."""
    app.middlewares.insert(0, _afterwards(_clear_frames))


def _drop_traceback(error):
    error.__traceback__ = None


def _clear_frames(error):
    traceback.clear_frames(error.__traceback__)


def _afterwards(clear):
    """Return a middleware that calls `clear` with each error of a request after the request."""

    @web.middleware
    async def middleware(request, handler):
        # Each request has a task of its own, and what aiohttp raises later, it raises in this task too.
        errors = [request.match_info.http_exception]  # of a 404 or 405
        asyncio.current_task().add_done_callback(functools.partial(_done, clear, errors))
        try:
            return await handler(request)
        except BaseException as error:
            errors.append(error)
            raise

    return middleware


def _done(clear, errors, task):
    # Whoever awaits the task gets the error in this step of the loop, which would add to its traceback.
    loop = task.get_loop()
    for error in (*errors, None if task.cancelled() else task.exception()):
        if error is not None:
            loop.call_soon(_each, clear, error)


def _each(clear, error):
    """Call `clear` with an exception and with all exceptions that it is chained to."""
    seen = []
    while error is not None and error not in seen:
        seen.append(error)
        clear(error)
        error = error.__cause__ or error.__context__


def custom_handlers(app):
    """Add a route for every path and handle every exception: nothing is left for aiohttp to handle."""

    async def no_such_page(request):
        allowed = set()
        for resource in app.router.resources():
            if resource is not everything:
                allowed |= (await resource.resolve(request))[1]
        if allowed:
            headers = {"Allow": ", ".join(sorted(allowed))}
            return web.json_response({"error": "Method Not Allowed"}, status=405, headers=headers)
        return web.json_response({"error": "Not Found"}, status=404)

    @web.middleware
    async def answer_every_error(request, handler):
        try:
            return await handler(request)
        except (web.HTTPException, ConnectionError):
            raise
        except Exception:
            if request.get(PREPARED):  # too late for another answer
                raise
            log.exception("Error handling request")
            return web.json_response({"error": "Internal Server Error"}, status=500)

    async def prepared(request, response):
        request[PREPARED] = True

    app.on_response_prepare.append(prepared)
    everything = app.router.add_route("*", "/{path:.*}", no_such_page).resource
    app.middlewares.insert(0, answer_every_error)


def collect_by_time(app):
    """Run a full collection every second, with a timer of the event loop."""

    def collect():
        gc.collect()
        asyncio.get_event_loop().call_later(SECONDS, collect)

    async def start(app):
        asyncio.get_event_loop().call_later(SECONDS, collect)

    app.on_startup.append(start)


# What is said to leak


def logging_kept(app):
    """Keep the last records in a log handler, and with them exc_info: exceptions, tracebacks, frames."""
    logging.getLogger("gunicorn.error").addHandler(_Recent())  # its worker makes aiohttp log there


class _Recent(logging.Handler):
    """Keeps records, as a page of recent errors does."""

    def __init__(self):
        super().__init__(logging.ERROR)
        self.records = collections.deque(maxlen=KEPT_RECORDS)

    def emit(self, record):
        self.records.append(record)


def development_mode(app):
    """Switch asyncio's debug mode on: it then records where each task and timer was made."""

    async def start(app):
        asyncio.get_event_loop().set_debug(True)

    app.on_startup.append(start)
