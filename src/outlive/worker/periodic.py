"""The gc policy `periodic:N`: a full collection each time that a worker has had N requests.

Standard library only, Python 3.8 and newer, imports nothing of ours.
"""

from __future__ import annotations

import gc
import itertools

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Periodic:
    """Collects fully each time that there were so many more requests; `add` has a function called at each."""

    def __init__(self, add: Callable[[Callable[[], None]], None]) -> None:
        self.add = add
        self.every = 0

    def __call__(self, requests: int) -> None:
        """Collect after each so many requests from now on."""
        if not self.every:
            self.add(self.passed)
        self.every = requests
        self.served = itertools.count(1)  # next() is atomic, for workers with several threads

    def passed(self) -> None:
        """Count a request."""
        if next(self.served) % self.every == 0:
            gc.collect()
