"""`--app`: an application of a user's own in place of releases, in every verb that takes a stack."""

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


class App(msgspec.Struct, frozen=True):
    """What `--app` and `--requirements` say: a folder with an `outlive.toml`, and other requirements."""

    folder: Path
    requirements: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """The options that say the same again."""
        return ("--app", str(self.folder), *(w for r in self.requirements for w in ("--requirements", r)))

    def one(self, words: Sequence[str]) -> tuple[Project, list[Stack]]:
        """Open it with a state for each word, or as it is now; it is closed when the command ends."""
        return self._opened(one_each(words, self.requirements))

    def two(self, words: Sequence[str]) -> tuple[Project, tuple[Stack, Stack]]:
        """Open it with two states: as it is now and a changed one, or both as named. Raises UsageError."""
        project, (before, after) = self._opened(two(words, self.requirements))
        return project, (before, after)

    def _opened(self, states: Sequence[State]) -> tuple[Project, list[Stack]]:
        return click.get_current_context().with_resource(opened(self.folder, Project.find(), states))


def app_options(command: F) -> F:
    """Add the options that name an application of one's own; the command gets one `app`, or None."""

    @functools.wraps(command)
    def called(*, folder: Path | None, requirements: tuple[str, ...], **others: Any) -> Any:
        if requirements and folder is None:
            raise UsageError("--requirements is for an application: --app names its folder")
        here = tuple(str(Path(file).absolute()) if Path(file).is_file() else file for file in requirements)
        return command(app=App(folder, here) if folder else None, **others)

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


def stacks_named(app: App | None, words: Sequence[str]) -> tuple[Project, list[Stack]]:
    """Return the project, and the stacks of it that words name. Raises UsageError where there are none."""
    if app:
        return app.one(words)
    project = Project.find()
    if not words:
        raise UsageError("name a stack, as in aiohttp==3.12.15, or your own application with --app")
    return project, [Stack.parse(word) for word in words]
