"""Reaches into the server: calls functions after each request, and keeps what it would renew by the clock.

It does not wrap the app: the frame of a middleware would appear in the traceback of every error that is
measured. gunicorn's own workers call `post_request` after each request that they could parse. Other servers
do not, but most count requests in order to stop after `--max-requests`; `app.toml` names the attribute that
holds the count (`request_counter`).
"""

from __future__ import annotations

import gc
import importlib
import itertools

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Call = Callable[[], None]


class RequestHook:
    """Calls functions after each request; `counter` is `module:Class.attribute`, or empty: gunicorn's."""

    def __init__(self, worker: Any, counter: str) -> None:
        self.worker = worker
        self.counter = counter
        self.calls: list[Call] = []

    def add(self, call: Call) -> None:
        """Call `call` after each request from now on."""
        if not self.calls:
            self._install()
        self.calls.append(call)

    def _install(self) -> None:
        if self.counter:
            owner, attribute = _named(self.counter)
            setattr(owner, attribute, _counting(attribute, self._passed))
        else:
            self.worker.cfg.set("post_request", lambda _worker, _request, _environ, _response: self._passed())

    def _passed(self) -> None:
        for call in self.calls:
            call()


class Periodic:
    """The gc policy `periodic:N`: runs a full collection after every N requests of a worker.

    `add` registers a function to call after each request.
    """

    def __init__(self, add: Callable[[Call], None]) -> None:
        self.add = add
        self.every = 0

    def __call__(self, requests: int) -> None:
        """From now on collect after every `requests` requests."""
        if not self.every:
            self.add(self.passed)
        self.every = requests
        self.served = itertools.count(1)  # next() is atomic, for workers with several threads

    def passed(self) -> None:
        """Count a request, and collect if it is the last of its N."""
        if next(self.served) % self.every == 0:
            gc.collect()


def keep_first(named: str) -> None:
    """Have instances of a class keep the first value of `module:Class.attribute` that is not empty.

    A server that makes a list anew each second would leave one for each second in which requests leak it.
    """
    owner, attribute = _named(named)

    def read(server: Any) -> Any:
        return vars(server)[attribute]

    def write(server: Any, value: Any) -> None:
        if not vars(server).get(attribute):
            vars(server)[attribute] = value

    setattr(owner, attribute, property(read, write))


def _named(attribute: str) -> tuple[Any, str]:
    """Return (class, name of the attribute) of `module:Class.attribute`."""
    module, _, names = attribute.partition(":")
    owner, name = names.split(".")
    return getattr(importlib.import_module(module), owner), name


def _counting(attribute: str, passed: Call) -> property:
    """Return a property that behaves like the attribute and calls `passed` each time that it is set."""

    def read(server: Any) -> int:
        return int(vars(server)[attribute])

    def write(server: Any, requests: int) -> None:
        vars(server)[attribute] = requests
        if requests:  # a new server starts at zero
            passed()

    return property(read, write)
