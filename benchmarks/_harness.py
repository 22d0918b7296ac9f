"""Shared by all benchmarks: the release in which they run, and one measurement of it that serves them all.

The releases' Pythons run this, 3.8 and newer; the harness that measures has a Python of its own.
`tests/test_benchmarks.py` checks the literals here against their originals.
"""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

FRAMEWORK = os.environ.get("OUTLIVE_STACK", "").partition("==")[0]
APPS = Path(__file__).resolve().parents[1] / "apps"
APP_VERSIONS = {
    path.parent.name: int(re.search(r"^app_version = (\d+)$", path.read_text(), re.MULTILINE)[1])
    for path in sorted(APPS.glob("*/app.toml"))
}
COUNTING = 1
CONNECTIONS = ("keep-alive", "close", "client-close")
SCENARIOS = (
    "ok",
    "not-found",
    "method-not-allowed",
    "handler-error",
    "http-error",
    "handled-error",
    "nested-error",
    "bad-json",
    "upload",
    "upload-method-not-allowed",
    "upload-too-large",
    "truncated-body",
    "malformed-request",
    "abort-upload",
    "abort-response",
    "stream-error",
    "head",
    "site-not-found",
    "site-method-not-allowed",
    "site-http-error",
    "login-redirect",
    "shared-error",
    "no-content",
    "not-modified",
    "static-missing",
    "big-upload-truncated",
    "big-upload-abort",
    "gateway-refused",
    "gateway-gone",
    "gateway-reset",
    "gateway-cut",
    "gateway-read-timeout",
    "gateway-cancelled-task",
    "gateway-new-host",
    "gateway-new-cookie",
)


class Measured:
    """Base of the benchmarks that read a measurement."""

    def setup_cache(self):
        """Return the cells of the release."""
        return _cells()

    setup_cache.timeout = 3600


def _cells():
    """Return the measurements of the release; what is already stored is not measured again."""
    stack = os.environ["OUTLIVE_STACK"]
    command = [os.environ["OUTLIVE_PYTHON"], "-m", "outlive", "measure", stack, "--json"]
    done = subprocess.run(command, cwd=os.environ["OUTLIVE_ROOT"], stdout=subprocess.PIPE, check=False)
    if not done.stdout:  # there is a document even if cells failed; if not, standard error says why
        raise RuntimeError(f"outlive measure ended with exit status {done.returncode}")
    found = json.loads(done.stdout)["measurements"]
    for measurement in found:  # each benchmark loads what is returned here
        del measurement["phases"], measurement["types"]
    return {(m["scenario"], m["connection"], m["gc"]): m for m in found}


def tracked(framework, *, what, reading, unit, scenario, connection, gc):
    """Return a benchmark of one field, `reading`, of the measurements of `framework`, for one scenario.

    `gc` is a policy, or a tuple of policies, which become its parameters. The value is nan (not applicable)
    for another framework's releases and for unsupported cells.
    """

    def track(_, cells, policy=gc):
        return (
            math.nan if framework != FRAMEWORK else _value(cells.get((scenario, connection, policy)), reading)
        )

    track.framework = framework
    track.reading = reading
    track.scenario = scenario
    track.connection = connection
    track.pretty_name = f"{framework}: {what}, {scenario}, {connection}"
    track.unit = unit
    if isinstance(gc, str):
        track.gc = gc
    else:
        track.params = [gc]
        track.param_names = ["gc"]
    track.version = f"app {APP_VERSIONS[framework]}, counting {COUNTING}"
    return track


def _value(measurement, reading):
    if measurement and measurement["status"] == "failed":
        raise RuntimeError(measurement["reason"])
    value = (measurement or {}).get(reading)
    return math.nan if value is None else value


def publish(module, **readings):
    """Put a class for each framework and each of `readings` into `module`, with a benchmark per scenario.

    One of them is `FlaskSurvivors.track_not_found_close`. Each reading has arguments of `tracked`, and
    `connections` (by default all).
    """
    for framework in APP_VERSIONS:
        for name, reading in readings.items():
            _publish(module, framework, framework.capitalize() + name, **reading)


def _publish(module, framework, name, *, connections=CONNECTIONS, **reading):
    members = {
        f"track_{scenario}_{connection}".replace("-", "_"): tracked(
            framework, scenario=scenario, connection=connection, **reading
        )
        for scenario in SCENARIOS
        for connection in connections
    }
    members.update(__doc__=f"{framework}: {reading['what']}.", __module__=module)
    setattr(sys.modules[module], name, type(name, (Measured,), members))
