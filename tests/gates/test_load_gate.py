"""The gate under load: decisions from made-up load tests, and one of a real release."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from gates import CHECKOUT, KNOWN, TODAY, screen
from load_comparisons import measured
from outlive.errors import ExitCode
from outlive.gates import limits
from outlive.gates import load as loadgate
from outlive.gates.limits import Limits
from outlive.gates.run import Gate, Wanted
from outlive.loads.plan import LoadTest
from outlive.project import Project
from outlive.records.load import LoadMeasurement, ScenarioTraffic, WorkerRecord
from outlive.records.release import Release
from outlive.records.stack import Stack
from outlive.service.app import App
from outlive.stacks.locks import Lock
from outlive.stacks.prepare import Prepared, prepare
from outlive.stacks.pythons import Interpreter
from outlive.worker.plant import CYCLE_OBJECTS, LEAK_EVERY

LIMITS = """\
[[limits]]
gc = "off"
connections = ["keep-alive"]
reason = "a ring"
expires = 2030-01-01
[limits.objects]
ok = 8
not-found = 105

[[limits]]
gc = "off"
connections = ["close"]
reason = "a ring"
expires = 2030-01-01
[limits.objects]
ok = 8
not-found = 92
"""
ALLOWED = 0.8 * 8 + 0.2 * 105


class Bench:
    """Load tests that leave `objects` and `leaks` for each request, and -480 objects once, or that fail."""

    def __init__(self) -> None:
        self.objects = ALLOWED
        self.leaks = 0.0
        self.blind = False
        self.failing: str | None = None
        self.unexpected = 0
        self.counted = True
        self.jitter: Callable[[int], float] = lambda _: 0.0
        self.runs = 0

    def load(self, project: Project, test: LoadTest, *, app: App, watch: object) -> LoadMeasurement:
        self.runs += 1
        requests = test.traffic.requests or 0
        (worker,) = app.workers
        kinds = ("" if self.blind else worker.arguments[-1]).removeprefix("OUTLIVE_PLANT=").split(",")
        leaked = -480 + self.leaks * requests + ("leak" in kinds) * (requests // LEAK_EVERY)
        objects = 8.0 if test.traffic.scenarios == ("ok",) else self.objects
        left = leaked + (objects + ("cycle" in kinds) * CYCLE_OBJECTS + self.jitter(self.runs)) * requests
        mix = {"ok": 0.8, "not-found": 0.2}
        found = measured(
            deployment=test.deployment,
            traffic=test.traffic,
            requests=requests,
            unexpected=self.unexpected,
            faults=(("404, not 200", self.unexpected),) if self.unexpected else (),
            scenarios=tuple(
                ScenarioTraffic(name, int(part * requests), 0, 0, 0, 0, 0, 0, ())
                for name, part in mix.items()
            ),
            workers=(
                WorkerRecord(pid=1, first=0, last=1, end="served", survivors=int(left), leaked=int(leaked)),
            ),
            survivors_per_request=left / requests if self.counted else None,
            types={"frame": 1.0},
        )
        if self.failing:
            return msgspec.structs.replace(found, status="failed", reason=self.failing)
        return found


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench()
    monkeypatch.setattr(loadgate, "load", made.load)
    return made


@pytest.fixture
def prepared() -> Prepared:
    release = Release("flask", "3.1.3", None, ">=3.9", False, None, ("py3",), sdist=True)
    lock = Lock("flask", "3.1.3", "3.12", (), "", None)
    return Prepared(release, Interpreter("3.12.1", "/nowhere/python"), lock)


def wanted(gc: str = "off", **fields: object) -> Wanted:
    values: dict[str, object] = {
        "known": KNOWN,
        "scenarios": KNOWN,
        "connections": ("keep-alive",),
        "gc": gc,
        "jobs": 1,
        "today": TODAY,
    }
    return Wanted(**(values | fields))  # type: ignore[arg-type]


def gated(prepared: Prepared, gc: str = "off", **fields: object) -> Gate:
    return loadgate.run(CHECKOUT, prepared, wanted(gc, **fields), found_limits())


def found_limits() -> Limits:
    return limits.parse(LIMITS, "releases/flask/limits.toml", KNOWN)


pytestmark = pytest.mark.usefixtures("bench")


class TestJudged:
    def test_what_the_limits_allow_the_mix_is_green(self, bench: Bench, prepared: Prepared) -> None:
        found = gated(prepared)
        assert (found.code, bench.runs) == (ExitCode.FINE, 6)
        (cell,) = found.cells
        assert cell.outcome == "within"
        assert cell.limit == pytest.approx(ALLOWED)
        assert found.controls[0].leak == pytest.approx(1 / LEAK_EVERY)
        assert found.controls[0].cycle == pytest.approx(CYCLE_OBJECTS)

    def test_less_is_fine_for_replays_judge_that(self, bench: Bench, prepared: Prepared) -> None:
        bench.objects = 1
        assert gated(prepared).code == ExitCode.FINE

    def test_a_little_more_is_what_connections_cost(self, bench: Bench, prepared: Prepared) -> None:
        bench.objects = ALLOWED * (1 + loadgate.MORE)
        assert gated(prepared).code == ExitCode.FINE

    def test_more_is_red_once_it_was_seen_twice(self, bench: Bench, prepared: Prepared) -> None:
        bench.objects = ALLOWED + 3
        found = gated(prepared)
        assert (found.code, found.cells[0].outcome, bench.runs) == (ExitCode.REGRESSION, "over", 8)
        assert found.cells[0].what == "leaves 30.4 objects per request, 27.4 allowed in this mix"

    @pytest.mark.parametrize("gc", ["on", "off", "freeze"])
    def test_a_leak_of_one_object_per_100_requests_is_red(
        self, bench: Bench, prepared: Prepared, gc: str
    ) -> None:
        bench.leaks = 0.01
        found = gated(prepared, gc)
        assert found.code == ExitCode.REGRESSION
        assert found.cells[0].what == "leaks 0.01 objects per request, 0 allowed"

    def test_with_a_collector_cycles_are_not_judged(self, bench: Bench, prepared: Prepared) -> None:
        bench.objects = 500
        assert gated(prepared, "on").code == ExitCode.FINE

    def test_a_planted_leak_that_is_left_in_is_red(self, prepared: Prepared) -> None:
        found = gated(prepared, "on", plant=True)
        assert (found.code, found.planted) == (ExitCode.REGRESSION, True)

    def test_what_does_not_repeat_is_inconclusive(self, bench: Bench, prepared: Prepared) -> None:
        bench.jitter = lambda run: 5.0 if run == 6 else 0.0
        found = gated(prepared)
        assert (found.code, found.cells[0].outcome) == (ExitCode.INCONCLUSIVE, "inconclusive")
        assert (
            found.cells[0].what == "does not repeat: 34.9 objects, 0 leaked and then 27.4 objects, 0 leaked"
        )


class TestFaults:
    def test_a_gate_that_does_not_see_the_plant_judges_nothing(
        self, bench: Bench, prepared: Prepared
    ) -> None:
        bench.blind = True
        found = gated(prepared)
        assert (found.code, found.cells) == (ExitCode.FAULT, ())
        assert found.controls[0].fault == "planted 0.01 leaked objects per request, found 0"

    def test_a_load_test_that_fails_proves_nothing(self, bench: Bench, prepared: Prepared) -> None:
        bench.failing = "the server stopped answering"
        found = gated(prepared)
        assert found.code == ExitCode.FAULT
        assert found.controls[0].fault == "the load test failed: the server stopped answering"

    def test_unexpected_answers_are_a_fault(self, bench: Bench, prepared: Prepared) -> None:
        bench.unexpected = 3
        fault = gated(prepared).controls[0].fault
        assert fault == "the load test failed: 3 unexpected answers, 3 of them: 404, not 200"

    def test_what_was_not_counted_is_a_fault(self, bench: Bench, prepared: Prepared) -> None:
        bench.counted = False
        assert "could not be counted" in (gated(prepared).controls[0].fault or "")


def test_the_screen_says_what_to_do(bench: Bench, prepared: Prepared) -> None:
    bench.leaks = 0.5
    said = screen(gated(prepared, "on"))
    python = prepared.record.python
    assert said.startswith(
        f"RED  flask 3.1.3 under load, Python {python}, gc on: 1 of 1 cell over the limit\n"
    )
    assert "both found under load (keep-alive on gthread)" in said
    assert "▲ ErrorHeavy, keep-alive: leaks 0.5 objects per request, 0 allowed\n" in said
    assert (
        f"again: outlive gate flask==3.1.3 --gc on --load --connection keep-alive --python {python}\n" in said
    )
    assert said.endswith("Exit code 1.\n")
    assert "--load --scenario not-found --connection" in screen(
        gated(prepared, "on", patterns=("not-found",))
    )


@pytest.mark.real
def test_a_real_release_with_a_planted_leak_is_red_under_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(loadgate, "REQUESTS", (200, 1000))
    stack = prepare(CHECKOUT, Stack("flask", "3.1.3"), "3.11")
    reviewed = limits.load(CHECKOUT, "flask", KNOWN)
    quick = wanted("on", patterns=("ok", "not-found"), plant=True)
    found = loadgate.run(CHECKOUT, stack, quick, reviewed)
    assert found.code == ExitCode.REGRESSION, screen(found)
    assert "outlive_plant.PlantedLeak" in found.cells[0].measurement.types
