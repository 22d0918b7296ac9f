"""The ways in which `outlive` can stop, each with its exit code.

Each error's text is one line: what is wrong and what to do about it. The command line prints it and exits
with `exit_code`; nothing else in the library calls `sys.exit`.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What every verb's exit status means."""

    FINE = 0
    REGRESSION = 1
    USAGE = 2
    INCONCLUSIVE = 3
    FAULT = 4
    UNAVAILABLE = 5
    INTERRUPTED = 130


class OutliveError(Exception):
    """Base of the errors that end a command with one clear line."""

    exit_code = ExitCode.FAULT


class UsageError(OutliveError):
    """The command's words are wrong: unknown framework, release, scenario or Python."""

    exit_code = ExitCode.USAGE


class FaultError(OutliveError):
    """The harness or the environment is at fault: no interpreter, no index, a worker that died."""


class UnavailableError(OutliveError):
    """The release is withdrawn, or cannot be installed on the Python that was asked for."""

    exit_code = ExitCode.UNAVAILABLE
