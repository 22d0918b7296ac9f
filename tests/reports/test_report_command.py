"""`outlive report` and what `outlive compare` does for it, on real releases."""

from __future__ import annotations

import json
import webbrowser
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from outlive.cli import cli
from outlive.commands.parts.pairs import write_report
from outlive.comparison.sizes import Rates
from outlive.errors import UsageError
from reporting import aiohttp_evidence, checkout

CELLS = ("--python", "3.11", "--connection", "close", "--gc", "off", "--jobs", "2")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = checkout(tmp_path / "checkout").root
    monkeypatch.setenv("OUTLIVE_ROOT", str(found))
    return found


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, words, standalone_mode=False)


@pytest.mark.real
def test_a_report_is_on_what_was_asked_for(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    page = root / ".outlive" / "results" / "reports" / "flask" / "3.0.3-to-3.1.3-py3.11.html"
    first = run("report", "flask", "3.0.3", "3.1.3", "--scenario", "not-found", "--rate", "50/s", *CELLS)
    assert first.return_value == 0, first.output
    assert first.stdout.startswith("flask 3.0.3 → 3.1.3, Python 3.11: NO REASON EITHER WAY\n")
    assert first.stdout.endswith(f"report: {page}\n")
    assert opened == []
    again = run("compare", "flask", "3.0.3", "3.1.3", "--scenario", "handler-error", "--open", *CELLS)
    assert again.return_value == 0, again.output
    assert again.stdout.endswith(f"report: {page}\n")
    assert opened == [page.as_uri()]
    report = json.loads(page.with_suffix(".json").read_bytes())
    measured = {one["scenario"] for one in report["measurements"]["after"]}
    assert measured == {"ok", "handler-error"}
    assert "flask 3.0.3 → 3.1.3" in page.with_suffix(".md").read_text(encoding="utf-8")


def test_results_that_are_left_out_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = checkout(tmp_path / "checkout")
    damaged = project.measured / "remedies" / "aiohttp" / "3.10.10" / "py3.11-000000000000.json"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("{")
    report, _ = write_report(project, aiohttp_evidence(), Rates())
    assert report.relief is None
    assert capsys.readouterr().err.startswith(f"left out: {damaged} is not a results file: ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("flask", "3.0.3"), "two releases are a framework and two versions"),
        (("flask", "3.0.3", "3.1.3", "--rate", "fast"), "--rate takes requests per second, as in 200/s"),
        (("flask", "3.0.3", "3.1.3", "--errors", "120%"), "--errors takes a share"),
        (("flask", "3.0.3", "3.1.3", "--limit", "much"), "--limit takes memory"),
        (("flask", "3.0.3", "9.9.9"), "flask has no release 9.9.9 in the catalogue"),
    ],
)
def test_wrong_words(root: Path, words: tuple[str, ...], said: str) -> None:
    found = run("report", *words)
    assert isinstance(found.exception, UsageError)
    assert said in str(found.exception)
    assert not (root / "results").exists()
