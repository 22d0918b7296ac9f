"""The gate's verdict for machines: JUnit XML and SARIF 2.1.0."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from xml.etree import ElementTree as ET

from outlive import __version__
from outlive.gates.judge import JudgedCell
from outlive.gates.run import Gate
from outlive.gates.text import notable, proved, replayed, reproduce, subject, types
from outlive.wording import one_line

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
ELEMENTS = {
    "over": "failure",
    "under": "failure",
    "failed": "error",
    "inconclusive": "error",
    "unsupported": "skipped",
}
RULES = {
    "over": "A cell leaves more than its limit allows",
    "under": "A cell leaves less than its limit: lock the improvement in",
    "failed": "A cell could not be measured",
    "inconclusive": "A count did not repeat",
    "expired": "A limit has expired",
    "unused": "A limit applies to nothing",
    "proof": "The gate could not prove that it detects a leak",
}


def junit(gates: Sequence[Gate]) -> str:
    """Return JUnit XML: one suite a run, one case for each scenario x connection x gc, proofs first."""
    root = ET.Element("testsuites", name="outlive gate")
    for gate in gates:
        suite = ET.SubElement(root, "testsuite", name=subject(gate))
        for name, element, message, text in _cases(gate):
            case = ET.SubElement(suite, "testcase", classname=f"outlive.{gate.stack.framework}", name=name)
            if element:
                ET.SubElement(case, element, message=one_line(message)).text = text
        for kind in ("failure", "error", "skipped"):
            count = len(suite.findall(f"testcase/{kind}"))
            suite.set("skipped" if kind == "skipped" else f"{kind}s", str(count))
        suite.set("tests", str(len(suite.findall("testcase"))))
    ET.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _cases(gate: Gate) -> Iterator[tuple[str, str, str, str]]:
    """Yield (name, failing element or "", message, text) for each case."""
    for control in gate.controls:
        element = "error" if control.fault else ""
        yield f"proof x {control.connection} x {gate.gc}", element, control.fault or "", proved(gate)
    if gate.replayed:
        element = "" if gate.replayed.over else "error"
        yield f"prove {gate.replayed.stack}", element, replayed(gate.replayed), ""
    for cell in gate.cells:
        m = cell.measurement
        element = ELEMENTS.get(cell.outcome, "")
        yield f"{m.scenario} x {m.connection} x {m.gc}", element, cell.what, _detail(gate, cell)
    for entry in gate.stale:
        yield f"limit of {entry.about}", "failure", entry.what, entry.advice


def _detail(gate: Gate, cell: JudgedCell) -> str:
    why = f"why the limit is there: {cell.why}" if cell.why else ""
    return "\n".join(filter(None, [types(cell), why, cell.advice, reproduce(gate, cell)]))


def sarif(gates: Sequence[Gate]) -> str:
    """Return SARIF 2.1.0, one run for each release, Python and gc policy.

    A result's fingerprint is made from the cell and the rule: it stays the same when numbers, releases, lines
    or machines change. So does a run's category, within which GitHub closes results that are no longer found;
    but several releases in one file need one category each.
    """
    rules = [{"id": name, "shortDescription": {"text": text}} for name, text in RULES.items()]
    tool = {"driver": {"name": "outlive", "version": __version__, "rules": rules}}
    end = "/" if len(gates) > 1 else ""
    runs = [
        {"tool": tool, "automationDetails": {"id": _category(gate) + end}, "results": list(_results(gate))}
        for gate in gates
    ]
    document = {"$schema": SCHEMA, "version": "2.1.0", "runs": runs}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _category(gate: Gate) -> str:
    """Return the category; by the standard, what follows the last slash only names the run."""
    stack = gate.stack
    load = "load/" if gate.load else ""
    return f"outlive-gate/{stack.framework}/py{stack.python}/gc-{gate.gc}/{load}{stack.release}"


def _results(gate: Gate) -> Iterator[dict[str, object]]:
    for rule, level, message, line, identity in _findings(gate):
        digest = hashlib.sha256("\0".join([rule, gate.stack.framework, *identity]).encode()).hexdigest()
        place = {"artifactLocation": {"uri": gate.limits}, "region": {"startLine": line}}
        yield {
            "ruleId": rule,
            "level": level,
            "message": {"text": message},
            "locations": [{"physicalLocation": place}],
            "partialFingerprints": {"outlive/v1": digest[:16]},
        }


def _findings(gate: Gate) -> Iterator[tuple[str, str, str, int, tuple[str, ...]]]:
    """Yield (rule, level, message, line in the limits, what it is about) for each result."""
    unproved: list[tuple[str, str]] = [(c.connection, c.fault) for c in gate.controls if c.fault]
    if gate.replayed and not gate.replayed.over:
        unproved.append(("replay", replayed(gate.replayed)))
    for name, fault in unproved:
        yield "proof", "error", fault, 1, (name, gate.gc)
    for cell in notable(gate):
        m = cell.measurement
        left = f" Left: {types(cell)}." if types(cell) else ""
        why = f" Why the limit is there: {cell.why}." if cell.why else ""
        finding = f"{m.scenario}, {m.connection}, gc {m.gc}: {cell.what}.{left}{why} Next: {cell.advice}."
        message = f"{finding} Again: {reproduce(gate, cell)}"
        level = "error" if cell.outcome == "over" else "warning"
        line = cell.place.line if cell.place else 1
        yield cell.outcome, level, message, line, (m.scenario, m.connection, m.gc)
    for entry in gate.stale:
        message = f"{entry.what}. Next: {entry.advice}"
        yield entry.kind, "warning", message, entry.place.line, (entry.about,)
