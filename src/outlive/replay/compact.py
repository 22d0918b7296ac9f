"""The compact form in which the measurements of one stack are stored, one cell a line.

A line leaves out what the file says about the stack, default values, and what `_implied` derives from other
fields. The texts of a leak are stored once for all cells. A phase is a list in the order of the fields of
`Phase`. Whole numbers have no fraction. Files of schema version 1 hold a `Document` as `--json` prints it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from outlive.records.measurement import (
    Collector,
    Document,
    Leak,
    Measurement,
    Origin,
    Phase,
    Provenance,
    StackRecord,
)
from outlive.retention.growth import per_request

SCHEMA_VERSION = 2

_Plain = dict[str, Any]


class _File(msgspec.Struct, frozen=True):
    provenance: Provenance
    leaks: dict[str, _Plain]
    measurements: list[Any]
    origins: list[Origin] = []


def encode(document: Document) -> bytes:
    """Return the document of one stack as UTF-8 JSON, with line breaks that make diffs readable."""
    (stack,) = document.provenance.stacks
    texts: dict[str, _Plain] = {}
    cells = [_bare(measurement, stack, texts) for measurement in document.measurements]
    origins = list(dict.fromkeys(m.origin for m in document.measurements if m.origin))
    for cell, measurement in zip(cells, document.measurements, strict=True):
        if measurement.origin:
            cell["origin"] = origins.index(measurement.origin)
    leaks = (b"%s:%s" % (_json(name), _json(texts[name])) for name in sorted(texts))
    return b"".join(
        (
            b'{"schema_version":%d,\n"provenance":%s,\n' % (SCHEMA_VERSION, _json(document.provenance)),
            b'"origins":%s,\n' % _json(origins) if origins else b"",
            b'"leaks":{\n%s\n},\n' % b",\n".join(leaks),
            b'"measurements":[\n%s\n]}\n' % b",\n".join(map(_json, cells)),
        )
    )


def decode(plain: object, scenarios: Collection[str] | None = None) -> Document:
    """Return the document of which `encode` made JSON with these plain values, or only cells of `scenarios`.

    Raises msgspec.ValidationError if they have another form.
    """
    file = msgspec.convert(plain, _File)
    if len(file.provenance.stacks) != 1:
        raise msgspec.ValidationError("Expected one stack")
    shared = _shared(file.provenance.stacks[0])
    try:
        measurements = tuple(
            _whole(cell, file, shared)
            for cell in file.measurements
            if scenarios is None or cell["scenario"] in scenarios
        )
    except msgspec.ValidationError:
        raise
    except (IndexError, KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise msgspec.ValidationError(f"A cell does not have this form: {error}") from None
    return Document(provenance=file.provenance, measurements=measurements)


def _bare(measurement: Measurement, stack: StackRecord, texts: dict[str, _Plain]) -> _Plain:
    """Return the fields of a measurement that do not follow from others; add its leaks to `texts`."""
    plain = msgspec.to_builtins(measurement)
    implied = _DEFAULTS | _shared(stack) | _implied(measurement)
    bare = {name: value for name, value in plain.items() if name not in implied or value != implied[name]}
    if measurement.leaks:
        bare["leaks"] = [_named(leak, texts) for leak in measurement.leaks]
    if measurement.phases:
        bare["phases"] = [_listed(phase) for phase in plain["phases"]]
    if measurement.collector:
        bare["collector"] = list(plain["collector"].values())
    return {name: _shortened(value) for name, value in bare.items()}


def _whole(cell: _Plain, file: _File, shared: _Plain) -> Measurement:
    """Return the measurement that a line holds in compact form."""
    plain = shared | cell
    plain["phases"] = [dict(zip(_PHASE, phase, strict=False)) for phase in cell.get("phases", ())]
    plain["leaks"] = [
        file.leaks[name] | dict(zip(_OF_CELL, rest, strict=False)) for name, *rest in cell.get("leaks", ())
    ]
    if "collector" in cell:
        plain["collector"] = dict(zip(_COLLECTOR, cell["collector"], strict=True))
    if "origin" in cell:
        plain["origin"] = file.origins[cell["origin"]]
    measurement = msgspec.convert(plain, Measurement)
    implied = {name: value for name, value in _implied(measurement).items() if name not in cell}
    return msgspec.structs.replace(measurement, **implied)


def _shared(stack: StackRecord) -> _Plain:
    """Return the fields that all cells of a file share."""
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
    return per_request(phases[-2], phases[-1], reading)


def _sum(cyclic: float | None, leaked: float | None) -> float | None:
    return None if cyclic is None or leaked is None else cyclic + leaked


def _named(leak: Leak, texts: dict[str, _Plain]) -> list[Any]:
    """Return the name under which `texts` has a leak, with the fields that differ between cells."""
    text = msgspec.to_builtins(leak)
    differing = [text.pop(name) for name in _OF_CELL]
    name = leak.fingerprint
    while texts.setdefault(name, text) != text:
        name += "+"
    return [name, *(differing if leak.further else differing[:1])]


def _listed(phase: _Plain) -> list[Any]:
    """Return the values of a phase in order, without trailing zeros and empty values."""
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
            return list(map(_shortened, value))
        case dict():
            return {name: _shortened(inner) for name, inner in value.items()}
    return value


_json = msgspec.json.encode
_PHASE = Phase.__struct_fields__
_COLLECTOR = Collector.__struct_fields__
_OF_CELL = ("objects_per_request", "further")
"""The fields of a leak that differ between cells; the others are stored once, under its fingerprint."""
_DEFAULTS = {
    field.name: msgspec.to_builtins(field.default)
    for field in msgspec.structs.fields(Measurement)
    if field.default is not msgspec.NODEFAULT
}
