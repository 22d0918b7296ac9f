"""Frameworks: what each is on the package index, as `apps/<framework>/framework.toml` says.

The folder's name is the framework's normalized name on the index. docs/adding-a-framework.md says what each
field is for; none has to be there, nor the file.
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
    """What changelogs speak of beside a server's requests: a pattern, and the scenarios that show it."""

    words: str
    scenarios: tuple[str, ...]


class ChangelogRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a framework's changelog is and how it reads.

    `files` are patterns of paths in its packages, `heading` is the word before the version in its headings.
    """

    files: tuple[str, ...] = ()
    heading: str = ""
    elsewhere: tuple[Elsewhere, ...] = ()


class Framework(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a framework is on the package index; `title` is its name as it writes it itself.

    `covered` are specifiers: a release that fits one of them is part of the history. `module` is what is
    imported, where that is not `name`. `packages` are installed beside it: requirements without which its
    reference app cannot be served.
    """

    name: str = ""
    title: str = ""
    covered: tuple[str, ...] = ("",)
    module: str = ""
    packages: tuple[str, ...] = ()
    changelog: ChangelogRules = ChangelogRules()

    @property
    def modules(self) -> str:
        """What must be importable where it is served, as an import statement has it."""
        return f"{self.module or self.name}, gunicorn.app.base"


def load(project: Project, name: str) -> Framework:
    """Return what `framework.toml` says of the framework.

    Raises UsageError where the file does not have its form.
    """
    path = project.apps / name / "framework.toml"
    try:
        found = decode_toml(path.read_bytes() if path.exists() else b"", Framework)
        for specifier in found.covered:
            SpecifierSet(specifier)
        for package in found.packages:
            Requirement(package)
        for rule in found.changelog.elsewhere:
            re.compile(rule.words)
    except (OSError, ValueError, re.error) as error:
        raise UsageError(f"{path}: not a framework file: {' '.join(str(error).split())}") from None
    return msgspec.structs.replace(found, name=name, title=found.title or name)
