from __future__ import annotations

import datetime as dt
import json
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlive.errors import FaultError, UnavailableError, UsageError
from outlive.records.measurement import PythonRecord
from outlive.records.release import Release
from outlive.stacks import pythons, selfcheck
from outlive.stacks.pythons import Interpreter, choose

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
        monkeypatch.setattr(pythons, "every", lambda: HERE)


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


def patches(monkeypatch: pytest.MonkeyPatch, *versions: str) -> None:
    found = [Interpreter(v.removesuffix("t"), f"/{v}", free_threaded=v.endswith("t")) for v in versions]
    monkeypatch.setattr(pythons, "every", lambda: tuple(found))


def test_a_patch_version_can_be_requested_and_the_newest_is_taken_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    patches(monkeypatch, "3.13.0", "3.13.18", "3.15.0rc1")
    assert [(one.path, one.python, one.key) for one in (choose([NEW], "3.13"), choose([NEW], "3.13.0"))] == [
        ("/3.13.18", "3.13", "3.13.18"),
        ("/3.13.0", "3.13.0", "3.13.0"),
    ]
    assert choose([NEW], "3.15").version == "3.15.0rc1"  # nothing else of 3.15 is there


def test_a_patch_version_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    patches(monkeypatch, "3.12.1", "3.13.0", "3.13.18")
    with pytest.raises(FaultError) as caught:
        choose([NEW], "3.13.2")
    assert str(caught.value) == (
        "Python 3.13.2 is not installed (there are 3.13.0, 3.13.18): install it, as in "
        "`uv python install 3.13.2`, or choose another with --python"
    )


def test_requires_python_may_name_a_patch_version(monkeypatch: pytest.MonkeyPatch) -> None:
    patches(monkeypatch, "3.9.0", "3.9.18")
    picky = release("9.0", "2026-02-19", ">=3.9.1", "py3")
    assert choose([picky], "3.9").version == "3.9.18"
    with pytest.raises(UnavailableError, match=r"^flask 9\.0 requires Python >=3\.9\.1, not 3\.9\.0: choose"):
        choose([picky], "3.9.0")


@pytest.mark.parametrize("version", ["3.16.0", "3.14.2t"])
def test_a_python_that_the_probe_was_not_tried_on_is_checked_first(
    version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    patches(monkeypatch, "3.11.7", version)
    monkeypatch.setattr(selfcheck, "wrong", lambda *_: None)
    assert choose([NEW], version).record.self_checked
    assert choose([NEW]).version == "3.11.7"  # and it is used only where it is named
    monkeypatch.setattr(selfcheck, "wrong", lambda *_: "of what was planted it sees 3 of 35 objects")
    with pytest.raises(FaultError) as caught:
        choose([NEW], version)
    assert str(caught.value) == (
        f"the probe cannot count in Python {version} (/{version}): "
        "of what was planted it sees 3 of 35 objects"
    )


def test_an_interpreter_can_be_named_by_its_path() -> None:
    found = choose([NEW], f"@{sys.executable}")
    assert found.version == platform.python_version()
    assert found.python == found.key == f"{found.version}+{found.digest}"
    assert found.record == PythonRecord(
        version=found.version,
        build=" ".join(platform.python_build()),
        compiler=platform.python_compiler(),
    )
    assert choose([NEW], sys.executable) == found


def program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def answer(**fields: object) -> str:
    usual: dict[str, object] = {"implementation": "CPython", "version": "3.12.4", "path": "/p"}
    return f"echo '{json.dumps(usual | fields)}'"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("exit 1", "that is not a Python 3"),
        ("echo hello", "that is not a Python 3"),
        (
            answer(implementation="PyPy"),
            "that is PyPy, and outlive can only count in CPython",
        ),
        (answer(version="3.7.17"), "that is Python 3.7.17, and outlive measures on 3.8 and newer"),
    ],
)
def test_a_path_of_something_else(text: str, said: str, tmp_path: Path) -> None:
    path = program(tmp_path / "python", text)
    with pytest.raises(UsageError) as caught:
        choose([NEW], f"@{path}")
    assert str(caught.value) == f"python@{path}: {said}"


def test_a_path_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no such program$"):
        choose([NEW], f"@{tmp_path}/python")


def test_a_python_that_is_too_old() -> None:
    with pytest.raises(UsageError, match=r"^Python 3\.7 is too old: outlive measures on 3\.8 and newer$"):
        choose([NEW], "3.7")


def test_what_is_no_python() -> None:
    with pytest.raises(UsageError) as caught:
        choose([NEW], "newest")
    assert str(caught.value) == "'newest' is not a Python version, as in 3.11 or 3.12.1, nor a path"


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
        "aiohttp 1.0 has no wheel for Python 3.15; it has wheels for 3.4-3.5: "
        "outlive knows Python 3.8 to 3.15"
    )


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    pythons.every.cache_clear()
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setenv("OUTLIVE_CACHE", str(tmp_path / "cache"))
    yield tmp_path / "versions"
    pythons.every.cache_clear()


def test_pyenv_is_looked_into_and_every_version_found_once(
    looked_up: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def install(name: str, **fields: object) -> str:
        path = looked_up / name / "bin" / "python"
        path.parent.mkdir(parents=True)
        return str(program(path, answer(path=str(path), **fields)))

    old = install("3.8.9", version="3.8.9")
    twin = install("3.8.9-debug", version="3.8.9", build="debug")
    threaded = install("3.13.0t", version="3.13.0", free_threaded=True)
    install("pypy3.10-7.3", implementation="PyPy")
    install("2.7.18", version="2.7.18")
    early = install("mine", version="3.16.0a2")
    managed = str(program(tmp_path / "uv-python", answer(path=str(tmp_path / "uv-python"), version="3.8.18")))
    monkeypatch.setattr(pythons, "_of_uv", lambda: [managed, old, str(tmp_path / "gone")])
    found = {one.version + one.mark: one.path for one in pythons.every()}
    assert found == {"3.8.9": old, "3.8.18": managed, "3.13.0t": threaded, "3.16.0a2": early}
    assert [one.version for one in pythons.installed()] == ["3.8.18", "3.16.0a2"]
    assert twin not in found.values()

    program(Path(managed), answer(path=managed, version="3.8.19"))  # installed anew in the same place
    os.utime(managed, (1, 1))
    pythons.every.cache_clear()
    assert [one.version for one in pythons.installed()] == ["3.8.19", "3.16.0a2"]


def test_they_are_asked_once_for_each_of_the_last_paths(
    looked_up: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    python = looked_up / "mine" / "bin" / "python"
    python.parent.mkdir(parents=True)
    program(python, f"echo >> {tmp_path / 'asked'}\n{answer(path=str(python), version='3.8.9')}")
    monkeypatch.setattr(pythons, "_of_uv", list)

    def asked(number: int) -> int:
        """Return how often the interpreter was asked when the folder with this number is on PATH."""
        folder = tmp_path / f"bin-{number}"
        folder.mkdir(exist_ok=True)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")
        before = (tmp_path / "asked").stat().st_size if (tmp_path / "asked").exists() else 0
        pythons.every.cache_clear()
        assert [one.version for one in pythons.every()] == ["3.8.9"]
        return (tmp_path / "asked").stat().st_size - before

    assert [asked(number) for number in (0, 1, 0, 1)] == [1, 1, 0, 0]
    assert [asked(number) for number in range(2, pythons.REMEMBERED + 1)] == [1] * (pythons.REMEMBERED - 1)
    assert (asked(1), asked(0)) == (0, 1)


def test_a_cache_that_cannot_be_written_only_makes_the_next_call_slow(
    looked_up: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = looked_up / "mine" / "bin" / "python"
    path.parent.mkdir(parents=True)
    program(path, answer(path=str(path), version="3.8.9"))
    monkeypatch.setattr(pythons, "_of_uv", list)
    (tmp_path / "cache").touch()  # a folder cannot be made there
    assert [one.version for one in pythons.every()] == ["3.8.9"]
    silent = program(tmp_path / "python", "exit 3")
    assert selfcheck.wrong(str(silent), "build") == "the probe does not run in it: exit status 3"


def test_what_uv_could_not_say_is_asked_again(
    looked_up: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "taken").touch()
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "taken"))
    with pytest.raises(FaultError, match=r"^uv cannot write its cache .*taken: set UV_CACHE_DIR to another"):
        pythons.every()
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "free"))
    assert pythons.every()


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OUTLIVE_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("interpreter", pythons.every(), ids=lambda one: one.version + one.mark)
def test_the_probe_sees_what_is_planted_in_each_python(interpreter: Interpreter, cache: None) -> None:
    assert selfcheck.wrong(interpreter.path, interpreter.digest) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            """echo '{"objects": [35, 34], "threads": [1, 1], "byte strings": [35, 0]}'""",
            "of what was planted it sees 34 of 35 objects, 0 of 35 byte strings",
        ),
        ("echo 'AttributeError: gone' >&2; exit 1", "the probe does not run in it: AttributeError: gone"),
        ("exit 3", "the probe does not run in it: exit status 3"),
    ],
)
def test_what_a_self_check_says_is_kept(text: str, said: str, tmp_path: Path, cache: None) -> None:
    path = program(tmp_path / "python", text)
    assert selfcheck.wrong(str(path), "build") == said
    path.unlink()
    assert selfcheck.wrong(str(path), "build") == said


def test_uv_finds_the_python_that_runs_these_tests(looked_up: Path) -> None:
    minor = ".".join(platform.python_version_tuple()[:2])
    assert minor in [interpreter.minor for interpreter in pythons.installed()]
