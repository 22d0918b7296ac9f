"""Accepts the measured counts as new limits, grouped so that the file stays short. Pure.

Limits that match the measurements, or that are for other cells, do not change. Where a count changed, the old
limit is narrowed to the other releases that it was for, and the new one inherits its reason.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

import msgspec
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from outlive.files import toml_key, toml_value
from outlive.gates.judge import fits, leaks_memory, objects, residue
from outlive.gates.limits import HEAD, HEADER, Limit, Limits, exact, parse, policy
from outlive.records.measurement import CONNECTIONS, Connection, Measurement
from outlive.records.stack import KNOWN
from outlive.service.scenarios import Scenario

REVIEW_AFTER = dt.timedelta(days=365)
"""Time until an accepted limit expires: a year is enough to fix it upstream, but not a permanent excuse."""

Where = tuple[Connection, str]
Counts = tuple[float, float, bool]


class Atom(msgspec.Struct, frozen=True, kw_only=True):
    """A limit for one scenario over one connection on one Python; `entry` holds the other fields."""

    entry: Limit
    connection: Connection
    python: str
    scenario: str
    objects: float
    residue: float
    memory: bool

    @property
    def where(self) -> Where:
        """Its connection and Python."""
        return self.connection, self.python


def accept(
    limits: Limits,
    measurements: Sequence[Measurement],
    releases: Sequence[str],
    scenarios: Sequence[Scenario],
    today: dt.date,
) -> Limits:
    """Return limits that these measurements, all of one framework, satisfy.

    `releases` are all versions of the framework, `scenarios` all that exist.
    """
    for measurement in measurements:
        if measurement.status == "measured":
            limits = _accepted(limits, measurement, releases, scenarios, today)
    return limits


def _accepted(
    limits: Limits, m: Measurement, releases: Sequence[str], scenarios: Sequence[Scenario], today: dt.date
) -> Limits:
    covering = [
        entry
        for entry in limits.entries
        if entry.about(m) and any(fnmatchcase(m.scenario, pattern) for pattern in entry.patterns)
    ]
    fresh = all(entry.expires >= today and entry.covers(m) for entry in covering)
    if fresh and fits(limits.allowed(m), m):
        return limits
    unchanged = [entry for entry in limits.entries if entry not in covering]
    simple = [entry for entry in unchanged if _is_simple(entry)]
    atoms = [atom for entry in [*simple, *covering] for atom in _atoms(entry, scenarios)]
    replaced = [atom for atom in atoms if _is_about(atom, m)]
    atoms = [atom for atom in atoms if atom not in replaced]
    atoms += [narrowed for atom in replaced for narrowed in _narrowed(atom, m.release, releases)]
    if objects(m) or residue(m) or leaks_memory(m):
        atoms.append(_measured(m, replaced, releases, today))
    entries = [*(entry for entry in unchanged if not _is_simple(entry)), *_grouped(atoms)]
    return parse(render(m.framework, entries), limits.path, scenarios)


def _is_simple(entry: Limit) -> bool:
    """Return whether an entry can be split into atoms and regrouped without loss."""
    return bool(entry.pythons) and not any(set("*?[") & set(pattern) for pattern in entry.patterns)


def _is_about(atom: Atom, m: Measurement) -> bool:
    return (
        atom.where == (m.connection, m.python)
        and atom.scenario == m.scenario
        and atom.entry.gc == policy(m)
        and atom.entry.holds_for(m.release, m.python)
    )


def _atoms(entry: Limit, scenarios: Sequence[Scenario]) -> Iterator[Atom]:
    for name in (scenario.name for scenario in scenarios):
        counts, residues = (
            [count for pattern, count in table.items() if fnmatchcase(name, pattern)]
            for table in (entry.objects, entry.per_connection)
        )
        memory = any(fnmatchcase(name, pattern) for pattern in entry.memory)
        for connection in entry.connections if counts or residues or memory else ():
            for python in entry.pythons or KNOWN:
                yield Atom(
                    entry=entry,
                    connection=connection,
                    python=python,
                    scenario=name,
                    objects=counts[0] if counts else 0.0,
                    residue=residues[0] if residues else 0.0,
                    memory=memory,
                )


def _narrowed(atom: Atom, release: str, releases: Sequence[str]) -> Iterator[Atom]:
    """Yield `atom` narrowed to the releases before the accepted one, or other than it, if any exist."""
    public = Version(release).public
    bound = f"<{public}" if _is_newest(release, releases) else f"!={public}"
    specifier = ",".join(filter(None, [atom.entry.releases, bound]))
    if any(SpecifierSet(specifier).contains(version, prereleases=True) for version in releases):
        entry = msgspec.structs.replace(atom.entry, releases=specifier)
        yield msgspec.structs.replace(atom, entry=entry)


def _measured(m: Measurement, replaced: Sequence[Atom], releases: Sequence[str], today: dt.date) -> Atom:
    old = replaced[0].entry if replaced else None
    operator = ">=" if _is_newest(m.release, releases) else "=="
    entry = Limit(
        gc=policy(m),
        releases=f"{operator}{Version(m.release).public}",
        type=old.type if old and old.covers(m) else None,
        fingerprint=old.fingerprint if old and old.covers(m) else None,
        reason=old.reason
        if old
        else f"as measured on {m.framework} {m.release}; explain here why it is acceptable",
        link=old.link if old else None,
        expires=today + REVIEW_AFTER,
    )
    return Atom(
        entry=entry,
        connection=m.connection,
        python=m.python,
        scenario=m.scenario,
        objects=objects(m),
        residue=residue(m) or 0.0,
        memory=leaks_memory(m),
    )


def _is_newest(release: str, releases: Sequence[str]) -> bool:
    stable = [version for version in map(Version, releases) if not version.is_prerelease]
    return all(Version(release) >= version for version in stable)


def _grouped(atoms: Iterable[Atom]) -> list[Limit]:
    """Return the atoms as a few entries: counts for the same connections and Pythons share one."""
    wheres: dict[tuple[bytes, str, Counts], set[Where]] = defaultdict(set)
    frames: dict[bytes, Limit] = {}
    for atom in atoms:
        bare = msgspec.structs.replace(
            atom.entry, connections=(), pythons=(), objects={}, per_connection={}, memory=()
        )
        key = msgspec.json.encode(bare)
        frames[key] = bare
        wheres[key, atom.scenario, (atom.objects, atom.residue, atom.memory)].add(atom.where)
    tables: dict[tuple[bytes, tuple[Connection, ...], tuple[str, ...]], dict[str, Counts]] = defaultdict(dict)
    for (frame, scenario, counts), where in sorted(wheres.items(), key=lambda item: item[0]):
        for connections, pythons in _products(where):
            tables[frame, connections, pythons][scenario] = counts
    return [
        msgspec.structs.replace(
            frames[frame],
            connections=connections,
            pythons=pythons,
            objects={scenario: count for scenario, (count, _, _) in rows.items() if count},
            per_connection={scenario: residue for scenario, (_, residue, _) in rows.items() if residue},
            memory=tuple(scenario for scenario, (_, _, memory) in rows.items() if memory),
        )
        for (frame, connections, pythons), rows in tables.items()
    ]


def _products(where: set[Where]) -> Iterator[tuple[tuple[Connection, ...], tuple[str, ...]]]:
    """Yield pairs of connections and Pythons whose products together are `where`."""
    by_connections: dict[tuple[Connection, ...], list[str]] = defaultdict(list)
    for python in sorted({python for _, python in where}, key=lambda name: (len(name), name)):
        connections = tuple(connection for connection in CONNECTIONS if (connection, python) in where)
        if connections:
            by_connections[connections].append(python)
    yield from ((connections, tuple(pythons)) for connections, pythons in by_connections.items())


def render(framework: str, entries: Iterable[Limit]) -> str:
    """Return the text of a limits file; it does not depend on the order of the entries."""
    return "\n".join([HEAD.format(framework=framework), *map(_entry, sorted(entries, key=_order))])


def _order(entry: Limit) -> tuple[object, ...]:
    minors = tuple(int(python.removeprefix("3.")) for python in entry.pythons)
    return (
        entry.gc != "off",
        entry.releases,
        minors,
        -len(entry.connections),
        entry.connections,
        _entry(entry),
    )


def _entry(entry: Limit) -> str:
    lines = [HEADER, f'gc = "{entry.gc}"', f"connections = {toml_value(entry.connections)}"]
    if entry.pythons:
        lines.append(f"pythons = {toml_value(entry.pythons)}")
    texts = {name: getattr(entry, name) for name in ("releases", "type", "fingerprint", "reason", "link")}
    lines += [f"{name} = {toml_value(text)}" for name, text in texts.items() if text]
    lines.append(f"expires = {entry.expires}")
    if entry.memory:
        lines.append(f"memory = {toml_value(sorted(entry.memory))}")
    for name, table in (("objects", entry.objects), ("per_connection", entry.per_connection)):
        if table:
            lines += ["", f"[limits.{name}]"]
            lines += [f"{toml_key(scenario)} = {exact(count)}" for scenario, count in sorted(table.items())]
    return "\n".join([*lines, ""])
