"""A first `outlive.toml` for a repository: app, packages and routes are read from its code; nothing runs."""

from __future__ import annotations

import ast
import contextlib
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import msgspec

from outlive.applications.code import left_out
from outlive.applications.settings import BASELINE
from outlive.errors import UsageError
from outlive.files import toml_value
from outlive.project import Project
from outlive.releases import frameworks

Makers = dict[str, list[tuple[str, str]]]
"""Calls that make an app, with the protocols that it may speak and the packages that they are of."""
NO_APPS = ("test", "tests", "testing", "docs", "migrations", "benchmarks", "setup.py", "conftest.py")
PLACES = ("wsgi", "asgi", "app", "main", "server", "application", "__init__")
"""Modules that an app is most often in, best first."""
VERBS = ("get", "post", "put", "patch", "delete")
PARAMETER = re.compile(r"<(?:(\w+)(?:\([^)]*\))?:)?\w+>|\{[^}]*\}")
PLAIN = ("/", "/health", "/healthz", "/ping", "/status")
"""Paths of plain successes, best first."""
MOST_ROUTES = 20
"""Routes that get a scenario each; the others are for a person to choose from."""


class Found(msgspec.Struct, frozen=True):
    """An app, or a factory of one: where it is, how it is called, and how well it fits."""

    module: str
    name: str
    protocol: str
    package: str
    place: str
    factory: str = ""

    @property
    def target(self) -> str:
        """What gunicorn serves; on aiohttp, an async factory is called by its worker."""
        calls = "()" if self.factory == "def" else ""
        return f"{self.module}:{self.name}{calls}"

    @property
    def rank(self) -> tuple[int, ...]:
        """Order of what fits best: objects before factories, usual modules, WSGI before ASGI, short names."""
        last = self.module.rpartition(".")[2]
        place = PLACES.index(last) if last in PLACES else len(PLACES)
        return (
            bool(self.factory),
            place,
            self.protocol == "asgi" and self.name == "application",
            len(self.module),
        )


class Route(msgspec.Struct, frozen=True, order=True):
    """A path with a method, as the code has it."""

    path: str
    method: str

    @property
    def asked(self) -> str:
        """The path with 1 for each parameter."""
        return PARAMETER.sub("1", self.path)

    @property
    def slug(self) -> str:
        """A scenario's name for it."""
        words = re.sub(r"[^a-z0-9]+", "-", PARAMETER.sub("one", self.path).lower()).strip("-") or "root"
        return words if self.method == "GET" else f"{self.method.lower()}-{words}"


class Guess(msgspec.Struct, frozen=True):
    """The text of a first `outlive.toml`, and what of it was guessed, a line each."""

    text: str
    said: tuple[str, ...]


def guess(folder: Path, base: Project) -> Guess:
    """Return a first `outlive.toml` for the repository in `folder`.

    Raises UsageError where no app is found in it.
    """
    manage = next((path for path in _modules(folder) if path.name == "manage.py"), folder / "manage.py")
    source = str(manage.parent.relative_to(folder)) if manage.parent != folder else ""
    source = source or ("src" if (folder / "src").is_dir() else "")
    trees: dict[Path, ast.Module] = {}
    for path in _modules(folder):
        with contextlib.suppress(SyntaxError, ValueError, OSError):
            trees[path.relative_to(folder)] = ast.parse(path.read_bytes())
    makers: Makers = defaultdict(list)
    for framework in (frameworks.load(base, name) for name in base.frameworks()):
        for call, package in framework.makes.items():
            makers[call].append((framework.protocol, package))
    apps = [app for path, tree in trees.items() for app in _apps(tree, _module(path, source), path, makers)]
    included = {module: prefix for tree in trees.values() for module, prefix in _includes(tree)}
    routes = {
        route
        for path, tree in trees.items()
        for route in _routes(tree, included.get(_module(path, source), ""))
    }
    if not apps:
        raise UsageError(
            f"{folder}: no app is found in it (nothing calls {', '.join(sorted(makers))}): "
            "write outlive.toml by hand, as docs/own-application.md says"
        )
    best, *others = sorted(apps, key=lambda one: one.rank)
    packages, known = _packages(folder, best)
    in_source = source and best.place.startswith(f"{source}{os.sep}")
    head = [f"target = {toml_value(best.target)}", f"protocol = {toml_value(best.protocol)}"]
    head += [f"packages = {toml_value(packages)}"]
    head += [f"source = {toml_value(source)}"] if in_source else []
    scenarios = list(_scenarios(sorted(routes)))
    said = [f"target {best.target}: {best.place}"]
    said += [f"  there are others: {', '.join(other.target for other in others[:5])}"] if others else []
    said += [f"packages {toml_value(packages)}: {known}"]
    said += [f"{len(routes)} routes in the code, {len(scenarios)} scenarios: no answer was tried"]
    if not any(route.method == "GET" and not PARAMETER.search(route.path) for route in routes):
        said += ["no route is a plain GET: 'ok' asks for /, which may be wrong"]
    text = "\n".join(["# docs/own-application.md says what each key means.", "", *head, "", *scenarios])
    return Guess(text, tuple(said))


def _modules(folder: Path) -> Iterator[Path]:
    for where, folders, files in os.walk(folder):
        skipped = {*left_out(where, folders), *NO_APPS}
        folders[:] = sorted(name for name in folders if name not in skipped and not name.startswith("."))
        for name in sorted(files):
            if name.endswith(".py") and name not in NO_APPS and not name.startswith("test_"):
                yield Path(where, name)


def _module(path: Path, source: str) -> str:
    inside = path.relative_to(source) if source and path.is_relative_to(source) else path
    return ".".join([*inside.parent.parts, *([] if path.stem == "__init__" else [path.stem])])


def _apps(tree: ast.Module, module: str, path: Path, makers: Makers) -> Iterator[Found]:
    """Yield the apps that a module has, and its functions without arguments that return one."""
    imported = {name.split(".")[0] for name in _imported(tree)}
    known = {call: kind for call, kinds in makers.items() for kind in kinds if kind[1] in imported}
    for node in tree.body:
        place = f"{path}, line {node.lineno}"
        if isinstance(node, ast.Assign | ast.AnnAssign) and (kind := known.get(_called(node.value))):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name):
                yield Found(module, target.id, *kind, place)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not _needs(node.args):
            kinds = [known.get(_called(each)) for each in ast.walk(node) if isinstance(each, ast.Call)]
            returns = any(isinstance(each, ast.Return) and each.value for each in ast.walk(node))
            if (kind := next(filter(None, kinds), None)) and returns and node.name != "main":
                factory = "async" if isinstance(node, ast.AsyncFunctionDef) else "def"
                yield Found(module, node.name, *kind, place, factory)


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def _needs(arguments: ast.arguments) -> bool:
    return len(arguments.args) > len(arguments.defaults) or None in arguments.kw_defaults


def _called(value: ast.AST | None) -> str:
    if not isinstance(value, ast.Call):
        return ""
    function = value.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _includes(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield the modules whose routes Django's `path("polls/", include("polls.urls"))` includes, and where."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _called(node) == "path" and len(node.args) > 1:
            prefix, target = node.args[:2]
            if isinstance(target, ast.Call) and _called(target) == "include" and target.args:
                modules = [
                    str(each.value) for each in (target.args[0], prefix) if isinstance(each, ast.Constant)
                ]
                if len(modules) == 2:
                    yield modules[0], f"/{modules[1]}".rstrip("/")


def _routes(tree: ast.Module, included: str) -> Iterator[Route]:
    """Yield the routes that a module names, under where it is included.

    Blueprints and routers of the same module have their prefix.
    """
    prefixes: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            for keyword in node.value.keywords if isinstance(node.value, ast.Call) else ():
                if keyword.arg in {"url_prefix", "prefix"} and isinstance(keyword.value, ast.Constant):
                    prefixes[node.targets[0].id] = str(keyword.value.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            owner = node.func.value if isinstance(node.func, ast.Attribute) else None
            prefix = included + (prefixes.get(owner.id, "") if isinstance(owner, ast.Name) else "")
            for method, path in _declared(node, _called(node)):
                if path.startswith("/"):
                    yield Route(f"{prefix}{path}", method)


def _declared(node: ast.Call, name: str) -> Iterator[tuple[str, str]]:
    """Yield method and path of a call that declares a route."""
    texts = [each.value if isinstance(each, ast.Constant) else None for each in node.args[:2]]
    first, second = ([str(text) if isinstance(text, str) else "" for text in texts] + ["", ""])[:2]
    if name in {"route", "add_url_rule", "Route", "api_route"}:
        listed = next((one.value for one in node.keywords if one.arg == "methods"), None)
        methods = [each.value for each in getattr(listed, "elts", ()) if isinstance(each, ast.Constant)]
        yield from ((str(method).upper(), first) for method in methods or ["GET"])
    elif name in {"path", "re_path"} and len(node.args) > 1 and _called(node.args[1]) != "include":
        yield "GET", f"/{first}"
    elif name in {"add_route", "RouteDef"}:
        yield first.upper(), second
    elif name.removeprefix("add_") in VERBS and node.args:
        yield name.removeprefix("add_").upper(), first


def _packages(folder: Path, best: Found) -> tuple[str | list[str], str]:
    """Return where its packages come from, and why."""
    for name in ("uv.lock", "requirements.txt"):
        if (folder / name).is_file():
            return name, "it is there"
    if (folder / "pyproject.toml").is_file():
        return "pyproject.toml", "its dependencies, as they are today: what is not pinned moves"
    return [best.package], "no requirements are there: complete the list, with versions"


def _scenarios(routes: list[Route]) -> Iterator[str]:
    """Yield the text of each scenario: a plain success, what fails in each service, each route."""
    plain = [route.path for route in routes if route.method == "GET" and not PARAMETER.search(route.path)]
    candidates = sorted(plain, key=lambda path: "admin" in path)
    ok = next((path for path in PLAIN if path in plain), candidates[0] if candidates else "/")
    yield _scenario(BASELINE, {"path": ok}, "200")
    yield _scenario("not-found", {"path": "/no-such-page"}, "404")
    yield _scenario("method-not-allowed", {"method": "DELETE", "path": ok}, "405")
    names = {BASELINE, "not-found", "method-not-allowed"}
    for route in routes[:MOST_ROUTES]:
        if route == Route(ok, "GET") or route.slug in names:
            continue
        names.add(route.slug)
        if route.method in {"POST", "PUT", "PATCH"}:
            request = {"method": route.method, "path": route.asked, "body": "broken-json"}
            yield _scenario(route.slug, request, ["3xx", "4xx"])
        else:
            method = {"method": route.method} if route.method != "GET" else {}
            answers = ["2xx", "3xx", "4xx"] if PARAMETER.search(route.path) else ["2xx", "3xx"]
            yield _scenario(route.slug, {**method, "path": route.asked}, answers)


def _scenario(name: str, request: dict[str, str], expect: str | list[str]) -> str:
    status = int(expect) if isinstance(expect, str) else expect
    return (
        f"[[scenario]]\nname = {toml_value(name)}\nrequest = {toml_value(request)}\n"
        f"expect = {toml_value(status)}\n"
    )
