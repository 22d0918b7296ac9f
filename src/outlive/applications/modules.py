"""Finds the apps and routes that the modules of a repository declare, from their syntax trees. Pure."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

Makers = Mapping[str, list[tuple[str, str]]]
"""Calls that make an app, with the protocols that it can speak and the packages that provide them."""
PLACES = ("wsgi", "asgi", "app", "main", "server", "application", "__init__")
"""Modules that usually contain the app, best first."""
VERBS = ("GET", "POST", "PUT", "PATCH", "DELETE")
PARAMETER = re.compile(r"<(?:(\w+)(?:\([^)]*\))?:)?\w+>|\{[^}]*\}")
INCLUDES = {"include_router": "prefix", "register_blueprint": "url_prefix"}
"""Calls that include a router, and the argument that holds its prefix."""
RUNS = ("run", "run_app", "serve_forever", "run_forever")
"""Calls that do not return: a module that makes one is a script and cannot be imported."""


class Found(msgspec.Struct, frozen=True):
    """An app, or a function that makes one: where it is, how it is called, and how well it fits.

    `factory` is `def` or `async`, and empty for an app. If `runs`, importing its module starts a server, and
    the app cannot be measured. If `needs`, the factory needs arguments.
    """

    module: str
    name: str
    protocol: str
    package: str
    place: Path
    line: int
    factory: str = ""
    runs: bool = False
    needs: bool = False

    @property
    def target(self) -> str:
        """The target that gunicorn serves; aiohttp's worker calls an async factory itself."""
        calls = "()" if self.factory == "def" else ""
        return f"{self.module}:{self.name}{calls}"

    @property
    def rank(self) -> tuple[int, ...]:
        """Sort key, best first: objects before factories, usual modules, WSGI before ASGI, short names."""
        last = self.module.rpartition(".")[2]
        place = PLACES.index(last) if last in PLACES else len(PLACES)
        return (
            self.needs,
            self.runs,
            bool(self.factory),
            place,
            self.protocol == "asgi" and self.name == "application",
            len(self.module),
        )


class Route(msgspec.Struct, frozen=True, order=True):
    """A path and a method, as the code declares them."""

    path: str
    method: str

    @property
    def plain(self) -> bool:
        """Whether it is a GET without parameters."""
        return self.method == "GET" and not PARAMETER.search(self.path)

    @property
    def asked(self) -> str:
        """The path with 1 for each parameter."""
        return PARAMETER.sub("1", self.path)

    @property
    def slug(self) -> str:
        """The name of a scenario for this route."""
        words = re.sub(r"[^a-z0-9]+", "-", PARAMETER.sub("one", self.path).lower()).strip("-") or "root"
        return words if self.method == "GET" else f"{self.method.lower()}-{words}"


class Module(msgspec.Struct, frozen=True):
    """A module by its dotted name; `path` is relative to the repository.

    `aliases` are the dotted names that its imported names stand for.
    """

    name: str
    path: Path
    tree: ast.Module
    aliases: dict[str, str]

    @classmethod
    def of(cls, name: str, path: Path, tree: ast.Module) -> Module:
        """Return the module with its imports."""
        parents = name.split(".") if path.stem == "__init__" else name.split(".")[:-1]
        aliases: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                aliases |= {alias.asname or alias.name: alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                above = parents[: len(parents) - node.level + 1] if node.level else []
                origin = ".".join([*above, *filter(None, [node.module])])
                aliases |= {alias.asname or alias.name: f"{origin}.{alias.name}" for alias in node.names}
        return cls(name, path, tree, aliases)

    def dotted(self, node: ast.AST | None) -> str:
        """Return the dotted name of an expression; empty if it is not a name."""
        if isinstance(node, ast.Attribute):
            return f"{self.dotted(node.value)}.{node.attr}"
        if isinstance(node, ast.Name):
            return self.aliases.get(node.id, f"{self.name}.{node.id}")
        return _text(node)


def reached(start: str, modules: Mapping[str, Module]) -> list[Module]:
    """Return a module and all that it imports, or names in a string as settings do, recursively."""
    visited: dict[str, Module] = {}
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name in modules and name not in visited:
            module = visited[name] = modules[name]
            texts = [_text(node) for node in ast.walk(module.tree)]
            for word in filter(None, [*module.aliases.values(), *texts]):
                parts = re.split(r"[.:]", word)
                waiting += [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
    return list(visited.values())


def apps(modules: Iterable[Module], makers: Makers) -> Iterator[Found]:
    """Yield the apps in the modules, and the functions that return one."""
    factories: dict[str, tuple[str, str]] = {}
    modules = list(modules)
    for module in modules:
        imported = {word.split(".")[0] for word in module.aliases.values()}
        calls = {call: kind for call, kinds in makers.items() for kind in kinds if kind[1] in imported}
        for node in _statements(module.tree.body):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                if kind := _returned(node, calls):
                    factories[f"{module.name}.{node.name}"] = kind
                    yield _found(module, node.name, kind, node)
            elif kind := calls.get(_called(_value(node))):
                yield from (_found(module, name, kind, node) for name in _assigned(node))
    for module in modules:
        for node in _statements(module.tree.body):
            value = _value(node)
            if isinstance(value, ast.Call) and (kind := factories.get(module.dotted(value.func))):
                yield from (_found(module, name, kind, node) for name in _assigned(node))


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that run on import, including those in an `if`, a `try` or a `with`."""
    for node in body:
        if isinstance(node, ast.If) and "__name__" in ast.unparse(node.test):
            continue
        yield node
        if isinstance(node, ast.If | ast.Try | ast.With):
            yield from _statements(part for part in ast.iter_child_nodes(node) if isinstance(part, ast.stmt))
            for handler in getattr(node, "handlers", ()):
                yield from _statements(handler.body)


def routes(modules: Iterable[Module]) -> set[Route]:
    """Return the routes that modules declare, with the prefixes under which they are included."""
    by_name = {module.name: module for module in modules}
    included = {
        inner: (outer.name, prefix)
        for outer in by_name.values()
        for inner, prefix in _includes(outer, by_name)
    }
    declared = set()
    for module in by_name.values():
        above, name, seen = "", module.name, {module.name}
        while name in included:
            name, prefix = included[name]
            above = prefix + above
            if name in seen:
                break
            seen.add(name)
        declared |= {Route(f"{above}{route.path}", route.method) for route in _declared_in(module)}
    return declared


def _found(module: Module, name: str, kind: tuple[str, str], node: ast.stmt) -> Found:
    factory = {ast.FunctionDef: "def", ast.AsyncFunctionDef: "async"}.get(type(node), "")
    runs = any(isinstance(part, ast.Expr) and _called(part.value) in RUNS for part in module.tree.body)
    needs = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _needs(node.args)
    return Found(module.name, name, *kind, module.path, node.lineno, factory, runs, needs)


def _returned(function: ast.AST, calls: Mapping[str, tuple[str, str]]) -> tuple[str, str] | None:
    """Return the kind of app that a function returns, or None."""
    made = {
        name: kind
        for node in ast.walk(function)
        if isinstance(node, ast.stmt) and (kind := calls.get(_called(_value(node))))
        for name in _assigned(node)
    }
    for node in ast.walk(function):
        if isinstance(node, ast.Return):
            name = node.value.id if isinstance(node.value, ast.Name) else ""
            if kind := calls.get(_called(node.value)) or made.get(name):
                return kind
    return None


def _text(node: ast.AST | None) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _value(node: ast.stmt) -> ast.expr | None:
    return node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None


def _assigned(node: ast.stmt) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _needs(arguments: ast.arguments) -> bool:
    return len(arguments.args) > len(arguments.defaults) or None in arguments.kw_defaults


def _called(value: ast.AST | None) -> str:
    match value:
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)):
            return name
    return ""


def _keyword(node: ast.Call, name: str) -> ast.expr | None:
    return next((keyword.value for keyword in node.keywords if keyword.arg == name), None)


def _includes(module: Module, modules: Mapping[str, Module]) -> Iterator[tuple[str, str]]:
    """Yield the modules whose routes a module includes, each with its prefix.

    Such as `path("polls/", include("polls.urls"))` or `app.include_router(users.router, prefix="/users")`.
    """
    prefixes = _prefixes(module)
    for node in ast.walk(module.tree):
        match _called(node), node:
            case "path", ast.Call(args=[place, ast.Call(args=[inner, *_]) as call, *_]) if (
                _called(call) == "include"
            ):
                prefix = f"/{_text(place)}".rstrip("/")
            case name, ast.Call(args=[inner, *_]) if name in INCLUDES:
                prefix = prefixes.get(_owner(node), "") + _text(_keyword(node, INCLUDES[name]))
            case _:
                continue
        words = module.dotted(inner).split(".")
        parts = [".".join(words[:count]) for count in range(len(words), 0, -1)]
        if (where := next((part for part in parts if part in modules), module.name)) != module.name:
            yield where, prefix


def _prefixes(module: Module) -> dict[str, str]:
    """Return the prefixes of the blueprints and routers that a module makes, by name."""
    return {
        name: _text(_keyword(node.value, "url_prefix") or _keyword(node.value, "prefix"))
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
        for name in _assigned(node)
    }


def _owner(node: ast.Call) -> str:
    """Return the name of the object whose method is called."""
    owner = node.func.value if isinstance(node.func, ast.Attribute) else None
    return owner.id if isinstance(owner, ast.Name) else ""


def _declared_in(module: Module) -> Iterator[Route]:
    """Yield the routes of a module, with the prefixes of its own blueprints and routers."""
    prefixes = _prefixes(module)
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call):
            prefix = prefixes.get(_owner(node), "")
            for method, path in _declared(node, _called(node)):
                if path.startswith("/") and method in VERBS:
                    yield Route(f"{prefix}{path}", method)


def _declared(node: ast.Call, name: str) -> Iterator[tuple[str, str]]:
    """Yield the methods and the path of a call that declares a route."""
    first, second = ([_text(argument) for argument in node.args[:2]] + ["", ""])[:2]
    if name in {"route", "add_url_rule", "Route", "api_route"}:
        methods = [_text(method) for method in getattr(_keyword(node, "methods"), "elts", ())]
        yield from ((method.upper(), first) for method in methods or ["GET"])
    elif name in {"path", "re_path"} and len(node.args) > 1 and _called(node.args[1]) != "include":
        yield "GET", f"/{first}"
    elif name in {"add_route", "RouteDef"}:
        yield first.upper(), second
    elif (verb := name.removeprefix("add_").upper()) in VERBS and node.args:
        yield verb, first
