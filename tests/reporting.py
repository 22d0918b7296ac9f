"""Reports to look at, with the numbers of real releases, and a checkout to keep them in."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import msgspec

from comparisons import REASON, aiohttp_cells, cell, flask_cells, lost, side
from measuring import CHECKOUT
from outlive.comparison.pair import BothMeasurements
from outlive.comparison.sizes import Rates
from outlive.history.timeline import Moment, Timeline
from outlive.project import Project
from outlive.records.measurement import Machine, Measurement, Provenance
from outlive.records.release import Release
from outlive.records.stack import Difference
from outlive.releases.claims import Changelog, Claim
from outlive.reports import record
from outlive.reports.evidence import Evidence
from outlive.reports.record import Facts, Report
from outlive.reports.remedies import Advice, Leftover, Relief, ReliefDocument, Reliefs, RemedyRow

MACHINE = Machine(system="Linux", kernel="6.1", architecture="x86_64", libc="glibc 2.36", cpus=2)
PROVENANCE = Provenance(
    outlive="0.1.0", counting=1, created="2026-11-21T12:00:00+00:00", machine=MACHINE, stacks=()
)
SCENARIOS = tuple(
    (name, f"what {name} is")
    for name in ("ok", "not-found", "upload-method-not-allowed", "handler-error", "upload")
)
EXPECTED = tuple(name for name, _ in SCENARIOS)
CLAIMS = (
    Changelog(
        release="3.10.11",
        source="aiohttp-3.14.5.tar.gz",
        reason=None,
        claims=(
            Claim(
                text="Fixed system routes polluting the middleware cache.",
                section="Bug fixes",
                issues=(9852,),
            ),
        ),
    ),
    Changelog(release="3.11.0", source=None, reason="no package has one", claims=()),
    Changelog(
        release="3.11.14",
        source="aiohttp-3.14.5.tar.gz",
        reason=None,
        claims=(
            Claim(
                text="Fixed a leak of ClientSession.",
                section="Bug fixes",
                issues=(),
                elsewhere=("gateway-*",),
            ),
        ),
    ),
)


def checkout(folder: Path) -> Project:
    """Return a checkout in `folder` that has no results yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("apps", "loadtests", "releases"):
        (folder / name).symlink_to(CHECKOUT.root / name)
    return Project(folder)


def release(version: str, date: str, *, yanked: str | None = None) -> Release:
    uploaded = dt.datetime.fromisoformat(f"{date}T12:00:00Z")
    return Release("aiohttp", version, uploaded, ">=3.8", yanked is not None, yanked, ("py3",), sdist=True)


def costly(measurements: list[Measurement]) -> tuple[Measurement, ...]:
    """Return the measurements with the memory that so many objects take."""
    return tuple(
        msgspec.structs.replace(
            m,
            blocks_per_request=2 * (m.survivors_per_request or 0),
            heap_bytes_per_request=100 * (m.survivors_per_request or 0),
        )
        if m.status == "measured"
        else m
        for m in measurements
    )


def aiohttp_evidence(*, yanked: bool = True) -> Evidence:
    """Return aiohttp 3.10.10, which leaks on 404 and 405, and 3.11.14, which does not."""
    stack = [("yarl", "1.18.3"), ("attrs", "25.3.0")]
    cannot = lost("stream-error", "the asyncio worker cannot hold it", "unsupported", connection="keep-alive")
    return Evidence(
        provenance=PROVENANCE,
        before=side(packages=[*stack, ("multidict", "6.1.0")]),
        after=side(
            release="3.11.14", packages=[*stack, ("multidict", "6.2.0")], yanked=REASON if yanked else None
        ),
        differences=(Difference("multidict", "6.1.0", "6.2.0", "aiohttp 3.11.14 requires multidict>=6.2"),),
        measurements=BothMeasurements(
            before=costly([*aiohttp_cells((50, 44)), lost("abort-upload", "worker died: signal 11"), cannot]),
            after=costly([*aiohttp_cells((32, 0)), cell("abort-upload", 12), cannot]),
        ),
    )


def flask_evidence() -> Evidence:
    """Return two releases of Flask that leave the same."""
    cells = costly(flask_cells())
    return Evidence(
        provenance=PROVENANCE,
        before=side("flask", "2.3.3"),
        after=side("flask", "3.1.3"),
        differences=(),
        measurements=BothMeasurements(before=cells, after=cells),
    )


def facts(*, yanked: bool = True) -> Facts:
    """Return what is known beside them: releases, claims, and a history with a leak in the middle."""
    history = (
        (release("3.10.5", "2024-08-19"), (32.0, 0.0)),
        (release("3.10.10", "2024-10-10"), (50.0, 44.0)),
        (release("3.11.13", "2025-02-24", yanked=REASON), None),
        (release("3.11.14", "2025-03-17", yanked=REASON if yanked else None), (32.0, 0.0)),
        (release("3.11.15", "2025-04-01"), (32.0, 0.0)),
    )
    moments = tuple(Moment(one, tuple(aiohttp_cells(left)) if left else ()) for one, left in history)
    return Facts(
        releases=tuple(one for one, _ in history),
        scenarios=SCENARIOS,
        expected=EXPECTED,
        development=frozenset(),
        logs=CLAIMS,
        history=Timeline("aiohttp", "3.11", moments),
    )


def relief_document(release: str = "aiohttp 3.10.10", python: str = "3.11") -> ReliefDocument:
    """Return what two remedies do for a release, without load tests."""

    def left(mean: float) -> Leftover:
        return Leftover(
            mean=mean,
            leaked=mean / 2,
            clean=int(mean == 0),
            failing=1,
            kept=0,
            scenarios={"ok": 0, "not-found": mean},
        )

    def row(name: str | None, summary: str, **fields: object) -> RemedyRow:
        return msgspec.convert({"remedy": name, "kind": "remedy", "summary": summary} | fields, RemedyRow)

    rows = (
        row(None, "the unchanged release", left=left(44)),
        row("drop", "drops the reference", left=left(0), caution="patches a handler"),
        row("freeze", "gc.freeze() once the app is loaded"),
        row("handlers", "a handler for all", unsupported="it has none"),
        row("tracker", "an error tracker", kind="practice", left=left(90)),
    )
    advice = Advice(remedy="drop", reasons=("44 → 0 objects per request", "but patches a handler"))
    found = Relief(
        release=release, python=python, user="ErrorHeavy", connection="close", rows=rows, advice=advice
    )
    return ReliefDocument(provenance=PROVENANCE, relief=found)


def relieved_report(release: str = "aiohttp 3.10.10") -> Report:
    """Return the report on aiohttp where remedies for `release` were measured."""
    reliefs = Reliefs((relief_document(release),))
    return record.build(aiohttp_evidence(), msgspec.structs.replace(facts(), reliefs=reliefs), Rates())


def aiohttp_report(*, yanked: bool = True, rates: Rates | None = None) -> Report:
    return record.build(aiohttp_evidence(yanked=yanked), facts(yanked=yanked), rates or Rates())


def flask_report() -> Report:
    known = Facts((), SCENARIOS, EXPECTED, frozenset(), None, Timeline("flask", "3.11", ()))
    return record.build(flask_evidence(), known, Rates())
