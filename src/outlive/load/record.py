"""The records of load tests: how the release was deployed, what was sent, what the server took for it.

`results/loads/<framework>/<release>/py<X.Y>-<lock>-<worker>-<gc>-<start>.json` is a `LoadDocument` with one
measurement: no load test replaces another. Those of a remedy are with its other results, under `loads/`.
Reports and statistics read these files only.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from outlive.load.generator import ScenarioTraffic
from outlive.load.traffic import Traffic
from outlive.measurement import SCHEMA_VERSION, Provenance, StackRecord
from outlive.project import Project
from outlive.releases import write_text
from outlive.remedies import Remedy
from outlive.store import decode, folder, provenance

Status = Literal["measured", "partial", "failed", "unsupported"]
End = Literal["served", "recycled", "hung", "killed"]


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """How a release is served: the gunicorn worker that `app.toml` names so, how many, and the gc policy.

    With `preload` the master loads the app and workers are forked from it. With `max_requests` a worker is
    replaced after so many requests; 0 is never. `remedy` is what was done to the app.
    """

    worker: str
    workers: int = 1
    preload: bool = False
    max_requests: int = 0
    gc: str = "on"
    remedy: str | None = None


class Collections(msgspec.Struct, frozen=True, kw_only=True):
    """What the policy's own collections did: how many, objects freed, pauses in seconds.

    `histogram` is (upper bound in seconds, pauses).
    """

    count: int = 0
    freed: int = 0
    pause: float = 0.0
    p99: float = 0.0
    longest: float = 0.0
    histogram: tuple[tuple[float, int], ...] = ()

    @classmethod
    def of(
        cls, count: int, freed: int, pause: float, longest: float, histogram: Iterable[tuple[float, int]]
    ) -> Collections:
        """Return the record with the 99th percentile that the histogram gives."""
        pauses = tuple(histogram)
        p99 = min(percentile(pauses, 99), longest)
        return cls(count=count, freed=freed, pause=pause, p99=p99, longest=longest, histogram=pauses)


def total(parts: Sequence[Collections]) -> Collections:
    """Return what all of them did together."""
    pauses: Counter[float] = Counter()
    for part in parts:
        pauses.update(dict(part.histogram))
    return Collections.of(
        sum(part.count for part in parts),
        sum(part.freed for part in parts),
        sum(part.pause for part in parts),
        max((part.longest for part in parts), default=0.0),
        sorted(pauses.items()),
    )


def percentile(histogram: Sequence[tuple[float, int]], percent: float) -> float:
    """Return the bound within which `percent` of 100 are; 0 where there is nothing."""
    missing = math.ceil(sum(count for _, count in histogram) * percent / 100)
    for bound, count in histogram:
        missing -= count
        if missing <= 0:
            return bound
    return 0.0


class WorkerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One worker process, from its `first` to its `last` second of the load test.

    It `served` to the end, was `recycled` by gunicorn, `hung` until gunicorn ended it, or was `killed`.
    `peak_rss_bytes` is None where the system does not tell. `survivors` are gc-tracked objects that requests
    left and `leaked` those of them that no collection frees, once all connections were closed; None where
    that was not counted. `ran` are the seconds for which its threads ran, `waited` those for which the one
    that ran most was kept waiting for a core.
    """

    pid: int
    first: float
    last: float
    end: End
    ran: float = 0.0
    waited: float = 0.0
    peak_rss_bytes: int | None = None
    collections: Collections = Collections()
    survivors: int | None = None
    leaked: int | None = None


class Memory(msgspec.Struct, frozen=True, array_like=True):
    """Resident and proportional bytes of one process; 0 where the system does not tell."""

    pid: int
    rss: int
    pss: int


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One look at the server: bytes over all its processes, CPU seconds and answered requests until then.

    `seconds` is the time of the load test, without what lies between two `segment`s of a soak. Shared memory
    counts once in `pss` and once for each process in `rss`. `harness` are the resident bytes of what looks on
    and of locust, which is to stay as it is.
    """

    segment: int
    seconds: float
    requests: int
    rss: int
    pss: int
    cpu: float
    workers: tuple[Memory, ...]
    harness: int = 0


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """How memory grew: the robust slope of the bytes over time and over requests, with a 95 % interval.

    `seconds` is the stretch of the test that it is from.
    """

    bytes_per_hour: float
    low: float
    high: float
    bytes_per_request: float
    seconds: float


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """One uninterrupted run of a load test; a soak that was continued has several. `started` is UTC."""

    started: str
    seconds: float
    requests: int
    ended: str | None = None


class LoadMeasurement(msgspec.Struct, frozen=True, kw_only=True):
    """What one load test gave.

    `status`: `measured`; `partial` where the harness was ended in the middle, so that it can be continued;
    `failed` for a fault, with what was seen until then; `unsupported`. The `reason` is None for `measured`.

    `peak_rss_bytes` is the largest of a worker, `tree_peak_bytes` of all processes together, and
    `tree_peak_source` says how that was obtained. Objects per request are None where not all workers lived
    from the first request to the last, as with `max_requests`. `predicted_per_request` is what the exact
    replay of the same scenarios leaves, each by itself, where it is known, `replayed_per_request` what the
    same mix left that was sent one request at a time. `server_cores` and `generator_cores` are
    processor cores in use; `generator_busiest` and `server_busiest` are the part of the time for which
    locust's busiest process, and the busiest worker, ran or waited for a core. `server_waiting` is the part
    for which a worker did nothing but wait, the most of all workers.
    """

    framework: str
    release: str
    python: str
    lock: str
    app_version: int
    deployment: Deployment
    traffic: Traffic
    status: Status
    reason: str | None = None
    segments: tuple[Segment, ...] = ()
    seconds: float = 0.0
    requests: int = 0
    unexpected: int = 0
    unsent: int = 0
    throughput: float = 0.0
    scenarios: tuple[ScenarioTraffic, ...] = ()
    faults: tuple[tuple[str, int], ...] = ()
    peak_rss_bytes: int | None = None
    tree_peak_bytes: int | None = None
    tree_peak_source: str = ""
    workers: tuple[WorkerRecord, ...] = ()
    restarts: int = 0
    collections: Collections = Collections()
    survivors_per_request: float | None = None
    leaked_per_request: float | None = None
    predicted_per_request: float | None = None
    replayed_per_request: float | None = None
    types: dict[str, float] = {}
    growth: Rate | None = None
    server_cores: float = 0.0
    server_busiest: float = 0.0
    server_waiting: float = 0.0
    generator_cores: float = 0.0
    generator_busiest: float = 0.0
    generator_saturated: bool = False
    samples: tuple[Sample, ...] = ()


class LoadDocument(msgspec.Struct, frozen=True, kw_only=True):
    """One JSON document of load tests."""

    schema_version: int = SCHEMA_VERSION
    provenance: Provenance
    measurements: tuple[LoadMeasurement, ...]

    def to_json(self) -> str:
        """Return the document as JSON, one measurement a line."""
        encode = msgspec.json.encode
        head = b'{"schema_version":%d,\n"provenance":%s,\n"measurements":[\n'
        lines = b",\n".join(map(encode, self.measurements))
        return (head % (self.schema_version, encode(self.provenance)) + lines + b"\n]}\n").decode()


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a `LoadDocument`."""
    return msgspec.json.schema(LoadDocument)


class LoadStore:
    """The load tests that are kept of one stack, one file each."""

    def __init__(self, project: Project, stack: StackRecord, remedy: Remedy | None = None) -> None:
        self.stack = stack
        self.folder = project.results / "loads" / stack.framework / stack.release
        if remedy:
            self.folder = folder(project, stack, remedy) / "loads"

    def path(self, measurement: LoadMeasurement) -> Path:
        """Return the file of a load test: the one that it was continued from, where it was."""
        start = re.sub(r"\W", "", measurement.segments[0].started) if measurement.segments else "never"
        policy = re.sub(r"\W", "-", measurement.deployment.gc)
        name = (
            f"py{self.stack.python}-{self.stack.lock}-{measurement.deployment.worker}-{policy}-{start}.json"
        )
        return self.folder / name

    def keep(self, measurement: LoadMeasurement) -> Path:
        """Write the record, in place of an earlier one of the same load test; return its file."""
        document = LoadDocument(provenance=provenance([self.stack]), measurements=(measurement,))
        path = self.path(measurement)
        write_text(path, document.to_json())
        return path

    def load(self) -> Iterator[LoadMeasurement]:
        """Yield what is kept of this stack, oldest first. Raises FaultError as `read` does."""
        paths = sorted(self.folder.glob(f"py{self.stack.python}-{self.stack.lock}-*.json"), key=_start)
        for path in paths:
            yield from read(path).measurements

    def unfinished(self, deployment: Deployment, traffic: Traffic) -> LoadMeasurement | None:
        """Return the newest such test if the harness was ended before the test was over, else None."""
        same = [m for m in self.load() if (m.deployment, m.traffic) == (deployment, traffic)]
        return same[-1] if same and same[-1].status == "partial" else None


def read(path: Path) -> LoadDocument:
    """Return the document in the file `path`. Raises as `store.decode` does."""
    return decode(path, LoadDocument)


def _start(path: Path) -> str:
    return path.stem.rpartition("-")[2]
