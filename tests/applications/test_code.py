"""The code of an application in git: that of its own repository and folder, whoever calls."""

from __future__ import annotations

from pathlib import Path

import pytest

from git_repository import Repository
from outlive.applications import code
from outlive.errors import FaultError, UsageError


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """Return an app in a folder of a repository, of which its first commit has nothing."""
    repository = Repository(tmp_path / "shop")
    repository.commit("readme", "README")
    (repository.folder / "site").mkdir()
    repository.commit("serve = None\n", "site/app.py")
    return repository.folder / "site"


def test_a_hook_of_another_repository_does_not_change_what_is_copied(
    app: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hook runs with GIT_DIR, and GIT_INDEX_FILE, of the repository that it is about."""
    wanted = code.revision(app, "HEAD", tmp_path / "alone"), code.digest(app, app)
    other = Repository(tmp_path / "other")
    other.commit("another", "another.py")
    for name, path in (("GIT_DIR", ".git"), ("GIT_INDEX_FILE", ".git/index"), ("GIT_WORK_TREE", "")):
        monkeypatch.setenv(name, str(other.folder / path))
    assert (code.revision(app, "HEAD", tmp_path / "hooked"), code.digest(app, app)) == wanted
    assert [path.name for path in (tmp_path / "hooked").iterdir()] == ["app.py"]


def test_what_a_revision_does_not_have_is_no_fault(app: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^@HEAD~1: \S+site is not in it$"):
        code.revision(app, "HEAD~1", tmp_path / "copy")
    with pytest.raises(UsageError, match=r"^@nope: git knows no such revision of \S+site$"):
        code.revision(app, "nope", tmp_path / "copy")


def test_a_copy_that_cannot_be_written_is_a_fault(app: Path, tmp_path: Path) -> None:
    with pytest.raises(FaultError, match=r"^@HEAD: \S+site cannot be copied: \S.*No such file or directory"):
        code.revision(app, "HEAD", tmp_path / "gone" / "copy")
