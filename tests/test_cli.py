"""What the verbs say of themselves."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from measuring import CHECKOUT
from outlive import processes
from outlive.cli import VERBS, cli
from outlive.errors import ExitCode, OutliveError, UsageError
from outlive.project import Project
from reporting import checkout
from verbs import NAMES, verb

HEAVY = {"outlive.commands", "outlive.records", "msgspec", "rich", "requests", "bs4"}


@pytest.mark.parametrize("name", NAMES)
def test_examples_stand_one_a_line(name: str) -> None:
    found = CliRunner().invoke(cli, [name, "--help"], prog_name="outlive")
    assert found.exit_code == 0
    assert "\\b" not in found.output
    assert "\b" not in found.output
    assert not [line for line in found.output.splitlines() if line.count("outlive ") > 1]


@pytest.mark.parametrize("name", NAMES)
def test_sphinx_can_read_what_a_verb_says(name: str) -> None:
    named = verb(name)
    for command in (named, *(named.commands.values() if isinstance(named, click.Group) else ())):
        assert not re.search(r"""(?:^|[\s'"(\[{<\-/:])\*\S""", command.help or ""), "that would be emphasis"


@pytest.mark.parametrize("name", NAMES)
def test_the_first_screen_says_what_the_verb_says_of_itself(name: str) -> None:
    (summary,) = (verbs[name] for verbs in VERBS.values() if name in verbs)
    assert (verb(name).help or "").split("\n\n")[0] == summary
    assert len(f"  {name:10}{summary}") <= 78, "each verb takes one line of a terminal"


def test_the_first_screen_fits_a_terminal() -> None:
    found = CliRunner().invoke(cli, ["--help"], prog_name="outlive", terminal_width=80)
    assert len(found.output.splitlines()) <= 34
    assert (
        found.output.index("First steps:")
        < found.output.index("doctor")
        < found.output.index("Many releases:")
    )


def test_a_folder_of_results_is_named_for_one_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OUTLIVE_RESULTS", raising=False)
    asked: list[str | None] = []
    monkeypatch.setattr(Project, "find", lambda: asked.append(os.environ.get("OUTLIVE_RESULTS")))
    for options in (["--results", str(tmp_path)], []):
        CliRunner().invoke(cli, ["leaks", "flask", *options])
    assert asked == [str(tmp_path), None]


@pytest.mark.parametrize("since", ["latest", "1" * 5000])  # Python reads no number of so many digits
def test_a_version_that_is_none_is_the_user_s_mistake(since: str) -> None:
    words = ["releases", "list", "flask", "--since", since]
    found = CliRunner().invoke(cli, words, env={"OUTLIVE_ROOT": str(CHECKOUT.root)}, standalone_mode=False)
    assert isinstance(found.exception, UsageError)
    assert re.fullmatch(r"--since takes a version, as in 3\.11\.0, not '[1a-z]+…?'", str(found.exception))


@pytest.mark.parametrize("words", [["explain", "--help"], []])
def test_what_one_reads_is_not_folded_into_one_line(words: list[str]) -> None:
    done = processes.run([sys.executable, "-m", "outlive", *words], timeout=60, cwd=CHECKOUT.root)
    assert done.returncode == (0 if words else 2)
    assert len((done.stdout + done.stderr).splitlines()) > 10


@pytest.mark.parametrize("python", ["three", "-1", "\N{ARABIC-INDIC DIGIT THREE}.11", "3.11/../../x"])
@pytest.mark.parametrize("verb", ["leaks", "steps"])
def test_a_python_that_is_none_is_the_user_s_mistake(verb: str, python: str) -> None:
    words = [verb, "flask", "--python", python]
    done = CliRunner().invoke(cli, words, env={"OUTLIVE_ROOT": str(CHECKOUT.root)}, standalone_mode=False)
    assert isinstance(done.exception, UsageError)
    assert str(done.exception).startswith("--python takes a version, as in 3.11 or 3.12.1, not ")


@pytest.mark.parametrize("verb", ["leaks", "steps"])
def test_results_of_which_none_can_be_read_are_a_fault(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = checkout(tmp_path)
    monkeypatch.setenv("OUTLIVE_ROOT", str(tmp_path))
    project.published.mkdir()
    os.mkfifo(project.published / "measurements")
    done = CliRunner().invoke(cli, [verb, "flask"], standalone_mode=False)
    assert "cannot be read: Not a directory" in f"{done.stderr}{done.exception}"
    code = done.exception.exit_code if isinstance(done.exception, OutliveError) else done.return_value
    assert code == ExitCode.FAULT


@pytest.mark.parametrize("words", [["leaks", "flask"], ["steps", "flask"], ["releases", "list", "flask"]])
def test_json_has_standard_output_for_itself(words: list[str]) -> None:
    command = [sys.executable, "-m", "outlive", *words, "--json", "-"]
    done = processes.run(command, timeout=60, cwd=CHECKOUT.root)
    assert done.returncode == 0
    assert json.loads(done.stdout)["schema_version"] == 1
    assert "flask" in done.stderr or "3.1.3" in done.stderr


@pytest.mark.parametrize("name", sorted({*NAMES} - {"init", "publish", "serve"}))
def test_what_a_verb_shows_it_writes_as_json_too(name: str) -> None:
    named = verb(name)
    for command in named.commands.values() if isinstance(named, click.Group) else [named]:
        assert "--json" in {flag for option in command.params for flag in option.opts}


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    script = 'cd "$1" && rmdir "$1" && exec "$0" -m outlive steps flask'
    words = ["sh", "-c", script, sys.executable, str(tmp_path / "x")]
    (tmp_path / "x").mkdir()
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (
        4,
        "outlive: the current folder no longer exists: change to another\n",
    )


def test_a_verb_that_there_is_not() -> None:
    found = CliRunner().invoke(cli, ["compere"])
    assert found.exit_code == 2
    assert "No such command 'compere'; try compare, " in found.output


@pytest.mark.parametrize("words", [[""], ["steps", "flask", "--python", " "], ["leaks", "flask", "--json="]])
def test_a_variable_that_is_not_set_is_no_choice(words: list[str]) -> None:
    found = CliRunner().invoke(cli, words)
    assert found.exit_code == 2
    assert "the argument after" in found.output


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--json", "x", "--markdown", "./x"], "--json and --markdown cannot both be written to x"),
        (["--json", "/dev/stdout", "--markdown", "-"], "cannot both be written to -"),
        (["--json", "file/x"], "file is not a folder"),
        (["--results", "file"], "results are kept in a folder"),
    ],
)
def test_what_cannot_be_written_is_said_before_it_is_made(
    options: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    found = CliRunner().invoke(cli, ["steps", "flask", *options])
    assert isinstance(found.exception, UsageError)
    assert said in str(found.exception)
    assert [*tmp_path.iterdir()] == [tmp_path / "file"]


@pytest.mark.parametrize("words", [["--version"], ["--help"]])
def test_the_first_screen_loads_no_verb(words: list[str]) -> None:
    code = (
        "import sys\n"
        "from outlive.cli import cli\n"
        f"try: cli({words!r}, prog_name='outlive')\n"
        "except SystemExit: pass\n"
        f"loaded = {HEAVY} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
