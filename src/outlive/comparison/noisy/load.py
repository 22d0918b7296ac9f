"""Load comparison: what changes between two stacks under load, from rounds of noisy numbers. Pure.

How each metric is decided is in `noise`, the order of the rounds in `rounds`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from outlive.comparison.headline import subject, withdrawn
from outlive.comparison.noisy.metrics import readings
from outlive.comparison.noisy.noise import Decided, decide
from outlive.comparison.noisy.noise_text import changed_by, title
from outlive.comparison.noisy.rounds import Turn, samples
from outlive.comparison.pair import Compared, Side, held_equal
from outlive.files import SCHEMA_VERSION, JsonDocument
from outlive.records import plausible
from outlive.records.load import Deployment, LoadMeasurement, Traffic
from outlive.records.measurement import Provenance
from outlive.records.stack import Difference
from outlive.wording import counted, listed

MOST_NAMES = 3


class Run(msgspec.Struct, frozen=True):
    """One load test of a comparison: whose turn it was, and what it gave."""

    turn: Turn
    measurement: LoadMeasurement


class LoadComparison(Compared, frozen=True, kw_only=True):
    """What changes from `before` to `after` under load.

    `rounds` are those that are whole. `stopped` says why there are fewer than were asked for. `warnings` are
    what a reader of the numbers must know.
    """

    deployment: Deployment
    traffic: Traffic
    rounds: int
    stopped: str | None
    warnings: tuple[str, ...]
    decided: tuple[Decided, ...]


class LoadComparisonDocument(JsonDocument, frozen=True, kw_only=True):
    """One JSON document of load comparisons, one for each gc policy, with everything they were made from."""

    schema_version: int = SCHEMA_VERSION
    provenance: Provenance
    comparisons: tuple[LoadComparison, ...]
    runs: tuple[tuple[Run, ...], ...]


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a `LoadComparisonDocument`."""
    return msgspec.json.schema(LoadComparisonDocument)


def compare(
    before: Side,
    after: Side,
    runs: Sequence[Run],
    differences: Sequence[Difference] = (),
    *,
    stopped: str | None = None,
) -> LoadComparison:
    """Return the comparison that the runs give, of one deployment and traffic; there must be one at least.

    `stopped` says why they are fewer than were asked for, if they are.
    """
    measured = [run for run in runs if run.measurement.status == "measured"]
    found = samples([(run.turn, readings(run.measurement)) for run in measured])
    decided = decide(found)
    about = subject(before.stack, after.stack, differences)
    first = runs[0].measurement
    return LoadComparison(
        subject=about,
        headline=_headline(about, decided, before, after),
        before=before,
        after=after,
        held_equal=held_equal(before.stack, after.stack),
        differences=tuple(differences),
        deployment=first.deployment,
        traffic=first.traffic,
        rounds=max((len(one.rounds) for one in found), default=0),
        stopped=stopped,
        warnings=tuple(_warnings([run.measurement for run in measured])),
        decided=decided,
    )


def _headline(about: str, decided: Sequence[Decided], before: Side, after: Side) -> str:
    sentences = [
        f"{about} under load: {'; '.join(_claims(decided))}",
        *withdrawn((before.release, after.release)),
    ]
    return f"{'. '.join(sentences)}."


def _claims(decided: Sequence[Decided]) -> Iterator[str]:
    overall = [one for one in decided if one.metric.scenario is None]
    single = [one for one in decided if one.metric.scenario is not None]
    if not overall:
        yield "no round is whole, so nothing is known"
        return
    for direction in ("worse", "better"):
        if part := [one for one in overall if one.direction == direction]:
            said = [f"{one.metric.name} {changed_by(one)}" for one in part]
            yield f"{direction}: {listed(said)}"
        if part := [one for one in single if one.direction == direction]:
            names = listed(tuple(dict.fromkeys(str(one.metric.scenario) for one in part)), MOST_NAMES)
            yield f"{direction} in single scenarios: {names}"
    same = sum(one.decision == "no change seen" for one in overall)
    if same == len(overall):
        yield f"no change seen in any of {counted(same, 'metric')}"
    elif same:
        yield f"no change seen in {same} of {counted(len(overall), 'metric')}"
    if part := [one for one in overall if one.decision == "inconclusive"]:
        yield f"inconclusive: {listed([title(one.metric) for one in part], MOST_NAMES)}"


def _warnings(measured: Sequence[LoadMeasurement]) -> Iterator[str]:
    runs = f"of {counted(len(measured), 'run')}"
    if busy := sum(one.generator_saturated for one in measured):
        yield f"in {busy} {runs} locust was the bottleneck: throughput and latency are its own"
    if wrong := sum(one.unexpected > 0 for one in measured):
        count = sum(one.unexpected for one in measured)
        yield f"in {wrong} {runs} there were unexpected answers, {count} in all"
    if late := sum(one.unsent > 0 for one in measured):
        yield f"in {late} {runs} requests were due that no client was free to send"
    if again := sum(one.restarts > 0 for one in measured):
        yield f"in {again} {runs} workers were restarted"


class Loads(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of both sides under load; `before` and `after` have tests of the same kinds, in order."""

    comparisons: tuple[LoadComparison, ...] = ()
    before: tuple[LoadMeasurement, ...] = ()
    after: tuple[LoadMeasurement, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything is known."""
        return bool(self.comparisons or self.before)


def faults(loads: Loads) -> Iterator[str]:
    """Yield what no loads of ours can hold."""
    if len(loads.before) != len(loads.after):
        yield "its load tests are not in pairs"
    if any(not sum(count for _, count in latencies(test)) for test in (*loads.before, *loads.after)):
        yield "a load test has no latencies"
    yield from plausible.faults(loads)


def said(comparison: LoadComparison) -> str:
    """Return what the rounds say: the headline without what is said of the releases anyway."""
    text = comparison.headline.removeprefix(f"{comparison.subject} under load: ")
    for sentence in withdrawn((comparison.before.release, comparison.after.release)):
        text = text.replace(f". {sentence}", "")
    return text.rstrip(".")


def latencies(measurement: LoadMeasurement) -> tuple[tuple[float, int], ...]:
    """Return the histogram of all its scenarios: (upper bound in seconds, answers), lowest bound first."""
    counts: Counter[float] = Counter()
    for one in measurement.scenarios:
        counts.update(dict(one.histogram))
    return tuple(sorted(counts.items()))
