"""Where memory is allocated that stays: what is planted is named by file and line, what is clean is not."""

from __future__ import annotations

import functools

import msgspec
import pytest

from measuring import CHECKOUT, FRAMEWORKS, SCENARIOS, cell, environment, planted
from outlive.errors import FaultError
from outlive.records.stack import Stack
from outlive.replay.explanation.allocations import Allocations, allocation_lines, growing, trace, with_memray
from outlive.replay.subject import Subject
from outlive.service.probe_line import AllocationSite, TracedFrame
from outlive.stacks.prepare import Prepared, prepare

OK = next(one for one in SCENARIOS if one.name == "ok")


def frame(place: str, *, python: bool = False, source: str = "") -> TracedFrame:
    return TracedFrame(place, source, python)


OURS, PYTHON = frame("app.py:7", source="kept.append(body.decode())"), frame("codecs.py:1", python=True)


def site(blocks: int, size: int, *frames: TracedFrame) -> AllocationSite:
    return AllocationSite(frames or (OURS,), blocks, size)


def test_what_comes_with_requests_is_kept_in_each_phase() -> None:
    (found,) = growing([[site(101, 20200)], [site(53, 10600)]], (101, 53))
    assert (found.blocks_per_request, found.bytes_per_request) == (1, 200)
    assert growing([[site(101, 20200)], []], (101, 53)) == ()
    assert growing([[site(3, 300)], [site(2, 200)]], (101, 53)) == ()


def test_one_large_block_that_grows_is_kept_too() -> None:
    (found,) = growing([[site(1, 101 * 4096)], [site(0, 53 * 4096)]], (101, 53))
    assert found.bytes_per_request == 4096


def test_the_innermost_caller_outside_python_is_named() -> None:
    (found,) = growing([[site(101, 0, OURS, PYTHON)], [site(53, 0, OURS, PYTHON)]], (101, 53))
    assert found.frame == OURS
    (found,) = growing([[site(101, 0, PYTHON)], [site(53, 0, PYTHON)]], (101, 53))
    assert found.frame == PYTHON


def test_the_text_shows_callers_from_there_on() -> None:
    sites = growing(
        [[site(101, 23533, PYTHON, OURS, PYTHON)], [site(53, 12349, PYTHON, OURS, PYTHON)]], (101, 53)
    )
    assert (
        allocation_lines(Allocations(tracer="tracemalloc", requests=154, sites=sites))
        == """
Memory that stays is allocated in 1 place (tracemalloc, 154 requests):

1. 233 B in 1 block per request
   app.py:7
       kept.append(body.decode())
   codecs.py:1
"""
    )
    others = tuple(
        msgspec.structs.replace(sites[0], frames=(frame(f"m.py:{line}"),), frame=frame(f"m.py:{line}"))
        for line in range(6)
    )
    many = Allocations(tracer="tracemalloc", requests=154, sites=sites + others)
    assert allocation_lines(many).endswith("2 places with less not shown: --json has them.\n")


def test_sites_that_differ_only_in_callers_that_are_not_told_are_one_place() -> None:
    callers = [frame("one.py:1"), frame("other.py:2")]
    phases = [[site(n, 100 * n, caller, OURS, PYTHON) for caller in callers] for n in (101, 53)]
    text = allocation_lines(Allocations(tracer="tracemalloc", requests=154, sites=growing(phases, (101, 53))))
    assert "in 1 place (" in text
    assert "\n1. 200 B in 2 blocks per request\n   app.py:7\n" in text


def test_a_long_line_of_source_is_cut_at_80_columns() -> None:
    long = frame("app.py:7", source="x" * 200)
    sites = growing([[site(101, 10100, long)], [site(53, 5300, long)]], (101, 53))
    text = allocation_lines(Allocations(tracer="tracemalloc", requests=154, sites=sites))
    assert max(map(len, text.splitlines())) == 80


@pytest.mark.real
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_planted_bytes_are_named_by_file_and_line(framework: str) -> None:
    (found,) = trace(planted(framework, "small_bytes"), OK, cell()).sites
    assert found.frame.source == 'kept.append(b"%200d" % next(numbers))'
    assert found.frame.place.startswith("plants.py:")
    assert found.blocks_per_request == pytest.approx(1, abs=0.1)
    assert found.bytes_per_request == pytest.approx(240, abs=20)


@pytest.mark.real
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_clean_app_names_nothing(framework: str) -> None:
    found = trace(planted(framework, "nothing"), OK, cell())
    assert found.sites == ()
    text = allocation_lines(found)
    assert text == "\nNo line allocates memory that stays (tracemalloc, 154 requests).\n"


# memray


@functools.cache
def newest(framework: str) -> Prepared:
    lock = environment(framework).lock
    return prepare(CHECKOUT, Stack(framework, lock.release, lock.python))


def seen_by_memray(framework: str, plant: str) -> Subject:
    return with_memray(planted(framework, plant), newest(framework))


@pytest.mark.real
def test_what_c_takes_from_malloc_is_seen_by_memray_alone() -> None:
    plain, with_it = planted("flask", "c_memory"), seen_by_memray("flask", "c_memory")
    assert trace(plain, OK, cell()).sites == ()
    (found,) = trace(with_it, OK, cell(), "memray").sites
    assert found.frame.source == 'ctypes.CDLL(None).strdup(b"c" * 4999)'
    assert (found.blocks_per_request, found.bytes_per_request) == (1, 5000)


@pytest.mark.real
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_memray_names_planted_bytes_and_nothing_in_a_clean_app(framework: str) -> None:
    (found,) = trace(seen_by_memray(framework, "small_bytes"), OK, cell(), "memray").sites
    assert found.frame.source == 'kept.append(b"%200d" % next(numbers))'
    assert found.blocks_per_request == pytest.approx(1, abs=0.1)
    clean = trace(seen_by_memray(framework, "nothing"), OK, cell(), "memray")
    assert (clean.tracer, clean.sites) == ("memray", ())


@pytest.mark.real
def test_an_environment_with_memray_has_all_else_as_it_was() -> None:
    before, after = environment("flask").lock.versions, seen_by_memray("flask", "nothing").environment.lock
    assert before.items() <= after.versions.items()
    assert "memray" in after.versions.keys() - before.keys()


@pytest.mark.real
def test_memray_that_does_not_run_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = "No module named 'memray'"
    monkeypatch.setattr("outlive.stacks.environments.import_error", lambda *_: missing)
    with pytest.raises(FaultError, match=f"^memray==.* does not run on Python 3.11 here: {missing}$"):
        seen_by_memray("flask", "nothing")
