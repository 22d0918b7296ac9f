"""Options that write what is shown to files, too, or in its place to standard output."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from outlive import files

F = TypeVar("F", bound=Callable[..., Any])
FILE = click.Path(path_type=Path, dir_okay=False, allow_dash=True)


def json_option(command: F) -> F:
    """Add `--json [FILE]`: without a file, and with `-`, it is standard output, and people read the other."""
    return click.option(
        "--json",
        "json_file",
        type=FILE,
        is_flag=False,
        flag_value="-",
        metavar="FILE",
        callback=_alone,
        help="Also write JSON; - is standard output.",
    )(command)


def writing_options(command: F) -> F:
    """Add the options that write what is shown to files, too."""
    markdown = click.option(
        "--markdown", "markdown_file", type=FILE, metavar="FILE", callback=_alone, help="Also write Markdown."
    )
    return markdown(json_option(command))


def _alone(ctx: click.Context, _: click.Parameter, file: Path | None) -> Path | None:
    """Have a document alone on standard output: what people read goes to the other stream meanwhile."""
    if file == files.STANDARD_OUTPUT and sys.stdout is not sys.stderr:
        ctx.call_on_close(files.documents_to(sys.stdout))
        shown, sys.stdout = sys.stdout, sys.stderr

        def back() -> None:
            sys.stdout = shown

        ctx.call_on_close(back)
    return file
