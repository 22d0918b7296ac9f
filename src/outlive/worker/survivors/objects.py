"""Describes an object: its kind, its type's name, its own name and its place in the code.

No code of the app runs: attributes are read from where they are stored, never through the object's own
methods.
"""

from __future__ import annotations

import collections
import contextvars
import functools
import re
import sys
import types
import weakref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

FRAME_OF: tuple[tuple[type, str], ...] = (
    (types.GeneratorType, "gi_frame"),
    (types.CoroutineType, "cr_frame"),
    (types.AsyncGeneratorType, "ag_frame"),
)
NAMED: dict[type, str] = {
    weakref.ref: "weakref.ref",
    contextvars.Context: "contextvars.Context",
    contextvars.ContextVar: "contextvars.ContextVar",
    contextvars.Token: "contextvars.Token",
}
"""Names of types whose names differ between versions of Python."""
CONTAINERS = (list, tuple, dict, set, frozenset, collections.deque, types.CellType)
LIBRARY = re.compile(r".*/(?:site|dist)-packages/|.*/lib/python3\.\d+/|.*/(?=[^/]+$)")
STORED = (types.GetSetDescriptorType, types.MemberDescriptorType)
mro: Callable[[type], tuple[type, ...]] = type.__dict__["__mro__"].__get__
namespace: Callable[[type], Mapping[str, Any]] = type.__dict__["__dict__"].__get__


def namespace_of(obj: object) -> Mapping[str, Any]:
    """Return the dict of a module or of another object; an empty one if the object has none."""
    for base in mro(type(obj)):
        reader: Any = namespace(base).get("__dict__")
        if type(reader) in STORED:
            return reader.__get__(obj) or {}
    return {}


def type_name(kind: type) -> str:
    """Return the dotted name of a type, without `builtins` and without the underscore of `_asyncio`."""
    if kind in NAMED:
        return NAMED[kind]
    module = type.__dict__["__module__"].__get__(kind)
    name: str = type.__dict__["__qualname__"].__get__(kind)
    if not isinstance(module, str) or module == "builtins":
        return name
    return "{}.{}".format("asyncio" if module == "_asyncio" else module, name)


def place(code: types.CodeType, line: int | None = None) -> str:
    """Return the file of code, relative to the library's folder, and the line (by default the first)."""
    return f"{short(code.co_filename)}:{line or code.co_firstlineno}"


def short(name: str) -> str:
    """Return the name of a file relative to the library's folder."""
    prefix = LIBRARY.match(name)
    return name[prefix.end() :] if prefix else name


def describe(obj: Any) -> tuple[str, str, str, str]:
    """Return (kind, type, name, place) of an object; name and place are empty if it has none."""
    kind = type(obj)
    if kind is types.FrameType:
        return "frame", "frame", _function_name(obj), place(obj.f_code, obj.f_lineno)
    if issubclass(kind, type):
        return "class", "type", type_name(obj), ""
    if kind is types.FunctionType:
        return "function", "function", _full_name(obj), place(obj.__code__)
    if kind is types.ModuleType:
        return "module", "module", str(namespace_of(obj).get("__name__")), ""
    if kind is dict and is_module(obj):
        return "module", "module", obj["__name__"], ""
    if kind is types.MethodType and type(obj.__func__) is types.FunctionType:
        threading = sys.modules.get("threading")  # never imported for an app that does not use it
        if threading and obj.__func__ is threading.Thread._bootstrap:
            return ("thread", type_name(type(obj.__self__)), *_started(obj.__self__))
        return "method", "method", _full_name(obj.__func__), place(obj.__func__.__code__)
    if kind is types.CodeType:
        return "code", "code", obj.co_name, place(obj)
    for base, field in FRAME_OF:
        if kind is base:
            frame = getattr(obj, field)
            where = place(frame.f_code, frame.f_lineno) if frame is not None else ""
            return base.__name__, base.__name__, obj.__qualname__, where
    sort, name = _sort(kind, obj)
    return sort, type_name(kind), name, ""


def _sort(kind: type, obj: Any) -> tuple[str, str]:
    """Return (kind, name) of an object that is not code."""
    asyncio = sys.modules.get("_asyncio")  # never imported for an app that does not use it
    if asyncio and issubclass(kind, asyncio.Task):
        return "task", getattr(obj._coro, "__qualname__", "")
    if issubclass(kind, BaseException):
        return "exception", ""
    if kind is functools._lru_cache_wrapper:
        wrapped = namespace_of(obj).get("__wrapped__")
        return "cache", _full_name(wrapped) if type(wrapped) is types.FunctionType else ""
    if kind is contextvars.ContextVar:
        return "instance", obj.name
    return "container" if kind in CONTAINERS else "instance", ""


def _started(thread: Any) -> tuple[str, str]:
    """Return the name and place of what a thread runs: its target, or the `run` of its class."""
    target: Any = namespace_of(thread).get("_target")
    if target is None:
        target = next(namespace(base)["run"] for base in mro(type(thread)) if "run" in namespace(base))
    if type(target) is functools.partial:
        target = target.func
    if type(target) is types.MethodType:
        target = target.__func__
    if type(target) is types.FunctionType:
        return _full_name(target), place(target.__code__)
    if type(target) is types.BuiltinMethodType:
        module = type(target.__self__) is types.ModuleType
        owner = namespace_of(target.__self__)["__name__"] if module else type_name(type(target.__self__))
        return f"{owner}.{target.__name__}", ""
    return type_name(type(target)), ""


def _full_name(function: types.FunctionType) -> str:
    """Return a function's module and qualified name."""
    return f"{function.__module__}.{function.__qualname__}"


def _function_name(frame: types.FrameType) -> str:
    """Return the module and name of a frame's function, qualified if Python or `self` tells its class."""
    code = frame.f_code
    name = getattr(code, "co_qualname", None)
    if name is None:
        name = code.co_name
        if code.co_argcount and code.co_varnames[0] in ("self", "cls"):
            owner: Any = frame.f_locals.get(code.co_varnames[0])
            for base in mro(owner if issubclass(type(owner), type) else type(owner)):
                own: Any = namespace(base).get(name)
                own = own.__func__ if type(own) in (staticmethod, classmethod) else own
                if type(own) is types.FunctionType and own.__code__ is code:
                    name = "{}.{}".format(type.__dict__["__qualname__"].__get__(base), name)
    return "{}.{}".format(frame.f_globals.get("__name__", "?"), name)


def is_module(namespace: dict[Any, Any]) -> bool:
    """Return whether a dict is the namespace of a module, even of one that is not in `sys.modules`."""
    name = namespace.get("__name__")
    if type(name) is not str:
        return False
    module = sys.modules.get(name)
    if issubclass(type(module), types.ModuleType) and namespace_of(module) is namespace:
        return True
    return "__spec__" in namespace and "__builtins__" in namespace


def is_root(obj: Any) -> bool:
    """Return whether an object is a module or a class, whose existence needs no explanation."""
    kind = type(obj)
    return is_module(obj) if kind is dict else issubclass(kind, (types.ModuleType, type))
