"""Scenarios of an `outlive.toml`, sent to the application in this process: what the plugin counts by name."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from outlive import temporary
from outlive.applications import code
from outlive.applications.settings import FILE, Read, read
from outlive.errors import FaultError, UsageError
from outlive.probe import clients
from outlive.probe.clients import ClientRequest, Open, Send
from outlive.project import Project
from outlive.service import login
from outlive.service.app import Own
from outlive.service.own import run_before, variables
from outlive.service.scenarios import Request as Asked
from outlive.service.scenarios import Scenario, encoded

ON_THE_WIRE = ("connection", "content-length")
"""Headers that a client here sets itself, or that mean nothing without a connection."""


def folder_of(test: Path) -> Path:
    """Return the nearest folder above a test that has an `outlive.toml`, or the table in pyproject.toml.

    Raises UsageError if there is none.
    """
    for folder in test.absolute().parents:
        shared = folder / "pyproject.toml"
        if (folder / FILE).is_file() or (shared.is_file() and "[tool.outlive" in shared.read_text("utf-8")):
            return folder
    raise UsageError(f"no folder above {test} has an {FILE}: `outlive init` writes one")


def scenarios_of(test: Path) -> tuple[str, ...]:
    """Return the names of the scenarios for a test. Raises UsageError as `folder_of` and `read` do."""
    folder = folder_of(test)
    return tuple(scenario.name for scenario in read(folder, Project.find(folder)).scenarios)


class Service(msgspec.Struct, frozen=True):
    """An application in this process, its scenarios, and what opens a client of it."""

    scenarios: dict[str, Scenario]
    open: Open

    def scenario(self, name: str) -> Scenario:
        """Return the scenario named `name`. Raises UsageError if there is none."""
        if name not in self.scenarios:
            raise UsageError(f"no scenario {name!r}; there are {', '.join(self.scenarios)}")
        return self.scenarios[name]

    def sender(self, name: str) -> Send:
        """Return what sends one request of the scenario, logged in if it says so, once it was right.

        Raises UsageError if there is no such scenario, and FaultError for a wrong answer.
        """
        scenario = self.scenario(name)
        if scenario.login:
            answer = self.open(_request(scenario.login.request, whole=True))()
            cookies = [value for header, value in answer.headers if header.lower() == "set-cookie"]
            scenario = login.carrying(scenario, answer.status, cookies, answer.body)
        send = self.open(_request(scenario.request))
        clients.check(send, name, scenario.expect)
        return send


def needs_a_server(scenario: Scenario) -> bool:
    """Return whether only a server can be asked it: it is about connections, or no HTTP client sends it."""
    return bool(not scenario.ordinary or scenario.then or scenario.tls or scenario.request.chunked)


@contextlib.contextmanager
def served(folder: Path, loop: asyncio.AbstractEventLoop) -> Iterator[Service]:
    """Serve the application in `folder` here, with its variables, in a copy in which its commands were run.

    Raises UsageError as `read` does, and FaultError if a command fails or the target does not import.
    """
    app = read(folder, Project.find(folder))
    settings = app.settings
    own = Own(
        folder=str(folder),
        code="",
        env=tuple(settings.env.items()),
        secrets=settings.secrets,
        before=settings.commands,
        start_limit=settings.start_limit,
    )
    serving: Callable[..., Any] = getattr(clients, settings.protocol)
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    with temporary.folder() as place:
        copy = place / "app"
        code.copy(folder, copy)
        run_before(own, copy, os.environ | {"PATH": path} | variables(own))
        with _as_if_started(copy, folder / settings.source, variables(own)):
            application = _target(app)
            with serving(application, loop) as open_:
                yield Service({scenario.name: scenario for scenario in app.scenarios}, open_)


@contextlib.contextmanager
def _as_if_started(copy: Path, source: Path, env: dict[str, str]) -> Iterator[None]:
    """Have the process be where the server would be, with its variables and its modules."""
    before = {name: os.environ.get(name) for name in env}
    os.environ.update(env)
    sys.path.insert(0, str(source))
    try:
        with contextlib.chdir(copy):
            yield
    finally:
        sys.path.remove(str(source))
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _target(app: Read) -> Any:
    """Return what the target names; like gunicorn, call it where it is a call with plain values."""
    module, _, rest = app.settings.target.partition(":")
    try:
        words = ast.parse(rest, mode="eval").body
        named = words.func if isinstance(words, ast.Call) else words
        target: Any = importlib.import_module(module)
        for name in ast.unparse(named).split("."):
            target = getattr(target, name)
        if isinstance(words, ast.Call):
            arguments = [ast.literal_eval(each) for each in words.args]
            return target(*arguments, **{str(k.arg): ast.literal_eval(k.value) for k in words.keywords})
    except Exception as error:
        raise FaultError(f"{app.settings.target}: {type(error).__name__}: {error}") from error
    return target


def _request(asked: Asked, *, whole: bool = False) -> ClientRequest:
    """Return a request of a scenario as the clients here send it; `whole`: its answer is wanted, too."""
    head, _, body = encoded(asked, "keep-alive").partition(b"\r\n\r\n")
    first, *fields = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ")
    headers = dict(field.split(": ", 1) for field in fields)
    sendable = {name: value for name, value in headers.items() if name.lower() not in ON_THE_WIRE}
    return ClientRequest(path=path, method=method, headers=sendable, body=body, whole=whole)
