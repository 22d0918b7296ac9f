"""The statements of a report: a reader's questions, each with a short answer. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from outlive.comparison.cells import BASELINE, Row
from outlive.comparison.headline import Sentence, figure, one_paragraph, policies, withdrawn
from outlive.comparison.lines import LEAST_ERROR, gaps
from outlive.comparison.noisy.load import said
from outlive.comparison.pair import BothMeasurements, Comparison
from outlive.comparison.sizes import LARGE, NEGLIGIBLE, Rates
from outlive.records.measurement import CONNECTIONS, origin
from outlive.releases.claims import Changelog
from outlive.reports import repeat
from outlive.reports.claims import Held
from outlive.reports.evidence import Evidence
from outlive.reports.remedies import ReliefDocument
from outlive.reports.verdict import ADVICE, SCOPE, SURE, Judged, Judgement, Verdict
from outlive.wording import capital, counted, listed, number, one_line, step

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
    """One question and its answer; a long answer is a list of sentences, too."""

    question: str
    answer: str
    sentences: tuple[Sentence, ...] = ()

    @classmethod
    def of(cls, question: str, sentences: Sequence[Sentence]) -> Answer:
        """Return an answer that is a list."""
        return cls(question, f"{capital(one_paragraph(sentences))}.", tuple(sentences))

    @property
    def lines(self) -> tuple[str, ...]:
        """The answer as lines: of a list, a head or a point that starts with a dash."""
        listing = tuple(
            line
            for sentence in self.sentences
            for line in (sentence.head, *(f"- {point}" for point in sentence.points))
        )
        return listing if len(listing) > 1 else (self.answer,)


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """The sentences of a report. All renderings draw these and add none.

    `policies` has a line for each gc policy, the one that leads first. `origin` says what was measured here.
    `stay` is advice for those who do not upgrade. `claims` says which changelogs were read. `repeat` is the
    command that makes the report again, `repeat_load` the command that compares under load.
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


class Upgrade(msgspec.Struct, frozen=True, kw_only=True):
    """The subject of the sentences. None means unknown."""

    evidence: Evidence
    comparison: Comparison
    judgement: Judgement
    relief: ReliefDocument | None
    changelogs: tuple[Changelog, ...] | None
    held: tuple[Held, ...]
    rates: Rates


def say(upgrade: Upgrade) -> Said:
    """Return the statements about an upgrade."""
    overall, comparison, evidence = upgrade.judgement.overall, upgrade.comparison, upgrade.evidence
    pythons = (comparison.before.stack.python, comparison.after.stack.python)
    return Said(
        verdict=overall.verdict,
        means=MEANS[overall.verdict],
        because=_because(upgrade),
        policies=tuple(
            f"with gc {policy.gc}: {policy.judged.verdict}: {policy.judged.because}"
            for policy in upgrade.judgement.policies
        ),
        changes=comparison.headline.removeprefix(f"{comparison.subject}: "),
        era=evidence.era or "",
        sizes=(
            f"MiB per hour is an estimate at {upgrade.rates}, with all failures of one kind: less than "
            f"{number(NEGLIGIBLE)} is negligible, {number(LARGE)} or more is large."
        ),
        scope=_scope(evidence.measurements),
        python=evidence.python or f"Python {step(*pythons)}.",
        origin=_origin(evidence),
        answers=_answers(upgrade),
        stay=_stay(upgrade),
        claims=_claims_note(upgrade),
        repeat=" ".join([repeat.exact(evidence, comparison), *upgrade.rates.words]),
        repeat_load=repeat.under_load(evidence, comparison),
    )


def _scope(both: BothMeasurements) -> str:
    """Return the scope of the verdict, with the sensitivity of the coarsest measurement."""
    sensitivities = [m.sensitivity for m in (*both.before, *both.after) if m.status == "measured"]
    return SCOPE.format(SURE.format(min(sensitivities)) if sensitivities else "")


def _origin(evidence: Evidence) -> str:
    """Return what was measured here."""
    sides, loads = evidence.measurements, evidence.loads
    cells = [m.published for m in (*sides.before, *sides.after) if m.status == "measured"]
    tests = [test.published for test in (*loads.before, *loads.after)]
    return " ".join(filter(None, (origin(cells), origin(tests, "load test"))))


def _answers(upgrade: Upgrade) -> tuple[Answer, ...]:
    """Return the questions that decide on an upgrade, with their answers."""
    rows = [row for row in upgrade.comparison.rows if row.decides]
    better = [row for row in rows if row.direction == "better"]
    worse = [row for row in rows if row.direction == "worse"]
    return (
        Answer("Is it safe?", _safe(upgrade)),
        Answer.of("What improves?", examples(better) or [Sentence(("nothing that was measured improves",))]),
        Answer.of("What does not?", [*examples(worse), *_not_better(rows, worse)]),
        _paths(better, worse),
        _loaded(upgrade),
        Answer("Is it withdrawn?", _withdrawn(upgrade)),
        Answer("And if I cannot upgrade?", " ".join(filter(None, [_stay(upgrade), _remedy(upgrade)]))),
        Answer("How sure is this?", " ".join(_sure(upgrade))),
    )


def _because(upgrade: Upgrade) -> str:
    """Return why the verdict is what it is, as a sentence."""
    judged = upgrade.judgement.overall
    if judged.verdict == "WITHDRAWN":
        return f"{judged.because}."
    return f"With gc {upgrade.judgement.leads}, {judged.because}."


def _stay(upgrade: Upgrade) -> str:
    """Return the setting for those who stay with the release before."""
    before = [row for row in upgrade.comparison.rows if row.scenario != BASELINE and row.decides]
    if leaking := _leaking(upgrade):
        names = listed(leaking, MOST_EXAMPLES)
        return (
            "Restart workers after a number of requests (max_requests): no collection frees the leak in "
            f"{names}."
        )
    if any(row.gc == "off" and row.before.objects > 0 for row in before):
        return "Keep the collector on: it frees everything that is left."
    if before:
        return "Nothing to do: it leaves nothing behind."
    return "Not known: no scenario that fails was measured."


def _remedy(upgrade: Upgrade) -> str:
    """Return the remedy that helps most, as a sentence, or "" if none is known."""
    if upgrade.relief is None or upgrade.relief.relief.advice.remedy is None:
        return ""
    relief = upgrade.relief.relief
    name, effect = one_line(relief.advice.remedy or ""), one_line(relief.advice.reasons[0])
    clause = f"{name} helps most with gc off: {effect}, on Python {relief.python}."
    if relief.is_about(upgrade.comparison.before.stack):
        return f"Of the remedies, {clause}"
    if _leaking(upgrade):  # a remedy measured without the leak proves nothing about it
        return ""
    return f"Of the remedies measured for {one_line(relief.release)}, {clause}"


def _leaking(upgrade: Upgrade) -> list[str]:
    """Return the scenarios in which the release before leaks."""
    rows = upgrade.comparison.rows
    return list(dict.fromkeys(row.scenario for row in rows if row.before.kind == "leak" and row.decides))


def examples(rows: Sequence[Row]) -> list[Sentence]:
    """Return the largest changes with each gc policy; scenarios that change alike share one."""
    sentences = []
    for gc in policies(rows):
        own = [row for row in rows if row.gc == gc]
        own.sort(key=lambda row: (-abs(row.size.change if row.size else 0), -abs(row.change)))
        alike: dict[str, list[str]] = {}
        for scenario in dict.fromkeys(row.scenario for row in own):
            change = figure([row for row in own if row.scenario == scenario])
            alike.setdefault(change, []).append(scenario)
        clauses = [f"{listed(names, MOST_EXAMPLES)} ({change})" for change, names in alike.items()]
        if hidden := sum(map(len, list(alike.values())[MOST_EXAMPLES:])):
            clauses[MOST_EXAMPLES:] = [counted(hidden, "other scenario")]
        sentences.append(Sentence(tuple(clauses), f"with gc {gc}"))
    return sentences


def _safe(upgrade: Upgrade) -> str:
    judgement = upgrade.judgement
    judged, evidence = judgement.overall, judgement.evidence
    if judged.verdict == "WITHDRAWN":
        instead = f"Take {judgement.nearest} instead. " if judgement.nearest else ""
        return f"No, it is withdrawn. {instead}On memory alone: {evidence.verdict.lower()}."
    if judged.verdict == "NOT ENOUGH DATA":
        return "Not known."
    others = [policy for policy in judgement.policies if policy.gc != judgement.leads]
    sentences = [f"With gc {policy.gc}, {_safety(policy.judged)}" for policy in others]
    return " ".join([f"With gc {judgement.leads}, {_safety(judged)}", *sentences])


def _safety(judged: Judged) -> str:
    """Return whether an upgrade is safe with one gc policy, and what to set; `Said.policies` say why."""
    if judged.verdict == "NOT ENOUGH DATA":
        return "that is not known."
    answer = f"{'yes' if judged.verdict in FINE else 'no'}, as far as memory goes."
    return " ".join([answer, *(f"{capital(ADVICE[setting])}." for setting in judged.settings)])


def _not_better(rows: Sequence[Row], worse: Sequence[Row]) -> Iterator[Sentence]:
    """Yield what leaks and what is left after the upgrade."""
    off = [row for row in rows if row.gc == "off" and row.scenario != BASELINE and row.after.objects > 0]
    leaking = [row for row in rows if row.after.kind == "leak"]
    if leaking:
        names = listed(list(dict.fromkeys(row.scenario for row in leaking)), MOST_EXAMPLES)
        yield Sentence((f"these leak, whatever the collector does: {names}",))
    if off:
        top = max(off, key=lambda row: row.after.objects)
        frees = "" if leaking else "; a collection frees all of it"
        left = f"{counted(top.after.objects, 'object')} per request ({top.scenario})"
        yield Sentence((f"it leaves up to {left}{frees}",), "with gc off")
    if not worse and not off and not leaking:
        nothing = "nothing is left behind in any scenario, even with gc off"
        yield Sentence((nothing if rows else "nothing was measured",))


def _paths(better: Sequence[Row], worse: Sequence[Row]) -> Answer:
    """Return where something changes: what got worse comes first, as everywhere."""
    sentences = []
    for name, rows in (("worse", worse), ("better", better)):
        places = _places(rows)
        if len(places) > 1:
            sentences.append(Sentence(places, name))
        elif places:
            sentences.append(Sentence((f"{name} {places[0]}",)))
    return Answer.of("On which path?", sentences or [Sentence(("on no measured path",))])


def _places(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the scenarios, grouped by the connections and gc policies for which they changed."""
    by_cells: dict[str, list[str]] = {}
    for name in dict.fromkeys(row.scenario for row in rows):
        changes = [row for row in rows if row.scenario == name]
        connections = {row.connection for row in changes}
        cells = (
            f"{listed([kind for kind in CONNECTIONS if kind in connections])}, gc {listed(policies(changes))}"
        )
        by_cells.setdefault(f"on {cells}", []).append(name)
    return tuple(f"{cells}: {listed(names)}" for cells, names in by_cells.items())


def _withdrawn(upgrade: Upgrade) -> str:
    before, after = (side.release for side in (upgrade.comparison.before, upgrade.comparison.after))
    texts = [f"Yes: {text}" for text in withdrawn([after])] or [f"No, {after} is not."]
    if upgrade.judgement.nearest:
        texts.append(f"The nearest release that is not withdrawn: {upgrade.judgement.nearest}")
    if before.yanked and before != after:
        texts += withdrawn([before])
    return " ".join(map(_sentence, texts))


def _loaded(upgrade: Upgrade) -> Answer:
    sentences = [said(comparison) for comparison in upgrade.evidence.loads.comparisons]
    nothing = "no comparison under load was made, so this says nothing about speed"
    return Answer.of("And under load?", sentences or [Sentence((nothing,))])


def _sure(upgrade: Upgrade) -> Iterator[str]:
    comparison, judgement = upgrade.comparison, upgrade.judgement
    yield (
        f"Objects were counted{_errors(comparison.rows)} on both sides, in {judgement.measured} of "
        f"{counted(judgement.wanted, 'cell')}."
    )
    yield from _equal(comparison)
    for gap in gaps(comparison):
        if "unsupported on both sides" not in gap.title:
            yield f"{_sentence(gap.title)}"
    yield "Costs are estimates, accurate to about a quarter."


def _equal(comparison: Comparison) -> Iterator[str]:
    """Yield how many packages were held equal, which were not, and whose own a change is."""
    apart = [str(difference) for difference in comparison.differences if not difference.asked]
    changes = any(row.direction != "same" for row in comparison.rows)
    varied = _varied(comparison)
    equal = counted(len(comparison.held_equal), "other package")
    own = f", so what changes is due to {varied[0]}" if changes and len(varied) == 1 and not apart else ""
    yield f"{equal} {'was' if len(comparison.held_equal) == 1 else 'were'} held equal{own}."
    if apart:
        effect = ", and may contribute to what changes" if changes else ""
        yield f"{listed(apart)} {'was' if len(apart) == 1 else 'were'} not{effect}."


def _varied(comparison: Comparison) -> list[str]:
    """Return what is not the same on both sides because a stack names it."""
    before, after = comparison.before.stack, comparison.after.stack
    named = [difference.package for difference in comparison.differences if difference.asked]
    if (before.framework, before.release) != (after.framework, after.release):
        named.insert(0, after.framework)
    if before.python != after.python:
        named.append("Python")
    if before.practice != after.practice:
        named.append("the practice")
    return named


def _errors(rows: Iterable[Row]) -> str:
    """Return the scenarios whose counts are not exact, with their largest errors."""
    errors: dict[str, float] = {}
    for row in rows:
        error = max(side.amounts["objects"].error for side in (row.before, row.after))
        if error >= LEAST_ERROR:
            errors[row.scenario] = max(error, errors.get(row.scenario, 0.0))
    if not errors:
        return " exactly"
    names = [f"{name} (within {number(round(error, 1))})" for name, error in errors.items()]
    return f" exactly, except {listed(names, MOST_EXAMPLES)},"


def _sentence(text: str) -> str:
    line = one_line(text)
    return line if line.endswith((".", "…")) else f"{line}."


def _claims_note(upgrade: Upgrade) -> str:
    """Return which changelogs were read, and which are not available."""
    framework = upgrade.comparison.after.stack.framework
    if upgrade.changelogs is None:
        return f"No changelog of {framework} has been read: `outlive releases claims {framework}` reads them."
    if not upgrade.changelogs:
        return "There is no release in between, so there is no changelog to check."
    lost = [log for log in upgrade.changelogs if log.source is None]
    sources = sorted({log.source for log in upgrade.changelogs if log.source})
    count = counted(len(upgrade.changelogs) - len(lost), "release")
    text = f"Changelogs of {count} were read, in {listed(sources)}." if sources else ""
    if not upgrade.held:
        text += " None of their entries mentions leaks, cycles, references, memory or garbage."
    for log in lost:
        text += f" {log.release}: no changelog is available, {one_line(log.reason or '')}."
    return text.strip()
