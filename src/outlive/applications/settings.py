"""Reads `outlive.toml`, or `[tool.outlive]` in pyproject.toml, which describe an application."""

from __future__ import annotations

import os
import shlex
import tomllib
from pathlib import Path, PurePath
from string import Template
from typing import Annotated, Any, TypeVar

import msgspec

from outlive.errors import UsageError
from outlive.files import read_text
from outlive.project import Project
from outlive.records.stack import NAME
from outlive.releases import frameworks
from outlive.service import app as apps
from outlive.service.app import Worker
from outlive.service.scenarios import Login, Scenario, fault
from outlive.wording import one_line

FILE = "outlive.toml"
LIMITS = "outlive-limits.toml"
"""The file with the gate's limits, beside `outlive.toml`."""
BASELINE = "ok"
LONGEST_NAME = 60
"""Most characters of a name that becomes part of file names."""
OURS = "OUTLIVE_"
"""The prefix of the variables that configure a server."""
Asked = TypeVar("Asked", Scenario, Login)


class Serving(msgspec.Struct, frozen=True):
    """What serves a protocol: gunicorn's workers, the default first, and packages beside gunicorn."""

    workers: tuple[Worker, ...]
    packages: tuple[str, ...]

    def by(self, settings: Settings) -> Serving:
        """Return the same for an application, with only the worker that it names, if it names one."""
        named = [worker for worker in self.workers if settings.worker in (None, worker.name)]
        added = ("--pythonpath", settings.source) if settings.source else ()
        workers = tuple(msgspec.structs.replace(w, arguments=(*w.arguments, *added)) for w in named)
        if settings.worker is None or not workers:
            return Serving(workers, self.packages)
        alone = msgspec.structs.replace(workers[0], packages=())
        return Serving((alone,), (*self.packages, *workers[0].packages))


def protocols(base: Project) -> dict[str, Serving]:
    """Return what serves each protocol, taken from the first framework that speaks it."""
    servings: dict[str, Serving] = {}
    for name in base.frameworks():
        framework = frameworks.load(base, name)
        if framework.protocol and framework.protocol not in servings:
            servings[framework.protocol] = Serving(apps.load(base, name).workers, framework.server)
    return servings


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The content of `outlive.toml`; docs/own-application.md explains each key.

    `packages` names a file or is a list of requirements. Modules are imported from the folder `source`.
    `env` are variables; `secrets` are the names of variables whose values come from the environment. The
    commands in `before` run before each server starts, in its copy of the app. `headers` are added to each
    request that does not set them. `user` is the default user of load tests. `practices` are applied to the
    app in each server, in order.
    """

    target: Annotated[str, msgspec.Meta(pattern=r"^[\w.-]+:.+$")]
    protocol: str = "wsgi"
    packages: str | tuple[str, ...] = "requirements.txt"
    name: str = ""
    python: str | None = None
    worker: str | None = None
    source: str = ""
    env: dict[str, str] = {}
    secrets: tuple[str, ...] = ()
    before: str | tuple[str, ...] = ()
    start_limit: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 60.0
    headers: dict[str, str] = {}
    login: Login | None = None
    users: dict[str, dict[str, Annotated[int, msgspec.Meta(ge=0)]]] = {}
    user: str = ""
    practices: tuple[str, ...] = ()
    scenario: tuple[dict[str, Any], ...] = ()

    @property
    def commands(self) -> tuple[str, ...]:
        """The commands that run before each server starts."""
        return (self.before,) if isinstance(self.before, str) else self.before


class Read(msgspec.Struct, frozen=True):
    """The settings of an application, what serves it, and its scenarios; one of them is `ok`."""

    settings: Settings
    serving: Serving
    scenarios: tuple[Scenario, ...]


def read(folder: Path, base: Project) -> Read:
    """Return the description of the application in `folder`.

    Raises UsageError, with the place, if there is no such file or it is not valid.
    """
    path = folder / (FILE if (folder / FILE).is_file() else "pyproject.toml")
    try:
        document = tomllib.loads(read_text(path))
        table = document if path.name == FILE else document.get("tool", {}).get("outlive")
        if table is None:
            raise FileNotFoundError
        settings = msgspec.convert(_filled(table), Settings)
        scenarios = tuple(_scenario(entry, settings, at) for at, entry in enumerate(settings.scenario, 1))
    except FileNotFoundError:
        raise UsageError(f"{folder}: there is no {FILE} in it: `outlive init` writes one") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: it is not UTF-8 text: save it as such") from None
    except (OSError, ValueError, RecursionError) as error:  # msgspec's and tomllib's are ValueErrors
        raise UsageError(f"{path}: {one_line(str(error))}") from None
    servings = protocols(base)
    serving = servings.get(settings.protocol, Serving((), ())).by(settings)
    if wrong := _fault(settings, scenarios, servings):
        raise UsageError(f"{path}: {wrong}")
    source = PurePath(os.path.normpath(settings.source))
    if source.is_absolute() or source.parts[:1] == ("..",):
        raise UsageError(
            f"{path}: source: {one_line(settings.source)!r} is not in the application's folder, "
            f"of which servers have a copy: put {FILE} into a folder that has it all"
        )
    if settings.source and not (folder / settings.source).is_dir():
        raise UsageError(f"{path}: source: there is no folder {settings.source!r}")
    return Read(settings, serving, scenarios)


def _filled(table: dict[str, Any]) -> dict[str, Any]:
    """Return the settings with the names of secrets in the login, `$SHOP_PASSWORD`, replaced by values."""
    names = table.get("secrets", [])
    values = {name: os.environ[name] for name in names if isinstance(name, str) and name in os.environ}

    def fill(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: fill(item) for key, item in value.items()}
        if isinstance(value, list):
            return [fill(item) for item in value]
        return Template(value).safe_substitute(values) if isinstance(value, str) else value

    return table | {"login": fill(table["login"])} if "login" in table and values else table


def _fault(settings: Settings, scenarios: tuple[Scenario, ...], servings: dict[str, Serving]) -> str | None:
    names = [scenario.name for scenario in scenarios]
    if BASELINE not in names:
        return f"no scenario is named {BASELINE!r}: one is a plain success, against which the others are read"
    if twice := sorted({name for name in names if names.count(name) > 1}):
        return f"two scenarios have the same name: {', '.join(twice)}"
    if settings.protocol not in servings:
        return f"protocol {settings.protocol!r} is none of {', '.join(sorted(servings))}"
    if not servings[settings.protocol].by(settings).workers:
        workers = ", ".join(worker.name for worker in servings[settings.protocol].workers)
        return f"worker {settings.worker!r} is none that serves {settings.protocol}; there are {workers}"
    for command in settings.commands:
        if unusable := _unusable(command):
            return unusable
    if ours := [name for name in (*settings.env, *settings.secrets) if name.startswith(OURS)]:
        return f"{', '.join(ours)}: names that begin with {OURS} are ours, take another"
    for name, value in settings.env.items():
        if not name or "=" in name or "\0" in name + value:
            return f"env: {one_line(name)!r} is no name of a variable, or its value has a NUL"
    if settings.name and not (NAME.fullmatch(settings.name) and len(settings.name) <= LONGEST_NAME):
        return f"name {one_line(settings.name)!r}: letters, digits and hyphens, at most {LONGEST_NAME}"
    for user, weights in settings.users.items():
        if unknown := sorted(weights.keys() - set(names)):
            return f"users.{user}: {', '.join(unknown)} is no scenario"
    return None


def _unusable(command: str) -> str | None:
    """Return what is wrong with a command when a shell splits it, or None."""
    try:
        return None if shlex.split(command) and "\0" not in command else "before: a command is empty"
    except ValueError as error:
        return f"before: {one_line(command)!r}: {error}"


def _scenario(table: dict[str, Any], settings: Settings, at: int) -> Scenario:
    """Return the scenario number `at`; statuses can be numbers, and `login` can be true."""
    request = table.get("request", {})
    summary = (
        f"{request.get('method', 'GET')} {request.get('path', '/')}" if isinstance(request, dict) else ""
    )
    expect = table.get("expect", "2xx")
    answers = expect if isinstance(expect, list) else [expect]
    login = settings.login if table.get("login", False) is True else None
    if table.get("login", False) is True and login is None:
        raise ValueError(f"scenario {at}: login is true, and there is no [login]")
    whole = {"summary": summary, "request": {}} | table | {"expect": [str(answer) for answer in answers]}
    try:
        scenario = msgspec.convert(whole | {"login": None}, Scenario)
    except msgspec.ValidationError as error:
        raise ValueError(f"scenario {table.get('name', at)}: {error}") from None
    login = login and _with_headers(login, settings.headers)
    scenario = msgspec.structs.replace(_with_headers(scenario, settings.headers), login=login)
    if wrong := fault(scenario):
        raise ValueError(wrong)
    return scenario


def _with_headers(asked: Asked, headers: dict[str, str]) -> Asked:
    """Return a scenario or a login with these headers added to its request; its own take precedence."""
    if asked.request.raw is not None:
        return asked
    given = {name.lower() for name in asked.request.headers}
    added = {name: value for name, value in headers.items() if name.lower() not in given}
    request = msgspec.structs.replace(asked.request, headers=added | asked.request.headers)
    return msgspec.structs.replace(asked, request=request)
