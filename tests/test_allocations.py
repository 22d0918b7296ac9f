"""Where memory is allocated that stays: what is planted is named by file and line, what is clean is not."""

from __future__ import annotations

import pytest

from measuring import FRAMEWORKS, SCENARIOS, cell, planted
from outlive.allocations import Allocations, kept, trace
from outlive.report import explanation
from outlive.server import Site, TracedFrame

OK = next(one for one in SCENARIOS if one.name == "ok")


def frame(place: str, *, python: bool = False, source: str = "") -> TracedFrame:
    return TracedFrame(place, source, python)


OURS, PYTHON = frame("app.py:7", source="kept.append(body.decode())"), frame("codecs.py:1", python=True)


def site(blocks: int, size: int, *frames: TracedFrame) -> Site:
    return Site(frames or (OURS,), blocks, size)


def test_what_comes_with_requests_is_kept_in_each_phase() -> None:
    (found,) = kept([[site(101, 20200)], [site(53, 10600)]], (101, 53))
    assert (found.blocks_per_request, found.bytes_per_request) == (1, 200)
    assert kept([[site(101, 20200)], []], (101, 53)) == ()
    assert kept([[site(3, 300)], [site(2, 200)]], (101, 53)) == ()


def test_one_large_block_that_grows_is_kept_too() -> None:
    (found,) = kept([[site(1, 101 * 4096)], [site(0, 53 * 4096)]], (101, 53))
    assert found.bytes_per_request == 4096


def test_the_innermost_caller_outside_python_is_named() -> None:
    (found,) = kept([[site(101, 0, OURS, PYTHON)], [site(53, 0, OURS, PYTHON)]], (101, 53))
    assert found.frame == OURS
    (found,) = kept([[site(101, 0, PYTHON)], [site(53, 0, PYTHON)]], (101, 53))
    assert found.frame == PYTHON


def test_the_text_shows_callers_from_there_on() -> None:
    sites = kept(
        [[site(101, 23533, PYTHON, OURS, PYTHON)], [site(53, 12349, PYTHON, OURS, PYTHON)]], (101, 53)
    )
    assert (
        explanation.allocations(Allocations(requests=154, sites=sites))
        == """
Memory that stays is allocated at 1 place (tracemalloc, 154 requests):

1. 233 B in 1 block per request
   app.py:7
       kept.append(body.decode())
   codecs.py:1
"""
    )
    many = Allocations(requests=154, sites=sites * 7)
    assert explanation.allocations(many).endswith("2 places with less not shown: --json has them.\n")


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
    text = explanation.allocations(found)
    assert text == "\nNo place allocates memory that stays (tracemalloc, 154 requests).\n"
