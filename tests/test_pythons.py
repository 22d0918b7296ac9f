from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlive import pythons
from outlive.errors import FaultError, UnavailableError, UsageError
from outlive.pythons import Interpreter, choose
from outlive.releases import Release

HERE = tuple(Interpreter(f"{minor}.5", f"/python{minor}") for minor in ("3.8", "3.9", "3.10", "3.11", "3.13"))


def release(version: str, day: str, requires: str, *wheels: str, framework: str = "flask") -> Release:
    uploaded = dt.datetime.fromisoformat(f"{day}T12:00:00Z")
    return Release(framework, version, uploaded, requires, False, None, wheels, True)


OLD = release("2.0.3", "2022-02-14", ">=3.6", "py3")
NEW = release("3.1.3", "2026-02-19", ">=3.9", "py3")
WHEELS = release("3.8.1", "2021-11-14", ">=3.6", "cp37", "cp38", "cp39", "cp310", framework="aiohttp")
LATEST = release("3.14", "2026-02-01", ">=3.11", "cp311", "cp312", "cp313", framework="aiohttp")


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "looked_up" not in request.fixturenames:
        monkeypatch.setattr(pythons, "installed", lambda: HERE)


@pytest.mark.parametrize(
    ("releases", "minor"),
    [
        ([NEW], "3.13"),
        ([OLD], "3.10"),  # 3.11 came after it
        ([OLD, NEW], "3.10"),
        ([WHEELS], "3.10"),
        ([LATEST], "3.13"),
        ([release("0.1", "2010-04-16", ">=2.7", "py2", "py3")], "3.8"),  # none was out: the oldest
    ],
)
def test_the_newest_python_of_the_oldest_releases_time_is_chosen(releases: list[Release], minor: str) -> None:
    assert choose(releases).minor == minor


def test_the_requested_python_is_chosen() -> None:
    assert choose([OLD, NEW], "3.13") == Interpreter("3.13.5", "/python3.13")


def test_a_python_that_is_not_installed() -> None:
    with pytest.raises(FaultError) as caught:
        choose([NEW], "3.12")
    assert str(caught.value) == (
        "Python 3.12 is not installed (there are 3.8, 3.9, 3.10, 3.11, 3.13): install it, as in "
        "`uv python install 3.12`, or choose another with --python"
    )


def test_a_python_that_outlive_does_not_know() -> None:
    with pytest.raises(
        UsageError, match=r"^Python 3\.7 is not among those that outlive knows: 3\.8, .*, 3\.14$"
    ):
        choose([NEW], "3.7")


def test_a_release_without_a_wheel_for_the_requested_python() -> None:
    with pytest.raises(UnavailableError) as caught:
        choose([WHEELS], "3.11")
    assert str(caught.value) == (
        "aiohttp 3.8.1 has no wheel for Python 3.11; it has wheels for 3.7-3.10: choose with --python"
    )


def test_releases_with_no_common_python() -> None:
    with pytest.raises(UnavailableError) as caught:
        choose([WHEELS, LATEST])
    assert str(caught.value) == (
        "no installed Python fits: aiohttp 3.8.1 runs on 3.8, 3.9, 3.10; "
        "aiohttp 3.14 runs on 3.11, 3.12, 3.13; there are 3.8, 3.9, 3.10, 3.11, 3.13: install one that fits"
    )


def test_a_release_for_no_python_that_is_known() -> None:
    with pytest.raises(UnavailableError) as caught:
        choose([release("1.0", "2016-09-16", ">=3.4", "cp34", "cp35", framework="aiohttp")])
    assert str(caught.value) == (
        "aiohttp 1.0 has no wheel for Python 3.14; it has wheels for 3.4-3.5: "
        "outlive knows Python 3.8 to 3.14"
    )


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    pythons.installed.cache_clear()
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setenv("OUTLIVE_CACHE", str(tmp_path / "cache"))
    yield tmp_path / "versions"
    pythons.installed.cache_clear()


def pretend(versions: Path, *names: str) -> None:
    for name in names:
        python = versions / name / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.touch(mode=0o755)


def test_pyenv_is_looked_into_and_the_newest_patch_of_each_minor_taken(
    looked_up: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        pythons, "_of_uv", lambda: [Interpreter("3.12.4", "/uv"), Interpreter("3.9.2", "/uv")]
    )
    pretend(looked_up, "3.8.9", "3.8.18", "3.9.18", "3.7.1", "3.13.0t", "pypy3.10-7.3", "3.14.0rc1", "2.7.18")
    assert pythons.installed() == (
        Interpreter("3.8.18", str(looked_up / "3.8.18/bin/python")),
        Interpreter("3.9.18", str(looked_up / "3.9.18/bin/python")),
        Interpreter("3.12.4", "/uv"),
    )


def test_uv_finds_the_python_that_runs_these_tests(looked_up: Path) -> None:
    import platform

    minor = ".".join(platform.python_version_tuple()[:2])
    assert minor in [interpreter.minor for interpreter in pythons.installed()]
