"""Finds the apps that the modules of a repository make, from their syntax trees. Pure."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

Makers = Mapping[str, list[tuple[str, str]]]
"""The ends of the names of calls that make an app, with the protocols that it speaks and their packages."""
PLACES = ("wsgi", "asgi", "app", "main", "server", "application", "__init__")
"""Modules that usually contain the app, best first."""
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
                roots = [alias.name.split(".")[0] for alias in node.names if not alias.asname]
                aliases |= dict(zip(roots, roots, strict=True))
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
        return text(node)


def reached(start: str, modules: Mapping[str, Module]) -> list[Module]:
    """Return a module and all that it imports, or names in a string as settings do, recursively."""
    visited: dict[str, Module] = {}
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name in modules and name not in visited:
            module = visited[name] = modules[name]
            texts = [text(node) for node in ast.walk(module.tree)]
            for word in filter(None, [*module.aliases.values(), *texts]):
                parts = re.split(r"[.:]", word)
                waiting += [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
    return list(visited.values())


def apps(modules: Iterable[Module], makers: Makers) -> Iterator[Found]:
    """Yield the apps in the modules, and the functions that return one."""
    factories: dict[str, tuple[str, str]] = {}
    modules = list(modules)
    for module in modules:
        for node in _statements(module.tree.body):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                if kind := _returned(module, node, makers):
                    factories[f"{module.name}.{node.name}"] = kind
                    yield _found(module, node.name, kind, node)
            elif kind := _kind(module, value_of(node), makers):
                yield from (_found(module, name, kind, node) for name in assigned(node))
    for module in modules:
        for node in _statements(module.tree.body):
            value = value_of(node)
            if isinstance(value, ast.Call) and (kind := factories.get(module.dotted(value.func))):
                yield from (_found(module, name, kind, node) for name in assigned(node))


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


def _found(module: Module, name: str, kind: tuple[str, str], node: ast.stmt) -> Found:
    factory = {ast.FunctionDef: "def", ast.AsyncFunctionDef: "async"}.get(type(node), "")
    runs = any(isinstance(part, ast.Expr) and called(part.value) in RUNS for part in module.tree.body)
    needs = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _needs(node.args)
    return Found(module.name, name, *kind, module.path, node.lineno, factory, runs, needs)


def _kind(module: Module, node: ast.AST | None, makers: Makers) -> tuple[str, str] | None:
    """Return the kind of app that an expression makes, or None; of several names, the longest counts."""
    if not isinstance(node, ast.Call):
        return None
    name, imported = f".{module.dotted(node.func)}", {word.split(".")[0] for word in module.aliases.values()}
    calls = (call for call in sorted(makers, key=len, reverse=True) if name.endswith(f".{call}"))
    return next((kind for call in calls for kind in makers[call] if kind[1] in imported), None)


def _returned(module: Module, function: ast.AST, makers: Makers) -> tuple[str, str] | None:
    """Return the kind of app that a function returns, or None."""
    made = {
        name: kind
        for node in ast.walk(function)
        if isinstance(node, ast.stmt) and (kind := _kind(module, value_of(node), makers))
        for name in assigned(node)
    }
    for node in ast.walk(function):
        if isinstance(node, ast.Return):
            name = node.value.id if isinstance(node.value, ast.Name) else ""
            if kind := _kind(module, node.value, makers) or made.get(name):
                return kind
    return None


def text(node: ast.AST | None) -> str:
    """Return the text of a literal; empty if it is something else."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def value_of(node: ast.stmt) -> ast.expr | None:
    """Return what an assignment assigns, or None."""
    return node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None


def assigned(node: ast.stmt) -> list[str]:
    """Return the names that an assignment binds."""
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _needs(arguments: ast.arguments) -> bool:
    return len(arguments.args) > len(arguments.defaults) or None in arguments.kw_defaults


def called(value: ast.AST | None) -> str:
    """Return the last part of the name of what is called; empty if it is no call."""
    match value:
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)):
            return name
    return ""
