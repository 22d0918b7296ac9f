"""A pytest plugin: a fixture that counts what requests to an app leave, and a marker that limits it.

    @pytest.mark.limit_survivors(per_request=0)
    def test_a_404_leaves_nothing(count_survivors):
        count_survivors.wsgi(app, "/no-such-page")

pytest loads this module in every run, so what is heavy is imported when the fixture counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import asyncio

    from outlive.probe.clients import Send
    from outlive.probe.count import Survivors

MARKER = "limit_survivors"
FIXTURE = "count_survivors"
MOST_TYPES = 8


class CountSurvivors:
    """Counts what one request leaves; `limit` fails the test where that is more objects per request."""

    def __init__(self, limit: float | None) -> None:
        self.limit = limit
        self.counted = 0

    def __call__(self, send: Callable[[], object]) -> Survivors:
        """Return what one call of `send` leaves: one request, whatever sends it."""
        return self._count(send)

    def wsgi(self, app: Callable[..., Any], path: str = "/", **request: Any) -> Survivors:
        """Return what one request to a WSGI application leaves.

        `request` may have `method`, `headers` (a dict), `body` (bytes), and `status`, which the answer must
        have.
        """
        from outlive.probe import clients as apps  # noqa: PLC0415

        return self._count_app(lambda one, _: apps.wsgi(app, one), path, request)

    def asgi(self, app: Callable[..., Any], path: str = "/", **request: Any) -> Survivors:
        """Return what one request to an ASGI 3 application leaves; `request` as for `wsgi`."""
        from outlive.probe import clients as apps  # noqa: PLC0415

        return self._count_app(lambda one, loop: apps.asgi(app, one, loop), path, request)

    def aiohttp(self, app: object, path: str = "/", **request: Any) -> Survivors:
        """Return what one request to an aiohttp application leaves; `request` as for `wsgi`."""
        from outlive.probe import clients as apps  # noqa: PLC0415

        return self._count_app(lambda one, loop: apps.aiohttp(app, one, loop), path, request)

    def _count_app(
        self,
        serving: Callable[[Any, asyncio.AbstractEventLoop], AbstractContextManager[Send]],
        path: str,
        request: Mapping[str, Any],
    ) -> Survivors:
        from outlive.probe import clients as apps  # noqa: PLC0415

        expected = request.get("status")
        fields = {name: value for name, value in request.items() if name != "status"}
        with apps.event_loop() as loop, serving(apps.Request(path=path, **fields), loop) as send:
            status = send()
            if expected is not None and status != expected:
                pytest.fail(
                    f"{path} was answered {status}, not {expected}: nothing is counted", pytrace=False
                )
            return self._count(send, loop)

    def _count(self, send: Callable[[], object], loop: asyncio.AbstractEventLoop | None = None) -> Survivors:
        from outlive.probe.count import count  # noqa: PLC0415

        found = count(send, loop)
        self.counted += 1
        if self.limit is not None and found.per_request > self.limit:
            pytest.fail(_complaint(found, self.limit), pytrace=False)
        return found


@pytest.fixture(name=FIXTURE)
def _count_survivors(request: pytest.FixtureRequest) -> Iterator[CountSurvivors]:
    """Count what requests to an app leave in memory, held against the marker `limit_survivors`."""
    marker = request.node.get_closest_marker(MARKER)
    counter = CountSurvivors(_limit(marker) if marker else None)
    yield counter
    if marker and not counter.counted:
        pytest.fail(f"{MARKER}: the test counted nothing: call {FIXTURE}", pytrace=False)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(per_request=0): fail where a request that {FIXTURE} counts leaves more gc-tracked objects",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a marker that would do nothing, or has the wrong words."""
    for item in items:
        marker = item.get_closest_marker(MARKER)
        if marker:
            _limit(marker)
            if FIXTURE not in getattr(item, "fixturenames", ()):
                raise pytest.UsageError(f"{item.nodeid}: {MARKER} needs the fixture {FIXTURE}")


def _limit(marker: pytest.Mark) -> float:
    limit = marker.kwargs.get("per_request")
    if (
        marker.args
        or set(marker.kwargs) != {"per_request"}
        or not isinstance(limit, int | float)
        or limit < 0
    ):
        raise pytest.UsageError(f"{MARKER} takes per_request=NUMBER, as in {MARKER}(per_request=0)")
    return limit


def _complaint(found: Survivors, limit: float) -> str:
    from outlive.wording import listed, number  # noqa: PLC0415

    types = listed([f"{number(count)} {name}" for name, count in found.types.items()], MOST_TYPES)
    return (
        f"each request leaves {number(found.per_request)} objects, {number(limit)} allowed "
        f"({number(found.cyclic)} cyclic, {number(found.leaked)} leaked, over {found.requests} requests)\n"
        f"types: {types or 'not tracked any more'}"
    )
