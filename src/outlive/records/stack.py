"""A stack: one framework release with everything that runs under it, and the text that names it."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import msgspec
from packaging.utils import canonicalize_name
from packaging.version import Version

from outlive.errors import UsageError
from outlive.wording import NO_VERSION, one_line, step

PYTHON = "python"
AT = "@"
"""Stands before the path of something that is not a release: `python@/opt/py/bin/python3.14`."""
_NUMBER = "(?:0|[1-9][0-9]?)"
PYTHON_MINOR = re.compile(rf"3\.{_NUMBER}t?")
PYTHON_VERSION = re.compile(rf"(3\.{_NUMBER})(?:\.{_NUMBER}(?:(?:a|b|rc){_NUMBER})?)?(t?)")
"""A minor version, a patch version or a pre-release; a `t` means its free-threaded build."""
PYTHON_NAME = re.compile(PYTHON_VERSION.pattern + r"(?:\+[0-9a-f]{8})?")
"""A Python's name in results: the version as it was asked for; if that was a path, also the build."""
NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


def python_minor(name: str) -> str:
    """Return the minor version of the Python with this name, as in `3.11`, or `3.14t` if free-threaded."""
    match = PYTHON_NAME.fullmatch(name)
    return "".join(match.groups()) if match else name


class Package(msgspec.Struct, frozen=True, order=True):
    """A distribution at one version; in a stack, `version` may be `@` and the path of a source to build."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}{'' if self.version.startswith(AT) else '=='}{self.version}"


class Wheel(msgspec.Struct, frozen=True, order=True):
    """The wheel, at `path`, of a package that is not a release; `version` ends in a mark of its source."""

    name: str
    version: str
    path: str
    requires_python: str | None = None

    @property
    def package(self) -> Package:
        """The package in the wheel."""
        return Package(self.name, self.version)

    @property
    def requirement(self) -> str:
        """A requirement that only this wheel satisfies."""
        return f"{self.name} @ {Path(self.path).as_uri()}"


class Stack(msgspec.Struct, frozen=True, order=True):
    """What a user wants measured; whatever is left out is chosen for them and reported.

    `python` is a minor version (`3.11`), a patch version (`3.12.1`), `@` and the path of an interpreter, or
    None. `pins` are other packages that must have exactly these versions. Instead of a version, `@` and a
    path or an address stand for a package that is not a release (see `outlive.stacks.sources`).
    """

    framework: str
    release: str
    python: str | None = None
    pins: tuple[Package, ...] = ()

    def __str__(self) -> str:
        named = [Package(self.framework, self.release), *self.pins]
        return ",".join(map(str, [*named, Package(PYTHON, self.python)] if self.python else named))

    @classmethod
    def parse(cls, text: str) -> Stack:
        """Return the stack that `text` names, as in `aiohttp==3.11.18,multidict==6.3.1,python==3.11`.

        The first part names the framework. Raises UsageError if the text does not have this form.
        """
        framework, *others = (_part(part, text) for part in text.split(","))
        python: str | None = None
        pins: dict[str, Package] = {}
        for part in others:
            if part.name in {framework.name, *pins} or (part.name == PYTHON and python):
                raise UsageError(f"{one_line(text)!r}: {part.name} is named twice")
            if part.name == PYTHON:
                python = part.version
            else:
                pins[part.name] = part
        return cls(framework.name, framework.version, python, tuple(sorted(pins.values())))


def is_stack(word: str) -> bool:
    """Return whether a word of a command names a stack, rather than only a framework or a version."""
    return "==" in word or AT in word


def _part(part: str, text: str) -> Package:
    form = re.fullmatch(r"([^=@]*)(==|@)(.*)", part.strip(), re.DOTALL)
    name, mark, version = (group.strip() for group in form.groups()) if form else ("", "", "")
    quoted = repr(one_line(text))
    within = "" if part == text else f"{quoted}: "
    if not NAME.fullmatch(name) or (not version and mark != AT):
        raise UsageError(
            f"{within}{one_line(part)!r} is not NAME==VERSION, as in aiohttp==3.11.14,python==3.11"
        )
    name = canonicalize_name(name)
    if mark == AT and not (version.isprintable() and version):
        raise UsageError(f"{quoted}: {name}@ takes a path, as in {name}@/path/to/it")
    if mark == AT:
        return Package(name, AT + version)
    if name == PYTHON and not PYTHON_VERSION.fullmatch(version):
        raise UsageError(
            f"{quoted}: python takes a version, as in python==3.11 or python==3.12.1, or python@ and a path"
        )
    try:
        if name != PYTHON:
            Version(version)
    except ValueError:  # also a number with more digits than Python reads
        raise UsageError(f"{quoted}: {one_line(version)!r} is not a version") from None
    return Package(name, version)


# the minor versions on which the probe is tested, with their release dates
KNOWN = {
    "3.8": dt.date(2019, 10, 14),
    "3.9": dt.date(2020, 10, 5),
    "3.10": dt.date(2021, 10, 4),
    "3.11": dt.date(2022, 10, 24),
    "3.12": dt.date(2023, 10, 2),
    "3.13": dt.date(2024, 10, 7),
    "3.14": dt.date(2025, 10, 7),
    "3.15": dt.date(2026, 10, 1),
}


class Difference(msgspec.Struct, frozen=True):
    """A package other than the framework whose version differs between two sides; None: not installed.

    `asked`: a stack names the package, so the comparison is about it.
    """

    package: str
    before: str | None
    after: str | None
    reason: str
    asked: bool = False

    def __str__(self) -> str:
        return f"{self.package} {step(self.before or NO_VERSION, self.after or NO_VERSION)}"
