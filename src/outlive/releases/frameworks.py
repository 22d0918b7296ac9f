"""Frameworks: what each is called on the package index and how it is installed, from `framework.toml`.

The file is in `apps/<framework>/`; that folder has the framework's normalized name on the index.
docs/adding-a-framework.md explains each field; all of them, and the file itself, are optional.
"""

from __future__ import annotations

import re
from collections.abc import Container

import msgspec
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from outlive.errors import UsageError
from outlive.files import decode_toml, read_bytes
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


class Requirements(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a release of an application of a user's own is installed with.

    `lines` are requirements as its files have them, `constraints` apply to packages that something else
    requires. `local` are packages that are no releases, by name, with the path of their source. `hashes` are
    those that its files have for a package. What is not pinned is resolved again each `day`.
    """

    lines: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    local: dict[str, str] = {}
    hashes: dict[str, tuple[str, ...]] = {}
    day: str = ""

    @property
    def names(self) -> set[str]:
        """The packages that it asks for."""
        return {canonicalize_name(Requirement(line).name) for line in self.lines} | self.local.keys()

    @property
    def pinned(self) -> dict[str, str]:
        """The packages that have an exact version, with it."""
        return {
            canonicalize_name(requirement.name): version
            for requirement in map(Requirement, (*self.constraints, *self.lines))
            if (version := exact(requirement))
        }

    def loosened(self, named: Container[str]) -> Requirements:
        """Return them without exact versions, and without any bound for the packages that are `named`."""
        pinned = self.pinned

        def loose(line: str) -> str:
            requirement = Requirement(line)
            name = canonicalize_name(requirement.name)
            if name in pinned or name in named:
                requirement.specifier = SpecifierSet()
            return str(requirement)

        lines, constraints = tuple(map(loose, self.lines)), tuple(map(loose, self.constraints))
        return msgspec.structs.replace(self, lines=lines, constraints=constraints)


def exact(requirement: Requirement) -> str | None:
    """Return the only version that satisfies a requirement, or None: `==3.*` has many."""
    return next(
        (
            one.version
            for one in requirement.specifier
            if one.operator == "===" or (one.operator == "==" and not one.version.endswith(".*"))
        ),
        None,
    )


class Framework(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A framework: `name` is its name on the package index, `title` its own spelling of it.

    A release that satisfies one of the specifiers `covered` is part of the history. `module` is what apps
    import, if that is not `name`. `packages` are requirements that its reference app needs in addition.
    An application of a user's own stands where a framework does and is no package: `application` is what
    each of its releases is installed with.

    For applications of a user's own that speak its `protocol`, whatever their framework: `server` is what
    they are served with beside gunicorn, `makes` has the ends of the names of calls that make one, with the
    package that they are of, and `before` the scripts of a repository that prepare one, with their arguments.
    `also` are packages whose applications are its own: its practices apply to them. `repository` is the
    address of its git repository, for who watches it.
    """

    name: str = ""
    title: str = ""
    covered: tuple[str, ...] = ("",)
    module: str = ""
    packages: tuple[str, ...] = ()
    repository: str = ""
    changelog: ChangelogRules = ChangelogRules()
    application: dict[str, Requirements] = {}
    protocol: str = ""
    server: tuple[str, ...] = ()
    makes: dict[str, str] = {}
    also: tuple[str, ...] = ()
    before: dict[str, str] = {}

    @property
    def modules(self) -> str:
        """The modules that must be importable in its environments, as in an import statement."""
        if self.application:
            return "gunicorn.app.base"
        return f"{self.module or self.name}, gunicorn.app.base"


def load(project: Project, name: str) -> Framework:
    """Return what `framework.toml` says about the framework.

    Raises UsageError if the file is malformed.
    """
    path = project.apps / name / "framework.toml"
    try:
        framework = decode_toml(read_bytes(path) if path.exists() else b"", Framework)
        for specifier in framework.covered:
            SpecifierSet(specifier)
        for package in framework.packages:
            Requirement(package)
        for rule in framework.changelog.elsewhere:
            re.compile(rule.words)
    except (OSError, ValueError, re.error) as error:
        raise UsageError(f"{path}: not a framework file: {' '.join(str(error).split())}") from None
    return msgspec.structs.replace(framework, name=name, title=framework.title or name)
