"""How the measurements of one stack are stored: each number once, each leak's words once, one cell a line.

A line has what does not follow from the rest: what the file says of the stack, what defaults say, and what
`_implied` derives is left out. Phases are lists, in the order of the fields of `Phase`; whole numbers have no
fraction. Older files hold a `Document` as it is shown, with schema version 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from outlive.records.measurement import Collector, Document, Leak, Measurement, Phase, Provenance, StackRecord
from outlive.retention.growth import slope

SCHEMA_VERSION = 2

_Plain = dict[str, Any]


class _File(msgspec.Struct, frozen=True):
    provenance: Provenance
    leaks: dict[str, _Plain]
    measurements: list[_Plain]


def encode(document: Document) -> bytes:
    """Return the document of one stack as UTF-8 JSON, with line breaks where a change is a diff to read."""
    (stack,) = document.provenance.stacks
    told: dict[str, _Plain] = {}
    cells = [_bare(measurement, stack, told) for measurement in document.measurements]
    leaks = (b"%s:%s" % (_json(name), _json(told[name])) for name in sorted(told))
    return b"".join(
        (
            b'{"schema_version":%d,\n"provenance":%s,\n' % (SCHEMA_VERSION, _json(document.provenance)),
            b'"leaks":{\n%s\n},\n' % b",\n".join(leaks),
            b'"measurements":[\n%s\n]}\n' % b",\n".join(map(_json, cells)),
        )
    )


def decode(data: bytes) -> Document:
    """Return the document that was encoded. Raises msgspec.ValidationError where it is none."""
    file = msgspec.json.decode(data, type=_File)
    if len(file.provenance.stacks) != 1:
        raise msgspec.ValidationError("Expected one stack")
    try:
        measurements = tuple(_whole(cell, file) for cell in file.measurements)
    except (KeyError, TypeError, ValueError) as error:
        raise msgspec.ValidationError(f"A cell has not this form: {error}") from None
    return Document(provenance=file.provenance, measurements=measurements)


def _bare(measurement: Measurement, stack: StackRecord, told: dict[str, _Plain]) -> _Plain:
    """Return the fields of a measurement that do not follow from others, and tell its leaks."""
    plain = msgspec.to_builtins(measurement)
    implied = _DEFAULTS | _of(stack) | _implied(measurement)
    bare = {name: value for name, value in plain.items() if name not in implied or value != implied[name]}
    if measurement.leaks:
        bare["leaks"] = [_told(leak, told) for leak in measurement.leaks]
    if measurement.phases:
        bare["phases"] = [_listed(phase) for phase in plain["phases"]]
    if measurement.collector:
        bare["collector"] = list(plain["collector"].values())
    return {name: _shortened(value) for name, value in bare.items()}


def _whole(cell: _Plain, file: _File) -> Measurement:
    """Return the measurement that a line stands for."""
    plain = _of(file.provenance.stacks[0]) | cell
    plain["phases"] = [dict(zip(_PHASE, phase, strict=False)) for phase in cell.get("phases", ())]
    plain["leaks"] = [
        file.leaks[name] | dict(zip(_OF_CELL, own, strict=False)) for name, *own in cell.get("leaks", ())
    ]
    if "collector" in cell:
        plain["collector"] = dict(zip(_COLLECTOR, cell["collector"], strict=True))
    found = msgspec.convert(plain, Measurement)
    return msgspec.structs.replace(
        found, **{name: value for name, value in _implied(found).items() if name not in cell}
    )


def _of(stack: StackRecord) -> _Plain:
    """Return what a file says once of all its cells."""
    return {name: getattr(stack, name) for name in ("framework", "release", "python", "lock")} | {
        "status": "measured"
    }


def _implied(m: Measurement) -> _Plain:
    """Return the fields that follow from the others."""
    collected = "" if m.gc == "off" else "_kept"
    return {
        "requests": sum(phase.requests for phase in m.phases),
        "survivors_per_request": _sum(m.cyclic_per_request, m.leaked_per_request),
        "survivors_per_connection": _sum(m.cyclic_per_connection, m.leaked_per_connection),
        "blocks_per_request": _slope(m.phases, f"blocks{collected}"),
        "heap_bytes_per_request": _slope(m.phases, f"heap{collected}"),
        "fingerprints": tuple(leak.fingerprint for leak in m.leaks),
    }


def _slope(phases: Sequence[Phase], reading: str) -> float | None:
    """Return the change of memory per request between the last two phases."""
    if len(phases) < 2 or getattr(phases[-1], reading) is None:
        return None
    return float(slope(phases[-2], phases[-1], reading))


def _sum(cyclic: float | None, leaked: float | None) -> float | None:
    return None if cyclic is None or leaked is None else cyclic + leaked


def _told(leak: Leak, told: dict[str, _Plain]) -> list[Any]:
    """Return the name under which the words of a leak are told, with what is the cell's own."""
    words = msgspec.to_builtins(leak)
    own = [words.pop(name) for name in _OF_CELL]
    name = leak.fingerprint
    while told.setdefault(name, words) != words:
        name += "+"
    return [name, *(own if leak.further else own[:1])]


def _listed(phase: _Plain) -> list[Any]:
    """Return the values of a phase in their order, without defaults at the end."""
    values = list(phase.values())
    while not values[-1]:
        values.pop()
    return values


def _shortened(value: Any) -> Any:
    """Return plain values with whole numbers as integers."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case list() | tuple():
            return [_shortened(one) for one in value]
        case dict():
            return {name: _shortened(one) for name, one in value.items()}
    return value


_json = msgspec.json.encode
_PHASE = Phase.__struct_fields__
_COLLECTOR = Collector.__struct_fields__
_OF_CELL = ("objects_per_request", "further")
"""What of a leak is different from cell to cell; the rest of it is told once, under its fingerprint."""
_DEFAULTS = {
    field.name: msgspec.to_builtins(field.default)
    for field in msgspec.structs.fields(Measurement)
    if field.default is not msgspec.NODEFAULT
}
