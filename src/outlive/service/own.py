"""An application of a user's own where it is served: a copy of its code, its variables, what it says."""

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
"""Characters of the shortest value that is taken out of what is shown; shorter ones are parts of words."""
RAISED = re.compile(r"[\w.]*(?:[\w.]error|Error|Exception|Exit|Interrupt|Warning|ImproperlyConfigured)\b.*")
USUAL = re.compile(r"\[.*?\] \[\d+\] \[INFO\] ")
"""The start of what gunicorn says when nothing is wrong."""
FRAME = re.compile(r'  File "([^"]+)", line (\d+)')


def variables(own: Own) -> dict[str, str]:
    """Return its environment variables. Raises UsageError where a secret is not set."""
    if missing := [name for name in own.secrets if name not in os.environ]:
        raise UsageError(f"secrets: {', '.join(missing)} is not set in the environment")
    return dict(own.env) | {name: os.environ[name] for name in own.secrets}


def without_secrets(own: Own, text: str) -> str:
    """Return `text` with the names of its variables in place of their values."""
    known = dict(own.env) | {name: os.environ.get(name, "") for name in own.secrets}
    forms = {form: name for name, value in known.items() for form in _forms(value)}
    for form in sorted(forms, key=len, reverse=True):
        if len(form) >= SHORTEST_SECRET:
            text = text.replace(form, f"${forms[form]}")
    return text


def _forms(value: str) -> set[str]:
    """Return how a value may be written: whole, escaped, a line of it, as a long key, a URL's password."""
    with contextlib.suppress(ValueError):
        password = urlsplit(value).password or ""
        plain = {value, value[:LONGEST_KEY], *value.splitlines(), password, unquote(password)}
        return plain | {
            form
            for each in plain
            for form in (repr(each)[1:-1], json.dumps(each)[1:-1], quote(each, safe=""))
        }
    return {value}


def lay_out(own: Own, environment: Environment, folder: Path, env: Mapping[str, str]) -> Path:
    """Copy the code of the stack's release into `folder`, run what comes before, and return the copy.

    Raises FaultError, with what it said, where that fails.
    """
    copy = folder / "app"
    shutil.copytree(Path(own.code) / environment.lock.release, copy, symlinks=True)
    run_before(own, copy, env)
    return copy


def run_before(own: Own, copy: Path, env: Mapping[str, str]) -> None:
    """Run what comes before a server in a copy of the app. Raises FaultError as `lay_out` does."""
    for command in own.before:
        words = shlex.split(command)
        if found := shutil.which(words[0], path=env["PATH"]):
            words[0] = found
        try:
            done = processes.run(words, cwd=copy, env=env, timeout=own.start_limit)
        except FaultError as error:
            raise FaultError(
                f"before: {command!r}: {error}; start_limit in outlive.toml gives it more"
            ) from None
        if done.returncode:
            said = last_words(without_secrets(own, done.stderr or done.stdout), copy)
            raise FaultError(f"before: {command!r} failed: {said}")


def last_words(log: str, copy: Path) -> str:
    """Return in one line what a log says went wrong: the exception as in `raised`, or its last line."""
    lines = (line.strip() for line in reversed(log.splitlines()) if not USUAL.match(line))
    return raised(log, copy) or one_line(next(filter(None, lines), "it said nothing"))


def raised(log: str, copy: Path) -> str:
    """Return the last exception in a log, and where in the code of `copy` it was raised; empty if none is."""
    lines = log.splitlines()
    at = max((n for n, line in enumerate(lines) if RAISED.match(line)), default=None)
    if at is None:
        return ""
    frames = [found for line in lines[:at] if (found := FRAME.match(line))]
    own = [found for found in frames if Path(found[1]).is_relative_to(copy)]
    where = f" ({Path(own[-1][1]).relative_to(copy)}, line {own[-1][2]})" if own else ""
    return one_line(lines[at])[:300] + where
