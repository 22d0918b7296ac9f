"""Remedies, which are said to reduce what requests leave, and practices, which are said to add to it.

`apps/<framework>/remedies.toml` describes them; `remedies.py` beside it has the code that changes the served
app. A remedy, like the gc policy, is part of what is measured: its results are stored apart.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from outlive.errors import UsageError
from outlive.files import decode_toml
from outlive.project import Project
from outlive.records.remedy import Remedy
from outlive.service.app import App
from outlive.service.scenarios import Scenario
from outlive.wording import nearest


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    remedy: tuple[Remedy, ...]


def load(project: Project, framework: str) -> tuple[Remedy, ...]:
    """Return the remedies of `framework` in the file's order; none if it has no such file.

    Raises UsageError if the file does not have the form that the comment at its top describes.
    """
    path = project.apps / framework / "remedies.toml"
    try:
        found = decode_toml(path.read_bytes(), _File).remedy
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
    """Return the remedy named `name`. Raises UsageError with the nearest names if there is none."""
    known = {remedy.name: remedy for remedy in load(project, framework)}
    if name not in known:
        raise UsageError(f"no remedy {name!r} for {framework}; try {nearest(name, known)}")
    return known[name]


def expecting(scenario: Scenario, remedy: Remedy | None) -> Scenario:
    """Return the scenario with the answers that are right when `remedy` is applied."""
    answers = remedy.answers if remedy else {}
    return msgspec.structs.replace(scenario, expect=answers.get(scenario.name, scenario.expect))


def served(app: App, remedy: Remedy, folder: Path) -> App:
    """Return `app` with workers that apply `remedy`; `folder` is the app's folder."""
    added = remedy.arguments
    if remedy.function:
        added = (*added, "--env", f"OUTLIVE_REMEDY={folder / 'remedies.py'}:{remedy.function}")
    workers = tuple(
        msgspec.structs.replace(worker, arguments=(*worker.arguments, *added)) for worker in app.workers
    )
    return msgspec.structs.replace(app, workers=workers)
