"""Finds the routes that the modules of a repository declare, from their syntax trees. Pure."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from outlive.applications.modules import Module, assigned, called, text, value_of

VERBS = ("GET", "POST", "PUT", "PATCH", "DELETE")
WEBSOCKET = "WEBSOCKET"
"""Stands for a method where a route opens a WebSocket."""
ANY = "ANY"
"""Stands for every method: what answers them all refuses none."""
PARAMETER = re.compile(r"<[^>]+>|\{[^}]*\}")
GROUP = re.compile(r"\(\?P<(\w+)>(?:[^()]|\([^()]*\))*\)")
"""A parameter of a regular expression."""
INCLUDES = {"include_router": "prefix", "register_blueprint": "url_prefix", "add_routes": ""}
"""Calls that include a router, and the argument that holds its prefix."""
MOUNTS = ("add_subapp", "mount", "Mount")
"""Calls that include an app under the prefix that is their first argument."""
ROUTES = ("route", "add_url_rule", "Route", "api_route")
SOCKETS = ("websocket", "websocket_route", "websocket_listener", "WebSocketRoute", "add_websocket_route")
SOCKET_CLASSES = ("WebSocketResponse", "Sock")
"""What a handler makes that opens a WebSocket, and whose routes are WebSockets only."""
ACTIONS = {
    "list": ("", "GET"),
    "create": ("", "POST"),
    "retrieve": ("<pk>/", "GET"),
    "update": ("<pk>/", "PUT"),
    "partial_update": ("<pk>/", "PATCH"),
    "destroy": ("<pk>/", "DELETE"),
}
"""The actions of a set of views, with what follows its prefix in their paths, and their methods."""
VIEWS = {
    "ModelViewSet": tuple(ACTIONS),
    "ReadOnlyModelViewSet": ("list", "retrieve"),
    "ListModelMixin": ("list",),
    "CreateModelMixin": ("create",),
    "RetrieveModelMixin": ("retrieve",),
    "UpdateModelMixin": ("update", "partial_update"),
    "DestroyModelMixin": ("destroy",),
}
"""The actions that a set of views has from a class."""
ALLOWING = ("require_GET", "require_POST", "require_safe", "require_http_methods", "api_view")
"""Decorators by which a function answers some methods only."""
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class Route(msgspec.Struct, frozen=True, order=True):
    """A path and a method, as the code declares them."""

    path: str
    method: str

    @property
    def plain(self) -> bool:
        """Whether it is a GET without parameters."""
        return self.method in {"GET", ANY} and not PARAMETER.search(self.path)

    @property
    def asked(self) -> str:
        """The path with 1 for each parameter."""
        return PARAMETER.sub("1", self.path)

    @property
    def slug(self) -> str:
        """The name of a scenario for this route."""
        words = re.sub(r"[^a-z0-9]+", "-", PARAMETER.sub("one", self.path).lower()).strip("-") or "root"
        return words if self.method in {"GET", ANY} else f"{self.method.lower()}-{words}"


class Included(NamedTuple):
    """Where something is included, from the closest, and under which prefix, which may replace its own."""

    by: tuple[str, ...]
    prefix: str
    replaces: bool = False


class Call(NamedTuple):
    """A call in a module, and the dotted names of what it is part of, from the closest.

    They are the object whose method is called, what the call decorates, functions, classes, the module.
    """

    node: ast.Call
    module: Module
    within: tuple[str, ...]
    decorated: Definition | None

    @property
    def name(self) -> str:
        """The last part of the name of what is called."""
        return called(self.node)

    @property
    def arguments(self) -> list[ast.expr]:
        """All arguments."""
        return [*self.node.args, *(keyword.value for keyword in self.node.keywords)]

    def keyword(self, *names: str) -> ast.expr | None:
        """Return the argument with one of these names."""
        return next((keyword.value for keyword in self.node.keywords if keyword.arg in names), None)

    def place(self) -> list[str]:
        """Return the paths that it is for; a decorator without any is for the root."""
        given = self.node.args[0] if self.node.args else self.keyword("path", "rule", "uri_template")
        paths = [text(part) for part in getattr(given, "elts", [given])]
        return [f"/{path.lstrip('/')}" for path in paths] if self.decorated else paths


def routes(modules: Iterable[Module]) -> set[Route]:
    """Return the routes that modules declare, with the prefixes under which they are included."""
    code = _Code(list(modules))
    return {
        Route(f"{code.prefix(call.within).rstrip('/')}{path}" or "/", method)
        for call in code.calls
        for method, path in code.declared(call)
        if path.startswith("/") and method in {*VERBS, WEBSOCKET, ANY}
    }


def included(modules: Iterable[Module]) -> set[str]:
    """Return the dotted names of what modules include somewhere: routers, apps, functions that make them."""
    return set(_Code(list(modules)).included)


class _Code:
    """The calls of modules; `definitions` are their functions and classes by dotted name."""

    def __init__(self, modules: list[Module]) -> None:
        self.modules = {module.name: module for module in modules}
        self.definitions: dict[str, Definition] = {}
        self.made: dict[str, list[tuple[Module, ast.Call]]] = {}
        for module in modules:
            for node in ast.walk(module.tree):
                if isinstance(node, Definition):
                    self.definitions[f"{module.name}.{node.name}"] = node
                elif isinstance(node, ast.stmt) and isinstance(value := value_of(node), ast.Call):
                    for name in assigned(node):
                        self.made.setdefault(f"{module.name}.{name}", []).append((module, value))
        self.calls = [call for module in modules for call in _calls(module, module.tree, (module.name,))]
        self.included: dict[str, Included] = {}
        for call in self.calls:
            for inner, prefix, replaces in self._includes(call):
                for name in self._names(call.module, inner):
                    self.included.setdefault(name, Included(call.within, prefix, replaces))

    def prefix(self, within: tuple[str, ...], seen: frozenset[str] = frozenset()) -> str:
        """Return the prefix of the routes of what is part of this, with those of all that includes it."""
        own = next((prefix for name in within if (prefix := self._own(name))), "")
        for name in within:
            if (inside := self.included.get(name)) and name not in seen:
                above = self.prefix(inside.by, seen | {name}) + inside.prefix
                return above.rstrip("/") + ("" if inside.replaces else own)
        return own

    def _own(self, name: str) -> str:
        """Return the prefix that a blueprint, a router or a class has itself."""
        for module, call in self.made.get(name, ()):
            made = Call(call, module, (), None)
            key = "path" if made.name == "Router" else "url_prefix"
            if prefix := text(made.keyword(key, "prefix")):
                return prefix
        if isinstance(found := self.definitions.get(name), ast.ClassDef):
            for node in found.body:
                if "path" in assigned(node) and text(value_of(node)).startswith("/"):
                    return text(value_of(node))
        return ""

    def _names(self, module: Module, inner: ast.AST) -> Iterator[str]:
        """Yield the dotted names of what is included; the last can be another module, as a whole."""
        if isinstance(inner, ast.List):
            yield _place(module, inner)
        names = [module.dotted(inner.func if isinstance(inner, ast.Call) else inner)]
        for name in names:
            names += [other.dotted(call.func) for other, call in self.made.get(name, ()) if len(names) < 9]
            parts = name.split(".")
            for count in range(len(parts), 0, -1):
                part = ".".join(parts[:count])
                if part in self.modules:
                    alias = self.modules[part].aliases.get(parts[count]) if count < len(parts) else None
                    if alias and len(names) < 9:
                        names.append(alias)
                    if part != module.name:
                        yield part
                    break
                yield part

    def _includes(self, call: Call) -> Iterator[tuple[ast.AST, str, bool]]:
        """Yield what a call includes, the prefix, and whether that replaces its own prefix.

        Such as `path("polls/", include("polls.urls"))`, `app.include_router(users.router, prefix="/users")`,
        `app.add_subapp("/admin", admin)` or `Router(path="/v1", route_handlers=[Orders])`.
        """
        match call.name, call.node:
            case "path" | "re_path", ast.Call(args=[place, ast.Call(args=[inner, *_]) as include, *_]) if (
                called(include) == "include"
            ):
                inner = inner.elts[0] if isinstance(inner, ast.Tuple) and inner.elts else inner
                yield inner, _plain(text(place), expression=call.name == "re_path").rstrip("/"), False
            case name, ast.Call(args=[inner, *_]) if name in INCLUDES:
                prefix = text(call.keyword(INCLUDES[name]))
                yield inner, prefix, bool(prefix) and name == "register_blueprint"
            case name, ast.Call(args=[place, *_]) if name in MOUNTS:
                for part in [*call.node.args[1:2], call.keyword("app", "routes")]:
                    if part is not None:
                        yield part, text(place).rstrip("/"), False
            case _:
                prefix = text(call.keyword("path")).rstrip("/")
                for inner in getattr(call.keyword("route_handlers"), "elts", ()):
                    yield inner, "" if call.name == "Router" else prefix, False

    def declared(self, call: Call) -> Iterator[tuple[str, str]]:
        """Yield the methods and the paths of a call that declares routes."""
        name, places = call.name, call.place()
        second = text(call.node.args[1]) if len(call.node.args) > 1 else ""
        verb = name.removeprefix("add_").upper()
        if name in {"path", "re_path"} and len(call.node.args) > 1:
            if called(call.node.args[1]) != "include":
                path = _plain(places[0], expression=name == "re_path")
                yield from ((method, path) for method in self._answered(call))
        elif name == "register" and self._registers(call):
            yield from self._actions(call, places[0])
        elif name in SOCKETS:
            yield from ((WEBSOCKET, place) for place in places)
        elif name in {"add_route", "RouteDef"} and second:
            yield from ((method, second) for method in self._methods(call, places[0].upper()))
        elif name in ROUTES or name in {"add_route", "view", "add_view"}:
            methods = self._methods(call, *_texts(call.keyword("methods", "method", "http_method")))
            yield from ((method, place) for place in places for method in methods)
        elif verb in VERBS and (call.decorated or len(call.node.args) > 1):
            yield from ((method, place) for place in places for method in self._methods(call, verb))

    def _methods(self, call: Call, *named: str) -> list[str]:
        """Return the methods of a route: what is named, or has a function in the class of its handler."""
        handlers = [node for node in self._handlers(call) if node is not None]
        makes = {called(node) for handler in handlers for node in ast.walk(handler)}
        if not makes.isdisjoint(SOCKET_CLASSES) or any(
            called(made) in SOCKET_CLASSES for made in self._owners(call)
        ):
            return [WEBSOCKET]
        classes = [handler for handler in handlers if isinstance(handler, ast.ClassDef)]
        if named or not classes:
            return [method.upper() for method in named] or ["GET"]
        suffix = f"_{text(call.keyword('suffix'))}".rstrip("_")
        functions = {name.removeprefix("on_") for found in classes for name in _functions(found)}
        if f"websocket{suffix}" in functions:
            return [WEBSOCKET]
        return [verb for verb in VERBS if f"{verb.lower()}{suffix}" in functions] or ["GET"]

    def _answered(self, call: Call) -> list[str]:
        """Return the methods that a view answers: what its decorators allow, or its class has; else all."""
        handlers = [node for node in self._handlers(call) if node is not None]
        decorators = [node for handler in handlers for node in handler.decorator_list]
        names = {
            called(node) or text(node) or getattr(node, "id", getattr(node, "attr", ""))
            for node in decorators
        }
        if "as_view" in {called(node) for node in call.arguments} or not names.isdisjoint(ALLOWING):
            allowed = [
                word for node in decorators if isinstance(node, ast.Call) for word in _texts(*node.args[:1])
            ]
            return self._methods(call, *allowed, *(["POST"] if "require_POST" in names else []))
        return [ANY]

    def _handlers(self, call: Call) -> Iterator[Definition | None]:
        """Yield the functions and classes that a route leads to, as far as they are known."""
        yield call.decorated
        for argument in call.arguments:
            node = argument.func if isinstance(argument, ast.Call) else argument
            node = node.value if isinstance(node, ast.Attribute) and node.attr == "as_view" else node
            name = call.module.dotted(node)
            yield self.definitions.get(name)
            for module, made in self.made.get(name, ()):
                yield self.definitions.get(module.dotted(made.func))

    def _registers(self, call: Call) -> bool:
        """Whether it registers a set of views, which is a class with actions."""
        return len(call.node.args) > 1 and any(called(made).endswith("Router") for made in self._owners(call))

    def _owners(self, call: Call) -> list[ast.Call]:
        return [made for name in call.within[:1] for _, made in self.made.get(name, ())]

    def _actions(self, call: Call, place: str) -> Iterator[tuple[str, str]]:
        """Yield the routes of a set of views that a router registers under a prefix."""
        bare = any(
            isinstance(keyword.value, ast.Constant) and keyword.arg == "trailing_slash"
            for made in self._owners(call)
            for keyword in made.keywords
        )
        actions = set(ACTIONS)
        if isinstance(views := self.definitions.get(call.module.dotted(call.node.args[1])), ast.ClassDef):
            bases = [call.module.dotted(base).rpartition(".")[2] for base in views.bases]
            actions = {action for base in bases for action in VIEWS.get(base, ())} | _functions(views)
        for action, (rest, method) in ACTIONS.items():
            if action in actions:
                path = f"/{place.strip('/')}/{rest}".replace("//", "/")
                yield method, path.rstrip("/") if bare else path


def _calls(
    module: Module, node: ast.AST, within: tuple[str, ...], decorated: Definition | None = None
) -> Iterator[Call]:
    """Yield the calls in a part of a module."""
    names: list[str] = []
    if isinstance(node, ast.Call):
        names = [_owner(node), decorated.name if decorated else ""]
        around = (*(f"{module.name}.{name}" for name in names if name), *within)
        yield Call(node, module, around, decorated)
        inner = within
    elif isinstance(node, ast.List):
        inner = (_place(module, node), *within)
    else:
        names = [node.name] if isinstance(node, Definition) else _bound(node)
        inner = (*(f"{module.name}.{name}" for name in names), *within)
    for child in ast.iter_child_nodes(node):
        if isinstance(node, Definition) and child in node.decorator_list:
            yield from _calls(module, child, within, node)
        else:
            yield from _calls(module, child, inner)


def _bound(node: ast.AST) -> list[str]:
    return assigned(node) if isinstance(node, ast.Assign | ast.AnnAssign) else []


def _place(module: Module, node: ast.List) -> str:
    """Return what stands for the name of a list that has none."""
    return f"{module.name}:{node.lineno}:{node.col_offset}"


def _owner(node: ast.Call) -> str:
    """Return the name of the object that has the method or the part called: `app` in `app.router.add_get`."""
    owner = node.func.value if isinstance(node.func, ast.Attribute) else None
    while isinstance(owner, ast.Attribute):
        owner = owner.value
    return owner.id if isinstance(owner, ast.Name) else ""


def _texts(node: ast.AST | None = None) -> list[str]:
    return [word for part in getattr(node, "elts", [node]) if (word := text(part))]


def _functions(node: ast.ClassDef) -> set[str]:
    return {part.name for part in node.body if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)}


def _plain(place: str, *, expression: bool) -> str:
    """Return the path of a place that has no slash in front, and may be a regular expression."""
    if expression:
        place = GROUP.sub(r"<\1>", place.removeprefix("^").removesuffix("$")).replace("\\", "")
    return f"/{place}"
