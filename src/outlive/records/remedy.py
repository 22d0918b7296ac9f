"""Remedies and practices: what is done to an app before it is measured."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec
from packaging.specifiers import SpecifierSet

UNSAFE = re.compile(r"[^A-Za-z0-9.+_-]+")
Kind = Literal["remedy", "practice"]


class Policies(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The gc policies that a remedy uses in place of `off` and `on`; None if it leaves one as it is."""

    off: str | None = None
    on: str | None = None


class Remedy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A remedy or practice of `remedies.toml`; the comment at the top of that file explains each field.

    `functions` are called, each given as the path of a file and a name; `digest` is that of a user's files.
    `packages` are the requirements that the files state.
    """

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
    answers: dict[str, tuple[str, ...]] = {}
    version: Annotated[int, msgspec.Meta(ge=1)] = 1
    functions: tuple[str, ...] = ()
    digest: str = ""

    @property
    def key(self) -> str:
        """The name of the folder in which its results are stored."""
        return f"{UNSAFE.sub('-', self.name)}-{self.digest or f'v{self.version}'}"

    def against(self, release: str) -> str | None:
        """Return why it does not apply to a release, or None if it does."""
        if self.unsupported:
            return self.unsupported
        if not SpecifierSet(self.versions).contains(release, prereleases=True):
            return f"only for {self.versions}: {self.needs}"
        return None

    def policy(self, plain: str) -> str | None:
        """Return the gc policy to use in place of `plain` (`on` or `off`), or None if it has none for it."""
        named = {"off": self.gc.off, "on": self.gc.on}[plain]
        return named or (None if self.gc.off or self.gc.on else plain)
