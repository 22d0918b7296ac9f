"""The gc policy `periodic:N`: a full collection after every N requests of a worker."""

from __future__ import annotations

import gc
import itertools

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Periodic:
    """Runs a full collection after every N requests; `add` registers a function to call at each request."""

    def __init__(self, add: Callable[[Callable[[], None]], None]) -> None:
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
