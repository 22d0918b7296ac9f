"""Where things are."""

from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest

from outlive.errors import UsageError
from outlive.project import INSTALLED, SOURCE, Project, cache_dir, named_index


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in ("OUTLIVE_ROOT", "OUTLIVE_RESULTS"):
        monkeypatch.delenv(variable, raising=False)
    root = tmp_path / "checkout"
    for framework in ("flask", "aiohttp"):
        (root / "apps" / framework).mkdir(parents=True)
        (root / "apps" / framework / "app.toml").touch()
    (root / "apps" / "notes").mkdir()
    (root / "loadtests").mkdir()
    (root / "loadtests" / "scenarios.toml").touch()
    return root


def test_is_found_from_a_folder_within(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(checkout / "apps" / "flask")
    assert Project.find().root == checkout
    assert Project.find(checkout).root == checkout


def test_is_found_where_the_environment_says(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTLIVE_ROOT", str(checkout))
    monkeypatch.chdir(checkout.parent)
    assert Project.find(Path("/")).root == checkout


def test_elsewhere_it_is_what_the_installation_brings(checkout: Path) -> None:
    project = Project.find(checkout.parent)
    assert project.root in {INSTALLED, SOURCE}
    assert project.measured == checkout.parent / ".outlive" / "results"
    with pytest.raises(UsageError, match=r"^--accept updates files in a checkout of outlive: change"):
        project.renewable("--accept")
    Project.find(checkout).renewable("--accept")


def test_a_variable_that_names_no_checkout(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTLIVE_ROOT", "/no/such/folder")
    with pytest.raises(UsageError, match=r"^OUTLIVE_ROOT: /no/such/folder is not in a checkout of outlive$"):
        Project.find(checkout)


class TestResults:
    """What is published is read, what is measured is written elsewhere."""

    def test_in_a_checkout(self, checkout: Path) -> None:
        project = Project.find(checkout / "apps")
        assert project.results == (checkout / ".outlive" / "results", checkout / "results")
        assert (project.inside, project.named, project.publishes) == (True, False, False)

    def test_a_folder_that_is_named(self, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OUTLIVE_RESULTS", "mine")
        monkeypatch.chdir(checkout.parent)
        project = Project.find(checkout)
        assert project.results == (checkout.parent / "mine", checkout / "results")
        assert project.at(Path("/shop")).measured == checkout.parent / "mine"

    @pytest.mark.parametrize("named", [True, False])
    def test_what_is_published(self, checkout: Path, monkeypatch: pytest.MonkeyPatch, named: bool) -> None:
        if named:
            monkeypatch.setenv("OUTLIVE_RESULTS", str(checkout / "apps/../results"))
        project = Project.find(checkout) if named else Project.find(checkout).publishing()
        assert project.publishes
        assert [one.resolve() for one in project.results] == [checkout / "results"]

    def test_those_of_an_app(self, checkout: Path) -> None:
        project = Project.find(checkout).at(Path("/shop"))
        assert project.results == (Path("/shop/.outlive/results"), checkout / "results")
        assert project.inside


def test_a_framework_is_a_folder_with_an_app(checkout: Path) -> None:
    assert Project(checkout).frameworks() == ("aiohttp", "flask")


def test_an_index_is_an_address_or_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for named, address in (("mine=https://a/simple", "https://a/simple"), (str(tmp_path), str(tmp_path))):
        monkeypatch.setenv("OUTLIVE_INDEX_URL", named)
        assert named_index() == address
    monkeypatch.setenv("OUTLIVE_INDEX_URL", "nonsense")
    with pytest.raises(UsageError, match=r"^OUTLIVE_INDEX_URL: 'nonsense' is not the address"):
        named_index()


def test_the_cache_is_the_users_unless_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTLIVE_CACHE", "/some/cache")
    assert cache_dir() == Path("/some/cache")
    monkeypatch.delenv("OUTLIVE_CACHE")
    assert cache_dir() == Path(platformdirs.user_cache_dir("outlive"))
