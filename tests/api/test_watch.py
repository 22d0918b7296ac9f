"""Watch: what counts as what may come next, what is written where something changed, how it ends."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from comparisons import cell, side
from measuring import CHECKOUT
from outlive.api import evidence, watch
from outlive.api.selection import Selection
from outlive.cli import cli
from outlive.comparison.pair import BothMeasurements
from outlive.errors import ExitCode, FaultError
from outlive.project import Project
from outlive.records.measurement import Measurement
from outlive.records.release import Release
from outlive.records.stack import Stack
from outlive.releases.catalogue import Catalogue
from outlive.replay.engine import SILENT
from outlive.reports.evidence import Evidence
from reporting import PROVENANCE, checkout

CANDIDATE = Stack("flask", "@/src/flask")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return checkout(tmp_path / "checkout")


def compared(
    monkeypatch: pytest.MonkeyPatch, before: Sequence[Measurement], after: Sequence[Measurement]
) -> None:
    """Have these be measured."""
    found = Evidence(
        provenance=PROVENANCE,
        before=side("flask", "3.1.3"),
        after=side("flask", "3.2.0.dev0"),
        differences=(),
        measurements=BothMeasurements(before=tuple(before), after=tuple(after)),
    )

    def measured(_: Project, stacks: tuple[Stack, Stack], *__: object) -> Evidence:
        assert stacks == (Stack("flask", Catalogue.load(CHECKOUT, "flask").newest().version), CANDIDATE)
        return found

    monkeypatch.setattr(evidence, "measured", measured)


def explaining(monkeypatch: pytest.MonkeyPatch, *fingerprints: str, fault: str = "") -> list[str]:
    """Have structures with these fingerprints be found; return the cells that are explained."""
    asked: list[str] = []

    def structure(fingerprint: str) -> Any:
        return SimpleNamespace(explanation=SimpleNamespace(fingerprint=fingerprint))

    def reproducer(structure: Any) -> str:
        if fault:
            raise FaultError(fault)
        return f"# shows {structure.explanation.fingerprint}\n"

    def explained(_: Project, __: Stack, scenario: str, *, policy: str, **___: object) -> Any:
        asked.append(f"{scenario} {policy}")
        analysis = SimpleNamespace(structures=tuple(map(structure, fingerprints)))
        return SimpleNamespace(document=SimpleNamespace(analysis=analysis), reproducer=reproducer)

    monkeypatch.setattr(watch, "explained", explained)
    return asked


def watched(project: Project) -> watch.Watched:
    return watch.watch(project, CANDIDATE, None, Selection(), SILENT)


def test_where_nothing_changed_nothing_is_written(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    compared(monkeypatch, [cell("ok", 8)], [cell("ok", 8)])
    found = watched(project)
    assert (found.changed, found.page, found.script, found.code) == ((), None, None, ExitCode.FINE)
    assert not list(project.work.rglob("reports"))


def test_what_is_worse_is_reported_with_a_reproducer_of_what_is_new(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = msgspec.structs.replace(cell("ok", 8), fingerprints=("0a",))
    compared(monkeypatch, [old, cell("not-found", 20)], [cell("ok", 16), cell("not-found", 12)])
    asked = explaining(monkeypatch, "0a", "0b")
    found = watched(project)
    assert found.code == ExitCode.REGRESSION
    assert [(row.scenario, row.direction) for row in found.changed] == [
        ("ok", "worse"),
        ("not-found", "better"),
    ]
    assert asked == ["ok off"]
    assert found.page
    assert found.page.is_file()
    assert found.script
    assert found.script.read_text() == "# shows 0b\n"


def test_what_is_better_is_reported_and_no_regression(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared(monkeypatch, [cell("ok", 8)], [cell("ok", 4)])
    explaining(monkeypatch, "0a")
    found = watched(project)
    assert found.page
    assert found.code == ExitCode.FINE


def test_without_a_reproducer_it_says_why(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    compared(monkeypatch, [cell("ok", 8)], [cell("ok", 16)])
    explaining(monkeypatch, "0a", fault="no reproducer: outside gunicorn ok does not show 0a")
    found = watched(project)
    assert (found.script, found.code) == (None, ExitCode.REGRESSION)
    assert found.lacking == "none: no reproducer: outside gunicorn ok does not show 0a"


def test_pre_releases_after_the_last_release(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def release(version: str, *, yanked: bool = False) -> Release:
        uploaded = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
        return Release("flask", version, uploaded, None, yanked, None, ("py3",), sdist=True)

    releases = (
        release("3.1.0rc1"),
        release("3.1.3"),
        release("3.2.0a1", yanked=True),
        release("3.2.0b1"),
        release("3.2.0rc1"),
    )
    monkeypatch.setattr(Catalogue, "load", lambda *_: Catalogue.of("flask", releases))
    found = watch.candidates(project, "flask", None, pre=True)
    assert [str(one.release) for one in found] == ["3.2.0b1", "3.2.0rc1"]
    (source, *pre) = watch.candidates(project, "flask", Path("/src/flask"), pre=True)
    assert (source, pre) == (Stack("flask", "@/src/flask"), found)


def test_it_has_to_be_said_what_to_watch() -> None:
    done = CliRunner().invoke(cli, ["watch", "flask"], standalone_mode=False)
    assert "say what to watch: --repo PATH, --pre, or both" in str(done.exception)
