"""Runs one load test: a deployed server, locust's traffic, and a sampler that watches the server."""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from outlive.errors import FaultError, OutliveError, UnavailableError
from outlive.files import check_writable
from outlive.loads import plan, rate, soak
from outlive.loads.cgroup import MemoryGroup
from outlive.loads.generator import STALL, generate
from outlive.loads.plan import LoadTest
from outlive.loads.sampler import Sampler
from outlive.loads.server import Counted, LoadServer, WorkerLine
from outlive.loads.store import LoadStore
from outlive.project import Project
from outlive.records.load import (
    Answers,
    Generated,
    Histogram,
    LoadMeasurement,
    Sample,
    Segment,
    Status,
    Traffic,
    Watch,
    WorkerRecord,
    percentile,
    summed,
)
from outlive.replay import mixed
from outlive.service import app as apps
from outlive.service import remedies, scenarios, users
from outlive.service.app import App
from outlive.service.scenarios import Scenario
from outlive.service.users import Deck, mix, weights
from outlive.stacks import environments

WARM_UP = 3
"""Requests of each scenario per worker before counting starts, for lazy imports and caches."""
KEEP_EVERY = 30.0
"""Seconds between two writes of the record, so that a killed soak loses little."""
ENDED = "the harness was ended in the middle"
RECENT = 50
"""Fewest answers whose latencies are shown while a test runs: the p99 of fewer is just the longest."""

Watching = Callable[[str, Traffic], Watch]
"""Called with the name of each load test and its traffic; returns what watches it."""


def run(
    project: Project,
    test: LoadTest,
    *,
    app: App | None = None,
    earlier: LoadMeasurement | None = None,
    watch: Watch = lambda _: None,
    predictions: Mapping[str, float] | None = None,
    replayed: bool = False,
) -> LoadMeasurement:
    """Run one load test and return its record; a fault is recorded with its reason, not raised.

    The record is stored among the user's results every KEEP_EVERY seconds and at the end. `app` replaces the
    framework's reference app, for example by one with a planted leak; nothing is stored then. `earlier` is
    the record of the same test, interrupted, which the run continues. `predictions` are the objects per
    request of each scenario in replay. With `replayed` and gc off, a new server is then sent the same mix one
    request at a time. Raises UsageError for a worker or traffic that does not exist, and FaultError if the
    record cannot be stored. On KeyboardInterrupt the record so far is stored first.
    """
    served = app or apps.load(project, test.stack.release.framework)
    if remedy := test.stack.remedy:
        served = remedies.served(served, remedy)
    users.check(project.loadtests, test.traffic, folder=_folder(served))
    test.deployment.check()
    if app is None:
        check_writable(project.measured)
    running = _Run(project, served, test, earlier, watch, predictions or {}, keeps=app is None)
    try:
        stack = plan.deployed(test.stack, served.named(test.deployment.worker))
        environment = environments.ensure(stack.lock, stack.interpreter)
    except UnavailableError as error:
        return running.record("unsupported", str(error))
    running.stack = stack
    record = running.all(environment)
    if replayed and record.survivors_per_request is not None and record.deployment.gc == "off":
        try:
            record = msgspec.structs.replace(record, replayed_per_request=running.replayed(environment))
        except OutliveError as error:
            reason = f"one request at a time: {error}"
            record = msgspec.structs.replace(record, status="failed", reason=reason)
        running.keep(record)
    return record


def _folder(app: App) -> Path:
    """Return the folder of the user's own locustfile."""
    return Path(app.own.folder) if app.own else Path.cwd()


@dataclass
class _Run:
    """The state of one load test."""

    project: Project
    app: App
    test: LoadTest
    earlier: LoadMeasurement | None
    watch: Watch
    predictions: Mapping[str, float]
    keeps: bool

    def __post_init__(self) -> None:
        self.stack = self.test.stack
        self.started = dt.datetime.now(dt.UTC)
        self.generated: Generated | None = None
        self.before = Answers()
        if self.earlier:
            self.before = Answers(requests=self.earlier.requests, unexpected=self.earlier.unexpected)
        self.answers = self.before
        self._latencies: Histogram = ()
        self.sampler: Sampler | None = None
        self.group = MemoryGroup()
        self.peak: int | None = None
        self.kept = time.monotonic()

    def all(self, environment: environments.Environment) -> LoadMeasurement:
        try:
            with self.group:
                record = self._served(environment)
        except OutliveError as error:
            record = self.record("failed", self._fault() or str(error))
        except BaseException:
            if self.generated is not None:
                self.keep(self.record("partial", ENDED))
            raise
        if record.samples:
            self.keep(record)
        return record

    def replayed(self, environment: environments.Environment) -> float:
        """Return the objects per request that the same mix leaves when sent one request at a time."""
        traffic, scenarios = self.test.traffic, self._scenarios()
        deck = Deck(weights(self.project.loadtests, traffic.user, traffic.scenarios), f"{traffic.user} 0")
        counts = []
        with self._server(environment) as server:
            server.boot()
            self._warm_up(server)
            for requests in mixed.LENGTHS:
                server.begin()
                mixed.send(
                    server.address,
                    scenarios,
                    deck,
                    requests=requests,
                    clients=traffic.clients,
                    connection=traffic.connection,
                )
                counted = server.count()
                if not all(count.idle for count in counted):
                    raise FaultError("a worker never came to rest, so it cannot be counted")
                counts.append(sum(count.survivors for count in counted))
        return mixed.MixResidue.of(counts).after(self.answers.requests)

    def _server(self, environment: environments.Environment) -> LoadServer:
        folder = self.project.apps / self.app.framework
        return LoadServer(environment, self.app, folder, self.test.deployment)

    def _scenarios(self) -> tuple[Scenario, ...]:
        """Return the scenarios of the mix, with the answers that the app gives under its remedy.

        The user's own locustfile has no mix: all scenarios of the app warm the server up.
        """
        by_name = {scenario.name: scenario for scenario in scenarios.load(self.project.scenarios)}
        served = [s.name for s in by_name.values() if not s.app and s.about(self.app.framework)]
        names = mix(self.project.loadtests, self.test.traffic.user, self.test.traffic.scenarios) or served
        return tuple(remedies.expecting(by_name[name], self.stack.remedy) for name in names)

    def _served(self, environment: environments.Environment) -> LoadMeasurement:
        with self._server(environment) as server:
            assert server.process is not None
            self.group.add(server.process.pid)
            server.boot()
            self._warm_up(server)
            server.begin()
            self.sampler = sampler = Sampler(server, lambda: self.answers, self.earlier)
            self.group.reset()
            sampler.start()
            try:
                self.generated = generate(
                    server.address,
                    soak.remaining(self.test.traffic, self.earlier),
                    project=self.project,
                    folder=_folder(self.app),
                    stall=self._stall(),
                    progress=self._progress,
                )
            finally:
                if self.generated:
                    self.answers = self._answered(self.generated)
                sampler.stop()
                self.peak = self.group.peak()
            if sampler.fault or self.generated.stopped:
                return self.record("failed", sampler.fault or self.generated.stopped)
            return self.record("measured", None, self._counted(server))

    def _stall(self) -> float:
        """Return the seconds of silence after which the server hangs; replacing workers takes a while."""
        deployment = self.test.deployment
        return STALL + (deployment.graceful_timeout if deployment.max_requests else 0)

    def _warm_up(self, server: LoadServer) -> None:
        """Send each scenario a few times over separate connections, which reach all workers."""
        for scenario in self._scenarios():
            for _ in range(WARM_UP * self.test.deployment.workers):
                with mixed.MixClient(server.address, [scenario], "close") as client:
                    try:
                        client.send(scenario.name)
                    except FaultError as error:
                        if server.raised:
                            raise FaultError(f"{error}; it raised {server.raised}") from None
                        raise

    def _counted(self, server: LoadServer) -> list[Counted] | None:
        """Return the count of each worker, None if workers that are gone served some requests."""
        if server.restarts or self.test.deployment.max_requests or self.earlier is not None:
            return None
        counts = server.count()
        return counts if all(count.idle for count in counts) else None

    def _answered(self, latest: Generated) -> Answers:
        """Return the answers so far, including `latest`."""
        answers = self.answers
        histogram = summed(s.histogram for s in latest.scenarios)
        recent = Counter(dict(histogram)) - Counter(dict(self._latencies))
        if recent.total() >= RECENT:
            self._latencies = histogram
            p50, p99 = (percentile(tuple(recent.items()), percent) for percent in (50, 99))
            answers = msgspec.structs.replace(answers, p50=p50, p99=p99)
        return msgspec.structs.replace(
            answers,
            requests=self.before.requests + latest.requests,
            unexpected=self.before.unexpected + latest.unexpected,
        )

    def _progress(self, generated: Generated) -> None:
        self.generated = generated
        self.answers = self._answered(generated)
        if fault := self._fault():
            raise FaultError(fault)
        self.watch(self._now())
        if time.monotonic() - self.kept > KEEP_EVERY:
            self.kept = time.monotonic()
            self.peak = self.group.peak()
            self.keep(self.record("partial", ENDED))

    def _now(self) -> Sample:
        """Return the latest sample with the current answers, because a soak samples only now and then."""
        assert self.sampler is not None
        answers = msgspec.structs.asdict(self.answers)
        return msgspec.structs.replace(self.sampler.samples[-1], seconds=self.sampler.now, **answers)

    def keep(self, measurement: LoadMeasurement) -> None:
        """Store the record, unless the app has something planted."""
        if self.keeps:
            LoadStore(self.project, self.stack.record, self.stack.remedy).keep(measurement)

    def _fault(self) -> str | None:
        return self.sampler.fault if self.sampler else None

    def record(
        self, status: Status, reason: str | None, counts: list[Counted] | None = None
    ) -> LoadMeasurement:
        """Return the record of the test so far."""
        stack, test, earlier = self.stack, self.test, self.earlier
        latest = self.generated or Generated()
        segment = Segment(
            started=self.started.isoformat(timespec="milliseconds"),
            seconds=latest.seconds,
            requests=latest.requests,
            ended=reason if self.sampler else None,
        )
        bare = LoadMeasurement(
            framework=stack.release.framework,
            release=stack.release.version,
            python=stack.lock.python,
            lock=stack.lock.digest,
            app_version=self.app.app_version,
            deployment=test.deployment,
            traffic=test.traffic,
            status=status,
            reason=reason,
            segments=(*(earlier.segments if earlier else ()), segment),
        )
        if self.sampler is None:
            return bare
        with self.sampler.lock:
            return self._full(bare, self.sampler, latest, counts)

    def _full(
        self, bare: LoadMeasurement, sampler: Sampler, latest: Generated, counts: list[Counted] | None
    ) -> LoadMeasurement:
        earlier, server = self.earlier, sampler.server
        sent = soak.together(earlier, latest)
        workers = [_worker(line) for line in (*server.retired, *server.lines) if line.pid is not None]
        if counts is not None:
            workers = [
                msgspec.structs.replace(worker, survivors=count.survivors, leaked=count.leaked)
                for worker, count in zip(workers, counts, strict=True)
            ]
        peaks = [worker.peak_rss_bytes for worker in workers if worker.peak_rss_bytes is not None]
        tree_peak, source = self._tree_peak(sampler)
        if earlier is not None:
            peaks += [earlier.peak_rss_bytes or 0]
            tree_peak = max(tree_peak, earlier.tree_peak_bytes or 0)
        left = rate.left(counts, sent.requests, collecting=bare.deployment.gc != "off") if counts else {}
        return msgspec.structs.replace(
            bare,
            seconds=sent.seconds,
            requests=sent.requests,
            unexpected=sent.unexpected,
            unsent=sent.unsent,
            silence=sent.silence,
            throughput=sent.throughput,
            scenarios=sent.scenarios,
            faults=sent.faults,
            peak_rss_bytes=max(peaks, default=None),
            tree_peak_bytes=tree_peak or None,
            tree_peak_source=source,
            workers=tuple(workers),
            restarts=server.restarts + (earlier.restarts if earlier else 0),
            collections=server.collections([earlier.collections] if earlier else []),
            predicted_per_request=rate.predicted(sent.scenarios, self.predictions),
            growth=rate.rate(sampler.samples),
            server_cores=sampler.cpu / latest.seconds if latest.seconds else 0.0,
            server_busiest=max((_part(w, w.ran + w.waited, latest) for w in workers), default=0.0),
            server_waiting=max((_part(w, w.waited, latest) for w in workers), default=0.0),
            generator_cores=sent.cores,
            generator_busiest=sent.busiest,
            generator_saturated=sent.saturated,
            samples=tuple(sampler.samples),
            **left,
        )

    def _tree_peak(self, sampler: Sampler) -> tuple[int, str]:
        """Return the peak memory of all processes together in bytes, and its source."""
        if self.peak is not None and self.group.source is not None:
            return self.peak, self.group.source
        if sampler.peak_pss:
            return sampler.peak_pss, "largest sample of PSS"
        return sampler.peak_rss, "largest sample of RSS"


def _worker(line: WorkerLine) -> WorkerRecord:
    assert line.pid is not None
    return WorkerRecord(
        pid=line.pid,
        first=line.first,
        last=line.last,
        end=line.end(),
        ran=line.since.ran,
        waited=line.since.waited,
        peak_rss_bytes=line.peak,
        collections=line.collections,
    )


def _part(worker: WorkerRecord, seconds: float, sent: Generated) -> float:
    """Return `seconds` as a fraction of the worker's time under load."""
    time = min(worker.last - worker.first, sent.seconds)
    return min(seconds / time, 1.0) if time > 0 else 0.0
