"""The residue of a connection: what it leaves when its client closes it, apart from its requests. Pure.

The phases that show what a request leaves use one connection each. Further phases, in which each request has
its own connection and the client closes it after the answer, show what a connection leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import msgspec

from outlive.records.measurement import Phase
from outlive.retention.growth import STEADY, GrowthAnalysis

CONNECTIONS = 13
"""Connections of the first phase. With one object too many or too few, the residue is not a whole number."""
LONG = (101, 211)
"""Connections of the phases that are added if the first shows that something is kept, or is not exact."""
LEAST = Fraction(1, 50)
"""Least objects per connection that are a residue in the long phases. One object in 50 connections is a
difference of two objects between them; fewer can be chance, such as a timer that fired."""


class Residue(msgspec.Struct, frozen=True):
    """Objects that one connection leaves; `leaked` is how many of them no full collection frees."""

    survivors: Fraction
    leaked: Fraction


def plan(
    phases: Sequence[Phase], analysis: GrowthAnalysis, done: Sequence[Phase], *, collecting: bool
) -> tuple[int, ...]:
    """Return how many connections the next phases have; none if the residue is known or cannot be.

    `phases` are the phases of the requests, `analysis` is of these, `done` the phases of connections so far.
    """
    if not apart(phases):
        return ()
    if not done:
        return (CONNECTIONS,)
    if len(done) > 1:
        return ()
    first = _first(analysis, done[0])
    whole = first.leaked.denominator == 1 and (collecting or first.survivors.denominator == 1)
    return () if whole and not first.leaked else LONG


def apart(phases: Sequence[Phase]) -> bool:
    """Return whether connections can be told from requests: each phase used a single connection."""
    return all(phase.connections == 1 for phase in phases)


def analyse(analysis: GrowthAnalysis, done: Sequence[Phase]) -> Residue:
    """Return the residue that follows from the phases of connections that `plan` asked for."""
    if len(done) == 1:
        return _first(analysis, done[0])
    a, b = done[-2:]
    more = b.requests - a.requests
    residue = Residue(
        _noted(Fraction(b.survivors - a.survivors, more) - analysis.survivors),
        _noted(Fraction(b.leaked - a.leaked, more) - analysis.leaked),
    )
    if residue.leaked and not _steady(a, b):  # a cache that has filled meanwhile
        return Residue(residue.survivors - residue.leaked, Fraction(0))
    return residue


def _first(analysis: GrowthAnalysis, phase: Phase) -> Residue:
    """Return the residue that follows from one phase; the phases of requests include one connection each."""
    further = phase.requests - 1
    return Residue(
        (phase.survivors - analysis.survivors * phase.requests - analysis.intercept) / further,
        (phase.leaked - analysis.leaked * phase.requests - analysis.leaked_intercept) / further,
    )


def _steady(a: Phase, b: Phase) -> bool:
    """Return whether both phases kept enough per connection, and as much, give or take an object in each.

    What leaks at every other connection falls into one phase or the next.
    """
    less, more = sorted((a, b), key=lambda phase: Fraction(phase.leaked, phase.requests))
    enough = all(phase.leaked + 1 >= LEAST * phase.requests for phase in (a, b))
    return enough and (less.leaked + 1) * more.requests >= STEADY * (more.leaked - 1) * less.requests


def _noted(objects: Fraction) -> Fraction:
    return objects if abs(objects) >= LEAST else Fraction(0)
