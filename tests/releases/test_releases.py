from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlive.errors import FaultError, UnavailableError, UsageError
from outlive.project import Project
from outlive.records.release import Release
from outlive.releases import index
from outlive.releases.catalogue import Catalogue, catalogue_path
from package_index import Index, Wheel, serving

CHECKOUT = Project(Path(__file__).parents[2])
REGRESSION = "Regression: https://github.com/aio-libs/aiohttp/issues/10617"


def release(version: str, **fields: object) -> Release:
    given_fields: dict[str, object] = {
        "framework": "aiohttp",
        "version": version,
        "uploaded": None,
        "requires_python": ">=3.8",
        "yanked": False,
        "yanked_reason": None,
        "wheels": ("cp310", "cp38", "cp39"),
        "sdist": True,
    }
    return Release(**(given_fields | fields))  # type: ignore[arg-type]


# what is committed


@pytest.mark.parametrize("version", ["3.11.13", "3.11.14"])
def test_the_catalogue_knows_that_a_release_was_yanked_and_why(version: str) -> None:
    found = Catalogue.load(CHECKOUT, "aiohttp").find(version)
    assert (found.yanked, found.yanked_reason) == (True, REGRESSION)


@pytest.mark.parametrize("framework", CHECKOUT.frameworks())
def test_the_committed_catalogue_is_what_saving_it_gives(framework: str, tmp_path: Path) -> None:
    catalogue = Catalogue.load(CHECKOUT, framework)
    written = catalogue.save(Project(tmp_path))
    assert written.read_bytes() == catalogue_path(CHECKOUT, framework).read_bytes()


@pytest.mark.parametrize("framework", CHECKOUT.frameworks())
def test_every_committed_release_has_its_date(framework: str) -> None:
    assert [r.version for r in Catalogue.load(CHECKOUT, framework).releases if r.date is None] == []


def test_the_date_of_a_release_is_its_upload_day_in_utc() -> None:
    assert str(Catalogue.load(CHECKOUT, "aiohttp").find("3.11.14").date) == "2025-03-17"


def test_a_release_is_found_under_every_spelling_of_its_version() -> None:
    catalogue = Catalogue.load(CHECKOUT, "aiohttp")
    assert catalogue.find("3.11").version == catalogue.find("3.11.0").version == "3.11.0"
    assert catalogue.find("4.0.0alpha1").version == "4.0.0a1"


@pytest.mark.parametrize(
    ("version", "nearest"),
    [
        ("3.11.99", "3.11.18, 3.11.17, 3.11.16"),
        ("3.7.5", "3.7.4.post0, 3.7.4, 3.7.3"),
        ("3.1x", "3.9.1, 3.8.1, 3.7.1"),
    ],
)
def test_an_unknown_release_is_refused_with_the_nearest(version: str, nearest: str) -> None:
    with pytest.raises(UsageError) as caught:
        Catalogue.load(CHECKOUT, "aiohttp").find(version)
    assert str(caught.value) == f"aiohttp has no release {version} in the catalogue; nearest: {nearest}"


def test_an_unknown_framework_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        UsageError, match=r"^no framework 'aiohtp' has a catalogue .*; did you mean aiohttp\?$"
    ):
        Catalogue.load(CHECKOUT, "aiohtp")
    with pytest.raises(UsageError, match=f"; there are {', '.join(CHECKOUT.frameworks())}$"):
        Catalogue.load(CHECKOUT, "zzz")


def test_a_catalogue_with_a_misspelt_field_is_refused(tmp_path: Path) -> None:
    path = catalogue_path(Project(tmp_path), "aiohttp")
    path.parent.mkdir(parents=True)
    path.write_text('[{"framework":"aiohttp","version":"1.0","yankt":true}]')
    with pytest.raises(FaultError, match=r"is not a catalogue of releases: .*yankt"):
        Catalogue.load(Project(tmp_path), "aiohttp")


# what a release says of itself


def test_pre_releases_and_yanked_releases_are_not_taken_by_default() -> None:
    catalogue = Catalogue.of(
        "aiohttp", (release("2.0rc1"), release("1.10"), release("1.11", yanked=True), release("1.9"))
    )
    assert [r.version for r in catalogue.stable()] == ["1.9", "1.10", "1.11"]
    assert catalogue.newest().version == "1.10"


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12), st.sampled_from(["", "a1", "rc2", ".post1"])))
)
def test_releases_are_in_the_order_of_their_versions(parts: list[tuple[int, int, str]]) -> None:
    versions = {f"{major}.{minor}{suffix}" for major, minor, suffix in parts}
    catalogue = Catalogue.of("aiohttp", tuple(map(release, versions)))
    parsed = [r.parsed for r in catalogue.releases]
    assert parsed == sorted(parsed)
    assert all(catalogue.find(version).version == version for version in versions)


@pytest.mark.parametrize(
    ("found", "python", "reason"),
    [
        (release("3.8.1"), "3.10", None),
        (
            release("3.8.1"),
            "3.12",
            "aiohttp 3.8.1 has no wheel for Python 3.12; it has wheels for 3.8-3.10",
        ),
        (
            release("3.8.1", wheels=("cp313", "cp311", "cp38", "cp39")),
            "3.10",
            "aiohttp 3.8.1 has no wheel for Python 3.10; it has wheels for 3.8-3.9, 3.11, 3.13",
        ),
        (release("3.8.1"), "3.7", "aiohttp 3.8.1 requires Python >=3.8, not 3.7"),
        (release("3.8.1", requires_python=">=3.8.1"), "3.8", None),
        (release("3.8.1", wheels=()), "3.8", "aiohttp 3.8.1 has no wheel, only a source distribution"),
        (release("3.8.1", wheels=("py3",), requires_python=None), "3.13", None),
        (release("3.8.1", wheels=("cp39-abi3",)), "3.13", None),
        (
            release("3.8.1", wheels=("cp39-abi3",)),
            "3.8",
            "aiohttp 3.8.1 has no wheel for Python 3.8; it has wheels for 3.9 and newer",
        ),
    ],
)
def test_a_release_says_why_it_cannot_be_installed(found: Release, python: str, reason: str | None) -> None:
    assert found.why_not(python) == reason
    assert found.supports(python) == (reason is None)


# the refresh from an index


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    wheels = [
        Wheel("flask", "1.0", uploaded="2018-04-26T19:26:13.5Z"),
        Wheel("flask", "1.1", uploaded="2019-07-04T19:20:14Z", yanked="it was broken"),
    ]
    with serving(Index(wheels)) as found:
        monkeypatch.setenv("OUTLIVE_INDEX_URL", found.url)
        yield found


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "apps" / "flask").mkdir(parents=True)
    (tmp_path / "apps" / "flask" / "app.toml").touch()
    return Project(tmp_path)


def test_a_first_refresh_writes_one_release_a_line(project: Project, served: Index) -> None:
    assert index.update(project, "flask") == index.Update("flask", ("1.0", "1.1"), (), ())
    assert catalogue_path(project, "flask").read_text() == (
        "[\n"
        '{"framework":"flask","version":"1.0","uploaded":"2018-04-26T19:26:13Z","requires_python":">=3.8",'
        '"yanked":false,"yanked_reason":null,"wheels":["py3"],"sdist":false},\n'
        '{"framework":"flask","version":"1.1","uploaded":"2019-07-04T19:20:14Z","requires_python":">=3.8",'
        '"yanked":true,"yanked_reason":"it was broken","wheels":["py3"],"sdist":false}\n'
        "]\n"
    )


def test_a_refresh_reports_what_is_new_and_what_was_yanked_since(project: Project, served: Index) -> None:
    index.update(project, "flask")
    served.wheels[0].yanked = "a hole"
    served.wheels.append(Wheel("flask", "2.0"))
    assert index.update(project, "flask") == index.Update("flask", ("2.0",), ("1.0",), ())
    assert index.update(project, "flask") == index.Update("flask", (), (), ())


def test_outside_a_checkout_the_list_is_the_users_own(
    project: Project, served: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTLIVE_CACHE", str(tmp_path / "cache"))
    index.update(project, "flask")
    whole = catalogue_path(project, "flask").read_bytes()
    outside = Project(project.root, tmp_path / "elsewhere")
    assert [r.version for r in Catalogue.load(outside, "flask").releases] == ["1.0", "1.1"]
    served.wheels.append(Wheel("flask", "2.0"))
    assert index.update(outside, "flask") == index.Update("flask", ("2.0",), (), ())
    assert [r.version for r in Catalogue.load(outside, "flask").releases] == ["1.0", "1.1", "2.0"]
    assert catalogue_path(project, "flask").read_bytes() == whole
    for version in ("2.1", "2.2"):  # the package that is installed next knows more than the user's list
        served.wheels.append(Wheel("flask", version))
    index.update(project, "flask")
    assert Catalogue.load(outside, "flask").releases[-1].version == "2.2"


def test_a_release_that_is_gone_from_the_index_stays(project: Project, served: Index) -> None:
    index.update(project, "flask")
    del served.wheels[0]
    assert index.update(project, "flask") == index.Update("flask", (), (), ())
    assert [r.version for r in Catalogue.load(project, "flask").releases] == ["1.0", "1.1"]


def test_an_index_with_only_the_simple_api_gives_the_same_catalogue(project: Project, served: Index) -> None:
    index.update(project, "flask")
    served.has_json = False
    assert index.update(project, "flask") == index.Update("flask", (), (), ())


def test_a_known_date_is_kept_where_the_index_gives_none(project: Project, served: Index) -> None:
    index.update(project, "flask")
    served.has_json = False
    for wheel in served.wheels:
        wheel.uploaded = None
    served.wheels.append(Wheel("flask", "2.0", uploaded=None))
    assert index.update(project, "flask") == index.Update("flask", ("2.0",), (), ("2.0",))
    assert str(Catalogue.load(project, "flask").find("1.0").date) == "2018-04-26"


def test_free_threaded_wheels_do_not_count(project: Project, served: Index) -> None:
    served.wheels[:] = [
        Wheel("flask", "1.0", tag="cp313-cp313t-manylinux_2_17_x86_64"),
        Wheel("flask", "1.0", tag="cp312-cp312-manylinux_2_17_x86_64"),
        Wheel("flask", "1.0", tag="pp310-pypy310_pp73-manylinux_2_17_x86_64"),
    ]
    index.update(project, "flask")
    assert Catalogue.load(project, "flask").find("1.0").wheels == ("cp312",)


def test_an_unreachable_index_leaves_the_catalogue_alone(
    project: Project, served: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.update(project, "flask")
    before = catalogue_path(project, "flask").read_bytes()
    monkeypatch.setenv("OUTLIVE_INDEX_URL", "http://someone:secret@127.0.0.1:9/simple")
    with pytest.raises(FaultError) as caught:
        index.update(project, "flask")
    assert str(caught.value) == (
        "the package index at http://127.0.0.1:9/simple/ cannot be read (ConnectionError): "
        "check the network, or name another index with OUTLIVE_INDEX_URL"
    )
    assert catalogue_path(project, "flask").read_bytes() == before


def test_a_project_that_the_index_does_not_have(project: Project, served: Index) -> None:
    served.wheels.clear()
    with pytest.raises(UnavailableError, match=r"^the package index has no project flask$"):
        index.update(project, "flask")


def test_a_framework_without_a_reference_app_is_not_looked_up(project: Project, served: Index) -> None:
    with pytest.raises(UsageError, match=r"^no framework 'djang'; there are flask$"):
        index.update(project, "djang")
    assert served.asked == []


@pytest.mark.parametrize("variable", ["UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"])
def test_the_index_is_the_one_that_other_tools_are_told(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OUTLIVE_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, "http://127.0.0.1:9/simple")
    assert index.address() == "http://127.0.0.1:9/simple/"
