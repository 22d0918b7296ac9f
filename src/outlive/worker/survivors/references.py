"""Finds what an object refers to, and names each reference as a Python programmer would.

No code of the app runs: attributes are read from where they are stored, never through the object's own
methods.

A name is `kind:text`, such as `attribute:__traceback__`, `local:error`, `key:'wsgi.errors'`, `index:3`.
Apart from the references that the collector sees, there are shortcuts past objects that a programmer does not
see: from an instance past its dict to its attributes, from a function past tuple and cell to its closure
variables, from an exception to the frames of its traceback, from a coroutine past its frame to its locals.
"""

from __future__ import annotations

import collections
import contextvars
import functools
import gc
import sys
import types
import weakref
from _thread import _local

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    References = list[tuple[str, Any]]
    Reader = Callable[[Any, Any], References]

LONGEST_KEY = 40
"""Characters of a dict key that its name keeps."""
MOST_ITEMS = 20000
"""Most items of one container that get a name; the others are found, but without one."""
MOST_FRAMES = 100
"""Most frames of one traceback that are followed."""

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
FUTURE_FIELDS = ("_exception", "_result", "_loop")
TASK_FIELDS = ("_coro", "_fut_waiter")
GREENLET_FIELDS = (
    "parent",
    "gr_context",
    "run",
    "args",
    "kwargs",
    "value",
    "spawning_stack",
    "spawn_tree_locals",
)
OPTIMIZED = 1  # CO_OPTIMIZED: a function, whose locals are in no dict
HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: a class statement made it, or a newer extension
GETSET = types.GetSetDescriptorType


class Names:
    """Names references. It caches what it learns about types, so drop it before you collect.

    `objects` is the module of that name. `made` collects the ids of dicts that only exist because we looked:
    up to Python 3.12 a frame keeps a dict of its locals once it has been asked for them.
    """

    def __init__(self, objects: types.ModuleType, made: set[int]) -> None:
        self.objects = objects
        self.made = made
        self.plans: dict[type, list[tuple[Any, Reader]]] = {}
        asyncio = sys.modules.get("_asyncio")  # never imported for an app that does not use it
        self.future = asyncio.Future if asyncio else ()
        self.task = asyncio.Task if asyncio else ()
        self.greenlet = sys.modules["greenlet"].greenlet if "greenlet" in sys.modules else ()

    def referents(self, obj: object) -> list[Any]:
        """Return the referents of an object that the collector sees; of a module only its namespace.

        In Python 3.12, the module _asyncio refers to dead objects in its free list, and touching them
        corrupts it. Into greenlets that have not ended, the collector does not see: their stacks are copied.
        """
        if issubclass(type(obj), types.ModuleType):
            return [self.objects.namespace_of(obj)]
        if self.greenlet and issubclass(type(obj), self.greenlet) and not gc.is_tracked(obj):
            return [target for base, read in self.plan(type(obj)) for _, target in read(base, obj)]
        return gc.get_referents(obj)

    def references(self, obj: object) -> References:
        """Return a list of (name, referent), shortcuts first; a referent's first name is its best."""
        kind = type(obj)
        references: References = []
        for base, read in self.plan(kind):
            references.extend(read(base, obj))
        self.note_locals(obj)
        seen = {id(target) for _, target in references}
        rest = "cached:" if kind is functools._lru_cache_wrapper else "internal:"
        for target in self.referents(obj):
            if id(target) not in seen:
                if kind is types.FrameType and type(target) is types.FrameType:
                    references.append(("attribute:f_back", target))
                elif target is kind:
                    references.append(("attribute:__class__", target))
                else:
                    references.append((rest, target))
        if kind.__flags__ & HEAP_TYPE:  # Python 3.8 hides this reference from the collector
            references.append(("attribute:__class__", kind))
        return references

    def note_locals(self, obj: object) -> None:
        """Record the dict of locals that a frame, or the frame of a generator or coroutine, now has."""
        fields = [field for base, field in self.objects.FRAME_OF if type(obj) is base]
        frame = getattr(obj, fields[0]) if fields else obj
        if type(frame) is types.FrameType and frame.f_code.co_flags & OPTIMIZED:
            namespace = frame.f_locals
            if type(namespace) is dict:  # and not a proxy, which does not outlive this function
                self.made.add(id(namespace))

    def plan(self, kind: type) -> list[tuple[Any, Reader]]:
        """Return the (argument, reader) pairs that fit a type; a reader takes the argument and an object."""
        plan = self.plans.get(kind)
        if plan is None:
            plan = self.plans[kind] = list(self.readers(kind))
        return plan

    def readers(self, kind: type) -> Iterator[tuple[Any, Reader]]:
        """Yield (argument, reader) for each kind of reference that objects of a type can have."""
        yield from ((self.objects, read) for base, read in NAMESPACES if issubclass(kind, base))
        yield from ((base, read) for base, read in READERS if issubclass(kind, base))
        yield from ((field, _suspended) for base, field in self.objects.FRAME_OF if issubclass(kind, base))
        for base, names in FIELDS:
            if issubclass(kind, base):
                yield self.stored(base, names), _members
        if self.future and issubclass(kind, self.future):
            yield self.stored(self.future, FUTURE_FIELDS), _members
            yield self.stored(self.future, ("_callbacks",)), _callbacks
        if self.task and issubclass(kind, self.task):
            yield self.stored(self.task, TASK_FIELDS), _members
        if self.greenlet and issubclass(kind, self.greenlet):
            own = [field for base in self.objects.mro(kind) for field in self.stored(base, GREENLET_FIELDS)]
            yield own, _members
            yield self, _greenlet
        if issubclass(kind, types.MethodType):
            yield self, _thread
        if issubclass(kind, (type, types.ModuleType)):
            return
        mro, namespace = self.objects.mro, self.objects.namespace
        stored = [(name, value) for base in mro(kind) for name, value in namespace(base).items()]
        attributes = [value for name, value in stored if name == "__dict__" and type(value) is GETSET]
        members = [(name, value) for name, value in stored if type(value) is types.MemberDescriptorType]
        if attributes:
            yield attributes[0], _attributes
        if members:
            yield members, _members

    def stored(self, base: type, names: Iterable[str]) -> list[tuple[str, Any]]:
        """Return (name, descriptor) of those of the attributes that the type `base` stores in its objects."""
        namespace = self.objects.namespace(base)
        return [(name, namespace[name]) for name in names if name in namespace]


def _attributes(reader: Any, obj: object) -> References:
    namespace = reader.__get__(obj)
    if type(namespace) is not dict:
        return []
    references = [("attribute:" + name, value) for name, value in _items(namespace) if type(name) is str]
    references.append(("attribute:__dict__", namespace))
    return references


def _members(members: Iterable[tuple[str, Any]], obj: object) -> References:
    references = []
    for name, reader in members:
        try:
            value = reader.__get__(obj)
        except (AttributeError, ValueError):  # a slot that is not set, an empty cell
            continue
        references.append(("attribute:" + name, value))
    return references


def _items(mapping: Any) -> list[tuple[Any, Any]]:
    try:
        return list(dict.items(mapping))[:MOST_ITEMS]
    except RuntimeError:  # it changed meanwhile
        return []


def _key(objects: Any, key: object) -> str:
    if type(key) is str:
        return f"key:{key[:LONGEST_KEY]!r}"
    if type(key) in (int, bytes, bool, float):
        return f"key:{key!r}"[:LONGEST_KEY]
    return f"key:<{objects.type_name(type(key))}>"


def _dict(objects: Any, obj: dict[Any, Any]) -> References:
    items = _items(obj)
    if type(obj) is dict and objects.is_module(obj):
        return [(f"global:{key}", value) for key, value in items]
    return [(_key(objects, key), value) for key, value in items] + [("keyed:", key) for key, _ in items]


def _sequence(base: Any, obj: object) -> References:
    return [(f"index:{i}", value) for i, value in zip(range(MOST_ITEMS), base.__iter__(obj))]


def _set(base: Any, obj: object) -> References:
    return [("member:", value) for _, value in zip(range(MOST_ITEMS), base.__iter__(obj))]


def _module(objects: Any, obj: types.ModuleType) -> References:
    return [(f"global:{name}", value) for name, value in _items(objects.namespace_of(obj))]


def _class(_: object, obj: type) -> References:
    own = type.__dict__
    references = [("attribute:" + name, value) for name, value in list(own["__dict__"].__get__(obj).items())]
    references += [("attribute:" + name, own[name].__get__(obj)) for name in ("__bases__", "__mro__")]
    return references


def _function(_: object, obj: types.FunctionType) -> References:
    code = obj.__code__
    references = []
    for name, cell in zip(code.co_freevars, obj.__closure__ or ()):
        references.append(("closure:" + name, _content(cell)))
    arguments = code.co_varnames[: code.co_argcount]
    defaults = obj.__defaults__ or ()
    references.extend(
        zip(["default:" + name for name in arguments[len(arguments) - len(defaults) :]], defaults)
    )
    references.extend(("default:" + name, value) for name, value in (obj.__kwdefaults__ or {}).items())
    own = ("__closure__", "__defaults__", "__kwdefaults__", "__code__", "__globals__")
    references.extend(("attribute:" + name, getattr(obj, name)) for name in own)
    return references


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


def _suspended(field: str, obj: object) -> References:
    frame = getattr(obj, field)
    return [*_locals(frame), ("attribute:" + field, frame)] if frame is not None else []


def _greenlet(names: Names, obj: Any) -> References:
    return _stack(names, obj.gr_frame)  # None of one that runs now, or has ended


def _thread(names: Names, obj: types.MethodType) -> References:
    """Return the locals of a running thread, which this method runs."""
    if names.objects.describe(obj)[0] != "thread":
        return []
    ident = names.objects.namespace_of(obj.__self__).get("_ident")
    return _stack(names, sys._current_frames().get(ident) if type(ident) is int else None)


def _stack(names: Names, frame: types.FrameType | None) -> References:
    references: References = []
    while frame is not None and len(references) < MOST_ITEMS:
        names.made.add(id(frame))
        names.note_locals(frame)
        references += _locals(frame)
        frame = frame.f_back
    return references


def _exception(_: object, obj: BaseException) -> References:
    references: References = []
    step = obj.__traceback__
    while step is not None and len(references) < MOST_FRAMES:
        references.append(("attribute:__traceback__", step.tb_frame))
        step = step.tb_next
    args = BaseException.__dict__["args"].__get__(obj)
    references.extend((f"argument:{i}", value) for i, value in enumerate(args))
    references.append(("attribute:args", args))
    return references


def _partial(_: object, obj: functools.partial[Any]) -> References:
    references = [(f"argument:{i}", value) for i, value in enumerate(obj.args)]
    return references + [(f"argument:{name}", value) for name, value in obj.keywords.items()]


def _callbacks(members: Iterable[tuple[str, Any]], obj: object) -> References:
    references: References = []
    for _, callbacks in _members(members, obj):
        for callback in callbacks or ():
            if type(callback) is tuple and len(callback) == 2:
                references += [("callback:", callback[0]), ("context:", callback[1])]
    return references


def _weakref(_: object, obj: weakref.ref[Any]) -> References:
    return [("callback:", obj.__callback__)]


def _context(_: object, obj: contextvars.Context) -> References:
    return [("context:" + variable.name, value) for variable, value in obj.items()]


def _thread_local(_: object, obj: object) -> References:
    references: References = []
    for table in gc.get_referents(obj):
        if type(table) is dict:
            for namespace in dict.values(table):
                if type(namespace) is dict:
                    references += [(f"attribute:{name}", value) for name, value in _items(namespace)]
    return references


NAMESPACES: tuple[tuple[type, Reader], ...] = ((dict, _dict), (types.ModuleType, _module))
READERS: tuple[tuple[type, Reader], ...] = (
    (list, _sequence),
    (tuple, _sequence),
    (collections.deque, _sequence),
    (set, _set),
    (frozenset, _set),
    (type, _class),
    (types.FunctionType, _function),
    (types.FrameType, _frame),
    (BaseException, _exception),
    (functools.partial, _partial),
    (weakref.ref, _weakref),
    (contextvars.Context, _context),
    (_local, _thread_local),
)
