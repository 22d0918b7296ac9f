"""Settings of all tests."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no failure.
settings.register_profile("outlive", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("outlive")

# tox names a width, and what is printed to no terminal would be folded at it.
os.environ.pop("COLUMNS", None)

# Else each process that tests start would compile all that it imports.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# A shell ignores Ctrl-C for what it runs in the background, and so would all that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup ignores it


def pytest_xdist_auto_num_workers() -> int:
    """Return how many processes run tests: more than cores, for tests often wait for servers."""
    return 2 * (os.cpu_count() or 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort files with many tests of servers or pytest to the front: what takes longest may not come last."""
    starting = Counter(item.path for item in items if _starts_processes(item))
    items.sort(key=lambda item: -starting[item.path])


def _starts_processes(item: pytest.Item) -> bool:
    return bool(item.get_closest_marker("real")) or "pytester" in getattr(item, "fixturenames", ())
