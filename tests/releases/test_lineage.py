from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from asv import config  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from outlive.asv import repository as history
from outlive.errors import FaultError, UsageError
from outlive.project import Project
from outlive.records.release import Release
from outlive.records.stack import Stack
from outlive.releases.catalogue import Catalogue
from outlive.releases.lineage import branches, commits, tag

CHECKOUT = Project(Path(__file__).parents[2])

# of the committed catalogues: what every machine must get
KNOWN = {
    "aiohttp-3.8.0": "e697933bcf6c53e2745e48cb14cb39787075c57a",
    "aiohttp-3.11.14": "b792fece66d12a1622ce8268b6e70dbc6bdae340",
    "flask-1.1.4": "600fb7216d1b36d7a538b0e4d9b27ee4cd6e1089",
    "flask-2.2.5": "76440cb91c569495f42a7a3354c69aec5a7cf6a3",
    "flask-3.1.3": "49e1f8e3d9bada751527e0faea3b6b7f907b57c8",
}

HOSTILE = """
[user]
    name = Somebody
    email = somebody@example.com
[core]
    autocrlf = true
    quotePath = false
[commit]
    gpgsign = true
[tag]
    gpgsign = true
    forceSignAnnotated = true
[gpg]
    program = false
[init]
    defaultBranch = trunk
    defaultObjectFormat = sha256
    templateDir = {template}
[i18n]
    commitEncoding = UTF-16
[fastimport]
    unpackLimit = 1
"""


def release(version: str, day: int, **changes: object) -> Release:
    """Return a release of flask, uploaded so many days after the first of January."""
    uploaded = dt.datetime(2023, 1, 1, 12, 0, tzinfo=dt.UTC) + dt.timedelta(days=day)
    made = Release("flask", version, uploaded, None, False, None, ("py3",), True)
    return msgspec.structs.replace(made, **changes)


def catalogue(*releases: Release) -> Catalogue:
    return Catalogue.of("flask", releases)


RELEASES = (
    release("2.2.0", 0),
    release("2.2.1", 10),
    release("2.3.0", 20),
    release("2.2.2", 30),
    release("2.3.1", 40),
)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make(tmp_path / "checkout", RELEASES)


def make(root: Path, releases: tuple[Release, ...]) -> Project:
    (root / "apps" / "flask").mkdir(parents=True)
    (root / "apps" / "flask" / "app.toml").touch()
    (root / "loadtests").mkdir()
    (root / "loadtests" / "scenarios.toml").touch()
    project = Project(root)
    catalogue(*releases).save(project)
    return project


def git(project: Project, *arguments: str) -> str:
    command = ["git", "-C", str(history.path(project)), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def references(project: Project) -> dict[str, str]:
    listed = git(project, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
    return dict(line.split(" ") for line in listed)


def parents(found: Catalogue) -> dict[str, str | None]:
    return {
        commit.release.version: commit.parent.version if commit.parent else None for commit in commits(found)
    }


def tips(found: Catalogue) -> dict[str, str]:
    return {name: tip.version for name, tip in branches(found).items()}


def test_the_parent_is_the_highest_lower_version_published_before() -> None:
    assert parents(catalogue(*RELEASES)) == {
        "2.2.0": None,
        "2.2.1": "2.2.0",
        "2.3.0": "2.2.1",
        "2.2.2": "2.2.1",
        "2.3.1": "2.3.0",
    }


def test_commits_are_in_the_order_of_upload() -> None:
    assert list(parents(catalogue(*RELEASES))) == ["2.2.0", "2.2.1", "2.3.0", "2.2.2", "2.3.1"]


def test_two_releases_of_one_moment_do_not_depend_on_each_other() -> None:
    assert parents(catalogue(release("2.2.0", 0), release("2.3.0", 0))) == {"2.2.0": None, "2.3.0": None}


def test_pre_releases_are_out_and_yanked_ones_are_in() -> None:
    found = catalogue(release("2.2.0", 0), release("2.3.0rc1", 1), release("2.3.0", 2, yanked=True))
    assert parents(found) == {"2.2.0": None, "2.3.0": "2.2.0"}


def test_a_release_without_an_upload_date_is_left_out() -> None:
    assert parents(catalogue(release("2.2.0", 0), release("2.2.1", 1, uploaded=None))) == {"2.2.0": None}


def test_releases_that_are_not_covered_are_left_out() -> None:
    found = catalogue(release("1.1.3", 0), release("1.1.4", 1), release("1.2", 2), release("2.0.0", 3))
    found = msgspec.structs.replace(found, covered=("==1.1.4", ">=2.0.0"))
    assert parents(found) == {"1.1.4": None, "2.0.0": "1.1.4"}


def test_all_stable_releases_of_another_framework_are_covered() -> None:
    found = Catalogue.of(
        "quart", (release("0.1", 0, framework="quart"), release("0.2", 1, framework="quart"))
    )
    assert parents(found) == {"0.1": None, "0.2": "0.1"}
    assert tips(found) == {"quart": "0.2"}


def test_the_frameworks_branch_ends_at_the_highest_version_and_maintenance_has_its_own() -> None:
    assert tips(catalogue(*RELEASES)) == {"flask": "2.3.1", "flask-2.2.x": "2.2.2"}


def test_a_maintenance_line_has_one_branch_however_long_it_gets() -> None:
    assert tips(catalogue(*RELEASES, release("2.2.3", 50))) == {"flask": "2.3.1", "flask-2.2.x": "2.2.3"}


def test_two_maintenance_tips_of_one_series_have_two_branches() -> None:
    found = catalogue(*RELEASES, release("2.2.4", 50), release("2.2.3", 60))
    assert tips(found) == {"flask": "2.3.1", "flask-2.2.x": "2.2.4", "flask-2.2.3.x": "2.2.3"}


VERSIONS = st.builds("2.{}.{}".format, st.integers(0, 3), st.integers(0, 5))
CATALOGUES = st.dictionaries(VERSIONS, st.integers(0, 30), min_size=1, max_size=12)


@given(CATALOGUES, VERSIONS)
def test_a_release_that_comes_later_changes_no_earlier_commit(days: dict[str, int], version: str) -> None:
    earlier = [release(each, day) for each, day in days.items() if each != version]
    before = commits(catalogue(*earlier))
    after = commits(catalogue(*earlier, release(version, 31)))
    assert after[:-1] == before


@given(CATALOGUES)
def test_every_release_is_on_a_branch_once_and_the_order_of_the_catalogue_does_not_matter(
    days: dict[str, int],
) -> None:
    releases = [release(each, day) for each, day in days.items()]
    found = catalogue(*releases)
    by_release = {commit.release: commit.parent for commit in commits(found)}
    reached = set()
    for tip in branches(found).values():
        step: Release | None = tip
        while step:
            reached.add(step)
            step = by_release[step]
    assert reached == set(releases)
    assert branches(found)["flask"] == max(releases, key=lambda each: each.parsed)
    assert history.stream([found]) == history.stream([catalogue(*reversed(releases))])


def test_the_history_is_made_when_it_is_missing(project: Project) -> None:
    assert history.ensure(project) == project.root / ".outlive" / "history"
    assert git(project, "log", "--format=%s|%an <%ae>|%cn <%ce>|%ad|%cd|%D", "--date=iso", "flask") == (
        "flask 2.3.1|outlive <outlive@invalid>|outlive <outlive@invalid>"
        "|2023-02-10 12:00:00 +0000|2023-02-10 12:00:00 +0000|HEAD -> flask, tag: flask-2.3.1\n"
        "flask 2.3.0|outlive <outlive@invalid>|outlive <outlive@invalid>"
        "|2023-01-21 12:00:00 +0000|2023-01-21 12:00:00 +0000|tag: flask-2.3.0\n"
        "flask 2.2.1|outlive <outlive@invalid>|outlive <outlive@invalid>"
        "|2023-01-11 12:00:00 +0000|2023-01-11 12:00:00 +0000|tag: flask-2.2.1\n"
        "flask 2.2.0|outlive <outlive@invalid>|outlive <outlive@invalid>"
        "|2023-01-01 12:00:00 +0000|2023-01-01 12:00:00 +0000|tag: flask-2.2.0"
    )
    assert git(project, "rev-list", "--count", "flask-2.2.1..flask-2.2.x") == "1"
    assert git(project, "show", "flask-2.2.2:release.toml") == (
        'framework = "flask"\nversion = "2.2.2"\nuploaded = 2023-01-31T12:00:00Z'
    )
    assert git(project, "ls-tree", "--name-only", "-r", "flask") == "release.toml"
    git(project, "fsck", "--strict")


def test_ranges_are_what_asv_asks_for(project: Project) -> None:
    history.ensure(project)
    inside = git(project, "rev-list", "--first-parent", "flask-2.2.0..flask-2.3.1").split()
    assert [str(history.release_at(history.path(project), each)) for each in inside] == [
        "flask==2.3.1",
        "flask==2.3.0",
        "flask==2.2.1",
    ]


@pytest.mark.parametrize(
    ("added", "branch"),
    [
        (release("2.3.2", 50), "flask"),
        (release("2.2.3", 50), "flask-2.2.x"),
        (release("2.0.9", 50), "flask-2.0.x"),
    ],
    ids=["later", "maintenance", "older-line"],
)
def test_the_history_grows_and_no_earlier_hash_changes(project: Project, added: Release, branch: str) -> None:
    history.ensure(project)
    before = references(project)
    catalogue(*RELEASES, added).save(project)
    history.ensure(project)
    after = references(project)
    tags = {name: commit for name, commit in before.items() if name.startswith("refs/tags/")}
    assert tags.items() <= after.items()
    assert after[f"refs/heads/{branch}"] == after[f"refs/tags/{tag(added)}"]
    assert len(after) == len(before) + (1 if f"refs/heads/{branch}" in before else 2)
    git(project, "fsck", "--strict")


def test_what_happens_to_a_release_afterwards_changes_no_hash(project: Project) -> None:
    history.ensure(project)
    before = references(project)
    later = msgspec.structs.replace(
        RELEASES[1], yanked=True, yanked_reason="broken", wheels=("cp311",), requires_python=">=3.7"
    )
    catalogue(RELEASES[0], later, *RELEASES[2:]).save(project)
    history.ensure(project)
    assert references(project) == before


def test_a_release_that_the_catalogue_has_no_more_is_removed(project: Project) -> None:
    history.ensure(project)
    before = references(project)
    catalogue(*RELEASES[:3], RELEASES[4]).save(project)
    history.ensure(project)
    gone = {"refs/tags/flask-2.2.2", "refs/heads/flask-2.2.x"}
    assert references(project) == {name: commit for name, commit in before.items() if name not in gone}


def test_a_history_up_to_date_is_left_alone(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    history.ensure(project)
    monkeypatch.setenv("PATH", "")  # no git
    history.ensure(project)


def test_a_history_that_was_interrupted_is_completed(project: Project) -> None:
    history.ensure(project)
    before = references(project)
    git(project, "tag", "-d", "flask-2.2.0")
    (history.path(project) / ".git" / "outlive-digest").unlink()
    history.ensure(project)
    assert references(project) == before


def test_two_machines_give_the_same_hashes(tmp_path: Path) -> None:
    one = make(tmp_path / "one", RELEASES)
    two = make(tmp_path / "an other place", tuple(reversed(RELEASES)))
    template = tmp_path / "template"
    (template / "hooks").mkdir(parents=True)
    for hook in ("post-commit", "reference-transaction"):
        (template / "hooks" / hook).write_text("#!/bin/sh\nexit 1\n")
        (template / "hooks" / hook).chmod(0o755)
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(HOSTILE.format(template=template))
    made_by(one, {"TZ": "UTC", "LC_ALL": "C"})
    made_by(
        two,
        {
            "TZ": "Pacific/Kiritimati",
            "LC_ALL": "de_DE.UTF-8",
            "LANGUAGE": "de",
            "HOME": str(home),
            "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"),
            "GIT_DIR": str(tmp_path / "elsewhere"),
            "GIT_AUTHOR_DATE": "2001-01-01T00:00:00+0300",
            "GIT_COMMITTER_NAME": "Somebody",
            "GIT_DEFAULT_HASH": "sha256",
            "GIT_TEMPLATE_DIR": str(template),
        },
    )
    assert references(one) == references(two)
    assert git(one, "symbolic-ref", "HEAD") == git(two, "symbolic-ref", "HEAD") == "refs/heads/flask"
    assert not (history.path(two) / ".git" / "hooks").exists()


def made_by(project: Project, variables: dict[str, str]) -> None:
    code = (
        "import os, sys; os.umask(0o077); from pathlib import Path; from outlive import project;"
        "from outlive.asv import repository as history;"
        "history.ensure(project.Project(Path(sys.argv[1])))"
    )
    command = [sys.executable, "-c", code, str(project.root)]
    subprocess.run(command, env={**os.environ, **variables}, check=True)


def test_the_committed_catalogues_give_the_known_hashes(tmp_path: Path) -> None:
    root = tmp_path / "checkout"
    root.mkdir()
    for name in ("apps", "loadtests", "releases"):
        (root / name).symlink_to(CHECKOUT.root / name)
    project = Project(root)
    history.ensure(project)
    found = references(project)
    assert {name: found[f"refs/tags/{name}"] for name in KNOWN} == KNOWN
    assert git(project, "symbolic-ref", "HEAD") == "refs/heads/aiohttp"


def test_asv_knows_every_branch() -> None:
    settings = config.Config.load(CHECKOUT.root / "asv.conf.json")
    found = [
        name for framework in CHECKOUT.frameworks() for name in branches(Catalogue.load(CHECKOUT, framework))
    ]
    assert settings.branches == sorted(found), "asv.conf.json: run `outlive releases update`"
    assert CHECKOUT.root / settings.repo == history.path(CHECKOUT)


def test_the_branches_are_named_and_nothing_else_is_touched(project: Project) -> None:
    history.name_branches(project)  # without a file it has nothing to do
    settings = project.root / "asv.conf.json"
    settings.write_text('{\n    // why\n    "branches": ["a",\n        "b"],\n    "pythons": ["3.11"]\n}\n')
    history.name_branches(project)
    assert settings.read_text() == (
        '{\n    // why\n    "branches": ["flask", "flask-2.2.x"],\n    "pythons": ["3.11"]\n}\n'
    )


def test_a_commit_is_read_back_as_its_release(project: Project) -> None:
    repository = history.ensure(project)
    whole = git(project, "rev-parse", "flask-2.2.2")
    assert history.release_at(repository, whole) == Stack("flask", "2.2.2")
    assert history.release_at(repository, "flask") == Stack("flask", "2.3.1")


def test_an_unknown_commit_is_a_usage_error(project: Project) -> None:
    repository = history.ensure(project)
    with pytest.raises(UsageError) as caught:
        history.release_at(repository, "flask-9.9")
    assert str(caught.value) == f"flask-9.9 is not a commit of the release history in {repository}"


def test_a_missing_git_is_named(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(FaultError, match=r"^git is not installed: asv needs it to walk the releases$"):
        history.ensure(project)


def test_a_git_that_fails_is_quoted(project: Project) -> None:
    folder = history.path(project)
    folder.mkdir(parents=True)
    (folder / ".git").write_text("nonsense")
    with pytest.raises(FaultError, match=r"^the release history cannot be made: init: fatal: invalid"):
        history.ensure(project)


def test_a_folder_that_cannot_be_written_is_named(project: Project) -> None:
    (project.root / ".outlive").touch()
    with pytest.raises(FaultError, match=r"history cannot be written: .*\.outlive is not a folder: "):
        history.ensure(project)
