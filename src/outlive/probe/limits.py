"""Checks what was counted in this process against a test's limits, and explains what exceeds them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from textwrap import wrap

from msgspec.structs import replace

from outlive.probe.count import Survivors, count, explain
from outlive.probe.pytest_plugin import BASELINE, CountLimits
from outlive.replay.explanation.allocations import allocation_lines
from outlive.retention import explanation, structures
from outlive.retention.growth import BLOCKS_LEAK, COUNT_LEAK, LEAST_LEAK
from outlive.wording import counted, listed, number, size

MOST_TYPES = 8
TAKEN_BY_C = "\nNo Python code allocates it: C code takes it past Python's allocators."
OBJECTS = {
    "per_request": "leaves {}",
    "cyclic": "leaves {} of cyclic garbage",
    "leaked": "leaks {}",
}
HELD = {
    "files": "open file",
    "sockets": "open socket",
    "threads": "thread",
    "processes": "child process",
    "tasks": "task",
}


def hold(
    send: Callable[[], object],
    baseline: Callable[[], object] | None,
    loop: asyncio.AbstractEventLoop | None,
    limits: CountLimits | None,
    names: tuple[str, str],
) -> tuple[Survivors, str]:
    """Return what one call of `send` leaves, and a text that explains what exceeds the limits, or "".

    `names` are names for what `send` and `baseline` send. Raises as `count.count` does.
    """
    own = count(baseline, loop) if baseline and limits and limits.above else None
    survivors = count(send, loop)
    over = exceeded(survivors, own, limits, names) if limits else {}
    if not over:
        return survivors, ""
    why = explain(send, survivors, loop)
    framework = explain(baseline, own, loop).structures if baseline and own else ()
    lines = [*over.values(), *_numbers(survivors)]
    if over.keys() & OBJECTS.keys():
        lines += _structures(why, over.keys(), framework, names[1])
    if "memory" in over and survivors.allocations:
        text = allocation_lines(survivors.allocations) if survivors.allocations.sites else TAKEN_BY_C
        lines.append(text.rstrip("\n"))
    return survivors, "\n".join(lines)


def exceeded(
    survivors: Survivors, own: Survivors | None, limits: CountLimits, names: tuple[str, str]
) -> dict[str, str]:
    """Return a line for each limit that is exceeded; `own`, what the baseline leaves, is allowed as well."""
    request, plain = names
    lines = {}
    for name, text in OBJECTS.items():
        limit, objects = getattr(limits, name), getattr(survivors, name)
        more = objects - getattr(own, name) if own else objects
        if limit is not None and more > limit + LEAST_LEAK:
            above = f", {number(more)} above {plain}; " if own else ", "
            lines[name] = f"{request} {text.format(counted(objects, 'object'))}{above}{number(limit)} allowed"
    for name, noun in HELD.items():
        held = survivors.held.get(name, 0)
        more = held - own.held.get(name, 0) if own else held
        if more > COUNT_LEAK:
            lines[name] = f"{request} leaves {counted(held, noun)} more, 0 allowed"
    limit = limits.memory
    if limit is None and survivors.leaked < LEAST_LEAK:  # leaked objects account for the memory they take
        limit = 0
    more = survivors.memory - own.memory if own else survivors.memory
    if limit is not None and survivors.growth == "leak" and more > limit:
        above = f", {size(more)} above {plain}" if own else ""
        where = "" if survivors.leaked else ", in no object that the collector tracks"
        lines["memory"] = f"{request} leaks {_memory(survivors)}{above}{where}; {size(limit)} allowed"
    return lines


def _memory(survivors: Survivors) -> str:
    if survivors.blocks < BLOCKS_LEAK:
        return f"{size(survivors.memory)} of memory"
    return f"{counted(round(survivors.blocks, 1), 'block')} of memory, {size(survivors.memory)}"


def _numbers(survivors: Survivors) -> list[str]:
    types = listed([f"{number(count)} {name}" for name, count in survivors.types.items()], MOST_TYPES)
    counts = f"{number(survivors.cyclic)} cyclic, {number(survivors.leaked)} leaked"
    return [
        f"{counts}, over {survivors.requests} requests",
        f"types: {types or 'none that the collector tracks'}",
    ]


def _structures(
    why: structures.Analysis, over: Collection[str], framework: Sequence[structures.Structure], plain: str
) -> Iterator[str]:
    """Yield an explanation, as `outlive explain` prints it, and what of it the baseline leaves too."""
    chosen = [
        structure
        for structure in why.structures
        if "per_request" in over or ("cyclic" if structure.growth == "cyclic" else "leaked") in over
    ]
    own = {structure.fingerprint for structure in framework}
    others = tuple(structure for structure in chosen if structure.fingerprint not in own)
    if others:
        yield ""
        heading = f"Why, from {why.requests} more requests:"
        yield explanation.render(heading, replace(why, structures=others)).rstrip("\n")
    shared = [structure for structure in chosen if structure.fingerprint in own]
    if shared:
        objects = counted(sum(structure.objects_per_request for structure in shared), "object")
        names = listed([structure.fingerprint for structure in shared])
        yield ""
        yield from wrap(
            f"The framework's own, since {plain} leaves it as well: {objects} per request ({names}).", 80
        )
    elif not framework:
        yield ""
        yield f'What a plain request leaves as well is the framework\'s own: above="{BASELINE}" allows it.'
