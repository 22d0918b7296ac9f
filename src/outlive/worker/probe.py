"""The counter inside the server worker: standard library only, Python 3.8 and newer, imports nothing of ours.

It runs in a thread of the worker, connects to the harness's Unix socket and answers one-line commands with
one line of JSON each. It never takes part in serving a request.

How it counts. `begin off` collects, switches automatic collection off and freezes the existing objects;
`gc.get_objects()` then returns only new ones. `gc.get_freeze_count()` shows how many frozen objects are left,
so new + frozen is the exact number of gc-tracked objects alive, and a timer replaced by the next one cancels
out. An object that a collection stops tracking, such as a dict or a tuple of numbers and strings, refers to
nothing and is no survivor: whether it is tracked at an instant is chance. So survivors are the objects that
collections freed and those still tracked after them. With the policies `on`, `thresholds` and `periodic`
nothing is frozen, because a frozen heap would make collections cheaper than they are; `freeze` does freeze.
"""

from __future__ import annotations

import array
import gc
import os
import sys
import threading
import traceback
from _thread import get_native_id, start_new_thread
from collections import Counter
from json import dumps  # an app may put another in its place
from socket import AF_UNIX, socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from io import BufferedRWPair
    from typing import Any

    from outlive.worker.collector import CollectorLog
    from outlive.worker.holdings import Holdings
    from outlive.worker.idle import IdleWatch
    from outlive.worker.survivors.capture import NewObjects

    Capture = Callable[[Callable[[], int]], NewObjects]
    Periodic = Callable[[int], None]

COUNTING = 1
"""Version of the counting rules: counts of different versions are never compared."""
SWITCH_INTERVAL = 0.5
"""Seconds that a thread may keep the GIL. With this, threads switch where they block and not by the clock,
so a thread pool (asyncio's run_in_executor) leaves the same objects in every run."""
YOUNGEST, MIDDLE, OLDEST = 0, 1, 2
"""Generations of the collector; a collection up to the oldest is a full one."""
UNCOUNTED = 1 << 20
"""Stands for a number of frozen objects where it does not matter; it takes a block, as such a number does."""
COLLECTIONS = 5
"""Most full collections in a row: finalizers can make new garbage, in practice once or twice."""
# The type cache keeps names of attributes that were looked up. On Python 3.11 each formatted traceback looks
# up a new string "__match_args__"; up to 4,096 of them stay.
clear_type_cache: Callable[[], None] = getattr(sys, "_clear_internal_caches", None) or sys._clear_type_cache


def type_name(kind: type) -> str:
    """Return the dotted name of a type, without `builtins`."""
    module = getattr(kind, "__module__", None)
    name: str = getattr(kind, "__qualname__", kind.__name__)
    return name if module in (None, "builtins") else f"{module}.{name}"


def by_name(types: Counter[type]) -> Counter[str]:
    """Return the counts by the names of their types."""
    names: Counter[str] = Counter()
    for kind, count in types.items():
        names[type_name(kind)] += count
    return names


def less(number: int | None, taken: int | None) -> int | None:
    """Return one number less the other, or None if either is unknown."""
    return None if number is None or taken is None else number - taken


class Probe:
    """Answers the harness over one connection, in a separate thread.

    `holdings` reads the process's resources other than objects. `loop` is the worker's asyncio event loop,
    None: that which runs when counting begins, if any. `log` sums up automatic collections, `capture` returns
    the graph of the survivors, `periodic` makes this worker collect after every N requests, `tracer` reports
    where memory was allocated, `wake` ends freed greenlets, `tool` is one of `tools`. `lost` threads of the
    app stay in the master.
    """

    lost: int = 0
    idle: IdleWatch
    wake: Callable[[Callable[[], object]], int] | None = None
    tool: Any
    own: ProcessState | None
    last: ProcessState | None

    def __init__(
        self,
        holdings: Holdings,
        loop: Any,
        log: CollectorLog,
        *,
        capture: Capture | None = None,
        periodic: Periodic | None = None,
        tracer: Callable[[], Any] | None = None,
    ) -> None:
        self.holdings, self.loop, self.log = holdings, loop, log
        self.capture, self.periodic, self.tracer = capture, periodic, tracer
        self.handled = array.array("Q", [0])  # a plain int above 256 would be a block of its own
        self.automatic, self.kind = True, "on"
        self.frozen = self.rehearsing = False

    def passed(self) -> None:
        """Count a request of the phase; called after each that the server reports."""
        self.handled[0] += 1

    def run(self, path: str, watch: type[IdleWatch]) -> None:
        """Serve commands until the harness closes the connection, then end this worker."""
        try:
            sys.setswitchinterval(SWITCH_INTERVAL)
            connection = socket(AF_UNIX)
            connection.connect(path)
            stream = connection.makefile("rwb")
            self.idle = watch(get_native_id())
            self.send(stream, self.hello())
            for line in stream:
                words = line.decode().split()
                self.send(stream, getattr(self, "do_" + words[0])(*words[1:]))
        except ConnectionError:
            pass  # the harness is gone
        except Exception as error:  # noqa: BLE001 - else nobody would learn why this worker ends
            place = traceback.extract_tb(error.__traceback__)[-1].name
            self.send(stream, {"raised": f"{type_name(type(error))} in {place}"})
        finally:
            os._exit(0)

    @staticmethod
    def send(stream: BufferedRWPair, answer: dict[str, Any]) -> None:
        """Write an answer as one line."""
        stream.write(dumps(answer).encode() + b"\n")
        stream.flush()

    def hello(self) -> dict[str, Any]:
        """Return this worker's process id, Python, version of the counting rules, and lost threads."""
        state = {"pid": os.getpid(), "counting": COUNTING, "lost": self.lost}
        return {"python": "{}.{}.{}".format(*sys.version_info[:3]), **state}

    @staticmethod
    def do_modules() -> dict[str, Any]:
        """Return the names of all top-level modules that this worker has imported."""
        return {"names": sorted({name.partition(".")[0] for name in list(sys.modules)})}

    def do_rest(self) -> dict[str, Any]:
        """Return once the worker has handled everything that it was sent."""
        return {"idle": self.idle.wait(polls=1)}

    def find_loop(self) -> None:
        """Find the event loop that runs in this process, unless the worker has named one."""
        events: Any = sys.modules.get("asyncio.events")
        if self.loop is None and events is not None:  # uvloop's is no BaseEventLoop
            loops = [obj for obj in gc.get_objects() if issubclass(type(obj), events.AbstractEventLoop)]
            self.loop = next((loop for loop in loops if loop.is_running()), None)

    def settle(self) -> bool:
        """Wait until the worker rests and drop cancelled timers; return whether it came to rest."""
        idle = self.idle.wait()
        self.idle.drop_cancelled_timers(self.loop)
        return idle

    def do_apply(self, policy: str, *heap: str) -> dict[str, Any]:
        """Set the gc policy; with `heap` "frozen", the objects that exist are frozen whatever the policy."""
        self.find_loop()
        self.idle.keep_cancelled_timers()
        idle = self.settle()
        self.set_policy(policy, frozen=bool(heap))
        return {"idle": idle}

    def do_begin(self, policy: str, *heap: str) -> dict[str, Any]:
        """Do as `apply`, and record the state that phases are counted against."""
        idle = self.do_apply(policy, *heap)["idle"]
        self.begin()
        self.log.take()
        self.handled[0] = 0
        if self.automatic:
            gc.enable()
        return {"idle": idle, "threads": self.idle.threads()}

    def set_policy(self, policy: str, *, frozen: bool = False) -> None:
        """Collect, and apply the gc policy except for enabling the collector, which comes last."""
        kind, _, numbers = policy.partition(":")
        gc.disable()
        self.collect()
        self.frozen = frozen or kind in ("off", "freeze")
        if self.frozen:
            gc.freeze()
        else:
            gc.unfreeze()  # what the master froze: in production the collector would traverse it
            self.collect()
        if kind == "thresholds":
            gc.set_threshold(*map(int, numbers.split(",")))
        if kind == "periodic":
            assert self.periodic is not None
            self.periodic(int(numbers))
        elif self.kind == "periodic":  # stop it: a sample for an explanation is taken with gc off
            assert self.periodic is not None
            self.periodic(sys.maxsize)
        self.kind = kind
        if kind != "off" and self.log not in gc.callbacks:
            gc.callbacks.append(self.log)
        self.automatic = kind not in ("off", "periodic")

    def do_count(self) -> dict[str, Any]:
        """Return what the requests since the last call left, before and after full collections.

        `blocks` are allocated blocks, `heap`, `rss` and `peak_rss` bytes; a name with `_kept` is the number
        after the collections. `requests` is how many the server says that it handled.
        """
        self.idle.wait()
        rss, peak = self.holdings.resident()
        fds = self.holdings.files()
        idle = self.settle()  # reading files let the other threads run
        gc.disable()
        requests, self.handled[0] = self.handled[0], 0
        before, freed, after = self.phase()
        automatic = self.log.take()  # only now: from Python 3.14 on a dict of numbers counts
        if self.automatic:
            gc.enable()
        return {
            "idle": idle,
            "requests": requests,
            "survivors": automatic["freed"] + freed + after.alive,
            "leaked": after.alive,
            "blocks": before.blocks,
            "blocks_kept": after.blocks,
            "heap": before.heap,
            "heap_kept": after.heap,
            "rss": rss,
            "peak_rss": peak,
            "fds": fds,
            "threads": self.idle.threads(),
            "held": after.held,
            "types": before.named() if self.kind == "off" else {},
            "types_kept": after.named(),
            "automatic": automatic,
        }

    def do_snapshot(self, requests: str, *path: str) -> dict[str, Any]:
        """Write the graph of what the requests since the last `count` left, or answer with an `errno`.

        Nothing can be counted after it.
        """
        assert self.capture is not None
        idle = self.settle()
        self.last = self.own = None
        graph = self.capture(self.collect)
        try:
            graph.write(" ".join(path), int(requests))
        except OSError as error:
            return {"idle": idle, "errno": error.errno}
        return {"idle": idle}

    def do_trace(self) -> dict[str, Any]:
        """Return the places that allocated memory since the last call which is still in use."""
        assert self.tracer is not None
        idle = self.settle()
        self.collect()
        clear_type_cache()
        return {"idle": idle, "sites": self.tracer()}

    def do_attach(self) -> dict[str, Any]:
        """Take the tool's first look."""
        idle = self.settle()
        self.tool.begin()
        return {"idle": idle}

    def do_look(self) -> dict[str, Any]:
        """Return what has grown since `attach`, according to the tool."""
        self.settle()
        growth: dict[str, Any] = self.tool.look()
        return growth

    def begin(self, oldest: int = YOUNGEST) -> None:
        """Record the state that the first phase is counted against; generations above `oldest` are clean."""
        # Two phases without requests: in the first the probe makes what it keeps, in the second what it adds
        # to each phase (its frames, before Python 3.11).
        self.own = ProcessState(0, Counter(), 0, 0, {})
        self.rehearsing = self.frozen
        self.last = self.read()
        self.phase(oldest)
        self.rehearsing = False
        before, _, _ = self.phase(oldest)
        self.own = before

    def phase(self, oldest: int = OLDEST) -> tuple[ProcessState, int, ProcessState]:
        """Collect, and return (change since the last phase, number of objects freed, change that is left).

        Generations up to `oldest` are collected.
        """
        last, self.last = self.last, None
        assert last is not None
        assert self.own is not None
        before = self.garbage().since(last).since(self.own)
        freed = self.collect(oldest)
        self.last = self.read(last)
        return before, freed, self.last.since(last)

    def garbage(self) -> ProcessState:
        """Return the present state before a collection, without a number of objects.

        It has types only if no collection is automatic. Blocks and heap come first: counting takes memory.
        """
        clear_type_cache()
        blocks, heap = sys.getallocatedblocks(), self.holdings.heap()
        types = by_name(Counter(map(type, gc.get_objects()))) if self.kind == "off" else Counter()
        return ProcessState(0, types, blocks, heap, {})

    def read(self, last: ProcessState | None = None) -> ProcessState:
        """Return the present state after a collection.

        Counting takes long: if nothing is frozen and as many objects are alive as in `last`, its types are
        taken over, and frozen objects are not counted in a rehearsal. What the process holds comes last,
        because reading it lets other threads run.
        """
        clear_type_cache()
        blocks, heap = sys.getallocatedblocks(), self.holdings.heap()
        objects = gc.get_objects()
        alive = len(objects) + (UNCOUNTED if self.rehearsing else gc.get_freeze_count())
        if last is not None and last.alive == alive and not self.frozen:
            types = last.types
        else:
            types = by_name(Counter(map(type, objects)))
        del objects
        return ProcessState(alive, types, blocks, heap, self.holdings.read(self.loop))

    def collect(self, oldest: int = OLDEST) -> int:
        """Collect up to generation `oldest` until nothing more is freed; return the objects freed."""
        self.log.own = True
        # Most garbage is young: usually one pass over the old is enough.
        total = gc.collect(min(oldest, MIDDLE))
        for _ in range(COLLECTIONS):
            if total and self.wake:
                total += self.wake(self.idle.wait)
            freed = gc.collect(oldest)
            total += freed
            if not freed:
                break
        self.log.own = False
        return total


class ProcessState:
    """The state of a process: `alive` objects (frozen ones included), allocated `blocks`, bytes of C `heap`.

    `types` counts the objects that are not frozen by type name. (A type itself would be kept alive by the
    reading, and an app may make one for each request.) `held` has the other resources, see `holdings`.
    """

    __slots__ = ("alive", "blocks", "heap", "held", "types")

    def __init__(
        self, alive: int, types: Counter[str], blocks: int, heap: int | None, held: dict[str, int | None]
    ) -> None:
        self.alive = alive
        self.types = types
        self.blocks = blocks
        self.heap = heap
        self.held = held

    def since(self, other: ProcessState) -> ProcessState:
        """Return the change from the other reading to this one."""
        types = Counter(self.types)
        types.subtract(other.types)
        return ProcessState(
            self.alive - other.alive,
            types,
            self.blocks - other.blocks,
            less(self.heap, other.heap),
            {name: less(now, other.held.get(name)) for name, now in self.held.items()},
        )

    def named(self) -> dict[str, int]:
        """Return the counts by type name, without zeros.

        Sorting pairs would bring the next automatic collection near: freed tuples still count as allocated.
        """
        return {name: self.types[name] for name in sorted(self.types) if self.types[name]}


def start(path: str, probe: Probe, watch: type[IdleWatch]) -> None:
    """Start the probe's thread; `path` is the harness's socket, `watch` tells when other threads rest."""
    if probe.wake is None:
        threading.Thread(target=probe.run, args=(path, watch), name="outlive-probe", daemon=True).start()
    else:  # Python's threads are greenlets: take one of the system's
        start_new_thread(probe.run, (path, watch))
