"""Scenarios: kinds of traffic, each with the bytes to send and the answers that are right.

`loadtests/scenarios.toml` is the default set, the files of `loadtests/extended/` are the extended set.
"""

from __future__ import annotations

import functools
import gzip
import re
from collections.abc import Container, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlencode

import msgspec
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from outlive.errors import UsageError
from outlive.files import decode_toml, read_bytes
from outlive.records.measurement import Connection, asked_for
from outlive.wording import nearest, one_line

Client = Literal["complete", "half-close", "leave-in-body", "leave-in-answer"]
ClientStep = Literal[
    "send",
    "send-all",
    "send-head",
    "send-half-head",
    "send-half",
    "receive",
    "receive-head",
    "receive-some",
    "receive-frame",
    "rest",
    "end",
    "leave",
    "stay",
]
"""The steps of which an exchange consists; docs/paths.md says what each means."""
Answer = str
Tls = bool | Literal["refused"]
"""Whether a client uses TLS; `refused`: it starts to, but refuses the server's certificate."""
Connections = Annotated[tuple[Connection, ...], msgspec.Meta(min_length=1)]
Set = Literal["default", "extended", "all"]
SETS: tuple[Set, ...] = get_args(Set)

CLIENTS: dict[Client, tuple[ClientStep, ...]] = {
    "complete": ("send", "receive"),
    "half-close": ("send-half", "end", "receive"),
    "leave-in-body": ("send-half", "leave"),
    "leave-in-answer": ("send", "receive-some", "leave"),
}

BOUNDARY = "outlive-7f3a9c"
JSON, FORM = "application/json", "application/x-www-form-urlencoded"
JSON_BODY = b'{"item": "widget", "quantity": 3}'
GZIP_BODY = gzip.compress(JSON_BODY, mtime=0)
BODIES = {
    "json": (JSON_BODY, JSON),
    "broken-json": (b'{"item": "widget", "quantity": ', JSON),
    "broken-gzip": (GZIP_BODY[:12] + b"\xff" * 12 + GZIP_BODY[24:], JSON),
    "form": (b"name=widget&note=from+the+shop", FORM),
}
"""The body that each name stands for, and its type; an image body depends on the request."""
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
RANGE = re.compile(r"[1-5](?:\d\d|xx|\d\d-[1-5]\d\d)")
"""A status, or several: `404`, `4xx`, `400-404`."""
SEEN = re.compile(rf"{RANGE.pattern}|cut|closed|aborted|silent|refused|text|binary|close|ping|pong")
"""What a client sees: a status or several, how a connection ended, the kind of a WebSocket frame."""
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
PATH = re.compile(r"(?:/|https?://)[!-~]*|\*")
VALUE = re.compile(r"[ -~\t\xa0-\xff]*")
COUNTER = b"{n}"
"""In paths, headers and raw bytes this stands for the number of the request, in six digits."""
CHUNKS = 8
"""Number of chunks in which a chunked body is sent."""


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a client sends. `bytes` is the size of an image body; `raw` (Latin-1) replaces everything else.

    `json` is a document to send as the body, `form` the fields of a form. `headers` are added to the headers
    that the request has anyway, or replace those of the same name.
    """

    method: str = "GET"
    path: str = "/"
    body: Literal["json", "broken-json", "broken-gzip", "form", "image"] | None = None
    bytes: int = 0
    raw: str | None = None
    headers: dict[str, str] = {}
    chunked: bool = False
    json: Any = None
    form: dict[str, str] = {}


class Login(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A request that logs a client in, once per worker, before anything is counted.

    Its answer is one of `expect`. Each request of the scenario sends its cookies back. If `token` names a
    field of its JSON answer, that field is sent as a bearer token.
    """

    request: Request
    expect: tuple[Answer, ...] = ("2xx", "3xx")
    token: str = ""


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One kind of traffic with its expected answer, as `loadtests/` defines it.

    `then` are further requests of the same exchange. `app` is the reference app that serves it (empty: the
    framework's main app), over TLS with `tls`. It makes sense for `frameworks` and over `connections` (empty:
    all). It needs a release that satisfies the specifier `releases`, and `packages` beside the framework.
    `statistical` says why its counts do not repeat exactly, or is None if they do. `development`: services in
    production do not meet such traffic, so it does not affect the verdict. `login` comes before it. `expect`
    has answers as `Client.send` returns them; `2xx` and `400-404` stand for several statuses.
    """

    name: str
    summary: str
    request: Request
    expect: tuple[Answer, ...]
    client: Client | Annotated[tuple[ClientStep, ...], msgspec.Meta(min_length=1)] = "complete"
    then: tuple[Request, ...] = ()
    app: str = ""
    frameworks: tuple[str, ...] = ()
    connections: Connections = ()
    releases: str = ""
    packages: tuple[str, ...] = ()
    tls: Tls = False
    statistical: str | None = None
    development: bool = False
    login: Login | None = None

    @property
    def steps(self) -> tuple[ClientStep, ...]:
        """The steps of the client in one exchange."""
        return CLIENTS[self.client] if isinstance(self.client, str) else self.client

    def messages(self, connection: Connection) -> tuple[bytes, ...]:
        """Return the bytes of each request in one exchange, head and body."""
        return tuple(encoded(request, connection) for request in (self.request, *self.then))

    @property
    def ordinary(self) -> bool:
        """Whether any HTTP client would send it: complete, well-formed, and waiting for the answer."""
        return self.client == "complete" and self.request.raw is None

    @property
    def fails(self) -> bool:
        """Whether its requests can fail: some expected answer is not a success."""
        return not all(RANGE.fullmatch(answer) and answer < "4" for answer in self.expect)

    def expects(self, answer: Answer) -> bool:
        """Return whether an answer is right."""
        return expected(self.expect, answer)

    def message(self, connection: Connection) -> bytes:
        """Return the bytes of the first request, head and body."""
        return encoded(self.request, connection)

    def cut(self, connection: Connection) -> bytes:
        """Return the first request's head and the first half of its body."""
        head, blank, body = self.message(connection).partition(b"\r\n\r\n")
        return head + blank + body[: len(body) // 2]

    def about(self, framework: str) -> bool:
        """Return whether it makes sense for `framework`."""
        return not self.frameworks or framework in self.frameworks

    def over(self, connection: Connection) -> bool:
        """Return whether it makes sense over this kind of connection."""
        return not self.connections or connection in self.connections

    def lacks(self, framework: str, release: str, packages: Container[str]) -> str | None:
        """Return why a stack with these packages cannot serve it, or None if it can."""
        if not SpecifierSet(self.releases).contains(release, prereleases=True):
            return f"needs {framework} {self.releases}"
        missing = [name for name in self.packages if name not in packages]
        if missing:
            pins = ",".join(f"{name}==VERSION" for name in missing)
            return f"needs {', '.join(missing)}: name a version, as in {framework}=={release},{pins}"
        return None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of scenarios; its other keys are defaults for all of them."""

    scenario: tuple[Scenario, ...]
    app: str = ""
    frameworks: tuple[str, ...] = ()
    connections: Connections = ()


def expected(answers: Sequence[Answer], answer: Answer) -> bool:
    """Return whether `answer` is one of `answers`, which can also be ranges of statuses."""
    for right in answers:
        low, _, high = right.replace("xx", "00").partition("-")
        high = f"{right[0]}99" if right.endswith("xx") else high
        if answer == right or (high and answer.isdigit() and low <= answer <= high):
            return True
    return False


def fault(scenario: Scenario) -> str | None:
    """Return why no client can send a scenario or see what it expects, or None if one can."""
    requests = (scenario.request, *scenario.then, *((scenario.login.request,) if scenario.login else ()))
    faults = [*_unseen(scenario.expect), *(text for request in requests for text in _unsendable(request))]
    return f"scenario {one_line(scenario.name)}: {faults[0]}" if faults else None


def _unseen(answers: Sequence[Answer]) -> Iterator[str]:
    if not answers:
        yield "expect: there is no answer"
    for answer in answers:
        if not all(map(SEEN.fullmatch, answer.split(" "))):
            forms = "a status (404, 4xx, 400-404), aborted, closed, refused or silent"
            yield f"expect {one_line(answer)!r}: an answer is {forms}"


def _unsendable(request: Request) -> Iterator[str]:
    if request.raw is not None:
        return
    if not TOKEN.fullmatch(request.method):
        yield f"{one_line(request.method)!r} is no method"
    if not PATH.fullmatch(request.path):
        path = one_line(request.path)
        yield f"path {path!r}: it starts with /, and spaces and all but ASCII are quoted (%20)"
    for name, value in request.headers.items():
        if not TOKEN.fullmatch(name) or not VALUE.fullmatch(value):
            yield f"{one_line(f'{name}: {value}')!r} is no header"


def load(path: Path) -> tuple[Scenario, ...]:
    """Return the scenarios that the TOML file `path` defines, in its order.

    Raises UsageError if the file does not have the form that docs/paths.md describes.
    """
    try:
        return _decoded(read_bytes(path))
    except (OSError, UnicodeDecodeError, msgspec.DecodeError, InvalidSpecifier) as error:
        raise UsageError(f"{path}: not a scenario file: {error}") from None


@functools.cache  # a command asks for its scenarios several times, and TOML is slow to read
def _decoded(data: bytes) -> tuple[Scenario, ...]:
    file = decode_toml(data, _File)
    for scenario in file.scenario:
        SpecifierSet(scenario.releases)
        if wrong := fault(scenario):
            raise msgspec.ValidationError(wrong)
    return tuple(
        msgspec.structs.replace(
            scenario,
            app=scenario.app or file.app,
            frameworks=scenario.frameworks or file.frameworks,
            connections=scenario.connections or file.connections,
        )
        for scenario in file.scenario
    )


def load_set(path: Path, chosen: Set) -> tuple[Scenario, ...]:
    """Return a set of scenarios: `path` is the file of the default set, and the extended set is beside it.

    Raises UsageError as `load` does, and if two scenarios have the same name.
    """
    default = load(path) if chosen != "extended" else ()
    files = sorted((path.parent / "extended").glob("*.toml")) if chosen != "default" else []
    scenarios = (*default, *(scenario for file in files for scenario in load(file)))
    names = [scenario.name for scenario in scenarios]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise UsageError(f"{path.parent}: two scenarios have the same name: {', '.join(sorted(repeated))}")
    return scenarios


def select(scenarios: Sequence[Scenario], patterns: Sequence[str]) -> tuple[Scenario, ...]:
    """Return the scenarios whose names match one of the shell-style `patterns`; all without patterns.

    Raises UsageError for a pattern that matches nothing, with the nearest names.
    """
    for pattern in patterns:
        if not any(fnmatchcase(scenario.name, pattern) for scenario in scenarios):
            names = (scenario.name for scenario in scenarios)
            raise UsageError(f"no scenario {pattern!r}; try {nearest(pattern, names)}")
    if not patterns:
        return tuple(scenarios)
    return tuple(s for s in scenarios if any(fnmatchcase(s.name, pattern) for pattern in patterns))


def find(path: Path, patterns: Sequence[str], chosen: Set | None = None) -> tuple[Scenario, ...]:
    """Return the scenarios of a set that match `patterns`, as `select` does.

    Without a set, a pattern selects from the default set or, if it matches nothing there, from all scenarios.
    """
    if chosen or not patterns:
        return _of_set(path, chosen or "default", patterns)
    default, every = load_set(path, "default"), load_set(path, "all")
    names: set[str] = set()
    for pattern in patterns:
        matching = [s.name for s in default if fnmatchcase(s.name, pattern)]
        names.update(matching or (s.name for s in select(every, [pattern])))
    return tuple(s for s in every if s.name in names)


def _of_set(path: Path, chosen: Set, patterns: Sequence[str]) -> tuple[Scenario, ...]:
    """Do as `select` does, within one set. A UsageError says which scenarios are in the other."""
    chosen_scenarios = load_set(path, chosen)
    try:
        return select(chosen_scenarios, patterns)
    except UsageError:
        absent = [s.name for s in select(load_set(path, "all"), patterns) if s not in chosen_scenarios]
        raise UsageError(
            f"--set {chosen} is without {', '.join(absent)}: --set all has every scenario"
        ) from None


def encoded(request: Request, connection: Connection) -> bytes:
    """Return the bytes of one whole request, head and body."""
    if request.raw is not None:
        return request.raw.encode("latin-1")
    body, content_type = _body(request)
    fields = {"Host": "localhost", "Connection": asked_for(connection)}
    if body:
        fields["Content-Type"] = content_type
        fields |= {"Transfer-Encoding": "chunked"} if request.chunked else {"Content-Length": str(len(body))}
    if request.body == "broken-gzip":
        fields["Content-Encoding"] = "gzip"
    lines = [f"{request.method} {request.path} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in (fields | request.headers).items()]
    return "\r\n".join([*lines, "", ""]).encode() + (_in_chunks(body) if request.chunked else body)


def _body(request: Request) -> tuple[bytes, str]:
    if request.json is not None:
        return msgspec.json.encode(request.json), JSON
    if request.form:
        return urlencode(request.form).encode(), FORM
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
    return BODIES[request.body] if request.body else (b"", "")


def _in_chunks(body: bytes) -> bytes:
    size = -(-len(body) // CHUNKS)
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
