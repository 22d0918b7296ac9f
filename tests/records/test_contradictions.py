"""Stored counts are checked against their own phases and a checksum: a digit that was changed is told."""

from __future__ import annotations

import random
import re
from pathlib import Path

import msgspec
import pytest

from outlive.errors import FaultError
from outlive.files import with_checksum
from outlive.project import Project
from outlive.records import plausible
from outlive.replay import compact, store

CHECKOUT = Project(Path(__file__).parents[2])
STORED = sorted(CHECKOUT.published.glob("measurements/*/*/py3.11-*.json"))
FIELD = re.compile(rb'"(?:survivors|leaked|cyclic)_per_request":[\d.]*?([1-9])')


def test_nothing_that_is_stored_contradicts_itself() -> None:
    for path in STORED[::5]:
        assert store.read(path).measurements


def test_a_digit_that_is_changed_in_a_count_is_told(tmp_path: Path) -> None:
    chance = random.Random(3)
    for _ in range(60):
        data = bytearray(chance.choice(STORED).read_bytes())
        places = [found.start(1) for found in FIELD.finditer(data)]
        if not places:
            continue
        at = chance.choice(places)
        data[at : at + 1] = str(int(data[at : at + 1]) % 9 + 1).encode()
        (tmp_path / "x.json").write_bytes(data)
        with pytest.raises(FaultError, match=r"changed or damaged: .*; restore it, or remove it"):
            store.read(tmp_path / "x.json")


def test_any_byte_that_is_changed_in_a_new_file_is_told(tmp_path: Path) -> None:
    chance = random.Random(4)
    document = store.read(STORED[0])
    whole = with_checksum(compact.encode(document))
    (tmp_path / "x.json").write_bytes(whole)
    assert store.read(tmp_path / "x.json") == document
    content = len(whole) - 33
    for _ in range(300):
        data = bytearray(whole)
        data[chance.randrange(content)] ^= 1 << chance.randrange(8)
        (tmp_path / "x.json").write_bytes(data)
        with pytest.raises(FaultError, match=r"x\.json"):
            store.read(tmp_path / "x.json")


def test_counts_without_phases_are_left_alone() -> None:
    found = store.read(STORED[0]).measurements[0]
    assert not list(plausible.contradictions(msgspec.structs.replace(found, phases=())))


def test_a_phase_without_requests_is_told() -> None:
    found = store.read(STORED[0]).measurements[0]
    none = msgspec.structs.replace(found.phases[0], requests=0)
    told = [*plausible.contradictions(msgspec.structs.replace(found, phases=(none, *found.phases)))]
    assert f"{found.scenario}: a phase has no requests" in told
