"""Measurements to compare, with the numbers of real releases."""

from __future__ import annotations

import datetime as dt
from collections.abc import Container, Iterable

import msgspec

from outlive.comparison.pair import BothMeasurements, Comparison, Side, compare
from outlive.records.measurement import (
    ASKED,
    Collector,
    Connection,
    Growth,
    Leak,
    Measurement,
    Phase,
    StackRecord,
)
from outlive.records.release import Release
from outlive.records.stack import Difference, Package

REASON = "Regression: https://github.com/aio-libs/aiohttp/issues/10617"
DATES = {"3.10.10": "2024-10-10", "3.10.11": "2024-11-13", "3.11.14": "2025-03-17"}


def cell(
    scenario: str = "not-found",
    objects: float = 0,
    leaked: float = 0,
    *,
    connection: Connection = "close",
    gc: str = "off",
    growth: Growth | None = None,
    **fields: object,
) -> Measurement:
    found: Growth = growth or ("leak" if leaked else "cyclic" if objects else "none")
    values: dict[str, object] = {
        "framework": "aiohttp",
        "release": "1",
        "python": "3.11",
        "app_version": 1,
        "scenario": scenario,
        "connection": connection,
        "gc": gc,
        "worker": "asyncio",
        "lock": "0" * 12,
        "status": "measured",
        "requests": 149,
        "growth": found,
        "survivors_per_request": float(objects),
        "cyclic_per_request": float(objects - leaked),
        "leaked_per_request": float(leaked),
        "peak_rss_bytes": 40_000_000,
        "collector": None if gc == "off" else collector(objects - leaked),
    }
    return msgspec.convert(values | fields, Measurement, from_attributes=True)


def leak(fingerprint: str, objects: float, **fields: object) -> Leak:
    values: dict[str, object] = {
        "fingerprint": fingerprint,
        "growth": "cyclic",
        "package": "aiohttp",
        "python": False,
        "trail": f"ring aiohttp.{fingerprint}",
        "suspect": f"aiohttp.{fingerprint}.itself",
        "objects_per_request": objects,
    }
    return msgspec.convert(values | fields, Leak)


def phase(requests: int, **readings: int) -> Phase:
    values: dict[str, object] = {
        "requests": requests,
        "survivors": 0,
        "leaked": 0,
        "blocks": 0,
        "blocks_kept": 0,
        "heap": None,
        "heap_kept": None,
        "rss": None,
        "fds": None,
        "threads": 1,
    }
    return msgspec.convert(values | readings, Phase)


def off_the_line(objects: float, off: int = 7) -> Measurement:
    """Return a count that is off the line, as those of Flask's async views are: right to 2.2 objects."""
    phases = [phase(n, survivors=round(objects * n)) for n in (23, 211, 79, 503, 1009)]
    phases[2] = phase(79, survivors=round(objects * 79) - off)
    return cell(objects=objects, growth="cyclic", phases=tuple(phases))


def collector(freed: float) -> Collector:
    return Collector(
        collections_per_1000_requests=1000.0,
        pause_ms_per_1000_requests=freed / 10,
        longest_pause_ms=0.4,
        freed_per_request=float(freed),
    )


def lost(scenario: str, reason: str, status: str = "failed", **fields: object) -> Measurement:
    numbers = dict.fromkeys(("growth", "survivors_per_request", "cyclic_per_request", "leaked_per_request"))
    return msgspec.structs.replace(
        cell(scenario), status=status, reason=reason, peak_rss_bytes=None, **(numbers | fields)
    )


def side(
    framework: str = "aiohttp",
    release: str = "3.10.10",
    *,
    python: str = "3.11",
    packages: Iterable[tuple[str, str]] = (),
    yanked: str | None = None,
) -> Side:
    all_packages = [(framework, release), ("gunicorn", "23.0.0"), *packages]
    uploaded = dt.datetime.fromisoformat(f"{DATES.get(release, '2024-01-02')}T12:00:00Z")
    return Side(
        StackRecord(
            framework=framework,
            release=release,
            python=python,
            lock=release.replace(".", "").ljust(12, "0"),
            packages=tuple(Package(*package) for package in all_packages),
        ),
        Release(framework, release, uploaded, ">=3.8", yanked is not None, yanked, ("py3",), sdist=True),
    )


def compared(
    before: Iterable[Measurement],
    after: Iterable[Measurement],
    sides: tuple[Side, Side] | None = None,
    differences: Iterable[Difference] = (),
    *,
    development: Container[str] = (),
) -> Comparison:
    one, other = sides or (side(), side(release="3.10.11"))
    both = BothMeasurements(before=tuple(before), after=tuple(after))
    return compare(one, other, both, tuple(differences), development=development)


def aiohttp_cells(error: tuple[float, float], *, others: float = 32) -> list[Measurement]:
    """Return `ok`, two answers without a route, which leave `error`, and two other errors, on all cells."""
    cells = []
    for connection in ASKED:
        own = 7 if connection == "close" else 0  # what asyncio leaves of a closed connection on Python 3.11
        for gc in ("on", "off"):
            objects = {
                "ok": (own, 0),
                "not-found": (max(error[0] - 7 + own, error[1]), error[1]),
                "upload-method-not-allowed": (max(error[0] - 7 + own, error[1]), error[1]),
                "handler-error": (others - 7 + own, 0),
                "upload": (own, 0),
            }
            cells += [
                cell(name, *counts, connection=connection, gc=gc, leaks=aiohttp_leaks(*counts, own, gc))
                for name, counts in objects.items()
            ]
    return cells


def aiohttp_leaks(objects: float, leaked: float, own: float, gc: str) -> tuple[Leak, ...]:
    """Return what such cells are explained with: asyncio's ring, and a leak or a ring of aiohttp."""
    transport = "asyncio.selector_events._SelectorSocketTransport._read_ready_cb"
    asyncio = leak("0566f80d9876", own, package="asyncio", python=True, suspect=transport)
    found = [asyncio] if own and gc == "off" else []
    if leaked:
        suspect = "lru_cache of aiohttp.web_app._build_middlewares cached call[]"
        found.append(leak("e88cd2ff63f0", leaked, growth="leaked", suspect=suspect))
    elif objects > own and gc == "off":
        suspect = "aiohttp.web_urldispatcher.SystemRoute._handler"
        found += [
            leak("31113a1c2a8a", objects - own, suspect=suspect),
            leak("cf61ec58a54a", objects - own, further=True),
        ]
    return tuple(found)


def aiohttp_comparison() -> Comparison:
    """Return aiohttp 3.10.10, which leaks on 404 and 405, against a yanked release that does not."""
    stack = [("yarl", "1.18.3"), ("attrs", "25.3.0")]
    unsupported = "the asyncio worker cannot hold this connection"
    return compared(
        [
            *aiohttp_cells((50, 44)),
            lost("abort-upload", "worker died: signal 11"),
            lost("stream-error", unsupported, "unsupported", connection="keep-alive"),
            cell("bad-json", 32, blocks_per_request=40.0, heap_bytes_per_request=0.0),
        ],
        [
            *aiohttp_cells((32, 0)),
            cell("abort-upload", 12),
            lost("stream-error", unsupported, "unsupported", connection="keep-alive"),
            cell("bad-json", 32, blocks_per_request=43.5, heap_bytes_per_request=4096.0),
        ],
        (
            side(packages=[*stack, ("multidict", "6.1.0")]),
            side(release="3.11.14", packages=[*stack, ("multidict", "6.2.0")], yanked=REASON),
        ),
        [Difference("multidict", "6.1.0", "6.2.0", "aiohttp 3.11.14 requires multidict>=6.2")],
    )


def flask_cells() -> list[Measurement]:
    names = {"ok": 8, "not-found": 93, "handler-error": 81}
    return [
        cell(name, objects, gc=gc, framework="flask", worker="sync")
        for gc in ("on", "off")
        for name, objects in names.items()
    ]


def flask_comparison() -> Comparison:
    """Return two releases of Flask that leave the same."""
    return compared(flask_cells(), flask_cells(), (side("flask", "2.3.3"), side("flask", "3.1.3")))
