"""Frameworks: what each is called on the package index and how it is installed, from `framework.toml`.

The file is in `apps/<framework>/`; that folder has the framework's normalized name on the index.
docs/adding-a-framework.md explains each field; all of them, and the file itself, are optional.
"""

from __future__ import annotations

import re

import msgspec
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from outlive.errors import UsageError
from outlive.files import decode_toml
from outlive.project import Project


class Elsewhere(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Entries that are not about a server's requests: a pattern for their words, and their scenarios."""

    words: str
    scenarios: tuple[str, ...]


class ChangelogRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a framework's changelog is and how to read it.

    `files` are patterns of paths in its packages; `heading` is the word before the version in its headings.
    """

    files: tuple[str, ...] = ()
    heading: str = ""
    elsewhere: tuple[Elsewhere, ...] = ()


class Framework(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A framework: `name` is its name on the package index, `title` its own spelling of it.

    A release that satisfies one of the specifiers `covered` is part of the history. `module` is what apps
    import, if that is not `name`. `packages` are requirements that its reference app needs in addition.
    """

    name: str = ""
    title: str = ""
    covered: tuple[str, ...] = ("",)
    module: str = ""
    packages: tuple[str, ...] = ()
    changelog: ChangelogRules = ChangelogRules()

    @property
    def modules(self) -> str:
        """The modules that must be importable in its environments, as in an import statement."""
        return f"{self.module or self.name}, gunicorn.app.base"


def load(project: Project, name: str) -> Framework:
    """Return what `framework.toml` says about the framework.

    Raises UsageError if the file is malformed.
    """
    path = project.apps / name / "framework.toml"
    try:
        framework = decode_toml(path.read_bytes() if path.exists() else b"", Framework)
        for specifier in framework.covered:
            SpecifierSet(specifier)
        for package in framework.packages:
            Requirement(package)
        for rule in framework.changelog.elsewhere:
            re.compile(rule.words)
    except (OSError, ValueError, re.error) as error:
        raise UsageError(f"{path}: not a framework file: {' '.join(str(error).split())}") from None
    return msgspec.structs.replace(framework, name=name, title=framework.title or name)
