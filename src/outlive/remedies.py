"""Remedies: what is said to help against what requests leave, and practices that are said to leave more.

`apps/<framework>/remedies.toml` describes each, `remedies.py` beside it has the code that changes the served
app. A remedy is part of what is measured, as the gc policy is: its results are stored apart from plain ones.
"""

from __future__ import annotations

import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from outlive.apps import App
from outlive.errors import UsageError
from outlive.project import Project
from outlive.scenarios import Answer, Scenario

Kind = Literal["remedy", "practice"]


class Policies(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The gc policies that a remedy makes of `off` and `on`; None where it leaves one as it is."""

    off: str | None = None
    on: str | None = None


class Remedy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One remedy or practice, as `remedies.toml` has it; the head of that file says what each field is."""

    name: str
    summary: str
    kind: Kind = "remedy"
    function: str | None = None
    arguments: tuple[str, ...] = ()
    gc: Policies = Policies()
    counted: bool = True
    packages: tuple[str, ...] = ()
    versions: str = ""
    needs: str | None = None
    unsupported: str | None = None
    caution: str | None = None
    answers: dict[str, tuple[Answer, ...]] = {}
    version: Annotated[int, msgspec.Meta(ge=1)] = 1

    @property
    def key(self) -> str:
        """The name of the folder that its results are stored in."""
        return f"{self.name}-v{self.version}"

    def against(self, release: str) -> str | None:
        """Return the reason why it does not apply to a release, or None where it does."""
        if self.unsupported:
            return self.unsupported
        if not SpecifierSet(self.versions).contains(release, prereleases=True):
            return f"only for {self.versions}: {self.needs}"
        return None

    def policy(self, plain: str) -> str | None:
        """Return the gc policy that stands for `on` or `off`, or None where it says nothing of it."""
        named = {"off": self.gc.off, "on": self.gc.on}[plain]
        return named or (None if self.gc.off or self.gc.on else plain)

    def expecting(self, scenario: Scenario) -> Scenario:
        """Return the scenario with the answers that are right where it is applied."""
        return msgspec.structs.replace(scenario, expect=self.answers.get(scenario.name, scenario.expect))

    def served(self, app: App, folder: Path) -> App:
        """Return `app` with workers that apply it; `folder` is the app's."""
        added = self.arguments
        if self.function:
            added = (*added, "--env", f"OUTLIVE_REMEDY={folder / 'remedies.py'}:{self.function}")
        workers = tuple(
            msgspec.structs.replace(worker, arguments=(*worker.arguments, *added)) for worker in app.workers
        )
        return msgspec.structs.replace(app, workers=workers)


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    remedy: tuple[Remedy, ...]


def load(project: Project, framework: str) -> tuple[Remedy, ...]:
    """Return the remedies of `framework`, in the file's order; none where it has no such file.

    Raises UsageError where the file does not have the form that its own head describes.
    """
    path = project.apps / framework / "remedies.toml"
    try:
        found = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File).remedy
        names = [remedy.name for remedy in found]
        for remedy in found:
            SpecifierSet(remedy.versions)
            if names.count(remedy.name) > 1:
                raise ValueError(f"two are named {remedy.name}")
            if bool(remedy.versions) != bool(remedy.needs):
                raise ValueError(f"{remedy.name}: `versions` and `needs` go together")
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, InvalidSpecifier, msgspec.ValidationError, UsageError) as error:
        raise UsageError(f"{path}: not a file of remedies: {' '.join(str(error).split())}") from None
    return found


def find(project: Project, framework: str, name: str) -> Remedy:
    """Return the remedy that is named; raises UsageError with the nearest names where there is none."""
    known = {remedy.name: remedy for remedy in load(project, framework)}
    if name not in known:
        near = get_close_matches(name, known, n=3, cutoff=0.4) or known
        raise UsageError(f"no remedy {name!r} for {framework}; try {', '.join(near)}")
    return known[name]
