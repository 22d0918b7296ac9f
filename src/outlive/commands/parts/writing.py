"""Options that write what is shown to files, too, or in its place to standard output."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from outlive import files
from outlive.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])
STREAMS = {"/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"}
"""Other names of standard output."""


def file_option(flag: str, what: str, name: str | None = None, **others: Any) -> Callable[[F], F]:
    """Return what adds an option that names a file to write.

    `-` is standard output, and people read the other. A command that would write two there, or could not
    write the file in the end, does not begin.
    """
    return click.option(
        flag,
        name or f"{flag.strip('-')}_file",
        type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
        metavar="FILE",
        callback=_writable,
        help=what,
        **others,
    )


def json_option(command: F) -> F:
    """Add `--json [FILE]`: without a file it is standard output."""
    described = "Also write JSON; - means standard output."
    return file_option("--json", described, is_flag=False, flag_value="-")(command)


def writing_options(command: F) -> F:
    """Add the options that write what is shown to files, too."""
    return file_option("--markdown", "Also write Markdown.")(json_option(command))


def write_json(file: Path | None, document: files.JsonDocument) -> None:
    """Write a document, where a file was asked for."""
    if file:
        files.write_text(file, document.to_json())


def _writable(ctx: click.Context, option: click.Parameter, file: Path | None) -> Path | None:
    """Check that a file can be written. Raises UsageError, and FaultError where nothing can be written."""
    if file is None:
        return None
    file = files.STANDARD_OUTPUT if str(file) in STREAMS else file
    written: dict[str, str] = ctx.meta.setdefault(__name__, {})
    path, flag = os.path.realpath(file), option.opts[0]
    if (other := written.setdefault(path, flag)) != flag:
        raise UsageError(f"{other} and {flag} cannot both be written to {file}")
    if file == files.STANDARD_OUTPUT:
        _alone(ctx)
    elif not os.access(place := next(p for p in (Path(path), *Path(path).parents) if p.exists()), os.W_OK):
        raise files.unwritten(file, OSError(errno.EACCES, f"{place} is not writable"))
    elif place != Path(path) and not place.is_dir():
        raise UsageError(f"{flag} {file}: {place} is not a folder")
    return file


def _alone(ctx: click.Context) -> None:
    """Have a document alone on standard output: what people read goes to the other stream meanwhile."""
    if sys.stdout is not sys.stderr:
        ctx.call_on_close(files.documents_to(sys.stdout))
        ctx.with_resource(contextlib.redirect_stdout(sys.stderr))
