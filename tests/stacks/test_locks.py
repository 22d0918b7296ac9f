from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from outlive.errors import FaultError, OutliveError, UnavailableError, UsageError
from outlive.project import Project
from outlive.records.release import Release
from outlive.records.stack import Difference, Package, Stack
from outlive.releases import index
from outlive.releases.catalogue import Catalogue
from outlive.releases.frameworks import Requirements
from outlive.stacks import controlled, environments, locks, pythons
from outlive.stacks.locks import Lock
from outlive.stacks.uv import explain
from package_index import Index, Wheel, serving

CHECKOUT = Project(Path(__file__).parents[2])
OLD, MIDDLE, NEW = "2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z", "2022-01-01T00:00:00Z"

WHEELS = [
    Wheel("gunicorn", "23.0.0", uploaded=NEW),
    Wheel("gunicorn", "27.0.1", uploaded=NEW),
    Wheel("flask", "1.0", ("werkzeug>=1", "jinja2>=1"), uploaded=OLD),
    Wheel("flask", "2.0", ("werkzeug>=2", "jinja2>=1"), uploaded=MIDDLE),
    Wheel("flask", "3.0", ("werkzeug>=2", "jinja2>=1", "blinker"), uploaded=NEW),
    Wheel("werkzeug", "1.5", uploaded=OLD),
    Wheel("werkzeug", "2.5", uploaded=MIDDLE),
    Wheel("jinja2", "1.5", uploaded=OLD),
    Wheel("jinja2", "2.5", uploaded=MIDDLE),
    Wheel("blinker", "1.0", uploaded=OLD),
]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Index]:
    with serving(Index([Wheel(**vars(wheel)) for wheel in WHEELS])) as found:
        monkeypatch.setenv("OUTLIVE_INDEX_URL", found.url)
        monkeypatch.setenv("OUTLIVE_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
        monkeypatch.setenv("UV_HTTP_RETRIES", "0")
        yield found


@pytest.fixture
def project(tmp_path: Path, served: Index) -> Project:
    (tmp_path / "apps" / "flask").mkdir(parents=True)
    (tmp_path / "apps" / "flask" / "app.toml").touch()
    project = Project(tmp_path)
    index.update(project, "flask")
    (project.releases / "gunicorn.toml").write_text('[versions]\n"3.9" = "23.0.0"\n"3.11" = "27.0.1"\n')
    return project


def flask(project: Project, version: str) -> Release:
    return Catalogue.load(project, "flask").find(version)


def held(lock: Lock) -> str:
    return " ".join(map(str, lock.packages))


def closest(
    project: Project,
    before: Stack,
    after: Stack,
    pythons: tuple[str, str] = ("3.11", "3.11"),
    works: controlled.Works | None = None,
) -> controlled.ControlledLocks:
    sides = [
        locks.side(project, Catalogue.load(project, one.framework).find(one.release), python, one.pins)
        for one, python in zip((before, after), pythons, strict=True)
    ]
    asked = sorted({pin.name for one in (before, after) for pin in one.pins})
    return controlled.locks(project, sides, asked, works)


def both(project: Project, before: str, after: str, works: controlled.Works | None = None) -> list[str]:
    found = closest(project, Stack.parse(before), Stack.parse(after), works=works)
    return [held(found.before), held(found.after)]


# era locks


def test_an_era_lock_has_the_dependencies_of_its_day(project: Project) -> None:
    lock = locks.era(project, flask(project, "1.0"), "3.11")
    assert held(lock) == "flask==1.0 gunicorn==27.0.1 jinja2==1.5 werkzeug==1.5"
    assert lock.until == dt.datetime(2020, 1, 2, tzinfo=dt.UTC)


def test_a_lock_is_sorted_hashed_and_names_no_index(project: Project, served: Index) -> None:
    lock = locks.era(project, flask(project, "1.0"), "3.11")
    lines = lock.text.splitlines()
    assert [line.split("==")[0] for line in lines[::2]] == ["flask", "gunicorn", "jinja2", "werkzeug"]
    assert all(line.startswith("    --hash=sha256:") for line in lines[1::2])
    assert "://" not in lock.text
    assert len(lock.digest) == 12


def test_each_python_has_its_gunicorn(project: Project) -> None:
    assert locks.era(project, flask(project, "1.0"), "3.9").versions["gunicorn"] == "23.0.0"


def test_a_python_without_a_gunicorn_is_a_fault(project: Project) -> None:
    with pytest.raises(
        FaultError, match=r"gunicorn\.toml does not say which gunicorn to use on Python 3\.10"
    ):
        locks.era(project, flask(project, "1.0"), "3.10")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file or directory"),
        ("versions = 3", "Expected `object`, got `int`"),
        ("v", "Expected '='"),
    ],
)
def test_a_list_of_gunicorns_that_cannot_be_read_is_one_line(
    project: Project, content: str | None, said: str
) -> None:
    path = project.releases / "gunicorn.toml"
    path.write_text(content) if content else path.unlink()
    with pytest.raises(FaultError) as error:
        locks.era(project, flask(project, "1.0"), "3.9")
    assert str(error.value).startswith(f"{path} cannot be read: {said}")
    assert "\n" not in str(error.value)


def test_a_pin_may_be_younger_than_the_release(project: Project) -> None:
    pins = (Package("jinja2", "2.5"), Package("gunicorn", "23.0.0"))
    lock = locks.era(project, flask(project, "1.0"), "3.11", pins)
    assert held(lock) == "flask==1.0 gunicorn==23.0.0 jinja2==2.5 werkzeug==1.5"


def test_only_what_had_no_wheel_for_this_python_is_taken_from_a_later_day(
    project: Project, served: Index
) -> None:
    served.wheels = [wheel for wheel in served.wheels if wheel.version != "1.5" or wheel.name != "jinja2"]
    served.wheels.append(Wheel("jinja2", "1.5", uploaded=OLD, tag="cp38-cp38-manylinux2014_x86_64"))
    lock = locks.era(project, flask(project, "1.0"), "3.11")
    assert held(lock) == "flask==1.0 gunicorn==27.0.1 jinja2==2.5 werkzeug==1.5"


def test_an_index_without_upload_times_gives_a_lock_that_says_so(project: Project, served: Index) -> None:
    for wheel in served.wheels:
        wheel.uploaded = None
    lock = locks.era(project, flask(project, "1.0"), "3.11")
    assert held(lock) == "flask==1.0 gunicorn==27.0.1 jinja2==2.5 werkzeug==2.5"
    assert lock.until is None


def test_a_lock_that_was_resolved_needs_no_index(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    first = locks.era(project, flask(project, "1.0"), "3.11")
    monkeypatch.setenv("OUTLIVE_INDEX_URL", "http://127.0.0.1:9/simple")
    assert locks.era(project, flask(project, "1.0"), "3.11") == first


def test_a_committed_lock_wins_and_reads_as_it_was_written(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = flask(project, "1.0")
    lock = locks.era(project, release, "3.11")
    path = locks.write_era_lock(project, lock, release)
    assert path.relative_to(project.root) == Path("releases/flask/locks/py3.11/1.0.txt")
    assert path.read_text() == f"# dependencies until 2020-01-02T00:00:00Z\n{lock.text}"
    monkeypatch.setenv("OUTLIVE_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("OUTLIVE_CACHE", str(tmp_path / "empty"))
    assert locks.era(project, release, "3.11") == lock


def test_a_committed_lock_with_another_gunicorn_is_not_used(project: Project) -> None:
    release = flask(project, "1.0")
    locks.write_era_lock(project, locks.era(project, release, "3.11"), release)
    (project.releases / "gunicorn.toml").write_text('[versions]\n"3.11" = "23.0.0"\n')
    assert locks.era(project, release, "3.11").versions["gunicorn"] == "23.0.0"


def test_what_a_user_set_for_other_projects_does_not_count(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "constraints.txt").write_text("jinja2==2.5\n")
    monkeypatch.setenv("UV_CONSTRAINT", str(tmp_path / "constraints.txt"))
    monkeypatch.setenv("UV_RESOLUTION", "lowest")
    assert locks.era(project, flask(project, "2.0"), "3.11").versions["jinja2"] == "2.5"
    assert locks.era(project, flask(project, "1.0"), "3.11").versions["jinja2"] == "1.5"


# an application's requirements


def of_application(*lines: str, constraints: tuple[str, ...]) -> locks.LockInput:
    application = Requirements(lines, constraints)
    gunicorn = (Package("gunicorn", "27.0.1"),)
    return locks.LockInput(Release.of_none("shop", "0"), "3.11", gunicorn, application=application)


def test_a_constraint_holds_what_something_else_requires(project: Project) -> None:
    wanted = of_application("flask==2.0", constraints=("jinja2<2", "blinker==1.0", "nothing-has-it==1"))
    assert held(locks.resolve(wanted, None)) == "flask==2.0 gunicorn==27.0.1 jinja2==1.5 werkzeug==2.5"


def test_a_constraint_gives_way_to_what_the_user_asks_for(project: Project) -> None:
    wanted = of_application("flask", constraints=("flask==1.0", "werkzeug==1.5", "jinja2==1.5"))
    changed = msgspec.structs.replace(wanted.holding(Package("flask", "2.0")), changed=True)
    assert held(locks.resolve(changed, None)) == "flask==2.0 gunicorn==27.0.1 jinja2==1.5 werkzeug==2.5"


# what cannot be resolved


TRACERS = [
    Wheel("tracer", "1.0", ("tracerapi==1.0",), uploaded=OLD),
    Wheel("tracer", "2.0", ("tracerapi==2.0",), uploaded=NEW),
    Wheel("tracerapi", "1.0", uploaded=OLD),
    Wheel("tracerapi", "2.0", uploaded=NEW),
]


def test_a_pin_that_wants_packages_newer_than_the_release(project: Project, served: Index) -> None:
    served.wheels += TRACERS
    lock = locks.era(project, flask(project, "1.0"), "3.11", (Package("tracer", "2.0"),))
    assert {"tracer": "2.0", "tracerapi": "2.0", "flask": "1.0"}.items() <= lock.versions.items()
    assert lock.until
    assert lock.until.year >= 2022


def test_two_releases_of_what_a_practice_needs(project: Project, served: Index) -> None:
    served.wheels += TRACERS
    sides = [
        locks.side(project, flask(project, "1.0"), "3.11", pins, extras=("tracer",))
        for pins in ((Package("tracer", "1.0"),), (Package("tracer", "2.0"),))
    ]
    found = controlled.locks(project, sides, ["tracer"])
    assert [one.versions["tracer"] for one in (found.before, found.after)] == ["1.0", "2.0"]
    assert [(one.package, one.asked) for one in found.differences] == [
        ("tracer", True),
        ("tracerapi", False),
    ]


def test_a_pin_that_does_not_exist(project: Project) -> None:
    with pytest.raises(UnavailableError) as caught:
        locks.era(project, flask(project, "1.0"), "3.11", (Package("jinja2", "9"),))
    assert str(caught.value) == (
        "flask 1.0 on Python 3.11, jinja2==9 cannot be installed: the package index has no jinja2==9"
    )


def test_a_pin_of_a_project_that_does_not_exist(project: Project) -> None:
    with pytest.raises(UnavailableError, match=r"the package index has no project jinja3$"):
        locks.era(project, flask(project, "1.0"), "3.11", (Package("jinja3", "9"),))


def test_a_pin_that_the_release_does_not_allow(project: Project) -> None:
    with pytest.raises(UnavailableError) as caught:
        locks.era(project, flask(project, "2.0"), "3.11", (Package("werkzeug", "1.5"),))
    assert "flask==2.0 depends on werkzeug>=2" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_release_with_no_wheel_for_this_python(project: Project, served: Index) -> None:
    served.wheels.append(Wheel("flask", "4.0", tag="cp38-cp38-manylinux2014_x86_64"))
    index.update(project, "flask")
    with pytest.raises(UnavailableError) as caught:
        locks.era(project, flask(project, "4.0"), "3.11")
    assert str(caught.value) == (
        "flask 4.0 on Python 3.11 cannot be installed: flask==4.0 has no wheel for this Python and platform"
    )


def test_an_index_that_cannot_be_reached(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTLIVE_INDEX_URL", "http://someone:secret@127.0.0.1:9/simple")
    with pytest.raises(FaultError) as caught:
        locks.era(project, flask(project, "1.0"), "3.11")
    assert str(caught.value) == (
        "the package index at 127.0.0.1:9 cannot be reached: "
        "check the network, or name another index with OUTLIVE_INDEX_URL"
    )


ADVICE = "check the network, or name another index with OUTLIVE_INDEX_URL"
UNAUTHORIZED = (
    "  \N{MULTIPLICATION SIGN} Failed to download `a==1`\n  ├─▶ Failed to fetch: `http://host/a/`\n"
    "  ╰─▶ HTTP status client error (401 Unauthorized) for url (http://host/a/)"
)


@pytest.mark.parametrize(
    ("said", "kind", "line"),
    [
        (
            "error: Failed to install\n  cause: No space left on device (os error 28)",
            FaultError,
            "the disk is full: free some room, or set OUTLIVE_CACHE to a folder on another disk",
        ),
        (
            UNAUTHORIZED,
            FaultError,
            f"the package index at host cannot be read (401 Unauthorized): {ADVICE}",
        ),
        ("error: something\n  odd", FaultError, "uv failed: something odd"),
        ("", FaultError, "uv failed: it said nothing"),
    ],
)
def test_what_uv_says_becomes_one_line(said: str, kind: type[OutliveError], line: str) -> None:
    error = explain(said)
    assert (type(error), str(error)) == (kind, line)


# controlled locks


def test_the_newer_release_takes_the_older_ones_dependencies(project: Project) -> None:
    assert both(project, "flask==2.0", "flask==3.0") == [
        "flask==2.0 gunicorn==27.0.1 jinja2==2.5 werkzeug==2.5",
        "blinker==1.0 flask==3.0 gunicorn==27.0.1 jinja2==2.5 werkzeug==2.5",
    ]


def test_the_older_release_takes_the_newer_ones_where_only_that_way_is_allowed(project: Project) -> None:
    assert both(project, "flask==1.0", "flask==2.0") == [
        "flask==1.0 gunicorn==27.0.1 jinja2==2.5 werkzeug==2.5",
        "flask==2.0 gunicorn==27.0.1 jinja2==2.5 werkzeug==2.5",
    ]


def test_what_metadata_allows_and_does_not_work_is_not_taken(project: Project) -> None:
    def works(lock: Lock) -> bool:
        return (lock.release, lock.versions["werkzeug"]) != ("1.0", "2.5")

    before, after = Stack.parse("flask==1.0"), Stack.parse("flask==2.0")
    found = closest(project, before, after, works=works)
    reason = "flask 2.0 requires werkzeug>=2; flask 1.0 does not work with werkzeug 2.5"
    assert found.differences == (Difference("werkzeug", "1.5", "2.5", reason),)
    assert found.before.versions["jinja2"] == found.after.versions["jinja2"] == "1.5"
    turned = closest(project, after, before, works=works)
    assert turned.differences == (Difference("werkzeug", "2.5", "1.5", reason),)
    assert (turned.before, turned.after) == (found.after, found.before)


def test_a_dependency_of_one_release_alone_is_a_difference(project: Project) -> None:
    found = closest(project, Stack.parse("flask==2.0"), Stack.parse("flask==3.0"))
    assert found.differences == (Difference("blinker", None, "1.0", "only flask 3.0 needs it"),)


def test_a_pin_on_one_side_is_not_carried_over_to_the_other(project: Project) -> None:
    before, after = Stack.parse("flask==3.0"), Stack.parse("flask==3.0,jinja2==1.5")
    found = closest(project, before, after)
    assert found.differences == (Difference("jinja2", "2.5", "1.5", "named in the stack", asked=True),)


def test_on_different_pythons_both_have_the_same_gunicorn(project: Project) -> None:
    found = closest(project, Stack.parse("flask==3.0"), Stack.parse("flask==3.0"), ("3.9", "3.11"))
    assert found.before.versions == found.after.versions
    assert found.after.versions["gunicorn"] == "23.0.0"
    assert (found.before.python, found.after.python) == ("3.9", "3.11")


def test_controlled_locks_that_were_found_need_no_index(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = both(project, "flask==1.0", "flask==2.0")
    monkeypatch.setenv("OUTLIVE_INDEX_URL", "http://127.0.0.1:9/simple")
    assert both(project, "flask==1.0", "flask==2.0") == first


def test_an_unknown_release_of_a_comparison(project: Project) -> None:
    with pytest.raises(
        UsageError, match=r"^flask has no release 9 in the catalogue; nearest: 3\.0, 2\.0, 1\.0$"
    ):
        both(project, "flask==1.0", "flask==9")


# real releases

MULTIDICT = "aiohttp==3.11.18,multidict=="
REAL = [
    ("aiohttp==3.11.13", "aiohttp==3.11.14", "3.11", "3.11", []),
    ("flask==2.3.3", "flask==3.1.3", "3.11", "3.11", []),
    ("flask==2.0.3", "flask==3.1.3", "3.11", "3.11", ["blinker", "werkzeug"]),
    (f"{MULTIDICT}6.2.0", f"{MULTIDICT}6.4.0", "3.11", "3.11", ["multidict"]),
    ("flask==3.1.3", "flask==3.1.3", "3.11", "3.13", []),
    ("aiohttp==3.10.10", "aiohttp==3.11.18", "3.11", "3.11", []),
]


def interpreter(minor: str) -> pythons.Interpreter:
    for found in pythons.installed():
        if found.minor == minor:
            return found
    pytest.skip(f"Python {minor} is not installed")


def imports(lock: Lock) -> bool:
    environment = environments.ensure(lock, interpreter(lock.python))
    return environments.import_error(environment, f"{lock.framework}, gunicorn.app.base") is None


@pytest.mark.real
@pytest.mark.parametrize(("before", "after", "python", "other", "different"), REAL)
def test_real_stacks_differ_in_what_they_must_and_import(
    before: str, after: str, python: str, other: str, different: list[str]
) -> None:
    interpreter(python), interpreter(other)
    stacks = Stack.parse(before), Stack.parse(after)
    found = closest(CHECKOUT, *stacks, (python, other), imports)
    assert [difference.package for difference in found.differences] == different
    assert imports(found.before)
    assert imports(found.after)


@pytest.mark.real
@pytest.mark.parametrize(
    ("framework", "version", "python"),
    [
        ("flask", "1.1.4", "3.8"),
        ("flask", "1.1.4", "3.9"),
        ("flask", "2.0.3", "3.13"),
        ("aiohttp", "3.8.0", "3.10"),
    ],
)
def test_an_old_release_imports_with_the_packages_of_its_era(
    framework: str, version: str, python: str
) -> None:
    interpreter(python)
    assert imports(locks.era(CHECKOUT, Catalogue.load(CHECKOUT, framework).find(version), python))
