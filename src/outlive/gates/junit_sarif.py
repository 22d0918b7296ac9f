"""The gate's verdict for machines: JUnit XML and SARIF 2.1.0."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from xml.etree import ElementTree as ET

import msgspec

from outlive import __version__
from outlive.files import JsonDocument
from outlive.gates.judge import Judged
from outlive.gates.run import Gate
from outlive.gates.text import notable, proved, replayed, reproduce, subject, types
from outlive.wording import one_line

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
ELEMENTS = {"over": "failure", "under": "failure", "failed": "error", "inconclusive": "error"}
RULES = {
    "over": "A cell leaves more objects than its limit",
    "under": "A cell leaves less than its limit: lock the improvement in",
    "failed": "A cell could not be measured",
    "inconclusive": "A count did not repeat",
    "expired": "A limit has expired",
    "unused": "A limit applies to nothing",
    "proof": "The gate could not prove that it sees a leak",
}


def junit(gates: Sequence[Gate]) -> str:
    """Return JUnit XML: one suite a run, one case for each scenario x connection x gc, proofs first."""
    root = ET.Element("testsuites", name="outlive gate")
    for gate in gates:
        suite = ET.SubElement(root, "testsuite", name=subject(gate))
        for name, (element, message, text) in _cases(gate):
            case = ET.SubElement(suite, "testcase", classname=f"outlive.{gate.stack.framework}", name=name)
            if element:
                ET.SubElement(case, element, message=one_line(message)).text = text
        for kind in ("failure", "error", "skipped"):
            count = len(suite.findall(f"testcase/{kind}"))
            suite.set("skipped" if kind == "skipped" else f"{kind}s", str(count))
        suite.set("tests", str(len(suite.findall("testcase"))))
    ET.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _cases(gate: Gate) -> Iterator[tuple[str, tuple[str, str, str]]]:
    """Yield (name, (failing element or "", message, text)) for each case."""
    for control in gate.controls:
        yield (
            f"proof x {control.connection} x {gate.gc}",
            (("error", control.fault, proved(gate)) if control.fault else ("", "", "")),
        )
    if gate.replayed:
        element = "" if gate.replayed.over else "error"
        yield f"prove {gate.replayed.stack}", (element, replayed(gate.replayed), "")
    for cell in gate.cells:
        m = cell.measurement
        element = "skipped" if cell.outcome == "unsupported" else ELEMENTS.get(cell.outcome, "")
        yield f"{m.scenario} x {m.connection} x {m.gc}", (element, cell.what, _detail(gate, cell))
    for entry in gate.stale:
        yield f"limit of {entry.about}", ("failure", entry.what, entry.advice)


def _detail(gate: Gate, cell: Judged) -> str:
    why = f"why the limit is there: {cell.why}" if cell.why else ""
    return "\n".join(filter(None, [types(cell), why, cell.advice, reproduce(gate, cell)]))


class _Text(msgspec.Struct, frozen=True):
    text: str


class _Rule(msgspec.Struct, frozen=True, rename="camel"):
    id: str
    short_description: _Text


class _Driver(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    version: str
    rules: tuple[_Rule, ...]


class _Tool(msgspec.Struct, frozen=True):
    driver: _Driver


class _Artifact(msgspec.Struct, frozen=True):
    uri: str


class _Region(msgspec.Struct, frozen=True, rename="camel"):
    start_line: int


class _Physical(msgspec.Struct, frozen=True, rename="camel"):
    artifact_location: _Artifact
    region: _Region


class _Location(msgspec.Struct, frozen=True, rename="camel"):
    physical_location: _Physical


class _Result(msgspec.Struct, frozen=True, rename="camel"):
    rule_id: str
    level: str
    message: _Text
    locations: tuple[_Location, ...]
    partial_fingerprints: dict[str, str]


class _Automation(msgspec.Struct, frozen=True):
    id: str


class _Run(msgspec.Struct, frozen=True, rename="camel"):
    tool: _Tool
    automation_details: _Automation
    results: tuple[_Result, ...]


class _Sarif(JsonDocument, frozen=True):
    schema: str = msgspec.field(name="$schema")
    version: str
    runs: tuple[_Run, ...]


def sarif(gates: Sequence[Gate]) -> str:
    """Return SARIF 2.1.0, one run for each release, Python and gc policy.

    A result's fingerprint is made from the cell and the rule: it stays the same when numbers, releases, lines
    or machines change. So does a run's category, within which GitHub closes results that are no longer found;
    but several releases in one file need one category each.
    """
    rules = tuple(_Rule(name, _Text(text)) for name, text in RULES.items())
    tool = _Tool(_Driver("outlive", __version__, rules))
    end = "/" if len(gates) > 1 else ""
    runs = tuple(_Run(tool, _Automation(_category(gate) + end), tuple(_results(gate))) for gate in gates)
    return _Sarif(schema=SCHEMA, version="2.1.0", runs=runs).to_json()


def _category(gate: Gate) -> str:
    """Return the category; by the standard, what follows the last slash only names the run."""
    stack = gate.stack
    load = "load/" if gate.load else ""
    return f"outlive-gate/{stack.framework}/py{stack.python}/gc-{gate.gc}/{load}{stack.release}"


def _results(gate: Gate) -> Iterator[_Result]:
    framework = gate.stack.framework
    unproved: list[tuple[str, str]] = [(c.connection, c.fault) for c in gate.controls if c.fault]
    if gate.replayed and not gate.replayed.over:
        unproved.append(("replay", replayed(gate.replayed)))
    for name, fault in unproved:
        identity = (framework, name, gate.gc)
        yield _result(gate, "proof", level="error", message=fault, line=1, identity=identity)
    for cell in notable(gate):
        m = cell.measurement
        where = f"{m.scenario}, {m.connection}, gc {m.gc}"
        left = f" Left: {types(cell)}." if types(cell) else ""
        why = f" Why the limit is there: {cell.why}." if cell.why else ""
        said = f"{where}: {cell.what}.{left}{why} Next: {cell.advice}. Again: {reproduce(gate, cell)}"
        level = "error" if cell.outcome == "over" else "warning"
        line = cell.place.line if cell.place else 1
        yield _result(
            gate,
            cell.outcome,
            level=level,
            message=said,
            line=line,
            identity=(framework, m.scenario, m.connection, m.gc),
        )
    for entry in gate.stale:
        said = f"{entry.what}. Next: {entry.advice}"
        yield _result(
            gate,
            entry.kind,
            level="warning",
            message=said,
            line=entry.place.line,
            identity=(framework, entry.about),
        )


def _result(
    gate: Gate, rule: str, *, level: str, message: str, line: int, identity: Sequence[str]
) -> _Result:
    digest = hashlib.sha256("\0".join([rule, *identity]).encode()).hexdigest()[:16]
    place = _Physical(_Artifact(gate.limits), _Region(line))
    return _Result(rule, level, _Text(message), (_Location(place),), {"outlive/v1": digest})
