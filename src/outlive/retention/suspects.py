"""Finds the link of a ring or path that is at fault, by rules that are tried in order.

Pure. A rule names the step that it suspects and says why; the first rule that fits a structure counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from outlive.retention.graph import FINALIZER, OLD, OPAQUE, ROOT, PathStep, Vertex

BACK = ("parent", "_parent", "owner", "_owner", "root", "_root")
LINKS = {
    "attribute": ".{}",
    "key": "[{}]",
    "index": "[{}]",
    "local": "local {}",
    "closure": "closure variable {}",
    "global": "global {}",
    "default": "default of {}",
    "argument": "argument {}",
    "context": "context variable {}",
    "callback": "callback",
    "cached": "cached call",
    "keyed": "key of the dict",
    "member": "member of the set",
    "": "",
}
"""How each sort of reference is written, with its name."""
HIDDEN = "inside (C)"
"""The same for a reference whose name C code does not tell."""
WEAK = ("weakref.ref", "KeyedRef", "WeakMethod")
TRANSPORTS = ("Transport", "TransportSocket")
PROTOCOLS = ("Protocol", "RequestHandler")


class Suspect(msgspec.Struct, frozen=True):
    """The step at fault, the rule that says so, and the reason in one sentence."""

    step: int
    rule: str
    reason: str


Find = Callable[[Sequence[PathStep]], tuple[int, str] | None]
"""Returns the number of the suspect step and the reason, or None if it does not fit."""


class Rule(NamedTuple):
    """A rule that suspects what it finds."""

    name: str
    find: Find


def title(vertex: Vertex) -> str:
    """Return an object as a programmer would name it: by its type, or a function or class by its own name."""
    match vertex.kind:
        case "frame":
            return f"frame of {vertex.name}"
        case "class" | "module" | "function" | "coroutine" | "generator" | "async_generator" | "code":
            return f"{vertex.kind.replace('_', ' ')} {vertex.name}"
        case "method":
            return f"bound method {vertex.name}"
        case "thread":
            return f"thread of {vertex.name}"
        case "task":
            return f"task of {vertex.name}" if vertex.name else vertex.type
        case "cache":
            return f"lru_cache of {vertex.name}" if vertex.name else "lru_cache"
    return f"{vertex.type} {vertex.name!r}" if vertex.name else vertex.type


def link(step: PathStep) -> str:
    """Return a reference as it is written in a program: `.name`, `['key']`, `local error`."""
    if step.reference == "context:":
        return "its context"
    return LINKS.get(step.sort, HIDDEN).format(step.name)


def _short(vertex: Vertex) -> str:
    return title(vertex).rpartition(" ")[2].rpartition(".")[2] if vertex.kind != "frame" else title(vertex)


def _place(step: PathStep) -> str:
    """Return where a step keeps what it refers to: `App.error`, a variable of a frame, or in C code."""
    written = link(step)
    if written.startswith((".", "[")):
        return f"`{_short(step.vertex)}{written}`"
    if not step.name:
        if written in ("", HIDDEN):
            return f"C code in the {title(step.vertex)}"
        return f"the {written.removeprefix('its ')} of {_short(step.vertex)}"
    return f"{written.removesuffix(step.name)}`{step.name}` of {_short(step.vertex)}"


def suspect(rules: Sequence[Rule], steps: Sequence[PathStep]) -> Suspect:
    """Return what is at fault: in a ring, or in a path from a root to an object that is kept."""
    for rule in rules:
        if fault := rule.find(steps):
            step, reason = fault
            if any(other.vertex.has(FINALIZER) for other in steps):
                reason += "; a `__del__` in the ring runs only when the collector does"
            return Suspect(step, rule.name, reason)
    raise AssertionError("the last rule fits everything")


def _link(name: str, fits: Callable[[PathStep], bool], reason: str) -> Rule:
    """Return a rule for rings that suspects the first step that fits.

    In `reason`, {0} is the name of its reference and {1} what a programmer calls the object.
    """

    def find(steps: Sequence[PathStep]) -> tuple[int, str] | None:
        for number, step in enumerate(steps):
            if fits(step):
                return number, reason.format(step.name, _short(step.vertex))
        return None

    return Rule(name, find)


def _traceback(steps: Sequence[PathStep]) -> tuple[int, str] | None:
    for number, step in enumerate(steps):
        if step.reference != "attribute:__traceback__":
            continue
        before = (number - 1) % len(steps)
        holder = steps[before]
        if holder.sort == "local":
            return before, (
                f"local `{holder.name}` binds the exception, whose traceback holds the frame; "
                f"`del {holder.name}` when done with it breaks the ring"
            )
        after = steps[(number + 1) % len(steps)]
        awaited = holder.vertex.kind == "task" or holder.vertex.type.endswith("Future")
        if awaited and holder.reference == "attribute:_exception" and after.sort == "local":
            return (number + 1) % len(steps), (
                f"local `{after.name}` holds what was awaited, which holds the exception, whose traceback "
                f"holds the frame; `del {after.name}` when done with it breaks the ring"
            )
        if holder.vertex.kind == "exception":
            return before, "an exception is chained to one whose traceback leads back to it"
        while steps[before].vertex.kind == "container":
            before = (before - 1) % len(steps)
        return before, (
            f"{_place(steps[before])} stores the exception, "
            "whose traceback holds a frame that leads back to it"
        )
    return None


def _transport(steps: Sequence[PathStep]) -> tuple[int, str] | None:
    for number, step in enumerate(steps):
        after = steps[(number + 1) % len(steps)].vertex
        if step.vertex.type.endswith(TRANSPORTS) and after.type.endswith(PROTOCOLS):
            return number, "the transport still refers to its protocol after the connection has ended"
    return None


def _self_closure(steps: Sequence[PathStep]) -> tuple[int, str] | None:
    if len(steps) == 1 and steps[0].sort == "closure":
        return 0, f"the nested function refers to itself: its own closure holds it as `{steps[0].name}`"
    return None


def _method(steps: Sequence[PathStep]) -> tuple[int, str] | None:
    for number, step in enumerate(steps):
        if step.reference == "attribute:__self__" and step.vertex.kind == "method":
            before = (number - 1) % len(steps)
            return before, f"{_place(steps[before])} keeps a bound method that leads back to it"
    return None


def _callback(steps: Sequence[PathStep]) -> tuple[int, str] | None:
    for number, step in enumerate(steps):
        if step.sort == "callback":
            what = "weak reference" if step.vertex.type.endswith(WEAK) else "future"
            return (
                number,
                f"the callback of the {what} leads back to it, and is only dropped once it is called",
            )
    return None


def _partial(steps: Sequence[PathStep]) -> tuple[int, str] | None:
    for number, step in enumerate(steps):
        if step.vertex.type == "functools.partial":
            return (number - 1) % len(steps), "it keeps a partial that binds the object itself"
    return None


def _suspended(kind: str) -> Rule:
    return _link(
        kind.replace("_", "-"),
        lambda step: step.vertex.kind == kind and step.sort == "local",
        f"the {kind} is suspended with local `{{0}}`, which leads back to it",
    )


def _younger_to_older(steps: Sequence[PathStep]) -> tuple[int, str]:
    """Suspect the reference by which the youngest object leads back to an older one."""
    number = max(range(len(steps)), key=lambda at: steps[at].number)
    while steps[number].vertex.kind == "container" and any(s.vertex.kind != "container" for s in steps):
        number = (number - 1) % len(steps)
    return number, "this reference closes the ring"


RING_RULES = (
    Rule("traceback", _traceback),
    Rule("self-closure", _self_closure),
    Rule("callback", _callback),
    Rule("partial", _partial),
    Rule("bound-method", _method),
    _link(
        "context",
        lambda step: step.sort == "context" and bool(step.name),
        "the context holds the value of `{0}`, which leads back to the context",
    ),
    _link(
        "thread-local",
        lambda step: step.vertex.type == "_thread._local",
        "the thread-local value leads back to the thread-local object",
    ),
    Rule("transport", _transport),
    _link(
        "transport",
        lambda step: step.vertex.type.endswith(TRANSPORTS),
        "the closed transport still refers to its `{0}`",
    ),
    *map(_suspended, ("coroutine", "generator", "async_generator")),
    _link(
        "closure",
        lambda step: step.sort == "closure",
        "the closure of the nested function holds `{0}`, which leads back to it",
    ),
    _link(
        "frame-local",
        lambda step: step.sort == "local",
        "local `{0}` of a frame that is kept leads back to the frame",
    ),
    _link(
        "class",
        lambda step: step.reference == "attribute:__mro__",
        "every class refers to itself by its __mro__: a class made anew each time is garbage",
    ),
    _link(
        "class",
        lambda step: step.vertex.kind == "class",
        "the attribute `{0}` of the class leads back to the class",
    ),
    _link("back-reference", lambda step: step.name in BACK, "the child refers back to its parent"),
    Rule("ring", _younger_to_older),
)


def _entry(steps: Sequence[PathStep]) -> int:
    """Return the number of the step that leads from an old object to a new one."""
    for number, step in enumerate(steps[1:]):
        if not step.vertex.has(OLD):
            return number
    return max(0, len(steps) - 2)


def _holder(name: str, fits: Callable[[PathStep], bool], reason: str) -> Rule:
    """Return a rule for paths with an old step that fits; it suspects the link to the new object."""

    def find(steps: Sequence[PathStep]) -> tuple[int, str] | None:
        entry = _entry(steps)
        for step in reversed(steps[: entry + 1]):
            if fits(step):
                return entry, reason.format(step.name, _short(step.vertex))
        return None

    return Rule(name, find)


def _owner(steps: Sequence[PathStep]) -> tuple[int, str] | None:
    """Suspect the attribute that keeps the new object, where the path begins further away."""
    entry = at = _entry(steps)
    while at and steps[at].vertex.kind == "container":
        at -= 1
    step = steps[at]
    if step.vertex.kind in ("class", "frame", "module") or not link(step).startswith("."):
        return None
    if step.name.startswith("__"):
        return None
    by_name = at and steps[at - 1].sort == "global"
    place = f"`{steps[at - 1].name}{link(step)}`" if by_name else _place(step)
    return entry, f"{place} {'holds it' if at == entry else 'takes it in and never lets go'}"


def _unseen(steps: Sequence[PathStep]) -> tuple[int, str] | None:
    first = steps[0].vertex
    if not first.has(OPAQUE) or first.type == "contextvars.Context":  # the current one of a thread
        return None
    return 0, (
        "the collector sees nothing that refers to it: C code holds it, an extension type without "
        "tp_traverse, or an expression that is being evaluated"
    )


def _thread(steps: Sequence[PathStep]) -> tuple[int, str] | None:
    if steps[0].vertex.kind != "thread":
        return None
    return 0, f"the thread has not ended: it still runs `{_short(steps[0].vertex)}`"


def _loose(steps: Sequence[PathStep]) -> tuple[int, str] | None:
    if steps[0].vertex.has(ROOT):
        return None
    return _entry(steps), "what holds the first of these was not found within the limits of the search"


def _weak(steps: Sequence[PathStep]) -> tuple[int, str] | None:
    if not steps[-1].vertex.type.endswith(WEAK):
        return None
    return _entry(steps), "a weak reference goes when its object does, and something else keeps that"


PATH_RULES = (
    Rule("weak-reference", _weak),
    Rule("thread", _thread),
    Rule("c-held", _unseen),
    Rule("not-found", _loose),
    _holder(
        "cache",
        lambda step: step.vertex.kind == "cache",
        "the cache keeps arguments and result of each call with other arguments",
    ),
    _holder(
        "thread-local",
        lambda step: step.vertex.type == "_thread._local",
        "the value stays until its thread ends",
    ),
    _holder(
        "context", lambda step: step.sort == "context", "the context variable `{0}` is set and never reset"
    ),
    _holder(
        "logging",
        lambda step: step.vertex.type.endswith("Handler"),
        "the handler keeps its records, and with exc_info the traceback and its frames",
    ),
    _holder(
        "loggers",
        lambda step: step.vertex.type == "logging.Manager",
        "`logging.getLogger` keeps each logger that it makes: give it a name that does not change",
    ),
    _holder(
        "callbacks",
        lambda step: step.sort == "callback",
        "the callback is registered again and never removed",
    ),
    Rule("attribute", _owner),
    _holder(
        "global",
        lambda step: step.sort == "global",
        "the module's global `{0}` takes it in and never lets go",
    ),
    _holder(
        "class-attribute",
        lambda step: step.vertex.kind == "class",
        "`{1}.{0}` is shared by all and never lets go",
    ),
    _holder(
        "running",
        lambda step: step.vertex.kind == "frame",
        "local `{0}` of a function that still runs holds it",
    ),
    Rule("path", lambda steps: (_entry(steps), "from here on everything is new, and nothing removes it")),
)
