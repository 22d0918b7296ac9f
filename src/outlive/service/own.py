"""The user's own application as it is served: a copy of its code, its variables, its output."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from outlive import processes
from outlive.errors import FaultError, UsageError
from outlive.service.app import Own
from outlive.stacks.environments import Environment
from outlive.wording import one_line
from outlive.worker.survivors.objects import short
from outlive.worker.survivors.references import LONGEST_KEY

SHORTEST_SECRET = 4
"""Characters of the shortest value that is masked in output; shorter values occur within words."""
RAISED = re.compile(r"[\w.]*(?:[\w.]error|Error|Exception|Exit|Interrupt|Warning|ImproperlyConfigured)\b.*")
USUAL = re.compile(r"\[.*?\] \[\d+\] \[INFO\] ")
"""The start of gunicorn's messages when nothing is wrong."""
NOT_LOADED = "NotLoadedError: "
"""What precedes the reason why an app was not loaded, see `gunicorn_conf`."""
LIBRARY = "/lib/python"
"""A part of the path of each file of the standard library and of installed packages."""
WORKER = Path(__file__).parents[1] / "worker"
VARIABLE = re.compile(r"^[ \t]*(?:export[ \t]+)?(\w+)[ \t]*=", re.MULTILINE)
FRAME = re.compile(r'[ |]*  File "([^"]+)", line (\d+)')
"""A line of a traceback; of an exception group it begins with a bar."""


def variables(own: Own) -> dict[str, str]:
    """Return its environment variables. Raises UsageError if a secret is not set."""
    if missing := [name for name in own.secrets if name not in os.environ]:
        raise UsageError(f"secrets: {', '.join(missing)} is not set in the environment")
    return dict(own.env) | {name: os.environ[name] for name in own.secrets}


def without_secrets(own: Own, text: str) -> str:
    """Return `text` with the names of its variables in place of their values."""
    values = dict(own.env) | {name: os.environ.get(name, "") for name in own.secrets}
    forms = {form: name for name, value in values.items() for form in _forms(value)}
    for form in sorted(forms, key=len, reverse=True):
        if len(form) >= SHORTEST_SECRET:
            text = text.replace(form, f"${forms[form]}")
    return text


def _forms(value: str) -> set[str]:
    """Return the ways to write a value: whole, escaped, one line of it, as a long key, a URL's password."""
    with contextlib.suppress(ValueError):
        password = urlsplit(value).password or ""
        plain = {value, value[:LONGEST_KEY], *value.splitlines(), password, unquote(password)}
        return plain | {
            form
            for text in plain
            for form in (repr(text)[1:-1], json.dumps(text)[1:-1], quote(text, safe=""))
        }
    return {value}


def lay_out(own: Own, environment: Environment, folder: Path, env: Mapping[str, str]) -> Path:
    """Copy the code of the stack's release into `folder`, run the `before` commands, and return the copy.

    Raises FaultError with its output if a command fails.
    """
    copy = folder / "app"
    shutil.copytree(Path(own.code) / environment.lock.release, copy, symlinks=True)
    run_before(own, copy, env)
    return copy


def run_before(own: Own, copy: Path, env: Mapping[str, str]) -> None:
    """Run the commands that come before a server in a copy of the app. Raises as `lay_out` does."""
    for command in own.before:
        words = shlex.split(command)
        if program := shutil.which(words[0], path=env["PATH"]):
            words[0] = program
        try:
            done = processes.run(words, cwd=copy, env=env, timeout=own.start_limit)
        except FaultError as error:
            raise FaultError(
                f"before: {command!r}: {error}; start_limit in outlive.toml gives it more"
            ) from None
        if done.returncode:
            complaint = last_words(without_secrets(own, done.stderr or done.stdout), copy)
            raise FaultError(f"before: {command!r} failed: {complaint}{absent(own, copy, complaint)}")


def absent(own: Own, copy: Path, complaint: str) -> str:
    """Return which file sets the variable that a `complaint` is about, if git keeps it out of `copy`."""
    for file in sorted(Path(own.folder).glob(".*env*")):
        if not file.is_file() or (copy / file.name).exists():
            continue
        with contextlib.suppress(OSError):
            for name in VARIABLE.findall(file.read_text(errors="replace")):
                if re.search(rf"\b{name}\b", complaint, re.IGNORECASE):  # pydantic has it in lower case
                    return f"; {file.name} sets {name}, and no revision has that file: use env or secrets"
    return ""


def last_words(log: str, code: Path) -> str:
    """Return one line that says what went wrong in a log: the exception as in `raised`, or the last line."""
    lines = (line.strip() for line in reversed(log.splitlines()) if not USUAL.match(line))
    return raised(log, code) or one_line(next(filter(None, lines), "it said nothing"))


def hangs(stacks: Iterable[Sequence[tuple[str, int]]], copy: Path) -> str:
    """Return where in the code of `copy` the first stack in it is, and what that called; empty if none is."""
    for stack in stacks:
        ours = [at for at, (file, _) in enumerate(stack) if Path(file).is_relative_to(copy)]
        if ours:
            (file, line), called = stack[ours[-1]], stack[ours[-1] + 1 :]
            packages = [frame for frame in called if "site-packages" in frame[0]]
            told = packages[-1:] or called[:1]  # which lock of Python's own it waits for says little
            inside = [f", in {short(name)}, line {number}" for name, number in told]
            return f" ({Path(file).relative_to(copy)}, line {line}{''.join(inside)})"
    return ""


def raised(log: str, code: Path) -> str:
    """Return the last exception in a log, and where it was raised in the folder `code`, or in a practice.

    The text is empty if there is none.
    """
    lines = log.splitlines()
    said = [n for n, line in enumerate(lines) if NOT_LOADED in line]
    said = said or [n for n, line in enumerate(lines) if RAISED.match(line)]
    if not said:
        return ""
    at = said[-1]
    frames = [frame for line in lines[:at] if (frame := FRAME.match(line))]
    places = [(place, frame[2]) for frame in frames if (place := _place(Path(frame[1]), code))]
    where = f" ({places[-1][0]}, line {places[-1][1]})" if places else ""
    message, left = [lines[at].rpartition(NOT_LOADED)[2]], lines[at + 1 :]
    while any(line.startswith(" ") for line in left[:2]):  # headings with indented text, as pydantic's are
        message.append(left.pop(0))
    return one_line(" ".join(message))[:300] + where


def _place(file: Path, code: Path) -> str:
    """Return the name of a file of the app or of a practice; empty for files of Python, packages and ours."""
    if file.is_relative_to(code):
        return str(file.relative_to(code))
    foreign = LIBRARY in str(file) or not file.is_absolute() or file.is_relative_to(WORKER)
    return "" if foreign else file.name
