"""The residue of a connection: what it leaves beside its requests when its client closes it. Pure.

The phases that tell what a request leaves go over one connection each. Further phases, in which each request
has a connection that its client closes after the answer, tell what a connection leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import msgspec

from outlive.records.measurement import Phase
from outlive.retention.growth import STEADY, Analysis

CONNECTIONS = 13
"""Connections of the first phase. One object too many or too few makes their residue no whole number."""
LONG = (101, 211)
"""Connections of the phases that are added where the first says that something is kept, or is not exact."""
LEAST = Fraction(1, 50)
"""Objects per connection from which on long phases show a residue. One object for each 50 connections is a
difference of two objects between them; less can be chance, such as a timer that fired."""


class Residue(msgspec.Struct, frozen=True):
    """Objects that one connection leaves, `leaked` those of them that no full collection frees."""

    survivors: Fraction
    leaked: Fraction


def plan(
    phases: Sequence[Phase], found: Analysis, done: Sequence[Phase], *, collecting: bool
) -> tuple[int, ...]:
    """Return how many connections the next phases have; none where the residue is known, or cannot be.

    `phases` are those of the requests, and what they say is `found`.
    """
    if not apart(phases):
        return ()
    if not done:
        return (CONNECTIONS,)
    if len(done) > 1:
        return ()
    first = _first(found, done[0])
    whole = first.leaked.denominator == 1 and (collecting or first.survivors.denominator == 1)
    return () if whole and not first.leaked else LONG


def apart(phases: Sequence[Phase]) -> bool:
    """Tell whether connections can be told from requests: one connection served each whole phase."""
    return all(phase.connections == 1 for phase in phases)


def analyse(found: Analysis, done: Sequence[Phase]) -> Residue:
    """Return what the phases of connections, those that `plan` asked for, say."""
    if len(done) == 1:
        return _first(found, done[0])
    a, b = done[-2:]
    more = b.requests - a.requests
    residue = Residue(
        _noted(Fraction(b.survivors - a.survivors, more) - found.survivors),
        _noted(Fraction(b.leaked - a.leaked, more) - found.leaked),
    )
    less, most = sorted((a.leaked * b.requests, b.leaked * a.requests))
    if residue.leaked and less < STEADY * most:  # a cache that has filled meanwhile
        return Residue(residue.survivors - residue.leaked, Fraction(0))
    return residue


def _first(found: Analysis, phase: Phase) -> Residue:
    """Return the residue that follows from one phase: the others left that of one connection."""
    further = phase.requests - 1
    return Residue(
        (phase.survivors - found.survivors * phase.requests - found.intercept) / further,
        (phase.leaked - found.leaked * phase.requests - found.leaked_intercept) / further,
    )


def _noted(objects: Fraction) -> Fraction:
    return objects if abs(objects) >= LEAST else Fraction(0)
