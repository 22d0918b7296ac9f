"""Relief: what each remedy does for a release, and which one to take.

What requests leave is exact, from replay with automatic collection off. The scenarios are weighted as a user
of the load tests mixes them, so the mean is what a request of that traffic leaves on average.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
from packaging.version import InvalidVersion, Version

from outlive.comparison.cells import BASELINE
from outlive.comparison.noisy.remedies import METRICS, Trial
from outlive.errors import FaultError
from outlive.files import JsonDocument, decode, write_text
from outlive.project import Project
from outlive.records import plausible
from outlive.records.measurement import Connection, Measurement, Provenance, StackRecord
from outlive.records.remedy import Kind, Remedy
from outlive.records.stack import PYTHON_NAME
from outlive.replay.store import own
from outlive.service.remedies import load as load_remedies
from outlive.wording import counted, does, listed, number, one_line, step


class Leftover(msgspec.Struct, frozen=True, kw_only=True):
    """What requests leave, in gc-tracked objects per request; `leaked` is the part that no collection frees.

    `scenarios` are counts by scenario; `mean` is weighted by their shares of the traffic. `clean` of the
    `failing` scenarios, in which something goes wrong, leave nothing. `kept` objects stay for good but do not
    grow with requests. `unmeasured` are the reasons by scenario.
    """

    mean: float
    leaked: float
    clean: int
    failing: int
    kept: int
    scenarios: dict[str, float]
    unmeasured: dict[str, str] = {}

    @property
    def worst(self) -> str:
        """The scenario that leaves the most."""
        return max(self.scenarios, key=lambda name: self.scenarios[name])


class RemedyRow(msgspec.Struct, frozen=True, kw_only=True):
    """What one remedy does or, if `remedy` is None, what requests leave without any.

    `left` is None if the remedy does not apply (`unsupported` says why), or does not change what requests
    leave but only what happens to it. `off` and `on` are the results of load tests with these gc policies, as
    changed by the remedy; None if the remedy does not affect the policy or no test was made.
    """

    remedy: str | None
    kind: Kind
    summary: str
    caution: str | None = None
    unsupported: str | None = None
    left: Leftover | None = None
    off: Trial | None = None
    on: Trial | None = None
    version: int = 1


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """The remedy to take, None if none is recommended, and the reasons."""

    remedy: str | None
    reasons: tuple[str, ...]


class Relief(msgspec.Struct, frozen=True, kw_only=True):
    """What remedies do for one release; the first row is the unchanged release.

    `published` is the same as in `Measurement` and never stored.
    """

    release: str
    python: str
    user: str
    connection: Connection
    rows: tuple[RemedyRow, ...]
    advice: Advice
    published: bool | msgspec.UnsetType = msgspec.UNSET

    def is_about(self, stack: StackRecord) -> bool:
        """Return whether it is about the stack's release, on any Python."""
        return self.release == f"{stack.framework} {stack.release}"


class ReliefDocument(JsonDocument, frozen=True, kw_only=True):
    """What remedies do for one release, as JSON."""

    provenance: Provenance
    relief: Relief


class Reliefs(msgspec.Struct, frozen=True):
    """All stored documents about a framework. `problems` says which files were refused, and why."""

    documents: tuple[ReliefDocument, ...] = ()
    problems: tuple[str, ...] = ()

    def about(self, stack: StackRecord) -> ReliefDocument | None:
        """Return the document about the stack's release, else about the newest one; None if there is none.

        Of several documents about one release, the one on the stack's Python is preferred, then the newest
        Python's.
        """

        def rank(document: ReliefDocument) -> tuple[bool, Version, bool, Version, str]:
            relief = document.relief
            return (
                relief.is_about(stack),
                Version(relief.release.rpartition(" ")[2]),
                relief.python == stack.python,
                Version(relief.python),
                document.provenance.created,
            )

        return max(self.documents, key=rank, default=None)


def stored(project: Project, framework: str) -> Reliefs:
    """Return all stored documents about a framework; an unreadable file is a problem, not an error.

    Raises UsageError if the framework's file of remedies is malformed.
    """
    remedies = load_remedies(project, framework)
    documents: list[ReliefDocument] = []
    problems: list[str] = []
    paths = {
        path.relative_to(results): path
        for results in reversed(project.results)
        for path in sorted((results / "remedies" / framework).glob("*/py*.json"))
    }
    for path in paths.values():
        try:
            document = decode(path, ReliefDocument)
            if path.is_relative_to(project.published):
                relief = msgspec.structs.replace(document.relief, published=True)
                document = msgspec.structs.replace(document, relief=relief)
            if fault := next(_faults(document, f"{framework} {path.parent.name}", path), None):
                raise FaultError(f"{path} is not about remedies: {fault}; remove it to measure again")
        except FaultError as error:
            problems.append(str(error))
        else:
            relief = reworded(document.relief, remedies)
            documents.append(msgspec.structs.replace(document, relief=relief))
    return Reliefs(tuple(documents), tuple(problems))


def reworded(relief: Relief, remedies: Iterable[Remedy]) -> Relief:
    """Return `relief` with today's advice and texts of `remedies`; those in the file are as old as it."""
    by_version = {(remedy.name, remedy.version): remedy for remedy in remedies}
    release = relief.release.rpartition(" ")[2]
    rows = tuple(
        msgspec.structs.replace(
            row,
            summary=remedy.summary,
            caution=remedy.caution,
            unsupported=row.unsupported and (remedy.against(release) or row.unsupported),
        )
        if (remedy := by_version.get((row.remedy or "", row.version)))
        else row
        for row in relief.rows
    )
    return msgspec.structs.replace(relief, rows=rows, advice=advise(rows))


def _faults(document: ReliefDocument, release: str, path: Path) -> Iterator[str]:
    """Yield what no document that outlive wrote to the file `path` can contain."""
    relief = document.relief
    if relief.release != release:
        yield f"it names {one_line(relief.release)!r}, its folder {release!r}"
    try:
        Version(relief.release.rpartition(" ")[2])
    except InvalidVersion:
        yield f"{one_line(relief.release)!r} is not a release"
    if not PYTHON_NAME.fullmatch(relief.python) or not path.name.startswith(f"py{relief.python}-"):
        yield f"{one_line(relief.python)!r} is not the Python that its name has"
    if not relief.rows or relief.rows[0].remedy is not None:
        yield "its first row is not the unchanged release"
    if not relief.advice.reasons:
        yield "its advice has no reasons"
    if any(not row.left.scenarios for row in relief.rows if row.left):
        yield "a row has no scenarios"
    trials = [trial for row in relief.rows for trial in (row.off, row.on) if trial]
    if any(len(trial.decided) not in {0, len(METRICS)} for trial in trials):
        yield "its load tests have other metrics"
    yield from plausible.faults(relief)


def path(results: Path, stack: StackRecord) -> Path:
    """Return the file about remedies for a stack, in a folder of results."""
    return results / "remedies" / stack.framework / stack.release / f"py{stack.python}-{stack.lock}.json"


def keep(project: Project, stack: StackRecord, document: ReliefDocument) -> None:
    """Write the document, unless the earlier one says the same.

    Raises FaultError if the file is no such document.
    """
    earlier = _stored(project, stack)
    if earlier is None or earlier.relief != document.relief:
        write_text(path(own(project, stack), stack), document.to_json())


def load(project: Project, stack: StackRecord, user: str, connection: Connection) -> tuple[RemedyRow, ...]:
    """Return the rows of an earlier document about the same user and connection, none if there is none.

    Raises FaultError if the file is no such document.
    """
    earlier = _stored(project, stack)
    if earlier is None or (earlier.relief.user, earlier.relief.connection) != (user, connection):
        return ()
    return earlier.relief.rows


def _stored(project: Project, stack: StackRecord) -> ReliefDocument | None:
    """Return the stored document about a stack: the user's own, else the published one."""
    for results in dict.fromkeys((own(project, stack), *project.results)):
        with contextlib.suppress(FileNotFoundError):
            return decode(path(results, stack), ReliefDocument)
    return None


def left(
    measurements: Sequence[Measurement], shares: Mapping[str, float], failing: frozenset[str]
) -> Leftover | None:
    """Return what the cells of one remedy with gc off leave, None if none of them was measured.

    `shares` are fractions of the traffic by scenario; in the scenarios of `failing` something goes wrong.
    """
    cells = {m.scenario: m for m in measurements if m.status == "measured"}
    if not cells:
        return None
    objects = {name: m.survivors_per_request or 0.0 for name, m in cells.items()}
    total = sum(shares.get(name, 0.0) for name in cells) or 1.0
    weight = {name: shares.get(name, 0.0) / total for name in cells}
    return Leftover(
        mean=sum(weight[name] * objects[name] for name in cells),
        leaked=sum(weight[name] * (m.leaked_per_request or 0.0) for name, m in cells.items()),
        clean=sum(objects[name] == 0 for name in cells if name in failing),
        failing=sum(name in failing for name in cells),
        kept=max(map(_bounded, cells.values())),
        scenarios=objects,
        unmeasured={m.scenario: m.reason or "" for m in measurements if m.status != "measured"},
    )


def _bounded(measurement: Measurement) -> int:
    """Return the number of objects that stay for good, 0 for a leak."""
    leaked = sum(phase.leaked for phase in measurement.phases)
    return 0 if measurement.growth == "leak" else max(leaked, 0)


def row(remedy: Remedy | None, release: str, left: Leftover | None) -> RemedyRow:
    """Return the row of a remedy, or of the unchanged release for None, with what its cells leave."""
    if remedy is None:
        return RemedyRow(remedy=None, kind="remedy", summary="the unchanged release", left=left)
    return RemedyRow(
        remedy=remedy.name,
        kind=remedy.kind,
        summary=remedy.summary,
        caution=remedy.caution,
        unsupported=remedy.against(release),
        left=left if remedy.counted else None,
        version=remedy.version,
    )


def tried(
    rows: Sequence[RemedyRow], policy: str, trials: Mapping[str | None, Trial]
) -> tuple[RemedyRow, ...]:
    """Return the rows with the `trials`, by remedy, under a gc policy, `off` or `on`."""
    return tuple(
        msgspec.structs.replace(row, **{policy: trials[row.remedy]}) if row.remedy in trials else row
        for row in rows
    )


def remembered(rows: Sequence[RemedyRow], earlier: Sequence[RemedyRow]) -> tuple[RemedyRow, ...]:
    """Return the rows with the earlier trials of the same remedies."""
    by_remedy = {(row.remedy, row.version): row for row in earlier}
    return tuple(
        msgspec.structs.replace(row, off=old.off, on=old.on)
        if (old := by_remedy.get((row.remedy, row.version))) and not row.unsupported
        else row
        for row in rows
    )


def merged(
    rows: Sequence[RemedyRow], earlier: Sequence[RemedyRow], remedies: Sequence[Remedy]
) -> tuple[RemedyRow, ...]:
    """Return the rows, and the earlier rows of other `remedies`, in the order of these."""
    by_remedy = {(row.remedy, row.version): row for row in (*earlier, *rows)}
    order = [(None, 1), *((remedy.name, remedy.version) for remedy in remedies)]
    return tuple(by_remedy[remedy] for remedy in order if remedy in by_remedy)


def advise(rows: Sequence[RemedyRow]) -> Advice:
    """Return which remedy to take, judged by what requests leave; the first row is the unchanged release."""
    plain = rows[0].left
    if plain is None:
        return Advice(remedy=None, reasons=("the unchanged release could not be measured",))
    if plain.mean == 0:
        return Advice(remedy=None, reasons=("no scenario leaves anything: nothing to do",))
    usable = [row for row in rows[1:] if row.kind == "remedy" and row.left and not row.left.unmeasured]
    better = [row for row in usable if row.left and row.left.mean < plain.mean]
    if not better:
        reason = "no remedy leaves less than the unchanged release: limit the growth instead"
        return Advice(remedy=None, reasons=(reason, *_bounding(rows, "what requests leave")))
    # Of remedies that leave the same, take one without a caution, then the one named first.
    best = min(better, key=lambda row: (row.left.mean if row.left else 0, row.caution is not None))
    return Advice(remedy=best.remedy, reasons=_reasons(best, plain, better, rows))


def _reasons(
    best: RemedyRow, plain: Leftover, better: Sequence[RemedyRow], rows: Sequence[RemedyRow]
) -> tuple[str, ...]:
    assert best.left is not None
    clean = best.left.clean
    reasons = [
        f"{counted(step(number(plain.mean), number(best.left.mean)), 'object')} per request",
        f"{clean} of {counted(best.left.failing, 'failing scenario')} {does(clean, 'leave')} nothing",
    ]
    if best.caution:
        others = [row for row in better if not row.caution and row is not best]
        reasons.append(f"but {best.caution}")
        if others:
            second = min(others, key=lambda row: row.left.mean if row.left else 0)
            assert second.left is not None
            reasons.append(f"{second.remedy} has no such drawback, and leaves {number(second.left.mean)}")
    rest = {name: count for name, count in best.left.scenarios.items() if count}
    if rest:
        most = sorted(rest, key=lambda name: (-rest[name], name))
        names = listed([f"{name} ({number(rest[name])})" for name in most], 3)
        reasons += _bounding(rows, f"what is left, in {names}") or [f"some is left in {names}"]
    elif plain.scenarios.get(BASELINE):
        reasons.append(f"without it, even a plain 200 leaves {number(plain.scenarios[BASELINE])}")
    return tuple(reasons)


def _bounding(rows: Sequence[RemedyRow], what: str) -> list[str]:
    """Return which remedies keep `what` from growing, then their cautions; nothing if there are none."""
    bounding = [row for row in rows[1:] if row.kind == "remedy" and _is_bounding(row)]
    if not bounding:
        return []
    names = listed([row.remedy or "" for row in bounding])
    return [
        f"{names} {does(len(bounding), 'free')} or {does(len(bounding), 'drop')} {what}",
        *(f"{row.remedy}: {row.caution}" for row in bounding if row.caution),
    ]


def _is_bounding(row: RemedyRow) -> bool:
    return row.left is None and row.unsupported is None and row.remedy != "freeze"
