"""The gate under load: what many clients at once leave, held against the limits of single scenarios.

It finds what only happens when requests overlap. Two load tests of different lengths give what one request
more leaves; what happens once cancels out. Memory and latency are noisy and never gate.
"""

from __future__ import annotations

import msgspec

from outlive.comparison.cells import BASELINE
from outlive.errors import UsageError
from outlive.gate import proof
from outlive.gate.judge import Judged, Outcome
from outlive.gate.limits import Limits, exact
from outlive.gate.proof import Control
from outlive.gate.run import Gate, Wanted
from outlive.leaks.growth import LEAST_LEAK
from outlive.load.plan import LoadTest
from outlive.load.run import Watch
from outlive.load.run import run as load
from outlive.project import Project
from outlive.records.load import Deployment, LoadMeasurement, Traffic
from outlive.records.measurement import Connection, Measurement
from outlive.service import app as apps
from outlive.service.app import App
from outlive.stacks.prepare import Prepared
from outlive.wording import number, one_line
from outlive.worker.plant import CYCLE_OBJECTS, LEAK_EVERY

REQUESTS = (1000, 3000)
"""Requests of the two load tests. Between them the planted leak keeps 20 objects; counts that should be the
same differ by two or three, such as a timer that is due."""
MORE = 0.05
"""Part by which survivors under load may be above what the limits say. Connections are reused more or less
often than in a replay, and what a connection leaves is counted with its requests."""
UNSURE = 0.5
"""Objects per request that survivors under load may be above the limits beside that: tasks and timers that
are still there when the last connection has closed. What is leaked is exact and has LEAST_LEAK only."""


LONGEST = Traffic(requests=REQUESTS[-1])


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """What one request more leaves under load. `fault` says why that is not known."""

    survivors: float = 0.0
    leaked: float = 0.0
    longest: LoadMeasurement | None = None
    fault: str | None = None

    @property
    def cyclic(self) -> float:
        """What a collection frees of it."""
        return self.survivors - self.leaked


def run(
    project: Project,
    prepared: Prepared,
    wanted: Wanted,
    limits: Limits,
    watch: Watch = lambda _: None,
    *,
    source: str | None = None,
) -> Gate:
    """Return the verdict on a release under load; one that deviates is loaded a second time.

    The proof comes first; without it nothing is judged. Raises as `load.run.run` does, and UsageError where
    two limits apply to one cell.
    """
    app = apps.load(project, prepared.release.framework)
    worker = app.worker(wanted.connections[0])
    if worker is None:
        raise UsageError(f"no worker of {app.framework} can hold {wanted.connections[0]} connections")
    alone = msgspec.structs.replace(app, workers=(worker,))
    bench = _Bench(project, prepared, wanted, watch)
    plain, planted = (
        bench.left(proof.planted(alone, *kinds), (BASELINE,)) for kinds in (("nothing",), ("leak", "cycle"))
    )
    control = _control(wanted.connections[0], worker.name, plain, planted)
    cells: list[Judged] = []
    if control.seen:
        judged_app = proof.planted(alone, "leak" if wanted.plant else "nothing")
        one = bench.left(judged_app, wanted.patterns)
        judged = _judged(bench, limits, one)
        if judged.outcome != "within":
            judged = _judged(bench, limits, one, bench.left(judged_app, wanted.patterns))
        cells.append(judged)
    return Gate(
        stack=prepared.record,
        source=source,
        gc=wanted.gc,
        planted=wanted.plant,
        limits=limits.path,
        limited=limits.hold_for(prepared.record.release, prepared.record.python),
        controls=(control,),
        least_leak=proof.SURE_TO_SEE,
        cells=tuple(cells),
        stale=(),
        replayed=None,
        load=True,
        patterns=wanted.patterns,
    )


class _Bench(msgspec.Struct, frozen=True):
    """How everything is loaded in one run of the gate."""

    project: Project
    prepared: Prepared
    wanted: Wanted
    watch: Watch

    def left(self, app: App, patterns: tuple[str, ...]) -> Left:
        """Return what one request more of these scenarios leaves in `app`, from two load tests."""
        tests = []
        for requests in REQUESTS:
            traffic = Traffic(requests=requests, scenarios=patterns, connection=self.wanted.connections[0])
            deployment = Deployment(worker=app.workers[0].name, gc=self.wanted.gc)
            found = load(
                self.project, LoadTest(self.prepared, deployment, traffic), app=app, watch=self.watch
            )
            if fault := _fault(found):
                return Left(longest=found, fault=fault)
            tests.append(found)
        short, long = tests
        return Left(
            survivors=_slope(short, long, "survivors"), leaked=_slope(short, long, "leaked"), longest=long
        )

    def limit(self, limits: Limits, found: LoadMeasurement, gc: str) -> float:
        """Return what the limits allow a request of this traffic, over the connection that leaves more."""
        allowed = (
            one.requests
            * max(
                limits.allowed(self.described(one.scenario, connection, gc)).objects
                for connection in ("keep-alive", "close")
            )
            for one in found.scenarios
        )
        return sum(allowed) / found.requests

    def described(self, scenario: str, connection: Connection, gc: str, **fields: object) -> Measurement:
        """Return a measurement of this release with the other `fields`."""
        stack = self.prepared.record
        return Measurement(
            framework=stack.framework,
            release=stack.release,
            python=stack.python,
            app_version=apps.load(self.project, stack.framework).app_version,
            scenario=scenario,
            connection=connection,
            gc=gc,
            lock=stack.lock,
            **({"status": "measured", "worker": ""} | fields),  # type: ignore[arg-type]
        )


def _fault(found: LoadMeasurement) -> str | None:
    if found.status != "measured":
        return one_line(found.reason or found.status)
    if found.unexpected:
        text, count = found.faults[0]
        return f"{found.unexpected} unexpected answers, {count} of them: {one_line(text)}"
    if found.survivors_per_request is None:
        return "what is left could not be counted: workers were restarted or never came to rest"
    return None


def _slope(short: LoadMeasurement, long: LoadMeasurement, what: str) -> float:
    counts = [sum(getattr(worker, what) or 0 for worker in one.workers) for one in (short, long)]
    return (counts[1] - counts[0]) / (long.requests - short.requests)


def _control(connection: Connection, worker: str, plain: Left, planted: Left) -> Control:
    leak, cycle = planted.leaked - plain.leaked, planted.cyclic - plain.cyclic
    fault = plain.fault or planted.fault
    if fault:
        fault = f"the load test failed: {fault}"
    elif abs(leak - 1 / LEAK_EVERY) >= LEAST_LEAK:
        fault = f"planted {number(1 / LEAK_EVERY)} leaked objects per request, saw {number(leak)}"
    elif round(cycle) != CYCLE_OBJECTS:
        fault = f"planted {CYCLE_OBJECTS} cyclic objects per request, saw {number(cycle)}"
    return Control(
        connection=connection,
        worker=worker,
        leak=leak,
        leak_expected=1 / LEAK_EVERY,
        cycle=cycle,
        cycle_expected=CYCLE_OBJECTS,
        fault=fault,
    )


def _judged(bench: _Bench, limits: Limits, one: Left, again: Left | None = None) -> Judged:
    """Return what the limits say of what was left, twice where it deviated the first time."""
    outcome, objects, limit, what = _outcome(bench, limits, one)
    if again is not None and _outcome(bench, limits, again)[0] != outcome:
        said = " and then ".join(_said(left) for left in (one, again))
        outcome, what = "inconclusive", f"does not repeat: {said}"
    advice = {
        "over": "outlive load --json shows the types; find what keeps them, or accept it in single scenarios",
        "inconclusive": "run it again on a machine that is at rest",
        "failed": "see docs/gates.md, exit code 4",
    }
    found = one.longest
    assert found is not None
    measurement = bench.described(
        found.traffic.user,
        found.traffic.connection,
        bench.wanted.gc,
        worker=found.deployment.worker,
        status="failed" if outcome == "failed" else "measured",
        reason=what if outcome == "failed" else None,
        requests=found.requests,
        survivors_per_request=one.survivors,
        cyclic_per_request=one.cyclic,
        leaked_per_request=one.leaked,
        types=found.types,
    )
    return Judged(
        measurement=measurement,
        outcome=outcome,
        objects=max(0.0, round(objects, 3)),
        limit=round(limit, 3),
        place=None,
        what=what,
        advice=advice.get(outcome, ""),
    )


def _outcome(bench: _Bench, limits: Limits, left: Left) -> tuple[Outcome, float, float, str]:
    """Return outcome, the count that decides, its limit, and what is wrong."""
    if left.fault or left.longest is None:
        return "failed", 0.0, 0.0, left.fault or "nothing was loaded"
    leaked_limit = bench.limit(limits, left.longest, "on")
    if left.leaked - leaked_limit >= LEAST_LEAK:
        said = f"leaks {exact(left.leaked)} objects per request, {exact(leaked_limit)} allowed"
        return "over", left.leaked, leaked_limit, said
    if bench.wanted.gc != "off":
        return "within", left.leaked, leaked_limit, ""
    limit = bench.limit(limits, left.longest, "off")
    if left.survivors > limit * (1 + MORE) + UNSURE:
        said = f"leaves {exact(left.survivors)} objects per request, {exact(limit)} allowed in this mix"
        return "over", left.survivors, limit, said
    return "within", left.survivors, limit, ""


def _said(left: Left) -> str:
    return left.fault or f"{exact(left.survivors)} objects, {exact(left.leaked)} leaked"
