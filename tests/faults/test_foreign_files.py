"""Files of others, damaged or meant to harm: one clear line, or passed over; no crash and no stall."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from outlive import files, packed
from outlive.errors import FaultError, OutliveError, UsageError
from outlive.project import Project
from outlive.records.release import Release
from outlive.records.stack import Stack
from outlive.releases import packages
from outlive.releases.catalogue import Catalogue
from outlive.stacks import locks, sources
from outlive.stacks.pythons import Interpreter

CHECKOUT = Project(Path(__file__).parents[2])
NAME = "flask-9.0-py3-none-any.whl"
DIGITS = "1" * 5_000


def wheel(path: Path, metadata: bytes = b"Name: flask\nVersion: 9.0\n", compression: int = 0) -> Path:
    with zipfile.ZipFile(path / NAME, "w", compression) as archive:
        archive.writestr("flask-9.0.dist-info/METADATA", metadata)
        archive.writestr("flask/__init__.py", b"x" * 100)
    return path / NAME


def patched(path: Path, change: Callable[[bytearray], None]) -> Path:
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(data)
    return path


def flags(position: int, value: int) -> Callable[[bytearray], None]:
    """Return what changes a field of each header of a zip file, local and central."""

    def change(data: bytearray) -> None:
        for magic, shift in ((b"PK\x03\x04", 0), (b"PK\x01\x02", 2)):
            at = data.find(magic)
            while at >= 0:
                data[at + position + shift] = value
                at = data.find(magic, at + 4)

    return change


WHEELS: dict[str, Callable[[Path], Path]] = {
    "bad Requires-Python": lambda to: wheel(to, b"Name: flask\nRequires-Python: > banana\n"),
    "a bomb": lambda to: wheel(to, b"Name: flask\n\n" + b"0" * 2 * packed.LARGEST, compression=8),
    "encrypted": lambda to: patched(wheel(to), flags(6, 1)),
    "unknown compression": lambda to: patched(wheel(to), flags(8, 77)),
    "bad deflate": lambda to: patched(wheel(to, b"Name: flask\n" * 99, compression=8), flags(8, 12)),
    "not UTF-8": lambda to: wheel(to, b"Name: flask\n\xff\xfe"),
    "no zip": lambda to: patched(wheel(to), lambda data: data.__setitem__(slice(0, 99), b"x" * 99)),
    "cut": lambda to: patched(wheel(to), lambda data: data.__delitem__(slice(60, None))),
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTLIVE_CACHE", str(tmp_path / "cache"))


def build(path: Path) -> None:
    sources.build("flask", str(path), Interpreter("3.11.7", sys.executable))


class TestWheels:
    @pytest.mark.parametrize("kind", WHEELS)
    def test_a_hostile_wheel_is_none(self, tmp_path: Path, kind: str) -> None:
        with pytest.raises(UsageError, match=r"^flask@\S+: not a wheel: ") as error:
            build(WHEELS[kind](tmp_path))
        assert str(error.value).isprintable()
        assert len(str(error.value)) < 500

    @pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
    def test_a_pipe_and_a_device_are_not_read(self, tmp_path: Path, make: Callable[[Path], None]) -> None:
        make(tmp_path / NAME)
        with pytest.raises(UsageError, match="neither a file nor a folder"):
            build(tmp_path / NAME)

    @pytest.mark.parametrize(
        "name",
        [
            "%2Ftmp%2Fx%2F" + NAME,
            "..%2F" + NAME,
            "%2E" + NAME,
            NAME + "%00.whl",
            "%0A" + NAME,
            "..%5C" + NAME,
        ],
    )
    def test_an_address_names_no_place(self, name: str) -> None:
        if "%2F" in name:  # only its last part counts: then nobody listens there
            with pytest.raises(FaultError, match="cannot be fetched"):
                sources.build("flask", f"http://127.0.0.1:9/a/{name}", Interpreter("3.11.7", ""))
        else:
            with pytest.raises(UsageError, match="is not the name of a wheel or an sdist"):
                sources.build("flask", f"http://127.0.0.1:9/a/{name}", Interpreter("3.11.7", ""))

    def test_any_damage_of_an_archive_is_no_crash(self, tmp_path: Path) -> None:
        chance = random.Random(1)
        whole = wheel(tmp_path, b"Name: flask\nVersion: 9.0\n" * 20, compression=8).read_bytes()
        with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
            tar.add(__file__, "a-1/CHANGES.rst")
        sdist = (tmp_path / "a.tar.gz").read_bytes()
        path = tmp_path / "damaged" / NAME
        path.parent.mkdir()
        for data in [whole] * 300 + [sdist] * 300:
            damaged = bytearray(data[: chance.randrange(1, len(data) + 1)])
            for _ in range(chance.randrange(4)):
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
            path.write_bytes(damaged)
            assert isinstance(packages.changelog_of(path), str)
            with contextlib.suppress(UsageError):
                sources._read(path, "x", "flask")


UNITS = (
    " ",
    "`",
    "[",
    "(",
    "<",
    ":a",
    " -- by ",
    "# ",
    "\n- ",
    "[a](",
    "(,",
    "\n==",
    ":a:`b <",
    "related issues ",
)


def test_no_changelog_takes_long() -> None:
    """It takes processor time in proportion to its length: 300 KB each; 78 KB once took 25 s."""
    code = (
        "from outlive.releases import changelog\n"
        f"for unit in {UNITS!r}:\n"
        "    for head in ('1.2.3\\n=====\\n\\n- x ', '## '):\n"
        "        text = head + unit * (300_000 // len(unit))\n"
        "        changelog.parse(text), changelog.versions(text)\n"
    )
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_CPU, (60, 60))\n{code}"
    subprocess.run([sys.executable, "-c", limited], check=True)


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 5_000,
        f"a = {DIGITS}",
        "a = \xff".encode("latin-1"),
        "a = 2021-99-99",
        "\0",
        "a = 1e999x",
    ],
)
def test_toml_that_is_none(text: str | bytes) -> None:
    with pytest.raises(msgspec.DecodeError) as error:
        files.decode_toml(text, dict[str, str])
    assert str(error.value)


RELEASE = {
    "framework": "flask",
    "version": "3.0.0",
    "uploaded": None,
    "requires_python": None,
    "yanked": False,
    "yanked_reason": None,
    "wheels": ["py3"],
    "sdist": False,
}


@pytest.mark.parametrize(
    "content",
    [
        b"\xff",
        b"[" * 100_000,
        b"{}",
        *(
            msgspec.json.encode([RELEASE | change])
            for change in (
                {"version": "banana"},
                {"version": DIGITS},
                {"requires_python": "> banana"},
                {"wheels": ["cpx-abi3"]},
                {"wheels": ["\n::error::"]},
            )
        ),
    ],
)
def test_nonsense_in_a_catalogue(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "releases" / "flask").mkdir(parents=True)
    (tmp_path / "releases" / "flask" / "catalogue.json").write_bytes(content)
    with pytest.raises(FaultError, match="is not a catalogue of releases: ") as error:
        Catalogue.load(Project(tmp_path), "flask")
    assert str(error.value).isprintable()


@pytest.mark.parametrize("text", [f"flask=={DIGITS}", "flask==1\n::x", "flask==banana"])
def test_a_version_that_is_none(text: str) -> None:
    with pytest.raises(UsageError):
        Stack.parse(text)


class TestLocks:
    @pytest.fixture
    def release(self) -> Release:
        return Catalogue.load(CHECKOUT, "aiohttp").find("3.11.14")

    @pytest.fixture
    def project(self, tmp_path: Path, release: Release) -> Project:
        for name in ("apps", "loadtests"):
            (tmp_path / name).symlink_to(CHECKOUT.root / name)
        (tmp_path / "releases").mkdir()
        (tmp_path / "releases" / "gunicorn.toml").symlink_to(CHECKOUT.releases / "gunicorn.toml")
        project = Project(tmp_path)
        path = locks.era_lock_path(project, release, "3.11")
        path.parent.mkdir(parents=True)
        path.write_bytes(locks.era_lock_path(CHECKOUT, release, "3.11").read_bytes())
        return project

    def test_a_whole_one_is_taken(self, project: Project, release: Release) -> None:
        assert locks.era(project, release, "3.11") == locks.era(CHECKOUT, release, "3.11")

    @pytest.mark.parametrize("keep", [0, 1, 100, 500, -1, -2, -60])
    def test_a_cut_one_is_no_reason_to_resolve_anew(
        self, project: Project, release: Release, keep: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(locks, "resolve", None)
        path = locks.era_lock_path(project, release, "3.11")
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(FaultError, match=r"restore it, or remove it to have it resolved again$"):
            locks.era(project, release, "3.11")

    @pytest.mark.parametrize(
        "content",
        [
            b"\xff\xfe",
            b"nonsense\n",
            b"flask==1 --hash=sha256:00\n",
            b"# dependencies until 202-02-804T23:52:22Z\n",  # found by fuzzing
        ],
    )
    def test_one_that_is_none(self, project: Project, release: Release, content: bytes) -> None:
        locks.era_lock_path(project, release, "3.11").write_bytes(content)
        with pytest.raises(OutliveError) as error:
            locks.era(project, release, "3.11")
        assert str(error.value).isprintable()
