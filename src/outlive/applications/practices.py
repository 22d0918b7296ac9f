"""The practices of an application: those that its `outlive.toml` names, and the built-in ones."""

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
    """Return the built-in remedies and practices for the framework of an application with `packages`.

    They apply to every version of the application.
    """
    for name in base.frameworks():
        framework = frameworks.load(base, name)
        if framework.protocol == protocol and not {name, *framework.also}.isdisjoint(packages):
            return tuple(
                msgspec.structs.replace(remedy, function=None, versions="", needs=None, answers={})
                for remedy in remedies.load(base, name)
            )
    return ()


def applied(folder: Path, application: Read, builtin: Collection[Remedy]) -> Serving:
    """Return what serves the application in `folder`, with the practices that it names.

    Each state uses its own copy of a practice's file. Raises UsageError for an unknown practice.
    """
    named = {remedy.name: remedy for remedy in builtin}
    workers, packages = application.serving.workers, list(application.serving.packages)
    for words in application.settings.practices:
        if words in named:
            practice = named[words]
        elif ".py" in words:
            practice = remedies.practice(words, folder)
            functions = tuple(function.removeprefix(f"{folder}/") for function in practice.functions)
            practice = msgspec.structs.replace(practice, functions=functions)
        else:
            raise UsageError(f"practices: {words!r} is none; there are {', '.join(named) or 'none of ours'}")
        workers = remedies.with_practice(workers, practice)
        packages += practice.packages
    return Serving(workers, tuple(packages))
