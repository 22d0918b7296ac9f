"""`outlive.toml`, or `[tool.outlive]` of pyproject.toml: what an application is, and its traffic."""

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
"""Where the limits of its gate are, beside `outlive.toml`."""
BASELINE = "ok"
LONGEST_NAME = 60
"""Characters of a name of which names of files are made."""
OURS = "OUTLIVE_"
"""How the variables begin by which a server is told what to do."""
Asked = TypeVar("Asked", Scenario, Login)


class Serving(msgspec.Struct, frozen=True):
    """What serves a protocol: gunicorn's workers, the default ones first, and packages beside gunicorn."""

    workers: tuple[Worker, ...]
    packages: tuple[str, ...]

    def by(self, settings: Settings) -> Serving:
        """Return the same for an application: only with the worker that it names, if it names one."""
        named = [worker for worker in self.workers if settings.worker in (None, worker.name)]
        added = ("--pythonpath", settings.source) if settings.source else ()
        workers = tuple(msgspec.structs.replace(one, arguments=(*one.arguments, *added)) for one in named)
        if settings.worker is None or not workers:
            return Serving(workers, self.packages)
        alone = msgspec.structs.replace(workers[0], packages=())
        return Serving((alone,), (*self.packages, *workers[0].packages))


def protocols(base: Project) -> dict[str, Serving]:
    """Return what serves each protocol, as the first framework that speaks it is served."""
    found: dict[str, Serving] = {}
    for name in base.frameworks():
        framework = frameworks.load(base, name)
        if framework.protocol and framework.protocol not in found:
            found[framework.protocol] = Serving(apps.load(base, name).workers, framework.server)
    return found


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `outlive.toml` says; docs/own-application.md has each key.

    `packages` names a file or is a list of requirements, `source` is the folder that modules are imported
    from. `env` are variables, `secrets` the names of those whose values come from the environment. `before`
    are commands that are run before each server starts, in its copy of the app. `headers` come with each
    request, unless it has its own. `user` sends in load tests if none is named, `practices` are applied to
    the app in each server, in their order.
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
        """The commands that are run before."""
        return (self.before,) if isinstance(self.before, str) else self.before


class Read(msgspec.Struct, frozen=True):
    """The settings of an application, what serves it, and its scenarios, of which one is called `ok`."""

    settings: Settings
    serving: Serving
    scenarios: tuple[Scenario, ...]


def read(folder: Path, base: Project) -> Read:
    """Return what the application in `folder` says of itself.

    Raises UsageError, with the place, where there is no such file or it does not have its form.
    """
    own, shared = folder / FILE, folder / "pyproject.toml"
    path = own if own.is_file() else shared
    try:
        document = tomllib.loads(read_text(path))
        table = document if path == own else document.get("tool", {}).get("outlive")
        if table is None:
            raise FileNotFoundError
        settings = msgspec.convert(_filled(table), Settings)
        scenarios = tuple(_scenario(each, settings, at) for at, each in enumerate(settings.scenario, 1))
    except FileNotFoundError:
        raise UsageError(f"{folder}: there is no {FILE} in it: `outlive init` writes one") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: it is not UTF-8 text: save it as such") from None
    except (OSError, ValueError, RecursionError) as error:  # msgspec's and tomllib's are ValueErrors
        raise UsageError(f"{path}: {one_line(str(error))}") from None
    known = protocols(base)
    serving = known[settings.protocol].by(settings) if settings.protocol in known else Serving((), ())
    if wrong := _fault(settings, scenarios, known):
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
    """Return the settings with the values of secrets where its login has their names: `$SHOP_PASSWORD`."""
    names = table.get("secrets", [])
    known = {name: os.environ[name] for name in names if isinstance(name, str) and name in os.environ}

    def fill(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: fill(each) for key, each in value.items()}
        if isinstance(value, list):
            return [fill(each) for each in value]
        return Template(value).safe_substitute(known) if isinstance(value, str) else value

    return table | {"login": fill(table["login"])} if "login" in table and known else table


def _fault(settings: Settings, scenarios: tuple[Scenario, ...], known: dict[str, Serving]) -> str | None:
    names = [scenario.name for scenario in scenarios]
    if BASELINE not in names:
        return f"no scenario is named {BASELINE!r}: one is a plain success, against which the others are read"
    if twice := sorted({name for name in names if names.count(name) > 1}):
        return f"two scenarios have the same name: {', '.join(twice)}"
    if settings.protocol not in known:
        return f"protocol {settings.protocol!r} is none of {', '.join(sorted(known))}"
    if not known[settings.protocol].by(settings).workers:
        workers = ", ".join(worker.name for worker in known[settings.protocol].workers)
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
    """Return what is wrong with a command, as a shell would split it."""
    try:
        return None if shlex.split(command) and "\0" not in command else "before: a command is empty"
    except ValueError as error:
        return f"before: {one_line(command)!r}: {error}"


def _scenario(table: dict[str, Any], settings: Settings, at: int) -> Scenario:
    """Return the scenario number `at`: statuses may be numbers, `login` may be true."""
    request = table.get("request", {})
    said = f"{request.get('method', 'GET')} {request.get('path', '/')}" if isinstance(request, dict) else ""
    expect = table.get("expect", "2xx")
    answers = expect if isinstance(expect, list) else [expect]
    login = settings.login if table.get("login", False) is True else None
    if table.get("login", False) is True and login is None:
        raise ValueError(f"scenario {at}: login is true, and there is no [login]")
    whole = {"summary": said, "request": {}} | table | {"expect": [str(answer) for answer in answers]}
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
    """Return a scenario or a login whose request has these headers too; its own come first."""
    if asked.request.raw is not None:
        return asked
    given = {name.lower() for name in asked.request.headers}
    added = {name: value for name, value in headers.items() if name.lower() not in given}
    request = msgspec.structs.replace(asked.request, headers=added | asked.request.headers)
    return msgspec.structs.replace(asked, request=request)
