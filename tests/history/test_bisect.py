"""Bisecting a package of a stack: a planted leak is found, a clean range is not, and what is said of it."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from rich.console import Console

from git_repository import LEAK, Flask, Repository
from outlive.cli import cli
from outlive.errors import ExitCode, FaultError, UsageError
from outlive.history import bisect_text
from outlive.history.bisect import Attempt, Bisection, Question
from outlive.history.clone import Commit
from outlive.project import Project
from outlive.records.measurement import Cell, Measurement
from outlive.records.stack import Stack
from outlive.replay.store import Store
from outlive.service import scenarios
from outlive.stacks import environments
from outlive.stacks.prepare import prepare
from outlive.stacks.sources import BuildError

CHECKOUT = Path(__file__).parents[2]
STACK = "flask==3.1.3,python==3.11"
HERE = ("--scenario", "ok", "--repo", ".")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """Return a clone of what Flask 3.1.3 is, in which one commit leaks a list for each request."""
    prepared = prepare(Project(CHECKOUT), Stack.parse(STACK))
    (packages,) = environments.ensure(prepared.lock, prepared.interpreter).path.glob("lib/*/site-packages")
    found = Flask(tmp_path_factory.mktemp("git") / "flask", packages)
    found.change("a comment", "# one\n")
    found.change("the build fails", "# two\n", "raise OSError('no compiler here')")
    found.change("another one", "# three\n")
    found.change("keep lists (#12)", LEAK)
    found.change("the last comment", f"{LEAK}# four\n")
    return found


def run(repository: Repository, old: str, new: str, *more: str) -> tuple[int, str]:
    words = ["bisect", STACK, old, new, "--repo", str(repository.folder), "--scenario", "ok", *more]
    done = CliRunner().invoke(cli, words, standalone_mode=False, catch_exceptions=False)
    return done.return_value, done.output


@pytest.mark.real
def test_the_commit_with_a_planted_leak_is_found_past_one_that_does_not_build(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTLIVE_ROOT", str(CHECKOUT))
    before = repository.state()
    code, said = run(repository, "main~5", "main", "--json", str(tmp_path / "found.json"))
    assert repository.state() == before
    assert code == ExitCode.FINE
    found = msgspec.json.decode((tmp_path / "found.json").read_bytes(), type=Bisection)
    (leaky,) = found.suspects
    assert (leaky.subject, leaky.pull_request) == ("keep lists (#12)", "#12")
    assert leaky.sha == repository.git("rev-parse", "main~1")
    assert (found.old.objects, found.new.objects, found.further) == (8, 9, False)
    assert found.parent
    assert found.parent.subject == "another one"
    skipped = [step for step in found.steps if step.outcome == "skip"]
    assert {step.reason for step in skipped} <= {
        "does not build with Python 3.11.7: OSError: no compiler here"
    }
    lines = said.splitlines()
    assert "flask: 8 cyclic → 9 leak per request in ok, keep-alive, gc off, Python 3.11.7, since" in said
    assert "  pull request #12" in lines
    assert any(re.match(r"    NEW  [0-9a-f]{12}  1 leaked in ok", line) for line in lines)


@pytest.mark.real
def test_a_disk_that_gets_full_is_no_fault_of_a_commit(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To skip what cannot be kept would end as if no commit could be tried."""
    monkeypatch.setenv("OUTLIVE_ROOT", str(CHECKOUT))
    room = iter("ab")  # for both ends
    add = Store.add

    def add_while_there_is_room(self: Store, new: Iterable[Measurement]) -> None:
        if next(room, None) is None:
            raise FaultError("the disk is full")
        add(self, new)

    monkeypatch.setattr(Store, "add", add_while_there_is_room)
    with pytest.raises(FaultError, match=r"^the disk is full$"):
        run(repository, "main~5", "main", "--results", str(tmp_path))


@pytest.mark.real
def test_a_range_without_a_leak_has_no_commit(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTLIVE_ROOT", str(CHECKOUT))
    code, said = run(repository, "main~5", "main~2")
    assert code == ExitCode.INCONCLUSIVE
    assert said == (
        "flask: main~5 and main~2 leave the same in ok, keep-alive, gc off, Python 3.11.7: 8 cyclic\n"
    )


OLD = Commit("a" * 40, "b" * 40, "2026-01-02T03:04:05+00:00", "Ada", "a comment")
NEW = Commit("c" * 40, "d" * 40, "2026-01-03T03:04:05+00:00", "Ada", "keep lists")


def question(**changed: object) -> Question:
    (ok,) = scenarios.find(Project(CHECKOUT).scenarios, ["ok"])
    asked = Question(
        stack=Stack.parse("flask==3.1.3"),
        package="werkzeug",
        repository=Path("../werkzeug"),
        old="3.1.3",
        new="main",
        scenario=ok,
        cell=Cell("ok", "close", "off"),
    )
    return msgspec.structs.replace(asked, **changed)


def bisection(**changed: object) -> Bisection:
    found = Bisection(
        framework="flask",
        package="werkzeug",
        python="3.13.18",
        what="count",
        cell=Cell("ok", "close", "off"),
        old=Attempt(commit=OLD, outcome="old", objects=8.0, growth="cyclic"),
        new=Attempt(commit=NEW, outcome="new", objects=9.0, growth="leak"),
        steps=(Attempt(commit=OLD, outcome="skip", reason="does not build"),),
    )
    return msgspec.structs.replace(found, **changed)


def shown(found: Bisection, asked: Question) -> str:
    stream = io.StringIO()
    bisect_text.show(found, asked, Console(file=stream, width=80))
    return stream.getvalue()


def test_the_command_that_repeats_it_names_everything() -> None:
    asked = question(what="class", first_parent=True, paths=("src/a b",), worker="gthread")
    assert bisect_text.repeat(bisection(), asked, "aaa", "ccc") == (
        "outlive bisect flask==3.1.3 aaa ccc --repo ../werkzeug --package werkzeug --scenario ok "
        "--connection close --gc off --by class --worker gthread --python 3.13.18 --first-parent "
        "'--paths=src/a b'"
    )


def test_several_suspects_are_listed() -> None:
    assert shown(bisection(suspects=(OLD, NEW)), question()) == (
        "werkzeug: one of 2 commits; the others cannot be measured (1 commit tried, 1\nskipped):\n"
        "  aaaaaaaaaa  2026-01-02  a comment\n"
        "  cccccccccc  2026-01-03  keep lists\n"
    )


def test_a_commit_whose_parent_cannot_be_measured_is_named_all_the_same() -> None:
    said = shown(bisection(suspects=(NEW,), parent=OLD, differences=("markupsafe 2.1 → 3.0",)), question())
    assert said == (
        "\nwerkzeug: changed in ok, close, gc off, Python 3.13.18 by this commit, whose\nparent cannot be "
        "measured (1 commit tried, 1 skipped):\n"
        f"  {NEW.sha}\n  2026-01-03T03:04:05+00:00  Ada\n  keep lists\n"
        "  its metadata also changes: markupsafe 2.1 → 3.0\n"
        "To repeat: outlive bisect flask==3.1.3 aaaaaaaaaa cccccccccc --repo ../werkzeug "
        "--package werkzeug --scenario ok --connection close --gc off --python 3.13.18\n"
    )


@pytest.mark.parametrize(
    ("step", "line"),
    [
        (
            Attempt(commit=NEW, outcome="new", objects=9.0, growth="leak", built=1.25, measured=2.0),
            "new   cccccccccc        9 leak  2026-01-03   3.2 s  keep lists",
        ),
        (
            Attempt(commit=OLD, outcome="skip", reason="it does not build"),
            "skip  aaaaaaaaaa  it does not build",
        ),
    ],
)
def test_a_step_is_one_line(step: Attempt, line: str) -> None:
    assert bisect_text.line(step) == line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["flask", "a", "b", "--scenario", "ok", "--repo", "/nowhere"], "/nowhere cannot be cloned: "),
        (["flask", "a", "b", "--scenario", "*-error", "--repo", "."], "takes one scenario"),
        (["flask", "no-such", "HEAD", "--scenario", "ok", "--repo", "."], "has no commit 'no-such'"),
        (["flask", "HEAD", "HEAD", "--scenario", "ok", "--repo", "."], "are the same commit"),
        (["flask", "HEAD~1", "HEAD", "--scenario", "ok", "--repo", "."], "that is outlive 0.1.0, not flask"),
        (["flask", "HEAD", "HEAD~1", *HERE], "HEAD~1 is older than HEAD: name the older one first"),
        (["flask==9.9.9", "HEAD~1", "HEAD", *HERE], "flask has no release 9.9.9 in the catalogue"),
        (["flask", "HEAD~1", "HEAD", *HERE, "--worker", "no-such"], "no worker 'no-such' for flask"),
        (["flask", "HEAD~1", "HEAD", *HERE, "--paths", "no-such"], " touches no-such"),
        (["flask", "HEAD~1", "HEAD", *HERE, "--paths", ":(no)"], "--paths: Invalid pathspec magic 'no'"),
    ],
)
def test_wrong_words_are_one_line(words: list[str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CHECKOUT)
    done = CliRunner().invoke(cli, ["bisect", *words])
    text = done.output or str(done.exception)
    assert said in text
    assert isinstance(done.exception, (UsageError, SystemExit))


@pytest.mark.real
def test_an_end_that_does_not_build_is_named(repository: Repository) -> None:
    with pytest.raises(BuildError, match=r"^[0-9a-f]{10}, an end of the search: does not build with Python"):
        run(repository, "main~5", "main~3")
