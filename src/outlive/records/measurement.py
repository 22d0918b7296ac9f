"""The records that cross module borders and are stored: what was measured, on what, by what.

The JSON of a `Document` is public: `schema_version` changes when a field changes its meaning or goes away.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, Self, get_args

import msgspec

from outlive.files import SCHEMA_VERSION, with_checksum
from outlive.records.stack import Package
from outlive.wording import counted

Growth = Literal["none", "cyclic", "leak", "bounded"]
GROWING: tuple[Growth, ...] = ("cyclic", "leak")
Status = Literal["measured", "unsupported", "failed"]
Tool = Literal["tracemalloc", "objgraph", "gc-debug"]
Connection = Literal["keep-alive", "close", "client-close", "client-reset"]
CONNECTIONS: tuple[Connection, ...] = get_args(Connection)
Asked = Literal["keep-alive", "close"]
ASKED: tuple[Asked, ...] = get_args(Asked)
"""What a client asks the server for in its requests."""
USUAL_CONNECTIONS: tuple[Connection, ...] = ("keep-alive", "close", "client-close")
"""Those that are measured unless others, or the extended set, are asked for."""
GC_POLICIES = ("on", "off")
"""Those that are measured unless others are asked for; `outlive.records.gcpolicy` has all."""


def asked_for(connection: Connection) -> Asked:
    """Return what the client of such a connection asks the server for: one that closes it itself, nothing."""
    return "close" if connection == "close" else "keep-alive"


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """The raw readings of one phase: `requests` requests, a count, a full collection, a count.

    They went over `connections` connections (None: stored before these were counted).
    All are differences over the phase, except `fds` and `threads`, which are the state at its end.
    `survivors` is what the requests left (with gc on: including what automatic collections freed),
    `leaked` what is still there after the full collection. `blocks` and `heap` are taken before it,
    `blocks_kept` and `heap_kept` after it, in pymalloc blocks and bytes of C heap (None: not countable here).
    `held` is taken after it, too: how many more `files` (that are not sockets), `sockets`, `threads` and
    `tasks` (of asyncio, not done) there are, and `mapped`, bytes mapped by neither malloc nor pymalloc;
    without those that are as many as before.
    """

    requests: int
    survivors: int
    leaked: int
    blocks: int
    blocks_kept: int
    heap: int | None
    heap_kept: int | None
    rss: int | None
    fds: int | None
    threads: int
    connections: int | None = None
    held: dict[str, int] = {}


class Collector(msgspec.Struct, frozen=True, kw_only=True):
    """What the automatic collector did in a cell, without the full collections that the harness asks for."""

    collections_per_1000_requests: float
    pause_ms_per_1000_requests: float
    longest_pause_ms: float
    freed_per_request: float


class Leak(msgspec.Struct, frozen=True, kw_only=True):
    """A ring or path of references that keeps objects of a cell alive, as a sample of requests showed it.

    `trail` are its normalised steps, `suspect` is the link at fault, `package` where that is, and `python`
    tells whether this is the standard library. `objects_per_request` are those of the structure that it
    holds; where several rings hold one structure, each has all of them, and `further` are those that are
    left when the suspect links before them are cut.
    """

    fingerprint: str
    growth: Literal["cyclic", "leaked", "bounded"]
    package: str
    python: bool
    trail: str
    suspect: str
    objects_per_request: float
    further: bool = False


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """What one cell gave. Numbers are None unless `status` is `measured`; then `reason` is None.

    Objects are gc-tracked objects. `gc` is a policy as `outlive.records.gcpolicy` has it. With all but `off`,
    survivors and cyclic garbage are None (they are counted with automatic collection off), and blocks, heap
    and types are what is kept after full collections; `collector` says what the policy's own collections
    did. `…_per_request` is a slope over the phases. `…_per_connection` is what one connection leaves when
    its client closes it, beside what its requests leave: of `keep-alive` cells, None where each request has a
    connection of its own, whose residue is among what the request leaves. `intercept` is what a phase leaves
    that grows neither with requests nor with connections. `types` is objects per request by type name. `held`
    is what else grows, per request, by the names that a `Phase` has for it; None where it was not read, by
    older versions. A leak of one object for each `sensitivity` requests would have been seen. `leaks` say
    what keeps it alive where objects are left, and `fingerprints` are theirs;
    `unexplained` says why there are none. `answer` is what the scenario's verification saw, such as `404` or
    `aborted`. `remedy` is what was done to the app, None for the app as it is. `published` ones come with
    `outlive`, all others were measured by its user.
    """

    framework: str
    release: str
    python: str
    app_version: int
    scenario: str
    connection: Connection
    gc: str
    worker: str
    lock: str
    remedy: str | None = None
    status: Status
    reason: str | None = None
    requests: int = 0
    growth: Growth | None = None
    survivors_per_request: float | None = None
    cyclic_per_request: float | None = None
    leaked_per_request: float | None = None
    survivors_per_connection: float | None = None
    cyclic_per_connection: float | None = None
    leaked_per_connection: float | None = None
    intercept: float | None = None
    blocks_per_request: float | None = None
    heap_bytes_per_request: float | None = None
    peak_rss_bytes: int | None = None
    types: dict[str, float] = {}
    held: dict[str, float] | None = None
    sensitivity: int = 105
    fingerprints: tuple[str, ...] = ()
    leaks: tuple[Leak, ...] = ()
    unexplained: str | None = None
    answer: str | None = None
    collector: Collector | None = None
    phases: tuple[Phase, ...] = ()
    published: bool = False

    @property
    def explained(self) -> bool:
        """Whether it is known what keeps alive what the cell leaves, or why that is not known."""
        return self.growth not in GROWING or bool(self.leaks or self.unexplained)


def origin(published: Iterable[object], noun: str = "measurement") -> str:
    """Return in a sentence how many of some were made here and how many are published; `published` has each.

    It is empty where there are none.
    """
    each = [bool(one) for one in published]
    own = each.count(False)
    if not each:
        return ""
    if own in {0, len(each)}:
        return f"All {noun}s were made here." if own else f"All {noun}s are published ones."
    return f"{counted(own, noun)} of {len(each)} made here, the others are published."


class ToolReading(msgspec.Struct, frozen=True, kw_only=True):
    """What a tool says of a scenario, per request; `outlive` is the probe itself.

    `objects` are those that it reports, `blocks` and `bytes` are of memory; None for what it does not tell.
    `grown` are types with objects, for tracemalloc lines with bytes, most first. `serving` is how
    many times as long the requests took as without a tool, `total` the same with looking at the end: medians
    of the rounds.
    """

    tool: str
    scenario: str
    connection: Connection
    requests: int
    objects: float | None
    blocks: float | None
    bytes: float | None
    grown: dict[str, float]
    serving: float
    total: float


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where it ran."""

    system: str
    kernel: str
    architecture: str
    libc: str
    cpus: int


class PythonRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An interpreter: its full version (`3.11.7`; `t` at its end: free-threaded), build and compiler.

    `self_checked`: the probe was not tried on it, but saw all that was planted in it.
    """

    version: str
    build: str = ""
    compiler: str = ""
    self_checked: bool = False


class StackRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A stack as it was really installed. `lock` is the first 12 hex digits of the lock's SHA-256.

    `python` is as much of its version as it was asked for by; `interpreters` are those it was measured on.
    """

    framework: str
    release: str
    python: str
    lock: str
    packages: tuple[Package, ...]
    interpreters: tuple[PythonRecord, ...] = ()

    @property
    def released(self) -> bool:
        """Whether all its packages are releases: no version of one has a local part."""
        return not any("+" in package.version for package in self.packages)


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """By what, when (UTC, ISO 8601) and on what the measurements were made."""

    outlive: str
    counting: int
    created: str
    machine: Machine
    stacks: tuple[StackRecord, ...]


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """One JSON document of measurements. `tools` is what tools said that were attached, if any were."""

    schema_version: int = SCHEMA_VERSION
    provenance: Provenance
    measurements: tuple[Measurement, ...]
    tools: tuple[ToolReading, ...] = ()

    def to_json(self) -> bytes:
        """Return the document as UTF-8 JSON, one measurement a line, so that a change is a diff to read."""
        encode = msgspec.json.encode
        head = b'{"schema_version":%d,\n"provenance":%s,\n"measurements":[\n'
        lines = b",\n".join(encode(measurement) for measurement in self.measurements)
        tools = b',\n"tools":[\n' + b",\n".join(map(encode, self.tools)) + b"\n]" if self.tools else b""
        document = head % (self.schema_version, encode(self.provenance)) + lines + b"\n]" + tools + b"}\n"
        return with_checksum(document)


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a `Document`."""
    return msgspec.json.schema(Document)


class Cell(msgspec.Struct, frozen=True, order=True):
    """One scenario over one kind of connection with one gc policy."""

    scenario: str
    connection: Connection
    gc: str

    @classmethod
    def of(cls, measurement: Measurement) -> Self:
        """Return the cell that was measured."""
        return cls(measurement.scenario, measurement.connection, measurement.gc)

    @property
    def uncollected(self) -> Self:
        """The same cell with gc off."""
        return msgspec.structs.replace(self, gc="off")
