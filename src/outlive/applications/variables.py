"""Finds the environment variables that the code of a repository cannot do without. Pure."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from outlive.applications.modules import Module

READERS = ("os.getenv", "os.environ.get", "decouple.config")
"""Functions that read a variable; with one argument they have no default."""
MAKERS = ("environ.Env", "environs.Env", "decouple.AutoConfig")
"""Classes whose objects are called, or have methods that are called, to read a variable."""
SETTINGS = "pydantic_settings.BaseSettings"
"""The class whose fields are variables."""


def needed(modules: Iterable[Module]) -> list[str]:
    """Return the variables that modules read without a default, sorted; not those that they set."""
    read: set[str] = set()
    given: set[str] = set()
    for module in modules:
        read.update(_read(module))
        given.update(_given(module))
    return sorted(read - given)


def _read(module: Module) -> Iterator[str]:
    made = {
        target.id
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
        if module.dotted(node.value.func) in MAKERS
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(module.tree):
        match node:
            case ast.Subscript(value=owner, slice=ast.Constant(value=str(name)), ctx=ast.Load()):
                if module.dotted(owner) == "os.environ":
                    yield name
            case ast.Call(func=function, args=[ast.Constant(value=str(name))], keywords=keywords):
                if any(keyword.arg == "default" for keyword in keywords):
                    continue
                owner = function.value if isinstance(function, ast.Attribute) else function
                called = isinstance(owner, ast.Name) and owner.id in made
                if called or module.dotted(function) in READERS:
                    yield name
            case ast.ClassDef(bases=bases, body=body) if SETTINGS in map(module.dotted, bases):
                prefix = _prefix(node)
                for field in body:
                    match field:
                        case ast.AnnAssign(target=ast.Name(id=name), value=None):
                            yield f"{prefix}{name}".upper()


def _prefix(settings: ast.ClassDef) -> str:
    """Return the prefix of the variables of a class of settings."""
    for node in ast.walk(settings):
        match node:
            case ast.keyword(arg="env_prefix", value=ast.Constant(value=str(prefix))):
                return prefix
    return ""


def _given(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        match node:
            case ast.Subscript(value=owner, slice=ast.Constant(value=str(name)), ctx=ast.Store()):
                if module.dotted(owner) == "os.environ":
                    yield name
            case ast.Call(func=function, args=[ast.Constant(value=str(name)), _]):
                if module.dotted(function) == "os.environ.setdefault":
                    yield name
