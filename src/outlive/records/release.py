"""A release: one version of a framework, and the Pythons that it can be installed on."""

from __future__ import annotations

import datetime as dt
import functools
import re
from typing import Self

import msgspec
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from outlive.wording import one_line

TAG = re.compile(r"(?:cp|py)[23]\d{0,2}(?:-abi3)?")
"""The Pythons that a wheel is for: one CPython, any Python, or a CPython and all newer ones."""


class Release(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One version of a framework on the package index.

    `uploaded` is when its first file was uploaded (UTC), or None if the index does not say. `wheels` are the
    tags of its wheels for CPython: `cp311`, `py3`, or `cp38-abi3` for 3.8 and newer.
    """

    framework: str
    version: str
    uploaded: dt.datetime | None
    requires_python: str | None
    yanked: bool
    yanked_reason: str | None
    wheels: tuple[str, ...]
    sdist: bool

    @classmethod
    def of_none(
        cls, framework: str, version: str, python: str | None = None, wheels: tuple[str, ...] = ("py3",)
    ) -> Self:
        """Return what stands for a release where there is none on the index; `python` is Requires-Python."""
        return cls(framework, version, None, python, False, None, wheels, False)

    def __str__(self) -> str:
        return f"{self.framework} {self.version}"

    @property
    def parsed(self) -> Version:
        """The version, which sorts as PEP 440 says."""
        return _parsed(self.version)

    @property
    def fault(self) -> str | None:
        """What is malformed about it, in one line; None if it is in order."""
        try:
            _ = self.parsed, SpecifierSet(self.requires_python or "")
        except ValueError as error:
            return f"{one_line(self.version)!r}: {one_line(str(error))}"
        if strange := [tag for tag in self.wheels if not TAG.fullmatch(tag)]:
            return f"{self.version}: no wheel has the tag {one_line(strange[0])!r}"
        return None

    @property
    def date(self) -> dt.date | None:
        """The day (UTC) on which it was uploaded, or None if the index does not say."""
        return self.uploaded.date() if self.uploaded else None

    @property
    def why_yanked(self) -> str:
        """The reason that its authors gave for yanking it, in one line."""
        return one_line(self.yanked_reason or "") or "no reason is given"

    def supports(self, python: str) -> bool:
        """Return whether it supports `python` (`3.11`) and has a wheel for it."""
        return self.why_not(python) is None

    def why_not(self, python: str) -> str | None:
        """Return in one line why it cannot be installed on `python` (`3.11`, `3.12.1`), or None if it can.

        Requires-Python may name a patch version (>=3.8.1): a minor version stands for its newest patch.
        """
        _, minor, *rest = re.findall(r"\d+", python)
        patch = rest[0] if python.count(".") > 1 else "99"
        if self.requires_python and not SpecifierSet(self.requires_python).contains(f"3.{minor}.{patch}"):
            return f"{self} requires Python {self.requires_python}, not {python}"
        if not self.wheels:
            return f"{self} has no wheel, only a source distribution"
        if not any(_fits(tag, int(minor)) for tag in self.wheels):
            return f"{self} has no wheel for Python {python}; it has wheels for {self.pythons()}"
        return None

    def pythons(self) -> str:
        """Return which Pythons its wheels are for, as in `3.7-3.10`."""
        if "py3" in self.wheels:
            return f"Python {self.requires_python}" if self.requires_python else "any Python 3"
        minors = sorted(int(tag[3:]) for tag in self.wheels if tag[2] == "3" and tag[3:].isdigit())
        runs: list[list[int]] = []
        for minor in minors:
            if runs and minor == runs[-1][1] + 1:
                runs[-1][1] = minor
            else:
                runs.append([minor, minor])
        named = [f"3.{low}" if low == high else f"3.{low}-3.{high}" for low, high in runs]
        named += [f"3.{tag[3:-5]} and newer" for tag in self.wheels if tag.endswith("-abi3")]
        return ", ".join(named) or ", ".join(self.wheels)


@functools.cache  # releases are sorted and compared again and again, and a version is slow to parse
def _parsed(version: str) -> Version:
    return Version(version)


def _fits(tag: str, minor: int) -> bool:
    if tag.endswith("-abi3"):
        return int(tag[3:-5]) <= minor
    if tag == "py3":
        return True
    return tag == f"cp3{minor}" or (tag.startswith("py3") and int(tag[3:]) <= minor)
