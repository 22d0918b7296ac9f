"""Remedies for Flask, and practices that are said to leak: each function changes the served app.

They run in the worker after the app is loaded and before the first request, in the syntax of Python 3.8. Your
own service can do what their bodies do. `remedies.toml` says what each is and where it applies.
"""

import ast
import collections
import gc
import inspect
import logging
import textwrap
import threading
import time
import traceback

from flask import jsonify, request
from werkzeug.exceptions import HTTPException

ERROR = "outlive.error"  # the key in a WSGI environment under which an error waits for the end of its request
KEPT_RECORDS = 100
SECONDS = 1.0


def clear_error(app):
    """Delete the local in which Flask.wsgi_app keeps the exception, as pull request 5710 does."""
    _patch(type(app), "wsgi_app", "error = None")


def clear_all(app):
    """Drop all references that `outlive explain` blames: two of Flask's and one of Werkzeug's matcher."""
    _patch(type(app), "wsgi_app", "error = ctx.request.routing_exception = None")
    matcher = getattr(app.url_map, "_matcher", None)
    if matcher is not None:  # Werkzeug 2.2 and newer
        _patch(type(matcher), "match", "_match = None")


def _patch(owner, name, last):
    """Replace a method with a copy that runs the statement `last` at its end, whatever happens in it."""
    function = getattr(owner, name)
    lines, first = inspect.getsourcelines(function)
    tree = ast.parse(textwrap.dedent("".join(lines)))
    (definition,) = tree.body
    definition.body = [ast.Try(definition.body, [], [], ast.parse(last).body)]
    ast.increment_lineno(ast.fix_missing_locations(tree), first - 1)
    namespace = {}
    # With the postponed annotations of the original's module: its types need not exist at run time.
    flags = function.__code__.co_flags & __import__("__future__").annotations.compiler_flag
    code = compile(tree, function.__code__.co_filename, "exec", flags, dont_inherit=True)
    exec(code, function.__globals__, namespace)
    setattr(owner, name, namespace[name])


def context_manager(app):
    """Enter the request context as a context manager: no local is left that holds the exception."""

    def wsgi_app(environ, start_response):
        with app.request_context(environ):
            try:
                response = app.full_dispatch_request()
            except Exception as error:  # Python deletes this name at the end of the block
                response = app.handle_exception(error)
            return response(environ, start_response)

    app.wsgi_app = wsgi_app


def drop_traceback(app):
    """After each request, drop the traceback of its error, and with it all frames."""

    def drop(error):
        error.__traceback__ = None

    _afterwards(app, drop)


def clear_frames(app):
    """After each request, clear the locals of all frames in the traceback of its error."""
    _afterwards(app, lambda error: traceback.clear_frames(error.__traceback__))


def _afterwards(app, clear):
    """Call `clear` with a request's error and those that it is chained to, after Flask is done with them."""
    inner = app.wsgi_app

    @app.teardown_request
    def remember(error):
        request.environ[ERROR] = error or request.routing_exception

    def wsgi_app(environ, start_response):
        try:
            return inner(environ, start_response)
        finally:
            error = environ.pop(ERROR, None)
            seen = []
            while error is not None and error not in seen:
                seen.append(error)
                clear(error)
                error = error.__cause__ or error.__context__
            seen.clear()

    app.wsgi_app = wsgi_app


def custom_handlers(app):
    """Handle every exception in the app: Flask then never keeps one as unhandled."""

    def answer(error):
        if isinstance(error, HTTPException):
            return error  # a 404 is an answer
        app.logger.exception("Exception on %s [%s]", request.path, request.method)
        return jsonify(error="Internal Server Error"), 500

    app.register_error_handler(Exception, answer)


def collect_by_time(app):
    """Run a full collection every second, in a thread."""

    def collect():
        while True:
            time.sleep(SECONDS)
            gc.collect()

    threading.Thread(target=collect, name="collect", daemon=True).start()


# What is said to leak


def logging_kept(app):
    """Keep the last records in a log handler, and with them exc_info: exceptions, tracebacks, frames."""
    app.logger.addHandler(_Recent())


class _Recent(logging.Handler):
    """Keeps records, as a page of recent errors does."""

    def __init__(self):
        super().__init__(logging.ERROR)
        self.records = collections.deque(maxlen=KEPT_RECORDS)

    def emit(self, record):
        self.records.append(record)


def development_mode(app):
    """Switch debug mode on, with the interactive debugger, as `flask run --debug` does."""
    from werkzeug.debug import DebuggedApplication

    app.debug = True
    app.wsgi_app = DebuggedApplication(app.wsgi_app, evalex=True)
