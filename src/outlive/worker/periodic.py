"""The gc policy `periodic:N`: a full collection each time that a worker has had N requests.

Standard library only, Python 3.8 and newer, imports nothing of ours. Nothing is put around the app: one more
frame of a middleware would stay in the traceback of each error that is measured. gunicorn's own workers call
`post_request` after each request that they could parse. aiohttp's do not, but count requests for
`--max-requests`, also those that are not HTTP: there a collection comes as the Nth request is read.
"""

from __future__ import annotations

import gc
import itertools
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def collect_every(worker: Any, requests: int) -> None:
    """Have this gunicorn worker collect fully each time that it has had so many more requests."""
    served = itertools.count(1)  # next() is atomic, for workers with several threads

    def passed(*_: object) -> None:
        if next(served) % requests == 0:
            gc.collect()

    web_server: Any = sys.modules.get("aiohttp.web_server")
    if web_server is not None and hasattr(worker, "loop"):
        web_server.Server.requests_count = _counter(passed)
    else:
        worker.cfg.set("post_request", lambda _worker, _request, _environ, _response: passed())


def _counter(passed: Callable[[], None]) -> property:
    """Return an attribute that aiohttp adds one to for each request."""

    def read(server: Any) -> int:
        return int(vars(server)["requests_count"])

    def write(server: Any, requests: int) -> None:
        vars(server)["requests_count"] = requests
        if requests:  # a new server starts at zero
            passed()

    return property(read, write)
