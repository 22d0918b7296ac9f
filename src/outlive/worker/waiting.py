"""Where the threads and tasks of a worker are that hangs or never rests: Python 3.8 and newer."""

from __future__ import annotations

import sys
from _thread import get_ident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

FIELDS = (("cr_frame", "cr_await"), ("gi_frame", "gi_yieldfrom"), ("ag_frame", "ag_await"))
"""Of coroutines and generators: their frame, and what they wait for."""
MOST = 200
"""Most threads and tasks that are told, the youngest first."""


def where(probe: Any) -> dict[str, Any]:
    """Return the stacks of the probe's process: (file, line) of each frame, outermost first.

    The main thread comes first, then tasks, then other threads. The thread that calls this is left out.
    """
    probe.find_loop()
    main, *others = [_called(frame) for ident, frame in _threads() if ident != get_ident()]
    return {"stacks": [main, *map(_awaited, _tasks(probe.loop)), *others][:MOST]}


def _threads() -> list[tuple[int, FrameType]]:
    """Return (identity, frame) of each thread: the main one, then the youngest first."""
    main = sys.modules["threading"].main_thread().ident
    return sorted(sys._current_frames().items(), key=lambda item: item[0] != main)


def _tasks(loop: Any) -> list[Any]:
    """Return the tasks of an event loop, the youngest first; none without a loop."""
    if loop is None:
        return []
    return sorted(sys.modules["asyncio"].all_tasks(loop), key=_age, reverse=True)


def _age(task: Any) -> int:
    """Return the number in the name that asyncio gives to a task; 0 for a name that the app has chosen."""
    number = task.get_name().rpartition("-")[2]
    return int(number) if number.isdecimal() else 0


def _called(frame: FrameType | None) -> list[tuple[str, int]]:
    frames = []
    while frame is not None:
        frames.append(_place(frame))
        frame = frame.f_back
    return frames[::-1]


def _awaited(task: Any) -> list[tuple[str, int]]:
    frames, waiting = [], task.get_coro()
    while waiting is not None:
        fields = next((pair for pair in FIELDS if hasattr(waiting, pair[0])), None)
        if fields is None:
            break
        frame, waiting = (getattr(waiting, name) for name in fields)
        if frame is not None:
            frames.append(_place(frame))
    return frames


def _place(frame: FrameType) -> tuple[str, int]:
    return frame.f_code.co_filename, frame.f_lineno
