"""Relief: what each remedy does for a release, and which one to take.

What requests leave is exact, from replay with automatic collection off. It is weighted as a user of the load
tests mixes the scenarios, so that it is also what a request of that traffic leaves on average.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
from packaging.version import InvalidVersion, Version

from outlive.comparison.cells import BASELINE
from outlive.comparison.noisy.remedies import METRICS, Trial
from outlive.errors import FaultError
from outlive.files import SCHEMA_VERSION, JsonDocument, decode, write_text
from outlive.project import Project
from outlive.records import plausible
from outlive.records.measurement import Connection, Measurement, Provenance, StackRecord
from outlive.records.remedy import Kind, Remedy
from outlive.records.stack import PYTHON_NAME
from outlive.replay.store import own
from outlive.wording import counted, listed, number, one_line, step


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """What requests leave, in gc-tracked objects per request; `leaked` is the part that no collection frees.

    `scenarios` has each scenario that was measured, `mean` is weighted by their shares of the traffic.
    `clean` of the `failing` scenarios, those in which something goes wrong, leave nothing at all. `kept` are
    objects that stay for good and do not grow with requests. `unmeasured` are scenarios with the reason.
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
        """The scenario that leaves most."""
        return max(self.scenarios, key=lambda name: self.scenarios[name])


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What one remedy does, or, where `remedy` is None, how it is without any.

    `left` is None where the remedy does not apply (`unsupported` says why) and where it does not change what
    requests leave, only what becomes of that. `off` and `on` are what load tests gave with these gc policies,
    or with what the remedy makes of them; None where it says nothing of them, or they were not made.
    """

    remedy: str | None
    kind: Kind
    summary: str
    caution: str | None = None
    unsupported: str | None = None
    left: Left | None = None
    off: Trial | None = None
    on: Trial | None = None
    version: int = 1


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """A remedy to take, None where none is needed, and the reasons."""

    remedy: str | None
    reasons: tuple[str, ...]


class Relief(msgspec.Struct, frozen=True, kw_only=True):
    """What remedies do for one release; the first row is the unchanged release.

    `published` is as in `Measurement`, and never stored.
    """

    release: str
    python: str
    user: str
    connection: Connection
    rows: tuple[Row, ...]
    advice: Advice
    published: bool | msgspec.UnsetType = msgspec.UNSET

    def is_about(self, stack: StackRecord) -> bool:
        """Return whether it is about the stack's release, on whatever Python."""
        return self.release == f"{stack.framework} {stack.release}"


class ReliefDocument(JsonDocument, frozen=True, kw_only=True):
    """What remedies do for one release, as JSON."""

    schema_version: int = SCHEMA_VERSION
    provenance: Provenance
    relief: Relief


class Reliefs(msgspec.Struct, frozen=True):
    """All documents that are stored of a framework. `problems` are files that were refused, and why."""

    documents: tuple[ReliefDocument, ...] = ()
    problems: tuple[str, ...] = ()

    def about(self, stack: StackRecord) -> ReliefDocument | None:
        """Return what is known of the stack's release, else of the newest one; None where nothing is.

        Of several documents about one release, that on the stack's Python counts, else the newest Python's.
        """

        def rank(one: ReliefDocument) -> tuple[bool, Version, bool, Version, str]:
            python = one.relief.python
            return (
                one.relief.is_about(stack),
                Version(one.relief.release.rpartition(" ")[2]),
                python == stack.python,
                Version(python),
                one.provenance.created,
            )

        return max(self.documents, key=rank, default=None)


def stored(project: Project, framework: str) -> Reliefs:
    """Return all that is stored of a framework; a file that cannot be read is a problem, not an error."""
    found: list[ReliefDocument] = []
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
            found.append(document)
    return Reliefs(tuple(found), tuple(problems))


def _faults(document: ReliefDocument, release: str, path: Path) -> Iterator[str]:
    """Yield what no document of ours in the file `path` can hold."""
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
    trials = [found for row in relief.rows for found in (row.off, row.on) if found]
    if any(len(found.decided) not in {0, len(METRICS)} for found in trials):
        yield "its load tests have other metrics"
    yield from plausible.faults(relief)


def path(results: Path, stack: StackRecord) -> Path:
    """Return the file of what remedies do for a stack, in a folder of results."""
    return results / "remedies" / stack.framework / stack.release / f"py{stack.python}-{stack.lock}.json"


def keep(project: Project, stack: StackRecord, document: ReliefDocument) -> None:
    """Write the document in place of an earlier one, unless that says the same.

    Raises FaultError where the file is not such a document.
    """
    earlier = _stored(project, stack)
    if earlier is None or earlier.relief != document.relief:
        write_text(path(own(project, stack), stack), document.to_json())


def load(project: Project, stack: StackRecord, user: str, connection: Connection) -> tuple[Row, ...]:
    """Return the rows of an earlier document about the same user and connection; none where there is no such.

    Raises FaultError where the file is not such a document.
    """
    earlier = _stored(project, stack)
    if earlier is None or (earlier.relief.user, earlier.relief.connection) != (user, connection):
        return ()
    return earlier.relief.rows


def _stored(project: Project, stack: StackRecord) -> ReliefDocument | None:
    """Return what is stored of a stack, the user's own before what is published."""
    for results in dict.fromkeys((own(project, stack), *project.results)):
        with contextlib.suppress(FileNotFoundError):
            return decode(path(results, stack), ReliefDocument)
    return None


def left(
    measurements: Sequence[Measurement], shares: Mapping[str, float], failing: frozenset[str]
) -> Left | None:
    """Return what the cells of one remedy with gc off leave, None where none of them was measured.

    `shares` are those of the traffic; `failing` are the scenarios in which something goes wrong.
    """
    found = {m.scenario: m for m in measurements if m.status == "measured"}
    if not found:
        return None
    objects = {name: m.survivors_per_request or 0.0 for name, m in found.items()}
    total = sum(shares.get(name, 0.0) for name in found) or 1.0
    weight = {name: shares.get(name, 0.0) / total for name in found}
    return Left(
        mean=sum(weight[name] * objects[name] for name in found),
        leaked=sum(weight[name] * (m.leaked_per_request or 0.0) for name, m in found.items()),
        clean=sum(objects[name] == 0 for name in found if name in failing),
        failing=sum(name in failing for name in found),
        kept=max(_kept(m) for m in found.values()),
        scenarios=objects,
        unmeasured={m.scenario: m.reason or "" for m in measurements if m.status != "measured"},
    )


def _kept(measurement: Measurement) -> int:
    """Return the objects that stayed for good although the growth stopped."""
    leaked = sum(phase.leaked for phase in measurement.phases)
    return 0 if measurement.growth == "leak" else max(leaked, 0)


def row(remedy: Remedy | None, release: str, found: Left | None) -> Row:
    """Return the row of a remedy, None for the unchanged release, with what its cells leave."""
    if remedy is None:
        return Row(remedy=None, kind="remedy", summary="the unchanged release", left=found)
    return Row(
        remedy=remedy.name,
        kind=remedy.kind,
        summary=remedy.summary,
        caution=remedy.caution,
        unsupported=remedy.against(release),
        left=found if remedy.counted else None,
        version=remedy.version,
    )


def tried(rows: Sequence[Row], plain: str, trials: Mapping[str | None, Trial]) -> tuple[Row, ...]:
    """Return the rows with the trials of a gc policy, `off` or `on`, by the names of remedies."""
    return tuple(
        msgspec.structs.replace(one, **{plain: trials[one.remedy]}) if one.remedy in trials else one
        for one in rows
    )


def remembered(rows: Sequence[Row], earlier: Sequence[Row]) -> tuple[Row, ...]:
    """Return the rows with the trials that were made earlier, of the same remedies."""
    known = {(one.remedy, one.version): one for one in earlier}
    return tuple(
        msgspec.structs.replace(one, off=old.off, on=old.on)
        if (old := known.get((one.remedy, one.version))) and not one.unsupported
        else one
        for one in rows
    )


def merged(rows: Sequence[Row], earlier: Sequence[Row], known: Sequence[Remedy]) -> tuple[Row, ...]:
    """Return the rows with the earlier ones of other remedies that are still `known`, in their order."""
    found = {(one.remedy, one.version): one for one in (*earlier, *rows)}
    wanted = [(None, 1), *((one.name, one.version) for one in known)]
    return tuple(found[name] for name in wanted if name in found)


def advise(rows: Sequence[Row]) -> Advice:
    """Return which remedy to take, judged by what requests leave; `rows` begin with the plain release."""
    plain = rows[0].left
    if plain is None:
        return Advice(remedy=None, reasons=("the unchanged release could not be measured",))
    if plain.mean == 0:
        return Advice(remedy=None, reasons=("no scenario leaves anything: nothing to do",))
    usable = [one for one in rows[1:] if one.kind == "remedy" and one.left and not one.left.unmeasured]
    better = [one for one in usable if one.left and one.left.mean < plain.mean]
    if not better:
        reason = "no remedy leaves less than the unchanged release: limit the growth instead"
        return Advice(remedy=None, reasons=(reason, *_bounding(rows)))
    # Among those that leave the same, the one without a caution, then the one named first.
    best = min(better, key=lambda one: (one.left.mean if one.left else 0, one.caution is not None))
    return Advice(remedy=best.remedy, reasons=_reasons(best, plain, better, rows))


def _reasons(best: Row, plain: Left, better: Sequence[Row], rows: Sequence[Row]) -> tuple[str, ...]:
    assert best.left is not None
    reasons = [
        f"{step(number(plain.mean), number(best.left.mean))} objects per request",
        f"{best.left.clean} of {counted(best.left.failing, 'failing scenario')} leave nothing",
    ]
    if best.caution:
        others = [one for one in better if not one.caution and one is not best]
        reasons.append(f"but {best.caution}")
        if others:
            other = min(others, key=lambda one: one.left.mean if one.left else 0)
            assert other.left is not None
            reasons.append(f"{other.remedy} has no such drawback, and leaves {number(other.left.mean)}")
    rest = {name: count for name, count in best.left.scenarios.items() if count}
    if rest:
        most = sorted(rest, key=lambda name: (-rest[name], name))
        what = listed([f"{name} ({number(rest[name])})" for name in most], 3)
        reasons.append(f"what is left, in {what}, needs an occasional collection")
        reasons += _bounding(rows)
    elif plain.scenarios.get(BASELINE):
        reasons.append(f"without it, even a plain 200 leaves {number(plain.scenarios[BASELINE])}")
    return tuple(reasons)


def _bounding(rows: Sequence[Row]) -> list[str]:
    bounding = [one for one in rows[1:] if one.kind == "remedy" and _bounds(one)]
    if not bounding:
        return []
    names = listed([one.remedy or "" for one in bounding])
    return [
        f"{names}: these free, or drop, what requests have left",
        *(f"{one.remedy}: {one.caution}" for one in bounding if one.caution),
    ]


def _bounds(one: Row) -> bool:
    return one.left is None and one.unsupported is None and one.remedy != "freeze"
