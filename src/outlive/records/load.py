"""Load tests: what was sent, how it was served, and the result."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, Self

import msgspec

from outlive.errors import UsageError
from outlive.files import SCHEMA_VERSION
from outlive.records.gcpolicy import GcPolicy
from outlive.records.measurement import Connection, Provenance
from outlive.wording import counted

Status = Literal["measured", "partial", "failed", "unsupported"]
End = Literal["served", "recycled", "hung", "killed"]
Histogram = tuple[tuple[float, int], ...]
"""Pairs of an inclusive upper bound in seconds and a count."""
SATURATED = 0.9
"""Largest fraction of the time that a locust process, which has one thread, may run or wait for a core. Above
it locust could hardly have sent more, and latencies include its delays."""
HOURLY = 60.0
"""Seconds that memory must have been watched, once settled, to be told per hour: sixty times as long."""
FASTEST = 1_000_000
"""Highest rate of requests per second that is sent."""
GRACEFUL_TIMEOUT = 30
"""gunicorn's own default, in seconds."""


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """How a release is served: the gunicorn worker (its name in `app.toml`), how many, and the gc policy.

    With `preload` the master loads the app before it forks the workers. `max_requests` is the number of
    requests after which a worker is replaced; 0 means never. It then has `graceful_timeout` seconds for the
    requests under way. `remedy` names the change to the app, if any.
    """

    worker: str
    workers: int = 1
    preload: bool = False
    max_requests: int = 0
    graceful_timeout: int = GRACEFUL_TIMEOUT
    gc: str = "on"
    remedy: str | None = None

    def check(self) -> None:
        """Raise UsageError for a deployment that gunicorn cannot serve."""
        GcPolicy.parse(self.gc)
        if self.workers < 1:
            raise UsageError(f"workers is {self.workers}: at least one has to serve")
        if self.max_requests < 0 or self.graceful_timeout < 0:
            raise UsageError("max_requests and graceful_timeout cannot be less than 0")


class Collections(msgspec.Struct, frozen=True, kw_only=True):
    """The collections that the gc policy ran: their number, objects freed, pauses in seconds.

    `pause` is the sum of all pauses, and `histogram` counts them.
    """

    count: int = 0
    freed: int = 0
    pause: float = 0.0
    p99: float = 0.0
    longest: float = 0.0
    histogram: Histogram = ()

    @classmethod
    def of(
        cls, count: int, freed: int, pause: float, longest: float, histogram: Iterable[tuple[float, int]]
    ) -> Collections:
        """Return the record, with `p99` computed from the histogram."""
        pauses = tuple(histogram)
        p99 = min(percentile(pauses, 99), longest)
        return cls(count=count, freed=freed, pause=pause, p99=p99, longest=longest, histogram=pauses)


def total(parts: Sequence[Collections]) -> Collections:
    """Return the sum of several collectors' work."""
    return Collections.of(
        sum(part.count for part in parts),
        sum(part.freed for part in parts),
        sum(part.pause for part in parts),
        max((part.longest for part in parts), default=0.0),
        summed(part.histogram for part in parts),
    )


def summed(histograms: Iterable[Histogram]) -> Histogram:
    """Return the sum of histograms, lowest bound first."""
    counts: Counter[float] = Counter()
    for histogram in histograms:
        counts.update(dict(histogram))
    return tuple(sorted(counts.items()))


def percentile(histogram: Sequence[tuple[float, int]], percent: float) -> float:
    """Return the bound at or below which `percent` % of the counts lie; 0 for an empty histogram."""
    missing = math.ceil(sum(count for _, count in histogram) * percent / 100)
    for bound, count in histogram:
        missing -= count
        if missing <= 0:
            return bound
    return 0.0


class WorkerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One worker process, from its `first` to its `last` second of the load test.

    `end`: it `served` to the end, was `recycled` by gunicorn, `hung` until gunicorn ended it, or was
    `killed`. `peak_rss_bytes` is None if the system does not report it. `survivors` is the number of
    gc-tracked objects that requests left once all connections were closed, `leaked` of those that no
    collection frees; None if not counted. `ran` is how many seconds its threads ran, `waited` how many
    seconds the busiest of them waited for a core.
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
    """Resident and proportional bytes of one process; 0 on systems that do not report them."""

    pid: int
    rss: int
    pss: int


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """The answers so far; latencies, in seconds, are of those of about the last second, 0 where few came."""

    requests: int = 0
    unexpected: int = 0
    p50: float = 0.0
    p99: float = 0.0


class Sample(Answers, frozen=True, kw_only=True):
    """One look at the server: the answers, bytes of all its processes, and CPU seconds so far.

    `seconds` is the time of the load test, without the gaps between two `segment`s of a soak. Shared memory
    counts once in `pss` and once per process in `rss`. `harness` is the resident bytes of the harness and of
    locust, which must not grow. `collections` paused the workers for `paused` seconds so far.
    """

    segment: int
    seconds: float
    requests: int
    rss: int
    pss: int
    cpu: float
    workers: tuple[Memory, ...]
    harness: int = 0
    collections: int = 0
    paused: float = 0.0


Watch = Callable[[Sample], object]
"""Called about once a second with the latest sample of a load test, whose answers are those so far."""


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """How memory grew: the robust slope of bytes over time, with a 95 % interval, and over requests.

    `seconds` is the length of the stretch from which it was computed.
    """

    bytes_per_hour: float
    low: float
    high: float
    bytes_per_request: float
    seconds: float

    @property
    def hourly(self) -> bool:
        """Whether memory was watched long enough for a rate per hour."""
        return self.seconds >= HOURLY


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """One uninterrupted run of a load test; a soak that was continued has several. `started` is UTC."""

    started: str
    seconds: float
    requests: int
    ended: str | None = None


class LoadMeasurement(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one load test.

    `status` is `measured`; `partial` if the harness was interrupted, so that the test can be continued;
    `failed` for a fault, with the numbers so far; or `unsupported`. `reason` is None for `measured`.

    `peak_rss_bytes` is the peak of the largest worker, `tree_peak_bytes` that of all processes together, and
    `tree_peak_source` names its source. Objects per request are None unless every worker lived from the first
    request to the last, which `max_requests` prevents. `predicted_per_request` is what the exact replay of
    each scenario predicts for the mix, if it is known; `replayed_per_request` is what the same mix left when
    sent one request at a time. `server_cores` and `generator_cores` are processor cores in use.
    `server_busiest` and `generator_busiest` are the fractions of the time for which the busiest worker, and
    the busiest locust process, ran or waited for a core; `server_waiting` is the largest fraction for which a
    worker waited. `silence` is the longest time, in seconds, in which a locust process got no answer, None
    where that was not measured. `published` is as in `Measurement`, and never stored.
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
    silence: float | None = None
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
    published: bool | msgspec.UnsetType = msgspec.UNSET


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


class ScenarioTraffic(msgspec.Struct, frozen=True):
    """The answers to one scenario; latencies are in seconds, and `histogram` counts them."""

    scenario: str
    requests: int
    unexpected: int
    mean: float
    p50: float
    p95: float
    p99: float
    longest: float
    histogram: Histogram

    @classmethod
    def of(
        cls,
        scenario: str,
        *,
        requests: int,
        unexpected: int,
        total: float,
        longest: float,
        histogram: Histogram,
    ) -> Self:
        """Return the record of answers that took `total` seconds together, with percentiles."""
        p50, p95, p99 = (min(percentile(histogram, percent), longest) for percent in (50, 95, 99))
        return cls(scenario, requests, unexpected, total / requests, p50, p95, p99, longest, histogram)


class Generated(msgspec.Struct, frozen=True):
    """The requests that a load test has sent and the answers to them, so far or in all.

    `throughput` is in requests per second, `cores` the processor cores that locust used. `busiest` is the
    fraction of the time for which its busiest process ran or waited for a core. `faults` are texts of
    unexpected answers with their counts. `unsent` counts requests that were due at a constant rate but found
    no free client. `silence` is the longest time, in seconds, in which a locust process got no answer.
    `stopped` says why the test ended early, else it is None.
    """

    seconds: float = 0.0
    requests: int = 0
    unexpected: int = 0
    throughput: float = 0.0
    scenarios: tuple[ScenarioTraffic, ...] = ()
    cores: float = 0.0
    stopped: str | None = None
    busiest: float = 0.0
    faults: tuple[tuple[str, int], ...] = ()
    unsent: int = 0
    silence: float | None = None

    @property
    def saturated(self) -> bool:
        """Whether locust was the bottleneck: the server might have answered more, and faster."""
        return self.busiest >= SATURATED


class Traffic(msgspec.Struct, frozen=True):
    """The traffic of one load test: exactly `requests` requests, or as many as are answered in `seconds`.

    `clients` send at the same time, spread over `workers` locust processes. With `rate`, that many requests
    are due each second whether or not the server keeps up, and latency counts from when a request was due;
    without it, each client sends its next request once the last is answered. `scenarios` (names or
    shell-style patterns) narrows the user's mix.
    """

    user: str = "ErrorHeavy"
    clients: int = 16
    requests: int | None = None
    seconds: float | None = None
    rate: float | None = None
    workers: int = 1
    scenarios: tuple[str, ...] = ()
    connection: Connection = "keep-alive"

    def check(self) -> None:
        """Raise UsageError for traffic that no users can send."""
        if (self.requests is None) == (self.seconds is None):
            raise UsageError("a load test has either a number of requests or a duration")
        for name, value in (("requests", self.requests), ("seconds", self.seconds), ("rate", self.rate)):
            if value is not None and not 0 < value < math.inf:
                raise UsageError(f"{name} is {value:g}: it must be more than 0, and finite")
        if self.rate and self.rate > FASTEST:
            raise UsageError(f"rate is {self.rate:g}: it must be at most {FASTEST:,} a second")
        if self.workers < 1:
            raise UsageError(f"workers is {self.workers}: at least one process has to send")
        if self.clients < self.workers:
            raise UsageError(
                f"{counted(self.clients, 'client')} cannot be spread over {self.workers} workers"
            )
