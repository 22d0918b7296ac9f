"""Remedies and practices: what is done to an app before it is measured."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from packaging.specifiers import SpecifierSet

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
    answers: dict[str, tuple[str, ...]] = {}
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
