"""Ends a command with one line on standard error and an `ExitCode`, whatever happens."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from outlive import __version__
from outlive.errors import ExitCode, OutliveError
from outlive.project import cache_dir
from outlive.wording import USERINFO, one_line

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

POLITE = ("SIGINT", "SIGTERM", "SIGHUP")
"""Signals that end a command cleanly: Ctrl-C, `kill`, a terminal that closes."""
AGAIN = 10.0
"""Seconds during which further signals are ignored: interrupting the clean-up would leave servers behind."""
SOON = 0.01
"""Seconds after which a dropped interruption comes again: by then the code that dropped it has ended."""
LIMITS = {
    errno.EAGAIN: "no more processes or threads can be started: see `ulimit -u`",
    errno.EMFILE: "too many open files: see `ulimit -n`",
    errno.ENFILE: "too many open files on this machine",
    errno.EFBIG: "the file is larger than `ulimit -f` allows",
    errno.ENOMEM: "there is no memory left",
    errno.ENOSPC: "a disk is full: free some room, or see TMPDIR, OUTLIVE_CACHE and OUTLIVE_RESULTS",
    errno.EIO: "the terminal has closed",
}
COMPLETING = "_OUTLIVE_COMPLETE"
"""The environment variable with which a shell asks click for completions."""
NO_THREAD = "can't start new thread"


def run(command: Callable[[], object]) -> NoReturn:
    """Run `command` and exit with the code that it returns, or with the code of the error that it raises.

    An unforeseen error is not a regression: the exit code is `ExitCode.FAULT`, and the traceback is written
    to a file.
    """
    _interruptible()
    if _closed():
        sys.exit(_report("standard output is closed: redirect it, to /dev/null for example", ExitCode.FAULT))
    if isinstance(sys.stderr, io.TextIOWrapper) and sys.stderr is sys.__stderr__:
        kept = io.BufferedWriter(_StandardError(2, "w", closefd=False))
        sys.stderr = io.TextIOWrapper(kept, sys.stderr.encoding, sys.stderr.errors, line_buffering=True)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # for a terminal without arrows
    code: int | str | None = ExitCode.INTERRUPTED
    with contextlib.suppress(KeyboardInterrupt):  # from another signal, after a long clean-up
        try:
            code = _code(command)
        except KeyboardInterrupt:
            code = _report("interrupted; finished measurements are kept", ExitCode.INTERRUPTED)
        for name in POLITE:
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    exec("")  # noqa: S102 - Python remembers a KeyboardInterrupt in `exec`, as dataclasses use it, and ends by SIGINT
    sys.exit(code)


class _StandardError(io.FileIO):
    """Standard error that drops what its reader no longer takes: progress must not end a measurement."""

    def write(self, data: ReadableBuffer, /) -> int:
        """Return the number of bytes written or dropped."""
        with contextlib.suppress(OSError):
            if written := super().write(data):
                return written
        return memoryview(data).nbytes


def _closed() -> bool:
    """Return whether standard output is closed; open the null device in place of other closed streams.

    Otherwise the next file that is opened would take their place, and output of programs would go into it.
    """
    for number, stream in enumerate((sys.stdin, sys.stdout, sys.stderr)):
        if stream is None:
            os.open(os.devnull, os.O_RDWR)
            if number == 2:
                sys.stderr = os.fdopen(2, "w")
    return sys.stdout is None


def _interruptible() -> None:
    """Make polite signals raise KeyboardInterrupt, once; those that the parent ignores stay ignored."""
    last = -AGAIN

    def interrupt(_number: int, _frame: object) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= AGAIN:
            last = now
            raise KeyboardInterrupt

    for name in POLITE:
        number = getattr(signal, name)
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, interrupt)
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    sys.unraisablehook = _unraisable


def _unraisable(dropped: sys.UnraisableHookArgs) -> None:
    """Interrupt again if Python has dropped an interruption, as in a `__del__`; report any other error."""
    if isinstance(dropped.exc_value, KeyboardInterrupt):
        signal.setitimer(signal.ITIMER_REAL, SOON)
    else:
        sys.__unraisablehook__(dropped)


def _code(command: Callable[[], object]) -> int | str | None:
    try:
        result = command()
        if sys.stdout is not None:
            sys.stdout.flush()  # now, while an error can still be reported
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.exceptions.NoArgsIsHelpError as asked:
        asked.show()
        return ExitCode.USAGE
    except click.ClickException as error:
        return _report(error.format_message(), ExitCode.USAGE)
    except OutliveError as error:
        return _report(str(error), error.exit_code)
    except click.Abort:
        raise KeyboardInterrupt from None
    except SystemExit as stop:  # of click, if its output cannot be written: its 1 would mean a regression
        return stop.code if COMPLETING in os.environ else _unread()
    except BrokenPipeError:
        return _unread()
    except Exception as error:  # noqa: BLE001
        if isinstance(error, OSError) and error.filename is None:  # it can come from standard output
            _unread()
        return _report(_reason(error), ExitCode.FAULT)
    return result if isinstance(result, int) else ExitCode.FINE


def _reason(error: Exception) -> str:
    """Return the message for an error that is not an OutliveError."""
    from outlive.files import FULL, why  # noqa: PLC0415 - the first screen does not need its imports

    if isinstance(error, OSError):
        limit = LIMITS.get(error.errno or 0)
        if error.filename is not None:
            path = one_line(os.fsdecode(error.filename))
            if error.errno in (*FULL, errno.EROFS):
                limit = why(Path(path), error)
            return f"{path}: {limit or error.strerror}"
        if limit:
            return f"the system: {limit}"
    if isinstance(error, MemoryError):
        return f"the system: {LIMITS[errno.ENOMEM]}{': see `ulimit -v`' if _is_memory_limited() else ''}"
    if isinstance(error, RuntimeError) and NO_THREAD in str(error):
        return f"the system: {LIMITS[errno.EAGAIN]}{' and `ulimit -v`' if _is_memory_limited() else ''}"
    kind = type(error).__name__
    text = one_line(USERINFO.sub("", f"{kind}: {error}" if str(error) else kind))
    return f"this is a bug in outlive: {text}; {_traceback(error)}"


def _is_memory_limited() -> bool:
    """Return whether `ulimit -v` is set: a thread without room for its stack fails like one too many."""
    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


def _traceback(error: Exception) -> str:
    """Write the traceback to a new file, and return what to do with it."""
    path = cache_dir() / "faults" / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    text = f"outlive {__version__}, Python {sys.version}\n{' '.join(sys.argv)}\n"
    text += "".join(traceback.format_exception(error))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(USERINFO.sub("", text), encoding="utf-8", errors="backslashreplace")
    except OSError as unwritten:
        return f"its traceback cannot be written to {path} ({unwritten.strerror})"
    return f"please report it with its traceback, {path}"


def _report(line: str, code: ExitCode) -> ExitCode:
    with contextlib.suppress(OSError):  # standard error cannot be written either
        click.echo(f"outlive: {' '.join(line.split())}", err=True)
    return code


def _unread() -> ExitCode:
    """Return the code for output that cannot be written, and keep Python from reporting the error again."""
    try:
        sys.stdout.flush()
    except OSError:  # the interpreter would write the rest at its end, and fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ExitCode.FAULT
