from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlive.errors import UnavailableError
from outlive.project import Project
from outlive.records.release import Release
from outlive.records.stack import KNOWN, Package
from outlive.releases.catalogue import Catalogue
from outlive.releases.lineage import PYTHON, covered
from outlive.stacks import environments, eras, locks, pythons
from outlive.stacks.environments import Environment
from outlive.stacks.eras import Unavailable
from outlive.stacks.locks import Lock
from outlive.stacks.pythons import Interpreter

CHECKOUT = Project(Path(__file__).parents[2])
MINORS = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13")


def release(version: str, year: int, **changes: Any) -> Release:
    facts: dict[str, Any] = {"wheels": ("py3",), "requires_python": None, **changes}
    uploaded = dt.datetime(year, 6, 1, tzinfo=dt.UTC)
    return Release("flask", version, uploaded, yanked=False, yanked_reason=None, sdist=False, **facts)


class TestPythonsOf:
    def test_the_oldest_the_one_of_the_history_and_the_newest_of_its_time(self) -> None:
        assert eras.pythons_of(release("2.0.0", 2024), MINORS) == ("3.8", "3.11", "3.12")

    def test_an_old_release_is_measured_on_a_later_python_all_the_same(self) -> None:
        assert eras.pythons_of(release("2.0.0", 2021), MINORS) == ("3.8", "3.9", "3.11")

    def test_only_what_it_supports(self) -> None:
        assert eras.pythons_of(release("2.0.0", 2021, wheels=("cp39", "cp310")), MINORS) == ("3.9",)
        assert eras.pythons_of(release("2.0.0", 2021, wheels=()), MINORS) == ()

    def test_every(self) -> None:
        found = eras.pythons_of(release("2.0.0", 2024, requires_python=">=3.9"), MINORS, every=True)
        assert found == MINORS[1:]

    @given(st.integers(2020, 2026), st.sampled_from(MINORS), st.integers(1, len(KNOWN)))
    def test_a_python_that_comes_later_changes_no_lock_of_an_earlier_release(
        self, year: int, oldest: str, count: int
    ) -> None:
        of_then = release("2.0.0", year, requires_python=f">={oldest}")
        minors = tuple(KNOWN)
        earlier = tuple(minor for minor in minors if str(KNOWN[minor]) < f"{year}-06-01")
        installed = (*earlier, *(minor for minor in minors[:count] if minor not in earlier))
        found = eras.pythons_of(of_then, installed)
        assert set(found) <= {minor for minor in installed if of_then.supports(minor)}
        if any(of_then.supports(minor) for minor in earlier):
            newer = {PYTHON} - set(earlier)  # of the history, whenever it came
            assert set(eras.pythons_of(of_then, earlier)) == set(found) - newer


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    interpreters = tuple(Interpreter(f"{minor}.1", "python") for minor in ("3.10", "3.11"))
    monkeypatch.setattr(pythons, "installed", lambda: interpreters)

    def era(project: Project, release: Release, python: str) -> Lock:
        if release.version == "2.1.0" and python == "3.10":
            raise UnavailableError("flask 2.1.0 on Python 3.10 cannot be installed: no set of packages fits")
        packages = (Package("flask", release.version),)
        return Lock("flask", release.version, python, packages, f"flask=={release.version}\n", None)

    def ensure(lock: Lock, interpreter: Interpreter) -> Environment:
        assert lock.python == interpreter.minor
        return Environment(Path("environment"), Path("python"), lock)

    def import_error(environment: Environment, _modules: str) -> str | None:
        if (environment.lock.release, environment.lock.python) == ("2.2.0", "3.10"):
            return "ImportError: cannot import name 'a' from 'b' (/home/me/b.py)"
        return None

    monkeypatch.setattr(locks, "era", era)
    monkeypatch.setattr(environments, "ensure", ensure)
    monkeypatch.setattr(environments, "import_error", import_error)
    project = Project(tmp_path)
    releases = (release("2.0.0", 2023, wheels=("cp310",)), release("2.1.0", 2023), release("2.2.0", 2024))
    Catalogue.of("flask", releases).save(project)
    return project


def test_missing_locks_are_written_and_what_has_none_is_listed(project: Project) -> None:
    added = eras.add_missing(project, "flask")
    written = [path.relative_to(project.releases / "flask/locks").as_posix() for path in added.locks]
    assert written == ["py3.10/2.0.0.txt", "py3.11/2.1.0.txt", "py3.11/2.2.0.txt"]
    assert added.locks[0].read_text() == "flask==2.0.0\n"
    assert added.unavailable == (
        Unavailable(
            "flask", "2.0.0", "3.11", "flask 2.0.0 has no wheel for Python 3.11; it has wheels for 3.10"
        ),
        Unavailable(
            "flask",
            "2.1.0",
            "3.10",
            "flask 2.1.0 on Python 3.10 cannot be installed: no set of packages fits",
        ),
        Unavailable(
            "flask",
            "2.2.0",
            "3.10",
            "flask 2.2.0 on Python 3.10 cannot be imported: ImportError: cannot import name 'a' from 'b'",
        ),
    )
    assert eras.read_list(project.releases / "flask/unavailable.json") == added.unavailable


def test_locks_that_are_there_stay_as_they_are(project: Project) -> None:
    eras.add_missing(project, "flask")
    newer = release("2.3.0", 2024)
    Catalogue.of("flask", (*Catalogue.load(project, "flask").releases, newer)).save(project)
    path = locks.era_lock_path(project, release("2.1.0", 2023), "3.11")
    path.write_text("flask==2.1.0 \n")
    added = eras.add_missing(project, "flask")
    assert [path.name for path in added.locks] == ["2.3.0.txt", "2.3.0.txt"]
    assert path.read_text() == "flask==2.1.0 \n"


def test_why_a_release_cannot_be_had(project: Project) -> None:
    eras.add_missing(project, "flask")
    releases = Catalogue.load(project, "flask").releases
    assert [eras.unavailable(project, release, "3.11") for release in releases] == [
        "flask 2.0.0 has no wheel for Python 3.11; it has wheels for 3.10",
        None,
        None,
    ]
    assert eras.unavailable(project, releases[1], "3.10") == (
        "flask 2.1.0 on Python 3.10 cannot be installed: no set of packages fits"
    )


class TestCommitted:
    """The locks of the repository itself."""

    @pytest.mark.parametrize("framework", CHECKOUT.frameworks())
    def test_each_covered_release_has_a_lock_for_the_python_of_the_history_or_a_reason(
        self, framework: str
    ) -> None:
        listed = eras.read_list(CHECKOUT.releases / framework / "unavailable.json")
        reasons = {(each.release, each.python) for each in listed}
        for release in covered(CHECKOUT, framework):
            lock = locks.read_era_lock(CHECKOUT, release, PYTHON)
            assert (lock is None) == ((release.version, PYTHON) in reasons), str(release)
            if lock:
                assert Package(framework, release.version) in lock.packages

    @pytest.mark.parametrize(
        "path", sorted(CHECKOUT.releases.glob("*/locks")), ids=lambda path: path.parent.name
    )
    def test_none_names_a_host_and_all_have_hashes(self, path: Path) -> None:
        for lock in path.glob("*/*.txt"):
            lines = lock.read_text().splitlines()
            assert lines[0].startswith("# dependencies until 20"), lock
            packages = [line for line in lines if "==" in line]
            assert all(line.endswith(" \\") for line in packages), lock
            known = [*packages, *(line for line in lines if line.startswith("    --hash=sha256:"))]
            assert len(known) == len(lines) - 1, lock
