"""Where each leak and ring was seen: fingerprints through the releases of all frameworks. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from outlive.measurement import Connection, Leak
from outlive.timeline import Moment, Timeline

FINGERPRINT = re.compile(r"[0-9a-f]{12}")


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """One release that has a fingerprint. `objects` are the most that it keeps in any cell.

    `scenario`, `connection` and `gc` are those of that cell, `scenarios` are all that have it.
    """

    framework: str
    release: str
    objects: float
    scenario: str
    connection: Connection
    gc: str
    scenarios: tuple[str, ...]


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """One fingerprint with the releases that have it, lowest version first.

    `leak` is as the newest of them has it, where it keeps most. `newest` are the frameworks whose newest
    measured release has it.
    """

    leak: Leak
    sightings: tuple[Sighting, ...]
    newest: tuple[str, ...]


def collect(timelines: Iterable[Timeline]) -> tuple[Kept, ...]:
    """Return every fingerprint that keeps objects of its own, what is in the newest releases first."""
    seen: dict[str, list[tuple[Leak, Sighting]]] = {}
    newest: dict[str, list[str]] = {}
    for timeline in timelines:
        measured = [moment for moment in timeline.moments if moment.measurements]
        for moment in measured:
            for fingerprint, found in _of_release(timeline.framework, moment).items():
                seen.setdefault(fingerprint, []).append(found)
                if moment is measured[-1]:
                    newest.setdefault(fingerprint, []).append(timeline.framework)
    kept = [
        Kept(
            leak=found[-1][0],
            sightings=tuple(sighting for _, sighting in found),
            newest=tuple(newest.get(fingerprint, ())),
        )
        for fingerprint, found in seen.items()
    ]
    return tuple(
        sorted(kept, key=lambda one: (not one.newest, -one.sightings[-1].objects, one.leak.fingerprint))
    )


def _of_release(framework: str, moment: Moment) -> dict[str, tuple[Leak, Sighting]]:
    """Return each fingerprint of a release in the cell where it keeps most.

    One that is nowhere the shortest ring is left out: another tells of the same objects.
    """
    cells: dict[str, list[tuple[Leak, Sighting]]] = {}
    for m in moment.measurements:
        for leak in m.leaks:
            if not FINGERPRINT.fullmatch(leak.fingerprint):
                continue  # it would name a file of the site
            sighting = Sighting(
                framework=framework,
                release=moment.release.version,
                objects=leak.objects_per_request,
                scenario=m.scenario,
                connection=m.connection,
                gc=m.gc,
                scenarios=(m.scenario,),
            )
            cells.setdefault(leak.fingerprint, []).append((leak, sighting))
    found = {}
    for fingerprint, own in cells.items():
        if all(leak.further for leak, _ in own):
            continue
        leak, most = max(own, key=lambda pair: (not pair[0].further, pair[1].objects))
        scenarios = tuple(dict.fromkeys(sighting.scenario for _, sighting in own))
        found[fingerprint] = (leak, msgspec.structs.replace(most, scenarios=scenarios))
    return found
