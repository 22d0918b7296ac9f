"""What the benchmarks share: the release they run in, and the one measurement of it that serves them all.

The Pythons of the releases read this, 3.8 and newer. The harness that measures has a Python of its own.
`tests/test_benchmarks.py` holds the literals against what they repeat.
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
)


class Measured:
    """Base of the benchmarks that read a measurement."""

    def setup_cache(self):
        """Return the cells of the release; those that are stored already are not measured again."""
        command = [
            os.environ["OUTLIVE_PYTHON"],
            "-m",
            "outlive",
            "measure",
            os.environ["OUTLIVE_STACK"],
            "--json",
        ]
        done = subprocess.run(command, cwd=os.environ["OUTLIVE_ROOT"], stdout=subprocess.PIPE, check=False)
        if not done.stdout:  # a document comes even if cells failed; why there is none is on standard error
            raise RuntimeError(f"outlive measure ended with exit status {done.returncode}")
        found = json.loads(done.stdout)["measurements"]
        for measurement in found:  # each parameter of each benchmark loads what is returned here
            del measurement["phases"], measurement["types"]
        return {(m["scenario"], m["connection"], m["gc"]): m for m in found}

    setup_cache.timeout = 3600


def tracked(framework, *, what, reading, unit, policies=("on", "off"), connections=CONNECTIONS):
    """Return a benchmark of one field of the measurements of `framework`, `reading`, for each cell.

    It is not applicable (nan) to another framework's releases and to cells that cannot be.
    """

    def track(_, cells, scenario, connection, gc):
        if framework != FRAMEWORK:
            return math.nan
        value = cells.get((scenario, connection, gc), {"status": "not one of its connections"})
        if value["status"] == "failed":
            raise RuntimeError(value["reason"])
        for name in reading.split("."):
            value = (value or {}).get(name)
        return math.nan if value is None else value

    track.framework = framework
    track.reading = reading
    track.pretty_name = f"{framework}: {what}"
    track.unit = unit
    track.params = [SCENARIOS, connections, policies]
    track.param_names = ["scenario", "connection", "gc"]
    track.version = f"app {APP_VERSIONS[framework]}, counting {COUNTING}"
    return track


def publish(module, summary, **readings):
    """Put a class of benchmarks for each framework into `module`, of `readings`: arguments of `tracked`."""
    for framework in APP_VERSIONS:
        name = framework.capitalize()
        members = {attribute: tracked(framework, **reading) for attribute, reading in readings.items()}
        members.update(__doc__=summary.format(framework), __module__=module)
        setattr(sys.modules[module], name, type(name, (Measured,), members))
