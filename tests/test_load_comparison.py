"""Comparisons under load: decisions from load tests, what users see of them, and the command."""

from __future__ import annotations

import io

import msgspec
import pytest
from rich.console import Console

import load_comparisons
from comparisons import side
from load_comparisons import SIDES, measured, runs
from outlive import metrics
from outlive.controlled import Difference
from outlive.loadcomparison import LoadComparison, LoadComparisonDocument, compare, json_schema
from outlive.noise import Decided, Interval, Metric
from outlive.quantities import bounds, difference, value
from outlive.report import rounds as report
from outlive.rounds import Turn
from outlive.store import provenance
from test_report import same_as_golden

MADE = {"worse": load_comparisons.worse, "same": load_comparisons.same, "noisy": load_comparisons.noisy}


@pytest.fixture(scope="module", params=MADE)
def made(request: pytest.FixtureRequest) -> tuple[str, LoadComparison]:
    return request.param, MADE[request.param]()


def shown(comparison: LoadComparison, width: int = 80, *, everything: bool = False) -> str:
    file = io.StringIO()
    report.show(comparison, Console(file=file, width=width, force_terminal=False), everything=everything)
    return "".join(f"{line.rstrip()}\n" for line in file.getvalue().splitlines())


def decided(comparison: LoadComparison, name: str, scenario: str | None = None) -> Decided:
    (found,) = [
        one for one in comparison.decided if (one.metric.name, one.metric.scenario) == (name, scenario)
    ]
    return found


class TestGolden:
    @pytest.mark.parametrize("width", [80, 120])
    def test_terminal(self, made: tuple[str, LoadComparison], width: int) -> None:
        text = shown(made[1], width)
        assert max(map(len, text.splitlines())) <= width
        same_as_golden(f"compare-load-{made[0]}-{width}.txt", text)

    def test_markdown(self, made: tuple[str, LoadComparison]) -> None:
        same_as_golden(f"compare-load-{made[0]}.md", report.render(made[1]))

    def test_everything(self) -> None:
        same_as_golden("compare-load-same-all.txt", shown(load_comparisons.same(), 100, everything=True))


class TestDecisions:
    def test_a_planted_change_of_memory_and_latency_is_found(self) -> None:
        found = load_comparisons.worse()
        for name in ("peak RSS", "throughput", "p50", "p95", "p99"):
            assert decided(found, name).direction == "worse"
        assert decided(found, "growth per request").decision == "no change seen"
        assert decided(found, "p50", "not-found").direction == "worse"

    def test_a_stack_against_itself_shows_no_change(self) -> None:
        found = load_comparisons.same()
        assert {one.decision for one in found.decided} == {"no change seen"}
        assert found.headline == "flask 3.1.2 → 3.1.3 under load: no change seen in any of 8 metrics."

    def test_other_packages_and_yanked_releases_are_told(self) -> None:
        sides = (side(release="3.11.13"), side(release="3.11.14", yanked="Regression"))
        apart = [Difference("multidict", "6.1.0", "6.2.0", "aiohttp 3.11.14 requires multidict>=6.2")]
        found = compare(*sides, runs(4), apart)
        assert found.headline.endswith("aiohttp 3.11.14 is yanked: Regression.")
        assert "multidict 6.1.0 → 6.2.0: aiohttp 3.11.14 requires multidict>=6.2" in shown(found)

    def test_no_whole_round_says_nothing(self) -> None:
        found = compare(*SIDES, runs(4)[:2], stopped="the worker died")
        assert (found.rounds, found.stopped) == (0, "the worker died")
        assert {one.decision for one in found.decided} == {"inconclusive"}
        assert "! stopped early: the worker died" in shown(found)


class TestReadings:
    def test_with_gc_off_what_is_left_counts_and_no_pauses(self) -> None:
        found = {metric.name: amount for metric, amount in metrics.readings(measured()).items()}
        assert found["objects left per request"] == 31.25
        assert "gc pause per 1000 requests" not in found

    def test_with_a_collector_what_is_leaked_counts_and_its_pauses(self) -> None:
        found = {metric.name: amount for metric, amount in metrics.readings(measured(gc="on")).items()}
        assert found["objects leaked per request"] == 0
        assert found["gc pause per 1000 requests"] == pytest.approx(0.04 * 1000 / 3450, rel=0.1)

    def test_what_is_not_known_is_no_reading(self) -> None:
        bare = measured(peak_rss_bytes=None, tree_peak_bytes=None, growth=None, survivors_per_request=None)
        overall = [metric.name for metric in metrics.readings(bare) if metric.scenario is None]
        assert overall == ["throughput", "p50", "p95", "p99"]

    def test_percentiles_need_requests_beyond_them(self) -> None:
        found = [(m.scenario, m.name) for m in metrics.readings(measured()) if m.scenario]
        assert [name for scenario, name in found if scenario == "ok"] == ["p50", "p95", "p99"]
        assert [name for scenario, name in found if scenario == "not-found"] == ["p50", "p95"]
        assert [name for scenario, name in found if scenario == "stream-error"] == ["p50"]


@pytest.mark.parametrize(
    ("metric", "interval", "change", "said"),
    [
        (metrics.THROUGHPUT, Interval(0.0512, 0.039, 0.0631), "+5.1 %", "+3.9 to +6.3 %"),
        (metrics.THROUGHPUT, Interval(-0.00001, -0.01, 12.3), "0 %", "-1.0 to +1230 %"),
        (metrics.GROWTH, Interval(95, -33, 2048), "+95 B", "-33 B to +2.0 KiB"),
        (metrics.PAUSES, Interval(0.0012, 0, 0.004), "+1.2 ms", "0 to +4 ms"),
        (metrics.SURVIVORS, Interval(-0.5, -1, 0), "-0.5", "-1 to 0"),
    ],
)
def test_changes_are_written_with_their_unit_once(
    metric: Metric, interval: Interval, change: str, said: str
) -> None:
    assert (difference(metric, interval.change), bounds(metric, interval)) == (change, said)


def test_values_are_written_with_their_unit() -> None:
    assert value(metrics.THROUGHPUT, 812.3) == "812/s"
    assert value(metrics.THROUGHPUT, 12.34) == "12.3/s"
    assert value(metrics.memory("peak RSS"), 64 * 1024**2) == "64.0 MiB"
    assert value(metrics.latency("p50"), 0.00421) == "4.21 ms"


def test_the_document_says_what_it_was_made_from() -> None:
    made = runs(4)
    document = LoadComparisonDocument(
        provenance=provenance([one.stack for one in SIDES]),
        comparisons=(compare(*SIDES, made),),
        runs=(tuple(made),),
    )
    again = msgspec.json.decode(document.to_json(), type=LoadComparisonDocument)
    assert again == document
    assert compare(*SIDES, again.runs[0]) == document.comparisons[0]
    assert again.runs[0][0].turn == Turn(1, "before")
    assert "LoadComparison" in json_schema()["$defs"]
