"""The gate under load: what many clients at once leave is judged by the limits of single scenarios.

It finds leaks that need overlapping requests. The difference of two load tests of different lengths gives the
objects per additional request; one-time effects cancel out. Memory and latency are noisy and never gate.
"""

from __future__ import annotations

import msgspec

from outlive.comparison.cells import BASELINE
from outlive.errors import UsageError
from outlive.gates import proof
from outlive.gates.judge import JudgedCell, Outcome
from outlive.gates.limits import Limits, exact
from outlive.gates.proof import Control
from outlive.gates.run import Gate, Wanted, verdict
from outlive.loads.plan import LoadTest
from outlive.loads.run import Watching
from outlive.loads.run import run as load
from outlive.project import Project
from outlive.records.load import Deployment, LoadMeasurement, Traffic
from outlive.records.measurement import Connection, Measurement
from outlive.retention.growth import LEAST_LEAK
from outlive.service import app as apps
from outlive.service.app import App
from outlive.stacks.prepare import Prepared
from outlive.wording import counted, one_line
from outlive.worker.plant import CYCLE_OBJECTS, LEAK_EVERY

REQUESTS = (1000, 3000)
"""Requests of the two load tests. The planted leak keeps 20 objects more in the second one; counts that
should be equal can differ by two or three, for example because of a timer that is due."""
MORE = 0.05
"""Fraction by which survivors under load may exceed the limits: connections are reused more or less often
than in a replay, and what a connection leaves counts as its requests'."""
UNSURE = 0.5
"""Additional objects per request by which survivors under load may exceed the limits: tasks and timers that
outlive the last connection. Leaked objects are exact: they may exceed their limit by LEAST_LEAK only."""


TOTAL = 3 * sum(REQUESTS)
"""Requests of a run in which nothing deviates: the proof without and with a plant, and the release."""


class LoadGrowth(msgspec.Struct, frozen=True, kw_only=True):
    """The objects that each additional request leaves under load; `fault` says why they are unknown."""

    survivors: float = 0.0
    leaked: float = 0.0
    longest: LoadMeasurement | None = None
    fault: str | None = None

    @property
    def cyclic(self) -> float:
        """The survivors per request that a collection frees."""
        return self.survivors - self.leaked


def run(
    project: Project,
    prepared: Prepared,
    wanted: Wanted,
    limits: Limits,
    watch: Watching = lambda _name, _traffic: lambda _: None,
    *,
    source: str | None = None,
) -> Gate:
    """Return the verdict on a release under load; a release that deviates is loaded a second time.

    `watch` is called at each load test and returns what watches it. The proof comes first; without it nothing
    is judged. Raises as `loads.run.run` does, and UsageError if two limits apply to one cell.
    """
    app = apps.load(project, prepared.release.framework)
    worker = app.worker(wanted.connections[0], wanted.worker)
    if worker is None:
        raise UsageError(f"no worker of {app.framework} can hold {wanted.connections[0]} connections")
    alone = msgspec.structs.replace(app, workers=(worker,))
    bench = _Bench(project, prepared, wanted, watch)
    plain, planted = (
        bench.left(proof.planted(alone, *kinds), (BASELINE,), f"proof, {' and '.join(kinds)} planted")
        for kinds in (("nothing",), ("leak", "cycle"))
    )
    control = _control(wanted.connections[0], worker.name, plain, planted)
    cells: list[JudgedCell] = []
    if control.seen:
        judged_app = proof.planted(alone, "leak" if wanted.plant else "nothing")
        left = bench.left(judged_app, wanted.patterns, str(prepared.release))
        judged = _judged(bench, limits, left)
        if judged.outcome != "within":
            judged = _judged(bench, limits, left, bench.left(judged_app, wanted.patterns, "again"))
        cells.append(judged)
    gate = verdict(prepared, wanted, limits, source, (control,), cells=cells)
    return msgspec.structs.replace(gate, load=True, patterns=wanted.patterns)


class _Bench(msgspec.Struct, frozen=True):
    """Runs the load tests of one run of the gate."""

    project: Project
    prepared: Prepared
    wanted: Wanted
    watch: Watching

    def left(self, app: App, patterns: tuple[str, ...], title: str) -> LoadGrowth:
        """Return the objects that each additional request leaves in `app`, from two load tests."""
        tests = []
        for requests in REQUESTS:
            traffic = Traffic(requests=requests, scenarios=patterns, connection=self.wanted.connections[0])
            deployment = Deployment(worker=app.workers[0].name, gc=self.wanted.gc)
            plan = LoadTest(self.prepared, deployment, traffic)
            test = load(self.project, plan, app=app, watch=self.watch(title, traffic))
            if fault := _fault(test):
                return LoadGrowth(longest=test, fault=fault)
            tests.append(test)
        short, long = tests
        return LoadGrowth(
            survivors=_slope(short, long, "survivors"), leaked=_slope(short, long, "leaked"), longest=long
        )

    def limit(self, limits: Limits, test: LoadMeasurement, gc: str) -> float:
        """Return the objects per request that the limits allow for this traffic on the worse connection."""
        allowed = (
            traffic.requests
            * max(
                limits.allowed(self.described(traffic.scenario, connection, gc)).objects
                for connection in ("keep-alive", "close")
            )
            for traffic in test.scenarios
        )
        return sum(allowed) / test.requests

    def described(self, scenario: str, connection: Connection, gc: str, **fields: object) -> Measurement:
        """Return a measurement of this release with these `fields`."""
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


def _fault(test: LoadMeasurement) -> str | None:
    if test.status != "measured":
        return one_line(test.reason or test.status)
    if test.unexpected:
        text, count = test.faults[0]
        return f"{test.unexpected} unexpected answers, {count} of them: {one_line(text)}"
    if test.survivors_per_request is None:
        return "objects could not be counted: workers were restarted or never came to rest"
    return None


def _slope(short: LoadMeasurement, long: LoadMeasurement, field: str) -> float:
    counts = [sum(getattr(worker, field) or 0 for worker in test.workers) for test in (short, long)]
    return (counts[1] - counts[0]) / (long.requests - short.requests)


def _control(connection: Connection, worker: str, plain: LoadGrowth, planted: LoadGrowth) -> Control:
    leak, cycle = planted.leaked - plain.leaked, planted.cyclic - plain.cyclic
    fault = plain.fault or planted.fault
    return proof.counted(
        connection,
        worker,
        leak,
        cycle,
        leak_seen=abs(leak - 1 / LEAK_EVERY) < LEAST_LEAK,
        cycle_seen=round(cycle) == CYCLE_OBJECTS,
        fault=f"the load test failed: {fault}" if fault else None,
    )


def _judged(bench: _Bench, limits: Limits, left: LoadGrowth, again: LoadGrowth | None = None) -> JudgedCell:
    """Return the verdict on `left`; `again` is the repetition after a deviation."""
    outcome, objects, limit, problem = _outcome(bench, limits, left)
    if again is not None and _outcome(bench, limits, again)[0] != outcome:
        outcome, problem = "inconclusive", f"does not repeat: {_counts(left)} and then {_counts(again)}"
    advice = {
        "over": "outlive load --json lists the types: find what keeps them, or accept single scenarios",
        "inconclusive": "run it again on an idle machine",
        "failed": "see docs/gates.md, exit code 4",
    }
    test = left.longest
    assert test is not None
    measurement = bench.described(
        test.traffic.user,
        test.traffic.connection,
        bench.wanted.gc,
        worker=test.deployment.worker,
        status="failed" if outcome == "failed" else "measured",
        reason=problem if outcome == "failed" else None,
        requests=test.requests,
        survivors_per_request=left.survivors,
        cyclic_per_request=left.cyclic,
        leaked_per_request=left.leaked,
        types=test.types,
    )
    return JudgedCell(
        measurement=measurement,
        outcome=outcome,
        objects=max(0.0, round(objects, 3)),
        limit=round(limit, 3),
        place=None,
        what=problem,
        advice=advice.get(outcome, ""),
    )


def _outcome(bench: _Bench, limits: Limits, left: LoadGrowth) -> tuple[Outcome, float, float, str]:
    """Return the outcome, the deciding count, its limit, and what is wrong."""
    if left.fault or left.longest is None:
        return "failed", 0.0, 0.0, left.fault or "nothing was loaded"
    leaked_limit = bench.limit(limits, left.longest, "on")
    if left.leaked - leaked_limit >= LEAST_LEAK:
        problem = f"leaks {counted(exact(left.leaked), 'object')} per request, {exact(leaked_limit)} allowed"
        return "over", left.leaked, leaked_limit, problem
    if bench.wanted.gc != "off":
        return "within", left.leaked, leaked_limit, ""
    limit = bench.limit(limits, left.longest, "off")
    if left.survivors > limit * (1 + MORE) + UNSURE:
        objects = counted(exact(left.survivors), "object")
        problem = f"leaves {objects} per request, {exact(limit)} allowed in this mix"
        return "over", left.survivors, limit, problem
    return "within", left.survivors, limit, ""


def _counts(left: LoadGrowth) -> str:
    return left.fault or f"{counted(exact(left.survivors), 'object')}, {exact(left.leaked)} leaked"
