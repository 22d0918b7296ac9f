"""`--app`: your own application in place of releases, in every verb that takes a stack."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from outlive.applications.opened import State, one_each, opened, two
from outlive.commands.parts.selection import several
from outlive.errors import UsageError
from outlive.project import Project
from outlive.records.stack import Stack

F = TypeVar("F", bound=Callable[..., Any])


class AppOption(msgspec.Struct, frozen=True):
    """The values of `--app` and `--requirements`: a folder with an `outlive.toml`, and requirements files."""

    folder: Path
    requirements: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """The options that name the same application."""
        files = (word for file in self.requirements for word in ("--requirements", file))
        return ("--app", str(self.folder), *files)

    def one(self, words: Sequence[str]) -> tuple[Project, list[Stack]]:
        """Open the app with a state for each word, or as it is now; it is closed when the command ends."""
        return self._opened(one_each(words, self.requirements))

    def two(self, words: Sequence[str]) -> tuple[Project, tuple[Stack, Stack]]:
        """Open the app with two states: the present and a changed one, or two named. Raises UsageError."""
        project, (before, after) = self._opened(two(words, self.requirements))
        return project, (before, after)

    def _opened(self, states: Sequence[State]) -> tuple[Project, list[Stack]]:
        return click.get_current_context().with_resource(opened(self.folder, Project.find(), states))


def app_options(command: F) -> F:
    """Add the options that name an application; the command gets them as `app`, or None."""

    @functools.wraps(command)
    def called(*, folder: Path | None, requirements: tuple[str, ...], **others: Any) -> Any:
        if requirements and folder is None:
            raise UsageError("--requirements is for an application: --app names its folder")
        files = tuple(str(Path(file).absolute()) if Path(file).is_file() else file for file in requirements)
        return command(app=AppOption(folder, files) if folder else None, **others)

    options = several(
        click.option(
            "--app",
            "folder",
            type=click.Path(path_type=Path),
            metavar="FOLDER",
            help="Your own application, described by its outlive.toml.",
        ),
        click.option(
            "--requirements",
            multiple=True,
            metavar="FILE",
            help="With --app: use these packages instead of those in outlive.toml; give it twice to compare.",
        ),
    )
    return options(called)  # type: ignore[return-value]


def stacks_named(app: AppOption | None, words: Sequence[str]) -> tuple[Project, list[Stack]]:
    """Return the project and the stacks that words name. Raises UsageError if there are none."""
    if app:
        return app.one(words)
    project = Project.find()
    if not words:
        raise UsageError("name a stack, as in aiohttp==3.12.15, or your own application with --app")
    return project, [Stack.parse(word) for word in words]
