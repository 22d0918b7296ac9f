"""Options that also write what is shown to files, or to standard output instead."""

from __future__ import annotations

import contextlib
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
    """Return a decorator that adds an option for a file to write.

    `-` is standard output; what people read then goes to standard error. A command that would write two
    documents there, or cannot write the file, does not begin.
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
    """Add `--json [FILE]`; the default file is standard output."""
    described = "Also write JSON; - means standard output."
    return file_option("--json", described, is_flag=False, flag_value="-")(command)


def writing_options(command: F) -> F:
    """Add the options that also write what is shown to files."""
    return file_option("--markdown", "Also write Markdown.")(json_option(command))


def write_json(file: Path | None, document: files.JsonDocument) -> None:
    """Write a document if a file was named."""
    if file:
        files.write_text(file, document.to_json())


def _writable(ctx: click.Context, option: click.Parameter, file: Path | None) -> Path | None:
    """Return the file to write. Raises UsageError for a wrong name, and FaultError if it is not writable."""
    if file is None:
        return None
    file = files.STANDARD_OUTPUT if str(file) in STREAMS else file
    written: dict[str, str] = ctx.meta.setdefault(__name__, {})
    path, flag = os.path.realpath(file), option.opts[0]
    if (first := written.setdefault(path, flag)) != flag:
        raise UsageError(f"{first} and {flag} cannot both be written to {file}")
    if file == files.STANDARD_OUTPUT:
        _alone(ctx)
    else:
        above = next(folder for folder in Path(path).parents if folder.exists())
        if not above.is_dir():
            raise UsageError(f"{flag} {file}: {above} is not a folder")
        files.check_writable(Path(path))
    return file


def _alone(ctx: click.Context) -> None:
    """Keep standard output for a document: until the command ends, other text goes to standard error."""
    if sys.stdout is not sys.stderr:
        ctx.call_on_close(files.documents_to(sys.stdout))
        ctx.with_resource(contextlib.redirect_stdout(sys.stderr))
