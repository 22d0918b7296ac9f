"""Where things are."""

from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest

from outlive.errors import UsageError
from outlive.project import Project, cache_dir


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("OUTLIVE_ROOT", raising=False)
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


def test_elsewhere_there_is_none(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError) as caught:
        Project.find(checkout.parent)
    assert str(caught.value) == (
        f"{checkout.parent} is not in a checkout of outlive: "
        "change into one, or set OUTLIVE_ROOT to its folder"
    )
    monkeypatch.setenv("OUTLIVE_ROOT", "/no/such/folder")
    with pytest.raises(UsageError, match=r"^/no/such/folder is not in a checkout of outlive"):
        Project.find(checkout)


def test_a_framework_is_a_folder_with_an_app(checkout: Path) -> None:
    assert Project(checkout).frameworks() == ("aiohttp", "flask")


def test_the_cache_is_the_users_unless_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTLIVE_CACHE", "/some/cache")
    assert cache_dir() == Path("/some/cache")
    monkeypatch.delenv("OUTLIVE_CACHE")
    assert cache_dir() == Path(platformdirs.user_cache_dir("outlive"))
