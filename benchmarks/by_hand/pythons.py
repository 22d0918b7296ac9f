"""The same requests on every Python that is installed here, patch versions included.

    python benchmarks/by_hand/pythons.py

Publishes what it measures in results/measurements, under each Python's full version; docs/pythons.md shows it
(`tox -e docs`). What is stored is not measured again.
"""

from __future__ import annotations

import outlive
from outlive.project import Project
from outlive.records.measurement import Measurement
from outlive.releases.catalogue import Catalogue
from outlive.replay.engine import Progress
from outlive.stacks import pythons

RELEASES = ("flask==3.0.3", "aiohttp==3.10.11", "aiohttp==3.14.5")
"""The newest Flask for all Pythons; the newest aiohttp, and the newest one for Python 3.8."""
SERVER = "gunicorn==23.0.0"
"""The newest one for all Pythons."""
SCENARIOS = ("ok", "not-found", "handler-error", "abort-response")


def stacks(project: Project) -> list[str]:
    """Return a stack for each release and each Python that it runs on."""
    named = []
    for release in RELEASES:
        framework, _, version = release.partition("==")
        found = Catalogue.load(project, framework).find(version)
        named += [
            f"{release},{SERVER},python=={each.version}"
            for each in pythons.every()
            if not each.free_threaded and found.why_not(each.version) is None
        ]
    return named


def show(measurement: Measurement) -> None:
    """Print one line."""
    cell = (measurement.release, measurement.python, measurement.scenario, measurement.connection)
    print(*cell, measurement.status, measurement.survivors_per_request, flush=True)


if __name__ == "__main__":
    here = Project.find().publishing()
    progress = Progress(lambda cells: print(f"{cells} cells to measure", flush=True), show)
    outlive.measure(*stacks(here), scenarios=SCENARIOS, gc=["off"], project=here, progress=progress)
