"""Practices of an application: those that its `outlive.toml` names, and ours for what it is made with."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import msgspec

from outlive.applications.settings import Read, Serving
from outlive.errors import UsageError
from outlive.project import Project
from outlive.records.remedy import Remedy
from outlive.releases import frameworks
from outlive.service import remedies


def ours(base: Project, protocol: str, packages: Collection[str]) -> tuple[Remedy, ...]:
    """Return our remedies and practices for the framework that an application with `packages` is made with.

    They apply whatever the version of the application is.
    """
    for name in base.frameworks():
        framework = frameworks.load(base, name)
        if framework.protocol == protocol and not {name, *framework.makes.values()}.isdisjoint(packages):
            return tuple(
                msgspec.structs.replace(one, function=None, versions="", needs=None, answers={})
                for one in remedies.load(base, name)
            )
    return ()


def applied(folder: Path, found: Read, known: Collection[Remedy]) -> Serving:
    """Return what serves the application in `folder`, with the practices that it names.

    A file of its own is that of each state. Raises UsageError for a practice that there is not.
    """
    named = {one.name: one for one in known}
    workers, packages = found.serving.workers, list(found.serving.packages)
    for words in found.settings.practices:
        if words in named:
            practice = named[words]
        elif ".py" in words:
            practice = remedies.practice(words, folder)
            inside = [one.removeprefix(f"{folder}/") for one in practice.functions]
            practice = msgspec.structs.replace(practice, functions=tuple(inside))
        else:
            raise UsageError(f"practices: {words!r} is none; there are {', '.join(named) or 'none of ours'}")
        workers = remedies.with_practice(workers, practice)
        packages += practice.packages
    return Serving(workers, tuple(packages))
