"""A stack: one framework release with everything that runs under it, and the text that names it."""

from __future__ import annotations

import re

import msgspec
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from outlive.errors import UsageError

PYTHON = re.compile(r"3\.\d+")
NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


class Package(msgspec.Struct, frozen=True, order=True):
    """One distribution at one version."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


class Stack(msgspec.Struct, frozen=True, order=True):
    """What a user asks to have measured; what is left out is chosen and reported.

    `python` is a minor version (`3.11`) or None, `pins` are packages other than the framework that must have
    exactly that version.
    """

    framework: str
    release: str
    python: str | None = None
    pins: tuple[Package, ...] = ()

    def __str__(self) -> str:
        parts = [f"{self.framework}=={self.release}", *map(str, self.pins)]
        return ",".join(parts + ([f"python=={self.python}"] if self.python else []))

    @classmethod
    def parse(cls, text: str) -> Stack:
        """Return the stack that `text` names, as in `aiohttp==3.11.18,multidict==6.3.1,python==3.11`.

        The first part names the framework. Raises UsageError where the text does not have this form.
        """
        parts = [_part(part, text) for part in text.split(",")]
        python: str | None = None
        pins: list[Package] = []
        for part in parts[1:]:
            if part.name == "python":
                if python:
                    raise UsageError(f"{text!r}: python is named twice")
                if not PYTHON.fullmatch(part.version):
                    raise UsageError(f"{text!r}: python takes a minor version, as in python==3.11")
                python = part.version
            elif part.name in {parts[0].name, *(pin.name for pin in pins)}:
                raise UsageError(f"{text!r}: {part.name} is named twice")
            else:
                pins.append(part)
        return cls(parts[0].name, parts[0].version, python, tuple(sorted(pins)))


def _part(part: str, text: str) -> Package:
    name, separator, version = part.strip().partition("==")
    name, version = name.strip(), version.strip()
    if not separator or not NAME.fullmatch(name):
        raise UsageError(f"{text!r}: {part!r} is not NAME==VERSION, as in aiohttp==3.11.14,python==3.11")
    try:
        Version(version)
    except InvalidVersion:
        raise UsageError(f"{text!r}: {version!r} is not a version") from None
    return Package(canonicalize_name(name), version)
