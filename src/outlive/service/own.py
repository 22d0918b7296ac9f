"""The user's own application as it is served: a copy of its code, its variables, its output."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from outlive import processes
from outlive.errors import FaultError, UsageError
from outlive.service.app import Own
from outlive.stacks.environments import Environment
from outlive.wording import one_line
from outlive.worker.survivors.references import LONGEST_KEY

SHORTEST_SECRET = 4
"""Characters of the shortest value that is masked in output; shorter values occur within words."""
RAISED = re.compile(r"[\w.]*(?:[\w.]error|Error|Exception|Exit|Interrupt|Warning|ImproperlyConfigured)\b.*")
USUAL = re.compile(r"\[.*?\] \[\d+\] \[INFO\] ")
"""The start of gunicorn's messages when nothing is wrong."""
FRAME = re.compile(r'  File "([^"]+)", line (\d+)')


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
            raise FaultError(f"before: {command!r} failed: {complaint}")


def last_words(log: str, copy: Path) -> str:
    """Return one line that says what went wrong in a log: the exception as in `raised`, or the last line."""
    lines = (line.strip() for line in reversed(log.splitlines()) if not USUAL.match(line))
    return raised(log, copy) or one_line(next(filter(None, lines), "it said nothing"))


def raised(log: str, copy: Path) -> str:
    """Return the last exception in a log, and where in the code of `copy` it was raised; empty if none."""
    lines = log.splitlines()
    at = max((n for n, line in enumerate(lines) if RAISED.match(line)), default=None)
    if at is None:
        return ""
    frames = [frame for line in lines[:at] if (frame := FRAME.match(line))]
    frames = [frame for frame in frames if Path(frame[1]).is_relative_to(copy)]
    where = f" ({Path(frames[-1][1]).relative_to(copy)}, line {frames[-1][2]})" if frames else ""
    return one_line(lines[at])[:300] + where
