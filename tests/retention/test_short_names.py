"""Short names of rings and paths: what people call them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlive.retention.trails import hops, short_name


@pytest.mark.parametrize(
    ("trail", "said"),
    [
        (
            "ring exception.__traceback__ frame flask.wsgi_app local error",
            "exception → traceback → frame of wsgi_app: local error",
        ),
        (
            "ring aiohttp.SystemRoute._handler method aiohttp._handle.__self__",
            "SystemRoute._handler → method of _handle",
        ),
        (
            "path module yarl._url global encode_url cache yarl.encode_url cached yarl.URL",
            "module of yarl._url: global encode_url → cache of encode_url → URL",
        ),
        (
            "path a.A.b c.C.d e.E.f g.G.h i.I.j k.K",
            "A.b → … → G.h → I.j → K",
        ),
    ],
)
def test_short_names(trail: str, said: str) -> None:
    assert short_name(trail) == said


STEPS = ("flask.Flask.error", "frame a.view local error", "method b.run", "exception.__traceback__", "dict[]")


@given(st.lists(st.sampled_from(STEPS), min_size=1), st.sampled_from(["ring", "path"]))
def test_a_trail_is_its_steps(steps: list[str], kind: str) -> None:
    assert hops(" ".join([kind, *steps])) == tuple(steps)
    assert short_name(" ".join([kind, *steps])).count(" → ") < 5
