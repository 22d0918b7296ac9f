"""What a reader of a report asks, and the answers in a sentence each. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from outlive.comparison.cells import BASELINE, Row
from outlive.comparison.headline import withdrawn
from outlive.comparison.lines import gaps, step_text
from outlive.comparison.noisy.load import said
from outlive.comparison.pair import BothMeasurements, Comparison, Side
from outlive.comparison.sizes import LARGE, NEGLIGIBLE, Rates
from outlive.records.measurement import origin
from outlive.releases.claims import Changelog
from outlive.reports.claims import Held
from outlive.reports.evidence import Evidence
from outlive.reports.remedies import ReliefDocument
from outlive.reports.verdict import ADVICE, SCOPE, SURE, Judged, Judgement, Verdict
from outlive.wording import NO_VERSION, capital, counted, listed, number, one_line, step

MOST_EXAMPLES = 4
MEANS: dict[Verdict, str] = {
    "UPGRADE": "It leaves less memory behind, and nothing got worse.",
    "UPGRADE WITH A SETTING": "It leaves less behind, and a setting contains what remains.",
    "NO REASON EITHER WAY": "Memory after failed requests gives no reason for or against it.",
    "HOLD": "Judged by memory after failed requests, wait.",
    "WITHDRAWN": "Its authors have withdrawn this release from the package index.",
    "NOT ENOUGH DATA": "Too little was measured on both sides to say.",
}
FINE: tuple[Verdict, ...] = ("UPGRADE", "UPGRADE WITH A SETTING", "NO REASON EITHER WAY")


class Answer(msgspec.Struct, frozen=True):
    """One question and its answer."""

    question: str
    answer: str


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """All that a report says in sentences; every rendering draws these and none has words of its own.

    `policies` has a line for each gc policy, the one that leads first. `origin` says what was measured here.
    `stay` is for those who do not, `claims` about the changelogs that were read.
    `repeat` is the command that makes the report again, `repeat_load` the one that compares under load.
    """

    verdict: Verdict
    means: str
    because: str
    policies: tuple[str, ...]
    changes: str
    era: str
    sizes: str
    scope: str
    python: str
    origin: str
    answers: tuple[Answer, ...]
    stay: str
    claims: str
    repeat: str
    repeat_load: str


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What the sentences are about. None: not known."""

    evidence: Evidence
    comparison: Comparison
    judgement: Judgement
    relief: ReliefDocument | None
    changelogs: tuple[Changelog, ...] | None
    held: tuple[Held, ...]
    rates: Rates


def say(report: Known) -> Said:
    """Return what is said."""
    overall, comparison, evidence = report.judgement.overall, report.comparison, report.evidence
    pythons = (comparison.before.stack.python, comparison.after.stack.python)
    repeat = evidence.command or f"outlive report {_pair(comparison)} --fresh"
    return Said(
        verdict=overall.verdict,
        means=MEANS[overall.verdict],
        because=_because(report),
        policies=tuple(
            f"with gc {one.gc}: {one.judged.verdict}: {one.judged.because}"
            for one in report.judgement.policies
        ),
        changes=comparison.headline.removeprefix(f"{comparison.subject}: "),
        era=evidence.era or "",
        sizes=(
            f"MiB per hour is an estimate at {report.rates}, with all failures of one kind: less than "
            f"{number(NEGLIGIBLE)} is negligible, {number(LARGE)} or more is large."
        ),
        scope=_scope(evidence.measurements),
        python=evidence.python or f"Python {step(*pythons)}.",
        origin=_origin(evidence),
        answers=_answers(report),
        stay=_stay(report),
        claims=_claims_note(report),
        repeat=" ".join([repeat, *report.rates.words]),
        repeat_load=_repeat_load(report),
    )


def _scope(both: BothMeasurements) -> str:
    """Return what is judged, with the sensitivity of the coarsest measurement."""
    measured = [m.sensitivity for m in (*both.before, *both.after) if m.status == "measured"]
    return SCOPE.format(SURE.format(min(measured)) if measured else "")


def _origin(evidence: Evidence) -> str:
    """Return what was measured here."""
    sides, loads = evidence.measurements, evidence.loads
    cells = [m.published for m in (*sides.before, *sides.after) if m.status == "measured"]
    tests = [test.published for test in (*loads.before, *loads.after)]
    return " ".join(filter(None, (origin(cells), origin(tests, "load test"))))


def _answers(report: Known) -> tuple[Answer, ...]:
    """Return the questions that decide on an upgrade, with what the report says to them."""
    rows = [row for row in report.comparison.rows if row.decides]
    better = [row for row in rows if row.direction == "better"]
    worse = [row for row in rows if row.direction == "worse"]
    return (
        Answer("Is it safe?", _safe(report)),
        Answer("What improves?", f"{examples(better)}." if better else "Nothing that was measured improves."),
        Answer("What does not?", " ".join(_not_better(rows, worse))),
        Answer("On which path?", _paths(better, worse)),
        Answer("And under load?", " ".join(_loaded(report))),
        Answer("Is it withdrawn?", _withdrawn(report)),
        Answer("And if I cannot upgrade?", " ".join(filter(None, [_stay(report), _remedy(report)]))),
        Answer("How sure is this?", " ".join(_sure(report))),
    )


def _because(report: Known) -> str:
    """Return why the verdict is what it is, as a sentence."""
    judged = report.judgement.overall
    if judged.verdict == "WITHDRAWN":
        return f"{judged.because}."
    return f"With gc {report.judgement.leads}, {judged.because}."


def _stay(report: Known) -> str:
    """Return which setting those who stay with the release before take."""
    before = [row for row in report.comparison.rows if row.scenario != BASELINE and row.decides]
    if leaking := _leaking(report):
        names = listed(leaking, MOST_EXAMPLES)
        return (
            "Restart workers after a number of requests (max_requests): no collection frees the leak in "
            f"{names}."
        )
    if any(row.gc == "off" and row.before.objects > 0 for row in before):
        return "Keep the collector on: it frees everything that is left."
    return "Nothing to do: it leaves nothing behind." if before else "Not known: nothing was measured."


def _remedy(report: Known) -> str:
    """Return what is known of remedies, in a sentence; empty where nothing is."""
    if report.relief is None or report.relief.relief.advice.remedy is None:
        return ""
    relief = report.relief.relief
    name, effect = one_line(relief.advice.remedy or ""), one_line(relief.advice.reasons[0])
    does = f"{name} helps most with gc off: {effect}, on Python {relief.python}."
    if relief.is_about(report.comparison.before.stack):
        return f"Of the remedies, {does}"
    if _leaking(report):  # what helps a release without the leak says nothing about it
        return ""
    return f"Of the remedies measured for {one_line(relief.release)}, {does}"


def _leaking(report: Known) -> list[str]:
    """Return the scenarios in which the release before leaks."""
    rows = report.comparison.rows
    return list(dict.fromkeys(row.scenario for row in rows if row.before.kind == "leak" and row.decides))


def examples(rows: Iterable[Row]) -> str:
    """Return the largest changes in objects, one for each scenario, with what they are per hour."""
    most: dict[str, Row] = {}
    for row in sorted(rows, key=lambda row: (-abs(row.size.change if row.size else 0), -abs(row.change))):
        most.setdefault(row.scenario, row)
    texts = [
        f"{scenario} {step_text(row)} per request" + (f" ({row.size})" if row.size else "")
        for scenario, row in most.items()
    ]
    return listed(texts, MOST_EXAMPLES)


def _repeat_load(report: Known) -> str:
    """Return the command that compares under load: again, where that was done."""
    done = report.evidence.loads.comparisons
    policies = [one.deployment.gc for one in done] or ["on", "off"]
    words = [f"outlive compare {_pair(report.comparison)} --load", *(f"--gc {gc}" for gc in policies)]
    if done:
        sent = done[0].traffic
        words += [f"--user {sent.user} --connection {sent.connection} --clients {sent.clients}"]
        words += [f"--requests {sent.requests}"] if sent.requests else []
        words += [f"--rate {number(sent.rate)}"] if sent.rate else []
        words += [f"--rounds {done[0].rounds}", f"--worker {done[0].deployment.worker}"]
        words += [f"--scenario {shlex.quote(pattern)}" for pattern in sent.scenarios]
    return " ".join(words)


def _pair(comparison: Comparison) -> str:
    """Return the words that name both sides, and what was done to the app."""
    names = (comparison.after.stack.practice or "").split("+")
    return _stacks(comparison) + "".join(f" --with-practice {one_line(name)}" for name in names if name)


def _stacks(comparison: Comparison) -> str:
    sides = [_words(comparison, side) for side in (comparison.before, comparison.after)]
    framework = comparison.after.stack.framework
    if any("," in side for side in sides):
        return " ".join(sides)
    before, after = (side.removeprefix(f"{framework}==") for side in sides)
    return f"{framework} {before} {after} --python {comparison.after.stack.python}"


def _words(comparison: Comparison, side: Side) -> str:
    stack = side.stack
    asked = [one.package for one in comparison.differences if one.asked]
    pins = [str(package) for package in stack.packages if package.name in asked]
    python = (
        [f"python=={stack.python}"] if comparison.before.stack.python != comparison.after.stack.python else []
    )
    return ",".join([f"{stack.framework}=={stack.release}", *pins, *python])


def _safe(report: Known) -> str:
    judgement = report.judgement
    judged, evidence = judgement.overall, judgement.evidence
    if judged.verdict == "WITHDRAWN":
        instead = judgement.nearest
        take = f"Take {instead} instead. " if instead else ""
        return f"No, it is withdrawn. {take}On memory alone: {evidence.verdict.lower()}, {evidence.because}."
    if judged.verdict == "NOT ENOUGH DATA":
        return f"Not known: {judged.because}."
    said = f"With gc {judgement.leads}, {_yes(judged)}"
    others = [one for one in judgement.policies if one.gc != judgement.leads]
    return " ".join([said, *(f"With gc {one.gc}, {_yes(one.judged)}" for one in others)])


def _yes(judged: Judged) -> str:
    """Return whether it is safe with one gc policy, why, and what to set."""
    if judged.verdict == "NOT ENOUGH DATA":
        return f"that is not known: {judged.because}."
    said = f"{'yes' if judged.verdict in FINE else 'no'}, as far as memory goes: {judged.because}."
    settings = [ADVICE[setting] for setting in judged.settings]
    return f"{said} {capital(listed(settings))}." if settings else said


def _not_better(rows: Sequence[Row], worse: Sequence[Row]) -> Iterator[str]:
    if worse:
        yield f"{examples(worse)}."
    off = [row for row in rows if row.gc == "off" and row.scenario != BASELINE and row.after.objects > 0]
    leaking = [row for row in rows if row.after.kind == "leak"]
    if leaking:
        names = listed(list(dict.fromkeys(row.scenario for row in leaking)), MOST_EXAMPLES)
        yield f"These leak, whatever the collector does: {names}."
    if off:
        top = max(off, key=lambda row: row.after.objects)
        frees = "" if leaking else "; a collection frees all of it"
        yield (
            f"With gc off it leaves up to {number(top.after.objects)} objects per request "
            f"({top.scenario}){frees}."
        )
    if not worse and not off and not leaking:
        yield "Nothing is left behind in any scenario, even with gc off." if rows else "Nothing was measured."


def _paths(better: Sequence[Row], worse: Sequence[Row]) -> str:
    said = [f"{name}: {_where(rows)}" for name, rows in (("Better", better), ("Worse", worse)) if rows]
    return ". ".join(said) + "." if said else "On no measured path."


def _where(rows: Sequence[Row]) -> str:
    """Return scenarios by the connections and gc policies for which they changed."""
    by_cells: dict[str, list[str]] = {}
    for name in dict.fromkeys(row.scenario for row in rows):
        own = [row for row in rows if row.scenario == name]
        connections = listed(list(dict.fromkeys(row.connection for row in own)))
        policies = listed(list(dict.fromkeys(row.gc for row in own)))
        by_cells.setdefault(f"on {connections} connections, gc {policies}", []).append(name)
    return "; ".join(f"{listed(names)} {cells}" for cells, names in by_cells.items())


def _withdrawn(report: Known) -> str:
    before, after = (side.release for side in (report.comparison.before, report.comparison.after))
    said = [f"Yes: {one}" for one in withdrawn([after])] or [f"No, {after} is not."]
    if report.judgement.nearest:
        said.append(f"The nearest release that is not withdrawn: {report.judgement.nearest}")
    if before.yanked and before != after:
        said += withdrawn([before])
    return " ".join(_sentence(one) for one in said)


def _loaded(report: Known) -> Iterator[str]:
    for one in report.evidence.loads.comparisons:
        yield f"With gc {one.deployment.gc}, {counted(one.rounds, 'round')}: {said(one)}."
    if not report.evidence.loads.comparisons:
        yield "No comparison under load was made, so this says nothing about speed."


def _sure(report: Known) -> Iterator[str]:
    comparison, judgement = report.comparison, report.judgement
    yield (
        f"Objects were counted{_errors(comparison.rows)} on both sides, in {judgement.measured} of "
        f"{counted(judgement.wanted, 'cell')}."
    )
    apart = [
        f"{one.package} {one.before or NO_VERSION} → {one.after or NO_VERSION}"
        for one in comparison.differences
        if not one.asked
    ]
    equal = counted(len(comparison.held_equal), "package")
    if apart:
        yield f"{equal} held equal, except {listed(apart)}, which contribute to the change."
    else:
        yield f"{equal} held equal, so what changes is {comparison.subject.partition(' ')[0]}'s own."
    for gap in gaps(comparison):
        if "unsupported on both sides" not in gap.title:
            yield f"{_sentence(gap.title)}"
    yield "Costs are estimates, accurate to about a quarter."


def _errors(rows: Iterable[Row]) -> str:
    """Return in which scenarios counts are not exact, and how far off they may be."""
    found: dict[str, float] = {}
    for row in rows:
        error = max(side.amounts["objects"].error for side in (row.before, row.after))
        if error:
            found[row.scenario] = max(error, found.get(row.scenario, 0.0))
    if not found:
        return " exactly"
    names = [f"{name} (within {number(round(error, 1))})" for name, error in found.items()]
    return f" exactly, except {listed(names, MOST_EXAMPLES)},"


def _sentence(text: str) -> str:
    line = one_line(text)
    return line if line.endswith((".", "…")) else f"{line}."


def _claims_note(report: Known) -> str:
    """Return which changelogs were read, and where none could be had."""
    framework = report.comparison.after.stack.framework
    if report.changelogs is None:
        return f"No changelog of {framework} has been read: `outlive releases claims {framework}` reads them."
    if not report.changelogs:
        return "There is no release in between, so there is no changelog to check."
    lost = [log for log in report.changelogs if log.source is None]
    found = sorted({log.source for log in report.changelogs if log.source})
    count = counted(len(report.changelogs) - len(lost), "release")
    said = f"Changelogs of {count} were read, in {listed(found)}." if found else ""
    if not report.held:
        said += " None of their entries mentions leaks, cycles, references, memory or garbage."
    for log in lost:
        said += f" {log.release}: no changelog is available, {one_line(log.reason or '')}."
    return said.strip()
