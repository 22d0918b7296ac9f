"""The picture of a stored ring or path."""

from __future__ import annotations

import pytest

from measuring import CHECKOUT
from outlive.pages.drawings import ring
from outlive.records.measurement import Leak
from outlive.replay.store import read
from outlive.retention.trails import hops


def leak(trail: str, suspect: str) -> Leak:
    return Leak(
        fingerprint="0123456789ab",
        growth="cyclic",
        package="flask",
        python=False,
        trail=trail,
        suspect=suspect,
        objects_per_request=72.0,
    )


@pytest.mark.parametrize(
    ("trail", "steps"),
    [
        (
            "ring exception.__traceback__ frame flask.wsgi_app local error",
            ("exception.__traceback__", "frame flask.wsgi_app local error"),
        ),
        ("ring function werkzeug._match closure _match", ("function werkzeug._match closure _match",)),
        (
            "ring asyncio.Task internal exception.__traceback__ frame aiohttp.start local frame",
            ("asyncio.Task internal", "exception.__traceback__", "frame aiohttp.start local frame"),
        ),
        (
            "path module web_app global _build_middlewares cache web_app._build_middlewares cached[] partial",
            (
                "module web_app global _build_middlewares",
                "cache web_app._build_middlewares cached[]",
                "partial",
            ),
        ),
        ("path dict ", ("dict",)),
    ],
)
def test_a_trail_falls_into_objects_with_their_references(trail: str, steps: tuple[str, ...]) -> None:
    assert hops(trail) == steps


def test_nothing_of_a_stored_trail_is_lost() -> None:
    for path in sorted((CHECKOUT.published / "measurements").glob("*/3.1*/py3.1[13]-*.json")):
        for measurement in read(path).measurements:
            for one in measurement.leaks:
                assert " ".join(hops(one.trail)) == one.trail.partition(" ")[2].strip()


def test_a_ring_says_where_it_closes_and_marks_the_suspect_once() -> None:
    drawing = ring.drawing(
        leak(
            "ring exception.__traceback__ frame flask.wsgi_app local error",
            "frame of flask.app.Flask.wsgi_app local error",
        )
    )
    assert drawing.caption == "The ring: each refers to the next, the last to the first."
    assert (
        "exception.__traceback__ → frame flask.wsgi_app local error → exception.__traceback__" in drawing.svg
    )
    assert drawing.svg.count("◀ suspect") == 2, "once for a wide screen, once for a phone"


def test_on_a_phone_long_names_take_more_lines_and_none_is_cut() -> None:
    name = "frame aiohttp.web_protocol.RequestHandler.start_of_something_longer local handler_of_this"
    boxes = [*ring._boxes(["exception.__traceback__", name], 1, 38, below=True)]
    assert [box.lines for box in boxes] == [
        ("exception.__traceback__",),
        (
            "frame aiohttp.web_protocol.",
            "RequestHandler.",
            "start_of_something_longer local",
            "handler_of_this",
            "◀ suspect",
        ),
    ]
    assert boxes[1].top == boxes[0].top + boxes[0].height + ring.GAP


def test_a_path_has_no_way_back_and_what_is_not_told_is_not_marked() -> None:
    drawing = ring.drawing(leak("path module shop.cart global cache list[] shop.Order", "list[3]"))
    assert drawing.caption == "The path to what is kept."
    assert "suspect" not in drawing.svg


def test_names_are_escaped() -> None:
    assert "<template>" not in ring.drawing(leak("ring frame <template>.x local y", "y")).svg
