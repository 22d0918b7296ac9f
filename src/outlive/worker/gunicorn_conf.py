"""The gunicorn configuration of every server that we start: it dies with us, and each worker gets a probe."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import importlib
import importlib.util
import inspect
import os
import resource
import signal
import sys
import traceback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType
    from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))
PR_SET_PDEATHSIG = 1
POLICY = os.environ.get("OUTLIVE_GC")
"""The gc policy of a load test; None in a replay, where the harness sets the policy."""
PRACTICES = "OUTLIVE_PRACTICES="
MOST_FILES = 65536
"""Open files that a replay asks for: a leak of one for each request soon exceeds the usual limit of 1,024."""


def _load(name: str) -> ModuleType:
    return _load_file("outlive_" + os.path.basename(name), os.path.join(HERE, name + ".py"))


def _load_file(name: str, path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# A keep-alive connection must stay open for a whole phase; the default is 2 seconds.
keepalive = 600
# Newer gunicorn opens a control socket under the home folder; older ones do not know this name.
control_socket_disable = True

# Loaded in the master, so that a worker forked from it finds everything in place.
probe = _load("probe")
idle = _load("idle")
holdings = _load("holdings").Holdings()
request_hook = _load("request_hook")
load_probe = _load("load_probe")
collector = _load("collector")
objects = _load("survivors/objects")
capture = functools.partial(_load("survivors/capture").capture, objects, _load("survivors/references"))
descriptors = _load("survivors/descriptors")
allocations = _load("survivors/allocations")
waiting = _load("waiting")


def _practices(words: list[str]) -> tuple[list[Callable[[], object]], list[Callable[[Any], object]]]:
    """Return the functions that are called before the app is imported, and those that take it.

    gunicorn sets what `--env` says only after it has read this file.
    """
    named = [word[len(PRACTICES) :] for word in words if word.startswith(PRACTICES)]
    modules: dict[str, ModuleType] = {}
    early: list[Callable[[], object]] = []
    late: list[Callable[[Any], object]] = []
    for line in "\n".join(named).splitlines():
        path, _, name = line.rpartition(":")
        if path not in modules:
            modules[path] = _load_file(os.path.basename(path)[:-3], path)
        function = getattr(modules[path], name)
        (late if inspect.signature(function).parameters else early).append(function)
    return early, late


class NotLoadedError(Exception):
    """The app or a practice cannot be loaded. Its text is the line that says why."""


@contextlib.contextmanager
def _loading() -> Iterator[None]:
    """Turn each error and the end of a process into one kind of error.

    Of a RuntimeError in the master, gunicorn writes neither name nor place. Of the end of a process it says
    nothing, or starts one worker after another.
    """
    try:
        yield
    except Exception as error:
        lines = traceback.format_exception_only(type(error), error)  # of a SyntaxError, the code comes first
        raise NotLoadedError(next(line for line in lines if line[:1] != " ").rstrip()) from error
    except BaseException as end:
        code = getattr(end, "code", None) or 0
        text = "" if isinstance(code, int) else ": " + str(code)
        how = "raised " + type(end).__name__
        if isinstance(end, SystemExit):
            how = "ended itself with exit code " + str(1 if text else code)
        raise NotLoadedError("it " + how + " while it was loaded" + text) from end


def _allow_files() -> None:
    """Raise the limit of open files as far as the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


if POLICY is None:
    _allow_files()
gunicorn: Any = importlib.import_module("gunicorn.util")  # which has no types
gunicorn.import_app = _loading()(gunicorn.import_app)
with _loading():
    before_app, with_app = _practices(sys.argv)
    for practice in before_app:
        practice()


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _captured(collect: Any) -> Any:
    """Return the graph of what survived; if C code may hold some of it, with that which was seen to leak."""
    graph = capture(collect)
    if graph.unseen:
        graph.leaking = descriptors.leaking()
    return graph


def pre_fork(server: Any, worker: Any) -> None:
    """Freeze the objects of the master, so that a fresh worker has only a few objects to collect.

    The worker has none of the threads that the app has started in the master.
    Under load the master instead prepares for the gc policy as a deployment would, if it has loaded the app.
    """
    if POLICY is None:
        worker.lost = len(sys._current_frames()) - 1
        gc.collect()
        gc.freeze()
    elif server.cfg.preload_app:
        load_probe.prepare_fork(POLICY)


def post_fork(_server: Any, worker: Any) -> None:
    """Tie the worker to the master, as the launcher tied the master to the harness."""
    _die_with_parent()
    if os.getppid() != worker.ppid:
        os._exit(0)


def post_worker_init(worker: Any) -> None:
    """Start the probe once the app is loaded; before that, plant leaks or apply practices if asked to."""
    hook = request_hook.RequestHook(worker, os.environ.get("OUTLIVE_REQUEST_COUNTER", ""))
    kinds = os.environ.get("OUTLIVE_PLANT")
    if kinds:
        hook.add(_load("plant").Plant(kinds.split(",")).leave)
    with _loading():
        _make_app(worker)
    path = os.environ["OUTLIVE_PROBE_SOCKET"]
    log = collector.CollectorLog() if POLICY is None else collector.Pauses()
    counter = probe.Probe(
        holdings,
        getattr(worker, "loop", None),
        log,
        capture=_captured,
        periodic=request_hook.Periodic(hook.add),
        tracer=allocations.Tracer(os.environ.get("OUTLIVE_TRACER", "tracemalloc"), objects.short),
    )
    counter.wake, counter.lost = idle.waker(), getattr(worker, "lost", 0)
    counter.do_where = functools.partial(waiting.where, counter)
    tool = os.environ.get("OUTLIVE_TOOL")
    if tool:
        counter.tool = _load("tools").TOOLS[tool]()
    if POLICY is None:
        hook.add(counter.passed)
        renewed = os.environ.get("OUTLIVE_RENEWED")
        if renewed:
            request_hook.keep_first(renewed)
        probe.start(path, counter, idle.IdleWatch)
    else:
        drop = idle.IdleWatch.drop_cancelled_timers
        worker.outlive = load_probe.start(
            path, counter, log, POLICY, worker.cfg.preload_app, drop_timers=drop
        )


def _make_app(worker: Any) -> None:
    """Await the app's factory, if it is async, and apply the practices that take the app."""
    target = worker.app.wsgi()
    made = _load("factory").made(target, os.environ.get("OUTLIVE_PROTOCOL", ""))
    if made is not target:
        _serve(worker, made)
    for function in with_app:
        app = worker.app.wsgi()
        for part in getattr(app, "apps", (app,)):  # of one that passes requests on to several
            changed = function(part)
            if changed is not None:
                _serve(worker, changed)


def _serve(worker: Any, app: Any) -> None:
    """Make a worker that has loaded its app serve another."""
    worker.app.callable = worker.wsgi = app
    if hasattr(worker, "asgi"):  # gunicorn's own ASGI worker
        worker.asgi = app


def worker_abort(worker: Any) -> None:
    """Record that the master is ending this worker because it hangs."""
    if hasattr(worker, "outlive"):
        worker.outlive.aborted = True


def worker_exit(_server: Any, worker: Any) -> None:
    """Tell the harness that this worker exits on its own; a killed worker cannot."""
    if hasattr(worker, "outlive"):
        worker.outlive.farewell()
