"""Settings of all tests."""

from __future__ import annotations

import os
import signal

from hypothesis import HealthCheck, settings

# A busy machine is no failure.
settings.register_profile("outlive", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("outlive")

# tox names a width, and what is printed to no terminal would be folded at it.
os.environ.pop("COLUMNS", None)

# A shell ignores Ctrl-C for what it runs in the background, and so would all that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup ignores it
