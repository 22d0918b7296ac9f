"""Measurements of the exact replay, and their provenance: on what stack, by what, when.

The JSON of a `Document` is public: `schema_version` changes if a field changes its meaning or goes away.
A history has tens of thousands of records, which hold no cycles: with `gc=False` the collector skips them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Self, get_args

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
"""The connections that are measured by default; the extended set has all."""
GC_POLICIES = ("on", "off")
"""The policies that are measured by default; see `outlive.records.gcpolicy`."""


def asked_for(connection: Connection) -> Asked:
    """Return what the client asks the server for; if it closes the connection itself, that is keep-alive."""
    return "close" if connection == "close" else "keep-alive"


class Phase(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The raw readings of one phase: `requests` requests, a count, a full collection, another count.

    The requests used `connections` connections (None: stored before connections were counted). All numbers
    are changes over the phase, except `fds` and `threads`, which are the state at its end, and `rss`, in
    bytes. `survivors` is the number of objects that the requests left (with gc on, including those that
    automatic collections freed), `leaked` of those still there after the full collection. `blocks`
    (pymalloc's) and `heap` (bytes of C heap; None: not available here) are read before that collection,
    `blocks_kept` and `heap_kept` after it. So is `held`: the change of `files` (without sockets), `sockets`,
    `threads`, `processes` (children; those that ended count until they are waited for), `tasks` (of asyncio,
    unfinished) and `mapped` (bytes mapped by neither malloc nor pymalloc), without zeros.
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
    """What the automatic collector did in a cell, without the full collections that the harness runs."""

    collections_per_1000_requests: float
    pause_ms_per_1000_requests: float
    longest_pause_ms: float
    freed_per_request: float


class Leak(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A ring or path of references that keeps objects of a cell alive, seen in a sample of requests.

    `trail` is its normalised steps, `suspect` the link at fault, `package` the package of that link, and
    `python` says whether that is the standard library. `objects_per_request` counts the structure that it
    holds. If several rings hold the same structure, each has the whole count, and `further` marks the rings
    that would remain if the suspect links before them were cut.
    """

    fingerprint: str
    growth: Literal["cyclic", "leaked", "bounded"]
    package: str
    python: bool
    trail: str
    suspect: str
    objects_per_request: float
    further: bool = False


class Measurement(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The result of one cell. Numbers are None unless `status` is `measured`; `reason` says why it is not.

    Objects are gc-tracked objects. `gc` is a policy, see `outlive.records.gcpolicy`. Under every policy but
    `off`, survivors and cyclic garbage are None (they are counted with automatic collection off), blocks,
    heap and types are what is left after full collections, and `collector` is what the policy's own
    collections did. `…_per_request` is a slope over the phases. `…_per_connection` is what a connection
    leaves when its client closes it, in addition to what its requests leave; only `keep-alive` cells have it,
    because elsewhere each request has a connection of its own and includes its residue. `intercept` is what a
    phase leaves that grows with neither requests nor connections. `types` is objects per request by type
    name. `held` is the growth of other resources per request, by their names in `Phase`; None if an older
    version measured the cell and did not read them. A leak of one object in `sensitivity` requests would have
    been seen. `leaks` explains what keeps objects alive, `fingerprints` are their fingerprints, and
    `unexplained` says why there are none. `answer` is the answer that was verified, such as `404` or
    `aborted`. `unimported` are the packages of the stack that the worker never imported, None if an older
    version did not record them. `sent` tells apart what scenarios of one name send, and how an application of
    a user's own was served; None if an older version did not record it. `remedy` is the change to the app,
    None for the app as it is. `published` results come with `outlive`; all others were measured by the user.
    `origin` is where a worker of a scheduler measured it, None for the machine that the document names.
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
    sent: str | None = None
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
    unimported: tuple[str, ...] | None = None
    collector: Collector | None = None
    phases: tuple[Phase, ...] = ()
    published: bool = False
    origin: Origin | None = None

    @property
    def host(self) -> str:
        """The identity of the machine that measured it, empty for the machine that the document names."""
        return self.origin.host if self.origin else ""

    @property
    def explained(self) -> bool:
        """Whether the cell leaves nothing, or says what keeps it alive or why that is not known."""
        return self.growth not in GROWING or bool(self.leaks or self.unexplained)


def origin(published: Iterable[object], noun: str = "measurement") -> str:
    """Return a sentence that says how many results were made here and how many are published.

    `published` has a true value for each published result, a false one for each other. Without results the
    sentence is empty.
    """
    flags = list(map(bool, published))
    own = flags.count(False)
    if not flags:
        return ""
    if own in {0, len(flags)}:
        return f"All {noun}s were made here." if own else f"All {noun}s are published."
    return f"{counted(own, noun)} of {len(flags)} made here, the others are published."


def never_imported(packages: Iterable[str], measurements: Iterable[Measurement]) -> tuple[str, ...]:
    """Return those of `packages` that were imported in none of the measurements, as far as that is known."""
    sets = [set(measurement.unimported) for measurement in measurements if measurement.unimported is not None]
    return tuple(name for name in packages if sets and all(name in unimported for unimported in sets))


class ToolReading(msgspec.Struct, frozen=True, kw_only=True):
    """What a tool reports for a scenario, per request; the tool `outlive` is the probe itself.

    `objects`, and `blocks` and `bytes` of memory, are None if the tool does not report them. `grown` is
    objects by type, for tracemalloc bytes by line, most first. `serving` is the time that the requests took
    as a multiple of the time without a tool, `total` the same including the tool's final look; both are
    medians over the rounds.
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
    """The machine on which it ran."""

    system: str
    kernel: str
    architecture: str
    libc: str
    cpus: int


class PythonRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An interpreter: its full version (`3.11.7`; a `t` at the end: free-threaded), build and compiler.

    `self_checked`: the probe was not tested on this version, but saw everything that was planted in it.
    """

    version: str
    build: str = ""
    compiler: str = ""
    self_checked: bool = False


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """The machine and interpreter of a worker that measured a cell; `host` identifies the machine."""

    host: str
    machine: Machine
    interpreter: PythonRecord


class StackRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A stack as it was really installed. `lock` is the first 12 hex digits of the lock's SHA-256.

    `python` is the version as it was asked for; `interpreters` are those on which it was measured.
    `practice` is what was done to the app, None for the app as it is.
    """

    framework: str
    release: str
    python: str
    lock: str
    packages: tuple[Package, ...]
    interpreters: tuple[PythonRecord, ...] = ()
    practice: str | None = None

    @property
    def released(self) -> bool:
        """Whether all its packages are releases, none of them with a local version."""
        return not any("+" in package.version for package in self.packages)


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """By which version of `outlive`, when (`created`, UTC, ISO 8601) and on what it was measured.

    `counting` is the version of the counting rules.
    """

    outlive: str
    counting: int
    created: str
    machine: Machine
    stacks: tuple[StackRecord, ...]


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """One JSON document of measurements; `tools` has the readings of other tools, if any were attached."""

    schema_version: int = SCHEMA_VERSION
    provenance: Provenance
    measurements: tuple[Measurement, ...]
    tools: tuple[ToolReading, ...] = ()

    def to_json(self) -> bytes:
        """Return the document as UTF-8 JSON, one measurement a line, so that diffs are readable."""
        encode = msgspec.json.encode
        head = b'{"schema_version":%d,\n"provenance":%s,\n"measurements":[\n'
        lines = b",\n".join(encode(measurement) for measurement in self.measurements)
        tools = b',\n"tools":[\n' + b",\n".join(map(encode, self.tools)) + b"\n]" if self.tools else b""
        document = head % (self.schema_version, encode(self.provenance)) + lines + b"\n]" + tools + b"}\n"
        return with_checksum(document)


class Cell(msgspec.Struct, frozen=True, order=True):
    """One scenario over one kind of connection with one gc policy."""

    scenario: str
    connection: Connection
    gc: str

    @classmethod
    def of(cls, result: Measurement | Cell) -> Self:
        """Return the cell of a measurement, or of a record that adds to a cell."""
        return cls(result.scenario, result.connection, result.gc)

    @property
    def uncollected(self) -> Self:
        """The same cell with gc off."""
        return msgspec.structs.replace(self, gc="off")
