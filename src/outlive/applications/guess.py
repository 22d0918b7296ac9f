"""Guesses a first `outlive.toml` for a repository from its code, which is read but never run."""

from __future__ import annotations

import ast
import os
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from outlive.applications import modules, variables
from outlive.applications.code import left_out
from outlive.applications.modules import Found, Module
from outlive.applications.routes import ANY, PARAMETER, VERBS, WEBSOCKET, Route, included
from outlive.applications.routes import routes as declared
from outlive.applications.settings import BASELINE
from outlive.errors import UsageError
from outlive.files import read_bytes, read_text, toml_value
from outlive.project import Project
from outlive.releases import frameworks
from outlive.wording import counted, one_line

NO_APPS = ("test", "tests", "testing", "docs", "migrations", "benchmarks", "setup.py", "conftest.py")
PLAIN = ("/", "/health", "/healthz", "/ping", "/status")
"""Paths that usually answer with a plain success, best first."""
REQUIREMENTS = ("uv.lock", "requirements.txt", "requirements/production.txt", "requirements/base.txt")
"""Files that list what an app needs, best first; a pyproject.toml comes after them."""
PYTHONS = (".python-version", "runtime.txt")
"""Files that name the Python of a repository."""
MOST_ROUTES = 20
"""Routes that get a scenario each; the user chooses from the others."""
MOST_UNREAD = 3
"""Unreadable modules that are named: they may need a newer Python than this one."""

HANDSHAKE: dict[str, Any] = {
    "headers": {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "b3V0bGl2ZSBvdXRsaXZlIQ==",
    }
}
"""The headers of a request that opens a WebSocket."""
CLOSED: dict[str, Any] = {
    "then": [{"raw": "\x88\x80\0\0\0\0"}],
    "client": ["send", "receive-head", "send", "receive-frame"],
    "connections": ["close"],
}
"""How the client of a WebSocket goes on: it sends a close frame, and waits for the server's."""


class Guess(msgspec.Struct, frozen=True):
    """The text of a first `outlive.toml`, and `notes`, lines that explain the guesses."""

    text: str
    notes: tuple[str, ...]


def guess(folder: Path, base: Project) -> Guess:
    """Return a first `outlive.toml` for the repository in `folder`. Raises UsageError if it has no app."""
    supported = [frameworks.load(base, name) for name in base.frameworks()]
    paths = list(_modules(folder))
    scripts = {script for framework in supported for script in framework.before}
    source = next((path.parent for path in paths if path.name in scripts), Path())
    if source == Path() and (folder / "src").is_dir():
        source = Path("src")
    parsed, unread = _parsed(folder, paths, source)
    makers: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for framework in supported:
        for call, package in framework.makes.items():
            makers[call].append((framework.protocol, package))
    best, *others = _apps(folder, parsed, makers)
    reached = modules.reached(best.module, parsed)
    missing = variables.needed(reached)
    routes = declared(reached)
    if not routes and not others:  # its modules can be chosen at run time
        routes = declared(parsed.values())
    settings: dict[str, Any] = {"target": best.target, "protocol": best.protocol}
    settings["packages"], why = _packages(folder, best)
    if source != Path() and best.place.is_relative_to(source):
        settings["source"] = str(source)
    if python := _python(folder):
        settings["python"] = python
    words = {
        script: words
        for framework in supported
        if best.package in framework.makes.values()
        for script, words in framework.before.items()
    }
    for script in (path for path in paths if path.name in words):
        settings["before"] = f"python {script} {words[script.name]}"
    sockets = {route for route in routes if route.method == WEBSOCKET and best.protocol == "wsgi"}
    routes -= sockets  # WSGI has none
    scenarios = list(_scenarios(sorted(routes)))
    lines = [f"target {best.target}: {best.place}, line {best.line}"]
    lines += [f"  there are others: {', '.join(app.target for app in others[:5])}"] if others else []
    lines += ["  its module starts a server when it is imported: change that"] if best.runs else []
    lines += [f"packages {toml_value(settings['packages'])}: {why}"]
    lines += [f"python {python}: as the repository says" if python else "python: the newest installed"]
    lines += [f"variables {', '.join(missing)}: the code needs them, so complete env"] if missing else []
    lines += [f"before {toml_value(settings['before'])}: for its database"] if "before" in settings else []
    kinds = f"{counted(len(routes), 'route')} in the code, {counted(len(scenarios), 'scenario')}"
    lines += [f"{kinds}; no request was sent"]
    lines += [f"  left out: {route.path}, which opens a WebSocket" for route in sorted(sockets)]
    lines += unread[:MOST_UNREAD]
    if not any(route.plain for route in routes):
        lines += ["no route is a plain GET: 'ok' asks for /, which may be wrong"]
    head = [f"{key} = {toml_value(value)}" for key, value in settings.items()]
    if missing:
        head.append(f"# env = {toml_value(dict.fromkeys(missing, '...'))}")
    text = "\n".join(["# docs/own-application.md explains each key.", "", *head, "", *scenarios])
    return Guess(text, tuple(lines))


def _parsed(folder: Path, paths: list[Path], source: Path) -> tuple[dict[str, Module], list[str]]:
    """Return the modules by name, and a line for each that cannot be read."""
    parsed: dict[str, Module] = {}
    unread: list[str] = []
    for path in paths:
        name = _module(path, source)
        try:
            parsed[name] = Module.of(name, path, ast.parse(read_bytes(folder / path), str(path)))
        except (SyntaxError, ValueError, OSError) as error:
            unread.append(f"  not read: {path}: {one_line(str(error))}")
    return parsed, unread


def _apps(folder: Path, parsed: Mapping[str, Module], makers: modules.Makers) -> list[Found]:
    """Return the apps of a repository, best first. Raises UsageError if there are none."""
    parts = included(parsed.values())  # what is part of another app is not the app
    apps = sorted(
        modules.apps(parsed.values(), makers),
        key=lambda app: (f"{app.module}.{app.name}" in parts, app.rank),
    )
    usable = [app for app in apps if not app.needs]
    if usable:
        return usable
    why = f"nothing calls {', '.join(sorted(makers))}"
    if apps:
        why = f"{apps[0].module}:{apps[0].name} ({apps[0].place}, line {apps[0].line}) needs arguments"
    by_hand = "write outlive.toml by hand: see docs/own-application.md"
    raise UsageError(f"{folder}: no app found ({why}): {by_hand}")


def _modules(folder: Path) -> Iterator[Path]:
    """Yield the paths, relative to the repository, of modules that can be part of the app."""
    for where, folders, files in os.walk(folder):
        skipped = {*left_out(where, folders), *NO_APPS}
        folders[:] = sorted(name for name in folders if name not in skipped and not name.startswith("."))
        for name in sorted(files):
            if name.endswith(".py") and name not in NO_APPS and not name.startswith("test_"):
                yield Path(where, name).relative_to(folder)


def _module(path: Path, source: Path) -> str:
    inside = path.relative_to(source) if path.is_relative_to(source) else path
    return ".".join([*inside.parent.parts, *([] if path.stem == "__init__" else [path.stem])])


def _packages(folder: Path, best: Found) -> tuple[str | list[str], str]:
    """Return where the app's packages come from, and why."""
    for name in REQUIREMENTS:
        if (folder / name).is_file():
            return name, "it is there"
    if _has_dependencies(folder / "pyproject.toml"):
        return "pyproject.toml", "its dependencies as of today; anything not pinned can change"
    return [best.package], "no requirements were found: complete the list, with versions"


def _python(folder: Path) -> str:
    """Return the Python that a repository says it runs on, as in 3.12; empty if it says nothing."""
    for name in PYTHONS:
        if (folder / name).is_file():
            version = read_bytes(folder / name).decode(errors="replace")
            if match := re.match(r"(?:python-)?(3\.\d+)", version.strip()):
                return match[1]
    return ""


def _has_dependencies(path: Path) -> bool:
    try:
        return "dependencies" in tomllib.loads(read_text(path)).get("project", {})
    except (OSError, ValueError):  # tomllib's is one
        return False


def _scenarios(routes: list[Route]) -> Iterator[str]:
    """Yield the text of each scenario: a plain success, failures that every service has, each route."""
    plain = [route.path for route in routes if route.plain]
    candidates = sorted(plain, key=lambda path: "admin" in path)
    usual = [path for name in PLAIN for path in (name, f"{name}/") if path in plain]
    ok = next(iter([*usual, *candidates]), "/")
    yield _scenario(BASELINE, {"path": ok}, 200)
    yield _scenario("not-found", {"path": "/no-such-page"}, 404)
    refusing = [path for path in (ok, *candidates) if Route(path, ANY) not in routes]
    refused = ((verb, path) for path in refusing for verb in reversed(VERBS))
    wrong = next(((verb, path) for verb, path in refused if Route(path, verb) not in routes), None)
    if wrong:
        yield _scenario("method-not-allowed", {"method": wrong[0], "path": wrong[1]}, 405)
    names = {BASELINE, "not-found", "method-not-allowed"}
    for route in routes[:MOST_ROUTES]:
        if (route.plain and route.path == ok) or route.slug in names:
            continue
        names.add(route.slug)
        if route.method == WEBSOCKET:
            yield _scenario(route.slug, HANDSHAKE | {"path": route.asked}, ["101 close"], **CLOSED)
        elif route.method in {"POST", "PUT", "PATCH"}:
            request = {"method": route.method, "path": route.asked, "body": "broken-json"}
            yield _scenario(route.slug, request, ["3xx", "4xx"])
        else:
            method = {"method": route.method} if route.method not in {"GET", ANY} else {}
            answers = ["2xx", "3xx", "4xx"] if PARAMETER.search(route.path) else ["2xx", "3xx"]
            yield _scenario(route.slug, {**method, "path": route.asked}, answers)


def _scenario(name: str, request: dict[str, Any], expect: int | list[str], **rest: Any) -> str:
    fields = {"name": name, "request": request, **rest, "expect": expect}
    return "".join(["[[scenario]]\n", *(f"{key} = {toml_value(value)}\n" for key, value in fields.items())])
