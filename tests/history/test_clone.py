"""A clone of a user's clone: git's bisect in it finds what is there, and the user's clone stays as it was."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from git_repository import Repository
from outlive.errors import FaultError, UsageError
from outlive.history.clone import Clone, Commit, Outcome

COMMITS = 9


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    repository = Repository(tmp_path_factory.mktemp("git") / "line")
    for number in range(COMMITS):
        repository.commit(str(number))
    return repository


def found(
    repository: Repository, new: Sequence[str], skipped: Sequence[str] = (), *ends: str, **options: object
) -> tuple[list[str], list[str]]:
    """Return the subjects of the suspects where those in `new` are new, and of all that was tried."""
    tried: list[str] = []
    foretold: set[str] = set()

    def judge(commit: Commit, following: tuple[Commit, ...]) -> Outcome:
        assert not tried or commit.subject in foretold or skipped
        foretold.clear()
        foretold.update(one.subject for one in following)
        tried.append(commit.subject)
        return "skip" if commit.subject in skipped else "new" if commit.subject in new else "old"

    with Clone.of(repository.folder) as clone:
        first, last = ends or ("HEAD~8", "main")
        old, last_commit = (clone.resolve(repository.folder, end) for end in (first, last))
        old = clone.parting(old, last_commit)
        suspects = clone.bisect(old, last_commit, judge, **options)  # type: ignore[arg-type]
    return [one.subject for one in suspects], tried


@pytest.mark.parametrize("first", [1, 4, 5, 8])
def test_each_commit_of_a_line_is_found_in_few_steps(line: Repository, first: int) -> None:
    before = line.state()
    suspects, tried = found(line, [str(number) for number in range(first, COMMITS)])
    assert suspects == [str(first)]
    assert len(tried) <= 3
    assert line.state() == before


def test_where_all_between_must_be_skipped_there_are_several_suspects(line: Repository) -> None:
    suspects, _ = found(line, ["6", "7", "8"], ["4", "5"])
    assert sorted(suspects) == ["4", "5", "6"]


def test_a_skipped_commit_elsewhere_does_not_matter(line: Repository) -> None:
    assert found(line, ["7", "8"], ["4"])[0] == ["7"]


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    repository = Repository(tmp_path_factory.mktemp("git") / "merged")
    repository.commit("root")
    repository.commit("on main", "docs.md")
    repository.git("switch", "--quiet", "--create", "side", "HEAD~1")
    repository.commit("on side 1", "other.py")
    repository.commit("on side 2", "other.py")
    repository.git("switch", "--quiet", "main")
    repository.git("merge", "--quiet", "--no-ff", "--message", "Merge pull request #7 from side", "side")
    repository.commit("last", "docs.md")
    return repository


def test_a_commit_of_a_merged_branch_is_found(merged: Repository) -> None:
    new = ["on side 2", "Merge pull request #7 from side", "last"]
    assert found(merged, new, (), "main~3", "main")[0] == ["on side 2"]


def test_with_first_parent_it_is_the_merge(merged: Repository) -> None:
    new = ["on side 2", "Merge pull request #7 from side", "last"]
    suspects, tried = found(merged, new, (), "main~3", "main", first_parent=True)
    assert suspects == ["Merge pull request #7 from side"]
    assert not {"on side 1", "on side 2"} & {*tried}


def test_only_commits_that_touch_a_path_are_tried(merged: Repository) -> None:
    suspects, tried = found(merged, ["last"], (), "main~3", "main", paths=("docs.md",))
    assert suspects == ["last"]
    assert {*tried} <= {"on main", "last"}


def test_an_end_that_is_no_ancestor_stands_for_where_the_ways_part(merged: Repository) -> None:
    with Clone.of(merged.folder) as clone:
        side, main = (clone.resolve(merged.folder, one) for one in ("side", "main~2"))
        assert clone.parting(side, main).subject == "root"


def test_several_commits_can_be_checked_out_at_once(line: Repository) -> None:
    with Clone.of(line.folder) as clone:
        commits = [clone.resolve(line.folder, revision) for revision in ("main", "main~3")]
        with clone.checkout(commits[0]) as one, clone.checkout(commits[1]) as other:
            assert [(tree / "code.py").read_text() for tree in (one, other)] == ["8", "5"]
        assert not one.exists()


def test_what_is_known_of_a_commit(line: Repository) -> None:
    with Clone.of(line.folder) as clone:
        commit = clone.resolve(line.folder, "main")
    assert (commit.author, commit.subject, commit.pull_request) == ("Ada", "8", None)
    assert commit.short == line.git("rev-parse", "--short=10", "HEAD")
    assert commit.tree == line.git("rev-parse", "HEAD^{tree}")


@pytest.mark.parametrize(
    ("subject", "number"),
    [
        ("merge contexts (#5812)", "#5812"),
        ("Merge pull request #42 from ada/side", "#42"),
        ("Backport #12 to 3.1", None),
        ("see issue #9", None),
    ],
)
def test_the_pull_request_that_a_subject_names(subject: str, number: str | None) -> None:
    assert Commit("0" * 40, "1" * 40, "2026-01-01T00:00:00Z", "Ada", subject).pull_request == number


def test_a_revision_that_there_is_not(line: Repository) -> None:
    with Clone.of(line.folder) as clone, pytest.raises(UsageError) as caught:
        clone.resolve(line.folder, "v9")
    assert str(caught.value) == f"{line.folder} has no commit 'v9'"


@pytest.mark.parametrize("revision", ["--help", "", "main:code.py"])
def test_what_is_no_revision(line: Repository, revision: str) -> None:
    with Clone.of(line.folder) as clone, pytest.raises(UsageError, match="has no commit"):
        clone.resolve(line.folder, revision)


def test_a_clone_that_cannot_be_written_is_a_fault(
    line: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "clone" / "full").mkdir(parents=True)
    monkeypatch.setattr("outlive.temporary.folder", lambda: contextlib.nullcontext(tmp_path))
    with pytest.raises(FaultError) as caught, Clone.of(line.folder):
        pass
    assert str(caught.value).startswith(f"{line.folder} cannot be cloned: destination path ")


def test_a_folder_that_is_no_clone(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught, Clone.of(tmp_path):
        pass
    assert str(caught.value).startswith(f"{tmp_path} cannot be cloned: ")
    assert "\n" not in str(caught.value)
