"""What an object refers to, each reference named as a Python programmer knows it.

Runs in the server worker: standard library only, Python 3.8 and newer, imports nothing of ours. No code of
the app runs: attributes are read from where they are stored, never through the object's own methods.

A name is `kind:text`, such as `attribute:__traceback__`, `local:error`, `key:'wsgi.errors'`, `index:3`.
Beside the references that the collector sees there are shortcuts over what a programmer does not see: from an
instance to its attributes over its dict, from a function to its closure variables over tuple and cell, from
an exception to the frames of its traceback, from a coroutine to its locals over its frame.
"""

from __future__ import annotations

import collections
import contextvars
import functools
import gc
import re
import sys
import types
import weakref
from _thread import _local

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

    References = list[tuple[str, Any]]
    Reader = Callable[[Any, Any], References]

LONGEST_KEY = 40
"""Characters of a dict key that are kept."""
MOST_ITEMS = 20000
"""Items of one container that are named; the other references are found but have no name."""
MOST_FRAMES = 100
"""Frames of one traceback that are followed."""

FIELDS: tuple[tuple[type, tuple[str, ...]], ...] = (
    (BaseException, ("__cause__", "__context__", "__traceback__")),
    (types.TracebackType, ("tb_frame", "tb_next")),
    (types.MethodType, ("__self__", "__func__")),
    (types.BuiltinMethodType, ("__self__",)),
    (types.CellType, ("cell_contents",)),
    (types.GeneratorType, ("gi_yieldfrom",)),
    (types.CoroutineType, ("cr_await",)),
    (types.AsyncGeneratorType, ("ag_await",)),
    (staticmethod, ("__func__",)),
    (classmethod, ("__func__",)),
    (collections.defaultdict, ("default_factory",)),
    (contextvars.Token, ("var", "old_value")),
)
FRAME_OF: tuple[tuple[type, str], ...] = (
    (types.GeneratorType, "gi_frame"),
    (types.CoroutineType, "cr_frame"),
    (types.AsyncGeneratorType, "ag_frame"),
)
FUTURE_FIELDS = ("_exception", "_result", "_loop")
TASK_FIELDS = ("_coro", "_fut_waiter")
OPTIMIZED = 1  # CO_OPTIMIZED: a function, whose locals are in no dict
HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: a class statement made it, or a newer extension
NAMED: dict[type, str] = {
    weakref.ref: "weakref.ref",
    contextvars.Context: "contextvars.Context",
    contextvars.ContextVar: "contextvars.ContextVar",
    contextvars.Token: "contextvars.Token",
}
"""Types whose own names differ from Python to Python."""
CONTAINERS = (list, tuple, dict, set, frozenset, collections.deque, types.CellType)
LIBRARY = re.compile(r".*/(?:site|dist)-packages/|.*/lib/python3\.\d+/|.*/(?=[^/]+$)")
GETSET = types.GetSetDescriptorType
_mro: Callable[[type], tuple[type, ...]] = type.__dict__["__mro__"].__get__
_namespace: Callable[[type], Mapping[str, Any]] = type.__dict__["__dict__"].__get__


def type_name(kind: type) -> str:
    """Return the dotted name of a type, without `builtins` and the underscore of C accelerators."""
    if kind in NAMED:
        return NAMED[kind]
    module = type.__dict__["__module__"].__get__(kind)
    name: str = type.__dict__["__qualname__"].__get__(kind)
    if not isinstance(module, str) or module == "builtins":
        return name
    return "{}.{}".format("asyncio" if module == "_asyncio" else module, name)


def place(code: types.CodeType, line: int | None = None) -> str:
    """Return where code is: its file from the library's folder on, and the line."""
    return f"{short(code.co_filename)}:{line or code.co_firstlineno}"


def short(name: str) -> str:
    """Return the name of a file from the library's folder on."""
    found = LIBRARY.match(name)
    return name[found.end() :] if found else name


class Names:
    """Names references and objects; keeps what it found out about types, so drop it before you collect.

    `made` has the ids of dicts that came into being because of that: up to Python 3.12 a frame keeps a dict
    of its locals once it was asked for them.
    """

    def __init__(self, made: set[int]) -> None:
        self.made = made
        self.plans: dict[type, list[tuple[Any, Reader]]] = {}
        asyncio = sys.modules.get("_asyncio")  # an app without it is not made to import it
        self.future = asyncio.Future if asyncio else ()
        self.task = asyncio.Task if asyncio else ()

    # Objects

    def describe(self, obj: Any) -> tuple[str, str, str, str]:
        """Return kind, type, name and place of an object; name and place are empty where it has none."""
        kind = type(obj)
        if kind is types.FrameType:
            return "frame", "frame", self.function_name(obj), place(obj.f_code, obj.f_lineno)
        if issubclass(kind, type):
            return "class", "type", type_name(obj), ""
        if kind is types.FunctionType:
            return "function", "function", self.full_name(obj), place(obj.__code__)
        if kind is types.ModuleType:
            return "module", "module", str(_namespace_of(obj).get("__name__")), ""
        if kind is dict and self.is_module(obj):
            return "module", "module", obj["__name__"], ""
        if kind is types.MethodType and type(obj.__func__) is types.FunctionType:
            return "method", "method", self.full_name(obj.__func__), place(obj.__func__.__code__)
        if kind is types.CodeType:
            return "code", "code", obj.co_name, place(obj)
        for base, field in FRAME_OF:
            if kind is base:
                frame = getattr(obj, field)
                where = place(frame.f_code, frame.f_lineno) if frame is not None else ""
                return base.__name__, base.__name__, obj.__qualname__, where
        sort, name = self.sort(kind, obj)
        return sort, type_name(kind), name, ""

    def sort(self, kind: type, obj: Any) -> tuple[str, str]:
        """Return kind and name of an object that is no code."""
        if self.task and issubclass(kind, self.task):
            return "task", getattr(obj._coro, "__qualname__", "")
        if issubclass(kind, BaseException):
            return "exception", ""
        if kind is functools._lru_cache_wrapper:
            wrapped = _namespace_of(obj).get("__wrapped__")
            return "cache", self.full_name(wrapped) if type(wrapped) is types.FunctionType else ""
        if kind is contextvars.ContextVar:
            return "instance", obj.name
        return "container" if kind in CONTAINERS else "instance", ""

    @staticmethod
    def full_name(function: types.FunctionType) -> str:
        """Return module and qualified name of a function."""
        return f"{function.__module__}.{function.__qualname__}"

    def function_name(self, frame: types.FrameType) -> str:
        """Return module and name of a frame's function, qualified where Python or `self` tells."""
        code = frame.f_code
        name = getattr(code, "co_qualname", None)
        if name is None:
            name = code.co_name
            if code.co_argcount and code.co_varnames[0] in ("self", "cls"):
                owner: Any = frame.f_locals.get(code.co_varnames[0])
                for base in _mro(owner if issubclass(type(owner), type) else type(owner)):
                    own: Any = _namespace(base).get(name)
                    own = own.__func__ if type(own) in (staticmethod, classmethod) else own
                    if type(own) is types.FunctionType and own.__code__ is code:
                        name = "{}.{}".format(type.__dict__["__qualname__"].__get__(base), name)
        return "{}.{}".format(frame.f_globals.get("__name__", "?"), name)

    @staticmethod
    def is_module(namespace: dict[Any, Any]) -> bool:
        """Tell whether a dict is the namespace of a module, be it one that is not in `sys.modules`."""
        name = namespace.get("__name__")
        if type(name) is not str:
            return False
        module = sys.modules.get(name)
        if issubclass(type(module), types.ModuleType) and _namespace_of(module) is namespace:
            return True
        return "__spec__" in namespace and "__builtins__" in namespace

    def is_root(self, obj: Any) -> bool:
        """Tell whether an object needs no explanation of why it is there: a module, a class."""
        kind = type(obj)
        return self.is_module(obj) if kind is dict else issubclass(kind, (types.ModuleType, type))

    # References

    @staticmethod
    def referents(obj: object) -> list[Any]:
        """Return what the collector sees that an object refers to; of a module only its namespace.

        Python 3.12's _asyncio shows dead objects that wait to be used again, and touching them corrupts it.
        """
        if issubclass(type(obj), types.ModuleType):
            return [_namespace_of(obj)]
        return gc.get_referents(obj)

    def references(self, obj: object) -> References:
        """Return a list of (name, referent), the best name of a referent first, shortcuts before the rest."""
        kind = type(obj)
        found: References = []
        for base, read in self.plan(kind):
            found.extend(read(base, obj))
        self.note_locals(obj)
        seen = {id(target) for _, target in found}
        rest = "cached:" if kind is functools._lru_cache_wrapper else "internal:"
        for target in self.referents(obj):
            if id(target) not in seen:
                if kind is types.FrameType and type(target) is types.FrameType:
                    found.append(("attribute:f_back", target))
                elif target is kind:
                    found.append(("attribute:__class__", target))
                else:
                    found.append((rest, target))
        if kind.__flags__ & HEAP_TYPE:  # Python 3.8 does not tell the collector of this one
            found.append(("attribute:__class__", kind))
        return found

    def note_locals(self, obj: object) -> None:
        """Note the dict of locals that a frame, or that of a generator or coroutine, has by now."""
        fields = [field for base, field in FRAME_OF if type(obj) is base]
        frame = getattr(obj, fields[0]) if fields else obj
        if type(frame) is types.FrameType and frame.f_code.co_flags & OPTIMIZED:
            found = frame.f_locals
            if type(found) is dict:  # and no proxy that is gone with this function
                self.made.add(id(found))

    def plan(self, kind: type) -> list[tuple[Any, Reader]]:
        """Return the readers that fit a type, each with what it takes beside the object."""
        plan = self.plans.get(kind)
        if plan is None:
            plan = self.plans[kind] = list(self.readers(kind))
        return plan

    def readers(self, kind: type) -> Iterator[tuple[Any, Reader]]:
        """Yield (argument, reader) for each kind of reference that objects of this type can have."""
        for base, read in READERS:
            if issubclass(kind, base):
                yield base, read
        for base, names in FIELDS:
            if issubclass(kind, base):
                yield _readers(base, names), _members
        if self.future and issubclass(kind, self.future):
            yield _readers(self.future, FUTURE_FIELDS), _members
            yield self.future, _callbacks
        if self.task and issubclass(kind, self.task):
            yield _readers(self.task, TASK_FIELDS), _members
        if issubclass(kind, (type, types.ModuleType)):
            return
        stored = [(name, value) for base in _mro(kind) for name, value in _namespace(base).items()]
        attributes = [one for name, one in stored if name == "__dict__" and type(one) is GETSET]
        members = [(name, one) for name, one in stored if type(one) is types.MemberDescriptorType]
        if attributes:
            yield attributes[0], _attributes
        if members:
            yield members, _members


def _namespace_of(obj: object) -> Mapping[str, Any]:
    """Return the dict of a module, or of another object that has one; an empty one where it has none."""
    for base in _mro(type(obj)):
        reader: Any = _namespace(base).get("__dict__")
        if type(reader) in (GETSET, types.MemberDescriptorType):
            return reader.__get__(obj) or {}
    return {}


def _attributes(reader: Any, obj: object) -> References:
    namespace = reader.__get__(obj)
    if type(namespace) is not dict:
        return []
    found = [("attribute:" + name, value) for name, value in _items(namespace) if type(name) is str]
    found.append(("attribute:__dict__", namespace))
    return found


def _members(members: Iterable[tuple[str, Any]], obj: object) -> References:
    found = []
    for name, reader in members:
        try:
            value = reader.__get__(obj)
        except (AttributeError, ValueError):  # a slot that is not set, an empty cell
            continue
        found.append(("attribute:" + name, value))
    return found


def _readers(base: type, names: Iterable[str]) -> list[tuple[str, Any]]:
    namespace = _namespace(base)
    return [(name, namespace[name]) for name in names if name in namespace]


def _items(mapping: Any) -> list[tuple[Any, Any]]:
    try:
        return list(dict.items(mapping))[:MOST_ITEMS]
    except RuntimeError:  # it changed meanwhile
        return []


def _key(key: object) -> str:
    if type(key) is str:
        return f"key:{key[:LONGEST_KEY]!r}"
    if type(key) in (int, bytes, bool, float):
        return f"key:{key!r}"[:LONGEST_KEY]
    return f"key:<{type_name(type(key))}>"


def _dict(_: object, obj: dict[Any, Any]) -> References:
    items = _items(obj)
    if type(obj) is dict and Names.is_module(obj):
        return [(f"global:{key}", value) for key, value in items]
    return [(_key(key), value) for key, value in items] + [("keyed:", key) for key, _ in items]


def _sequence(base: Any, obj: object) -> References:
    return [(f"index:{i}", value) for i, value in zip(range(MOST_ITEMS), base.__iter__(obj))]


def _set(base: Any, obj: object) -> References:
    return [("member:", value) for _, value in zip(range(MOST_ITEMS), base.__iter__(obj))]


def _module(_: object, obj: types.ModuleType) -> References:
    return [(f"global:{name}", value) for name, value in _items(_namespace_of(obj))]


def _class(_: object, obj: type) -> References:
    found = [("attribute:" + name, value) for name, value in list(_namespace(obj).items())]
    found.append(("attribute:__bases__", type.__dict__["__bases__"].__get__(obj)))
    found.append(("attribute:__mro__", _mro(obj)))
    return found


def _function(_: object, obj: types.FunctionType) -> References:
    code = obj.__code__
    found = []
    for name, cell in zip(code.co_freevars, obj.__closure__ or ()):
        found.append(("closure:" + name, _content(cell)))
    arguments = code.co_varnames[: code.co_argcount]
    defaults = obj.__defaults__ or ()
    found.extend(zip(["default:" + name for name in arguments[len(arguments) - len(defaults) :]], defaults))
    found.extend(("default:" + name, value) for name, value in (obj.__kwdefaults__ or {}).items())
    own = ("__closure__", "__defaults__", "__kwdefaults__", "__code__", "__globals__")
    found.extend(("attribute:" + name, getattr(obj, name)) for name in own)
    return found


def _content(cell: types.CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # an empty cell
        return None


def _locals(frame: types.FrameType) -> References:
    if frame.f_code.co_name == "<module>":
        return []
    try:
        return [("local:" + name, value) for name, value in list(frame.f_locals.items())]
    except RuntimeError:
        return []


def _frame(_: object, obj: types.FrameType) -> References:
    return _locals(obj)


def _suspended(base: type, obj: object) -> References:
    frame = getattr(obj, dict(FRAME_OF)[base])
    return [*_locals(frame), ("attribute:" + dict(FRAME_OF)[base], frame)] if frame is not None else []


def _exception(_: object, obj: BaseException) -> References:
    found: References = []
    step = obj.__traceback__
    while step is not None and len(found) < MOST_FRAMES:
        found.append(("attribute:__traceback__", step.tb_frame))
        step = step.tb_next
    args = BaseException.__dict__["args"].__get__(obj)
    found.extend((f"argument:{i}", value) for i, value in enumerate(args))
    found.append(("attribute:args", args))
    return found


def _partial(_: object, obj: functools.partial[Any]) -> References:
    found = [(f"argument:{i}", value) for i, value in enumerate(obj.args)]
    return found + [(f"argument:{name}", value) for name, value in obj.keywords.items()]


def _callbacks(base: type, obj: object) -> References:
    found: References = []
    for callback in _namespace(base)["_callbacks"].__get__(obj) or ():
        if isinstance(callback, tuple) and len(callback) == 2:
            found += [("callback:", callback[0]), ("context:", callback[1])]
    return found


def _weakref(_: object, obj: weakref.ref[Any]) -> References:
    return [("callback:", obj.__callback__)]


def _context(_: object, obj: contextvars.Context) -> References:
    return [("context:" + variable.name, value) for variable, value in obj.items()]


def _thread_local(_: object, obj: object) -> References:
    found: References = []
    for table in gc.get_referents(obj):
        if type(table) is dict:
            for namespace in dict.values(table):
                if type(namespace) is dict:
                    found += [(f"attribute:{name}", value) for name, value in _items(namespace)]
    return found


READERS: tuple[tuple[type, Reader], ...] = (
    (dict, _dict),
    (list, _sequence),
    (tuple, _sequence),
    (collections.deque, _sequence),
    (set, _set),
    (frozenset, _set),
    (types.ModuleType, _module),
    (type, _class),
    (types.FunctionType, _function),
    (types.FrameType, _frame),
    (types.GeneratorType, _suspended),
    (types.CoroutineType, _suspended),
    (types.AsyncGeneratorType, _suspended),
    (BaseException, _exception),
    (functools.partial, _partial),
    (weakref.ref, _weakref),
    (contextvars.Context, _context),
    (_local, _thread_local),
)
