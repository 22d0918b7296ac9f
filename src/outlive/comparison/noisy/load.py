"""A load comparison: what changes between two stacks under load, from rounds of noisy numbers. Pure.

`noise` decides each metric, `rounds` has the order of the runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from outlive.comparison.headline import Sentence, subject, withdrawn
from outlive.comparison.noisy.metrics import readings
from outlive.comparison.noisy.noise import Decided, decide
from outlive.comparison.noisy.noise_text import changed_by, title
from outlive.comparison.noisy.rounds import Turn, samples
from outlive.comparison.pair import Compared, Side, held_equal
from outlive.files import JsonDocument
from outlive.records import plausible
from outlive.records.load import Deployment, Histogram, LoadMeasurement, Traffic, summed
from outlive.records.measurement import Provenance
from outlive.records.stack import Difference
from outlive.wording import counted, listed

MOST_NAMES = 3


class Run(msgspec.Struct, frozen=True):
    """One load test of a comparison: whose turn it was, and its result."""

    turn: Turn
    measurement: LoadMeasurement


class LoadComparison(Compared, frozen=True, kw_only=True):
    """What changes from `before` to `after` under load.

    `rounds` is the number of complete rounds; `stopped` says why there are fewer than asked for. `warnings`
    are what a reader of the numbers must know.
    """

    deployment: Deployment
    traffic: Traffic
    rounds: int
    stopped: str | None
    warnings: tuple[str, ...]
    decided: tuple[Decided, ...]


class LoadComparisonDocument(JsonDocument, frozen=True, kw_only=True):
    """One JSON document of load comparisons, one for each gc policy, with all runs that they come from."""

    provenance: Provenance
    comparisons: tuple[LoadComparison, ...]
    runs: tuple[tuple[Run, ...], ...]


def compare(
    before: Side,
    after: Side,
    runs: Sequence[Run],
    differences: Sequence[Difference] = (),
    *,
    stopped: str | None = None,
) -> LoadComparison:
    """Return the comparison that one or more runs, all of one deployment and traffic, result in.

    `stopped` says why there are fewer runs than asked for, if so.
    """
    measured = [run for run in runs if run.measurement.status == "measured"]
    compared = samples([(run.turn, readings(run.measurement)) for run in measured])
    decided = decide(compared)
    about = subject(before.stack, after.stack, differences)
    claims = f"{about} under load: {'; '.join(claimed(decided))}"
    sentences = [claims, *withdrawn((before.release, after.release))]
    first = runs[0].measurement
    return LoadComparison(
        subject=about,
        headline=f"{'. '.join(sentences)}.",
        before=before,
        after=after,
        held_equal=held_equal(before.stack, after.stack),
        differences=tuple(differences),
        deployment=first.deployment,
        traffic=first.traffic,
        rounds=max((len(group.rounds) for group in compared), default=0),
        stopped=stopped,
        warnings=tuple(_warnings([run.measurement for run in measured])),
        decided=decided,
    )


def claimed(decided: Sequence[Decided]) -> Iterator[str]:
    """Yield what the rounds say, the worst first: the clauses of the headline."""
    overall = [result for result in decided if result.metric.scenario is None]
    single = [result for result in decided if result.metric.scenario is not None]
    if not overall:
        yield "no round is complete"
        return
    for direction in ("worse", "better"):
        if part := [result for result in overall if result.direction == direction]:
            changes = [f"{result.metric.name} {changed_by(result)}" for result in part]
            yield f"{direction}: {listed(changes)}"
        if part := [result for result in single if result.direction == direction]:
            names = listed(tuple(dict.fromkeys(str(result.metric.scenario) for result in part)), MOST_NAMES)
            yield f"{direction} in single scenarios: {names}"
    same = sum(result.decision == "no change seen" for result in overall)
    if same == len(overall):
        yield f"no change seen in any of {counted(same, 'metric')}"
    elif same:
        yield f"no change seen in {same} of {counted(len(overall), 'metric')}"
    if part := [result for result in overall if result.decision == "inconclusive"]:
        yield f"inconclusive: {listed([title(result.metric) for result in part], MOST_NAMES)}"


def _warnings(measured: Sequence[LoadMeasurement]) -> Iterator[str]:
    runs = f"of {counted(len(measured), 'run')}"
    if busy := sum(run.generator_saturated for run in measured):
        yield f"in {busy} {runs} locust was the bottleneck, so throughput and latency are locust's"
    if wrong := sum(run.unexpected > 0 for run in measured):
        count = sum(run.unexpected for run in measured)
        yield f"in {wrong} {runs} there were unexpected answers, {count} in all"
    if late := sum(run.unsent > 0 for run in measured):
        yield f"in {late} {runs} requests came due while no client was free"
    if again := sum(run.restarts > 0 for run in measured):
        yield f"in {again} {runs} workers were restarted"


class Loads(msgspec.Struct, frozen=True, kw_only=True):
    """All load tests of both sides; `before` and `after` have tests of the same kinds, in the same order."""

    comparisons: tuple[LoadComparison, ...] = ()
    before: tuple[LoadMeasurement, ...] = ()
    after: tuple[LoadMeasurement, ...] = ()

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.comparisons or self.before)


def faults(loads: Loads) -> Iterator[str]:
    """Yield a line for each thing that stored load tests cannot contain unless they are damaged."""
    if len(loads.before) != len(loads.after):
        yield "its load tests are not in pairs"
    if any(not sum(count for _, count in latencies(test)) for test in (*loads.before, *loads.after)):
        yield "a load test has no latencies"
    yield from plausible.faults(loads)


def said(comparison: LoadComparison) -> Sentence:
    """Return what the rounds say: the headline, with the gc policy, without what is said of the releases."""
    lead = f"with gc {comparison.deployment.gc}, {counted(comparison.rounds, 'round')}"
    return Sentence(tuple(claimed(comparison.decided)), lead)


def latencies(measurement: LoadMeasurement) -> Histogram:
    """Return the latency histogram of all scenarios together."""
    return summed(traffic.histogram for traffic in measurement.scenarios)
