"""What the user measured: listed and forgotten, and nothing that is published."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from comparisons import cell
from loads import load_measurement
from outlive.api.kept import forget, kept
from outlive.cli import cli
from outlive.errors import UsageError
from outlive.loads.store import LoadStore
from outlive.pages import write
from outlive.project import Project
from outlive.records.measurement import StackRecord
from outlive.records.remedy import Remedy
from outlive.replay.store import Store
from reporting import aiohttp_report, checkout


def stack(framework: str, release: str) -> StackRecord:
    return StackRecord(framework=framework, release=release, python="3.11", lock="0123456789ab", packages=())


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Two releases, one of them with a remedy and under load, too; a report; and one that is published."""
    monkeypatch.setenv("OUTLIVE_CACHE", str(tmp_path / "cache"))
    project = checkout(tmp_path / "checkout")
    monkeypatch.setenv("OUTLIVE_ROOT", str(project.root))
    flask = stack("flask", "3.1.3")
    Store(project, flask).add([cell("ok", 0), cell("not-found", 9)])
    remedy = Remedy(name="clear-error", summary="clears")
    Store(project, flask, remedy).add([cell("ok", 0)])
    LoadStore(project, flask).keep(load_measurement())
    Store(project, stack("aiohttp", "3.10.10")).add([cell("ok", 0)])
    Store(project.publishing(), stack("aiohttp", "3.11.14")).add([cell("ok", 0)])
    write.write(project, aiohttp_report())
    return project


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("nothing")])
def test_what_stands_in_place_of_a_file_can_be_removed(
    project: Project, make: Callable[[Path], object]
) -> None:
    old, *_ = kept(project, ["aiohttp==3.10.10"])
    old.path.unlink()
    make(old.path)
    new, *_ = kept(project, ["aiohttp==3.10.10"])
    assert (new.path, new.cells) == (old.path, 0)
    forget(project, [new])
    assert not os.path.lexists(old.path)


def test_all_of_it_with_what_it_is(project: Project) -> None:
    found = {
        (one.kind, one.framework, one.release, one.python, one.remedy, one.cells) for one in kept(project)
    }
    assert found == {
        ("measurements", "flask", "3.1.3", "3.11", "", 2),
        ("remedies", "flask", "3.1.3", "3.11", "clear-error-v1", 1),
        ("loads", "flask", "3.1.3", "3.11", "", 0),
        ("measurements", "aiohttp", "3.10.10", "3.11", "", 1),
        ("reports", "aiohttp", "3.10.10-to-3.11.14-py3.11", "3.11", "", 0),
    }


@pytest.mark.parametrize(
    ("word", "files"),
    [
        ("flask", 3),
        ("flask==3.1.3", 3),
        ("aiohttp==3.10.10", 4),  # its measurements, and the report on it
        ("aiohttp==3.11.14", 3),
        ("3.10.10-to-3.11.14-py3.11", 3),
    ],
)
def test_what_a_word_means(project: Project, word: str, files: int) -> None:
    assert len(kept(project, [word])) == files


@pytest.mark.parametrize("word", ["flask==3.1", "django", "aiohttp==3.1"])
def test_a_word_that_means_nothing(project: Project, word: str) -> None:
    with pytest.raises(
        UsageError, match=rf"^nothing of '{word}' was measured; `outlive measured` says what was$"
    ):
        kept(project, [word])


def test_what_is_forgotten_is_gone_and_nothing_else(project: Project) -> None:
    before = {path for path in project.root.rglob("*.json") if path.is_file()}
    gone = kept(project, ["flask"])
    forget(project, gone)
    assert before - {path for path in project.root.rglob("*.json") if path.is_file()} == {
        one.path for one in gone
    }
    assert not (project.measured / "measurements" / "flask").exists()
    forget(project, kept(project))
    assert not any(path.is_file() for path in project.measured.rglob("*"))
    assert any(path.is_file() for path in project.published.rglob("*"))


def test_what_is_published_cannot_be_forgotten(project: Project) -> None:
    with pytest.raises(UsageError, match=r"is what is published: git knows what is in it$"):
        kept(project.publishing())


def test_the_list_fits_a_terminal(project: Project) -> None:
    found = CliRunner(env={"COLUMNS": "80"}).invoke(cli, ["measured"])
    lines = [re.sub(r"  \d{4}-\d\d-\d\d$", "", line).rstrip() for line in found.stdout.splitlines()[1:-1]]
    assert lines == [
        "aiohttp 3.10.10                           3.11    1 cell",
        "aiohttp report 3.10.10-to-3.11.14-py3.11  3.11    html, json and md",
        "flask 3.1.3                               3.11    2 cells, 1 load",
        "                                                  test and",
        "                                                  clear-error-v1",
    ]
    assert found.stdout.splitlines()[-1].endswith(f" in {project.measured}")


def test_the_list_as_json(project: Project, tmp_path: Path) -> None:
    CliRunner().invoke(cli, ["measured", "flask", "--json", str(tmp_path / "kept.json")])
    document = json.loads((tmp_path / "kept.json").read_text())
    assert document["folder"] == str(project.measured)
    assert {one["path"] for one in document["files"]} == {str(one.path) for one in kept(project, ["flask"])}


def test_the_command_forgets_what_it_lists(project: Project) -> None:
    found = CliRunner().invoke(cli, ["measured", "flask", "--forget"])
    assert found.stdout.splitlines()[-1].startswith("3 files, ")
    assert f" removed from {project.measured}" in found.stdout
    assert {one.framework for one in kept(project)} == {"aiohttp"}


def test_nothing_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTLIVE_ROOT", str(checkout(tmp_path).root))
    found = CliRunner().invoke(cli, ["measured"])
    assert found.stdout == f"no measurements in {tmp_path}/.outlive/results yet\n"


def test_git_ignores_it_wherever_it_is(project: Project) -> None:
    assert (project.work / ".gitignore").read_text() == "*\n"
