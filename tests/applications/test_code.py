"""The code of an application in git: that of its own repository and folder, whoever calls."""

from __future__ import annotations

from pathlib import Path

import pytest

from git_repository import Repository
from measuring import CHECKOUT
from outlive.applications import code
from outlive.applications.opened import State, opened
from outlive.errors import FaultError, UsageError
from outlive.releases import frameworks
from outlive.service import remedies

SETTINGS = """
target = "app:serve"
packages = "../requirements/site.txt"
[[scenario]]
name = "ok"
"""


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """Return an app in a folder of a repository, of which its first commit has nothing."""
    repository = Repository(tmp_path / "shop")
    repository.commit("readme", "README")
    (repository.folder / "requirements").mkdir()
    (repository.folder / "requirements" / "base.txt").write_text("flask==3.1.2\n")
    (repository.folder / "requirements" / "site.txt").write_text("-r base.txt\nshop-lib @ ../lib\n")
    (repository.folder / "lib").mkdir()
    (repository.folder / "lib" / "pyproject.toml").write_text("[project]\nname = 'shop-lib'\n")
    (repository.folder / "passwords").symlink_to("/etc/passwd")
    (repository.folder / "site" / "page_cache").mkdir(parents=True)
    (repository.folder / "site" / "page_cache" / "__init__.py").touch()
    (repository.folder / "site" / "outlive.toml").write_text(SETTINGS)
    (repository.folder / ".gitattributes").write_text("page_cache export-ignore\n")
    repository.commit("serve = None\n", "site/app.py")
    (repository.folder / "requirements" / "base.txt").write_text("flask==3.1.3\n")
    repository.commit("serve = 1\n", "site/app.py")
    return repository.folder / "site"


def test_a_revision_has_the_requirements_of_then_and_the_packages_beside_it(app: Path) -> None:
    words = ("@HEAD~1", "@HEAD", "")
    with opened(app, CHECKOUT, [State.parse(word) for word in words]) as (project, stacks):
        asked = frameworks.load(project, "site").application
        pinned = [asked[stack.release].pinned["flask"] for stack in stacks]
        libraries = [Path(asked[stack.release].local["shop-lib"]) for stack in stacks]
        assert all((library / "pyproject.toml").is_file() for library in libraries)
        folders = [project.root / "code" / stack.release for stack in stacks]
        names = [{path.name for path in folder.iterdir()} for folder in folders]
    assert pinned == ["3.1.2", "3.1.3", "3.1.3"]
    assert libraries[2].resolve() == app.parent / "lib"
    assert names == [{"app.py", "outlive.toml", "page_cache"}] * 3


@pytest.mark.parametrize(("revision", "at"), [("HEAD", "@HEAD"), (None, "")])
def test_a_requirement_that_a_state_does_not_have_is_named_by_it(
    app: Path, revision: str | None, at: str
) -> None:
    states = [State(revision, "../requirements/none.txt")]
    said = rf"packages: there is no {app}{at}/\.\./requirements/none\.txt$"
    with pytest.raises(UsageError, match=said), opened(app, CHECKOUT, states):
        pass


def test_a_hook_of_another_repository_does_not_change_what_is_copied(
    app: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hook runs with GIT_DIR, and GIT_INDEX_FILE, of the repository that it is about."""
    wanted = code.revision(app, "HEAD", tmp_path / "alone")[0], code.digest(app, app)
    other = Repository(tmp_path / "other")
    other.commit("another", "another.py")
    for name, path in (("GIT_DIR", ".git"), ("GIT_INDEX_FILE", ".git/index"), ("GIT_WORK_TREE", "")):
        monkeypatch.setenv(name, str(other.folder / path))
    assert (code.revision(app, "HEAD", tmp_path / "hooked")[0], code.digest(app, app)) == wanted
    assert (tmp_path / "hooked" / "passwords").readlink() == Path("/etc/passwd")


def test_what_a_repository_would_run_is_not_run(app: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    with (app.parent / ".git" / "config").open("a") as config:
        config.write(f'[core]\nfsmonitor = "touch {ran}; false"\n')
    hook = app.parent / ".git" / "hooks" / "post-index-change"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {ran}\n")
    hook.chmod(0o755)
    code.revision(app, "HEAD", tmp_path / "copy")
    code.digest(app, app)
    assert not ran.exists()


def test_what_a_revision_does_not_have_is_no_fault(app: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^@HEAD~2: \S+site is not in it$"):
        code.revision(app, "HEAD~2", tmp_path / "copy")
    with pytest.raises(UsageError, match=r"^@nope: git knows no such revision of \S+site$"):
        code.revision(app, "nope", tmp_path / "copy")


def test_a_copy_that_cannot_be_written_is_a_fault(app: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").write_text("in its place")
    with pytest.raises(FaultError, match=r"^@HEAD: \S+site cannot be copied: \S.*(exists|director)"):
        code.revision(app, "HEAD", tmp_path / "copy")


@pytest.mark.parametrize(
    ("protocol", "package", "some"),
    [
        ("wsgi", "flask", True),
        ("wsgi", "six", False),
        ("wsgi", "falcon", False),  # `makes` of the same protocol names it
        ("wsgi", "bottle", False),
        ("asgi", "fastapi", False),
    ],
)
def test_an_app_has_the_remedies_of_its_framework_if_any(
    tmp_path: Path, protocol: str, package: str, some: bool
) -> None:
    settings = f'target = "app:serve"\nprotocol = "{protocol}"\npackages = ["{package}"]\n'
    (tmp_path / "outlive.toml").write_text(f'{settings}[[scenario]]\nname = "ok"\n')
    with opened(tmp_path, CHECKOUT, [State()]) as (project, (stack,)):
        assert bool(remedies.load(project, stack.framework)) is some
