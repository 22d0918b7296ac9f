"""Stores the records of load tests.

`loads/<framework>/<release>/py<X.Y>-<lock>-<worker>-<gc>-<start>.json` is a `LoadDocument` with one
measurement: no load test replaces another. A remedy's load tests are under `loads/` beside its other results.
Reports and statistics read only these files, both the user's and the published ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from outlive.errors import FaultError
from outlive.files import decode, write_text
from outlive.project import Project
from outlive.records.load import Deployment, LoadDocument, LoadMeasurement, Traffic
from outlive.records.measurement import StackRecord
from outlive.records.remedy import Remedy
from outlive.records.stack import NAME
from outlive.replay.store import folder, own, provenance
from outlive.wording import one_line


class LoadStore:
    """The stored load tests of one stack, one file each."""

    def __init__(self, project: Project, stack: StackRecord, remedy: Remedy | None = None) -> None:
        self.stack = stack

        def place(results: Path) -> Path:
            if remedy:
                return folder(results, stack, remedy) / "loads"
            return results / "loads" / stack.framework / stack.release

        self.folder = place(own(project, stack))
        self._published = place(project.published)

    def path(self, measurement: LoadMeasurement) -> Path:
        """Return the file of a load test; a continued test keeps the file of its first run."""
        start = re.sub(r"\W", "", measurement.segments[0].started) if measurement.segments else "never"
        policy = re.sub(r"\W", "-", measurement.deployment.gc)
        name = (
            f"py{self.stack.python}-{self.stack.lock}-{measurement.deployment.worker}-{policy}-{start}.json"
        )
        return self.folder / name

    def keep(self, measurement: LoadMeasurement) -> Path:
        """Store the record, replacing an earlier one of the same load test; return its file."""
        document = LoadDocument(provenance=provenance([self.stack]), measurements=(measurement,))
        path = self.path(measurement)
        write_text(path, document.to_json())
        return path

    def load(self) -> Iterator[LoadMeasurement]:
        """Yield the stored load tests of this stack, oldest first. Raises FaultError as `read` does."""
        name = f"py{self.stack.python}-{self.stack.lock}-*.json"
        paths = {path.name: path for place in (self._published, self.folder) for path in place.glob(name)}
        for path in sorted(paths.values(), key=lambda path: path.stem.rpartition("-")[2]):
            published = path.parent == self._published or msgspec.UNSET
            for measurement in read(path).measurements:
                yield msgspec.structs.replace(measurement, published=published)

    def unfinished(self, deployment: Deployment, traffic: Traffic) -> LoadMeasurement | None:
        """Return the newest test of this deployment and traffic if it was interrupted, else None."""
        alike = [m for m in self.load() if (m.deployment, m.traffic) == (deployment, traffic)]
        return alike[-1] if alike and alike[-1].status == "partial" else None


def read(path: Path) -> LoadDocument:
    """Return the document in the file `path`. Raises as `store.decode` does, also for names that are none."""
    document = decode(path, LoadDocument)
    for test in document.measurements:
        if not NAME.fullmatch(test.framework):  # it becomes part of a path
            raise FaultError(f"{path} cannot be right: {one_line(test.framework)!r} is not a framework")
    return document
