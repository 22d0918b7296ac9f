"""Scenarios: one kind of traffic each, with the bytes to send and the answers that are right."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

import msgspec

from outlive.errors import UsageError
from outlive.measurement import Connection

Client = Literal["complete", "half-close", "leave-in-body", "leave-in-answer"]
Answer = str

BOUNDARY = "outlive-7f3a9c"
JSON_BODY = b'{"item": "widget", "quantity": 3}'
BROKEN_JSON_BODY = b'{"item": "widget", "quantity": '
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a client sends. `bytes` is the size of an image body; `raw` replaces everything else."""

    method: str = "GET"
    path: str = "/"
    body: Literal["json", "broken-json", "image"] | None = None
    bytes: int = 0
    raw: str | None = None


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One kind of traffic with its expected answer, as `loadtests/scenarios.toml` defines it."""

    name: str
    summary: str
    request: Request
    expect: tuple[Answer, ...]
    client: Client = "complete"

    def message(self, connection: Connection) -> bytes:
        """Return the bytes of one whole request, head and body."""
        if self.request.raw is not None:
            return self.request.raw.encode()
        body, content_type = _body(self.request)
        lines = [
            f"{self.request.method} {self.request.path} HTTP/1.1",
            "Host: localhost",
            f"Connection: {connection}",
        ]
        if body:
            lines += [f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
        return "\r\n".join([*lines, "", ""]).encode() + body

    def cut(self, connection: Connection) -> bytes:
        """Return the request's head with the first half of its body."""
        head, blank, body = self.message(connection).partition(b"\r\n\r\n")
        return head + blank + body[: len(body) // 2]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    scenario: tuple[Scenario, ...]


def load(path: Path) -> tuple[Scenario, ...]:
    """Return the scenarios that the TOML file `path` defines, in its order.

    Raises UsageError where the file does not have the form that its own head describes.
    """
    try:
        return msgspec.toml.decode(path.read_bytes(), type=_File).scenario
    except (OSError, UnicodeDecodeError, msgspec.DecodeError) as error:
        raise UsageError(f"{path}: not a scenario file: {error}") from None


def select(scenarios: Sequence[Scenario], patterns: Sequence[str]) -> tuple[Scenario, ...]:
    """Return the scenarios whose names match one of the shell-style `patterns`; all where there are none.

    Raises UsageError for a pattern that matches nothing, with the nearest names.
    """
    for pattern in patterns:
        if not any(fnmatchcase(scenario.name, pattern) for scenario in scenarios):
            names = [scenario.name for scenario in scenarios]
            near = get_close_matches(pattern, names, n=3, cutoff=0.4) or names
            raise UsageError(f"no scenario {pattern!r}; try {', '.join(near)}")
    if not patterns:
        return tuple(scenarios)
    return tuple(s for s in scenarios if any(fnmatchcase(s.name, pattern) for pattern in patterns))


def _body(request: Request) -> tuple[bytes, str]:
    if request.body == "json":
        return JSON_BODY, "application/json"
    if request.body == "broken-json":
        return BROKEN_JSON_BODY, "application/json"
    if request.body == "image":
        head = (
            f"--{BOUNDARY}\r\n"
            'Content-Disposition: form-data; name="image"; filename="photo.png"\r\n'
            "Content-Type: image/png\r\n\r\n"
        )
        image = PNG_SIGNATURE.ljust(request.bytes, b"\x5a")
        return head.encode() + image + f"\r\n--{BOUNDARY}--\r\n".encode(), (
            f"multipart/form-data; boundary={BOUNDARY}"
        )
    return b"", ""
