"""Defines the exit codes, and the errors that end a command.

The text of each error is one line: what is wrong, and what to do about it. The command line prints it and
exits with `exit_code`; nothing else in the library calls `sys.exit`.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit status of every verb."""

    FINE = 0
    REGRESSION = 1
    USAGE = 2
    INCONCLUSIVE = 3
    FAULT = 4
    UNAVAILABLE = 5
    INTERRUPTED = 130


class OutliveError(Exception):
    """Base of the errors that end a command with one line."""

    exit_code = ExitCode.FAULT


class UsageError(OutliveError):
    """The command's words are wrong: unknown framework, release, scenario or Python."""

    exit_code = ExitCode.USAGE


class FaultError(OutliveError):
    """The harness or the environment is at fault: no interpreter, no index, a worker that died."""


class UnavailableError(OutliveError):
    """The release is yanked, or cannot be installed on the requested Python."""

    exit_code = ExitCode.UNAVAILABLE
