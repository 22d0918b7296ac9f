"""A pytest plugin: a fixture that counts what requests to an app leave, and a marker that limits it.

    @pytest.mark.limit_survivors(per_request=0)
    def test_a_404_leaves_nothing(count_survivors):
        count_survivors.wsgi(app, "/no-such-page")

pytest loads this module in every run, so what is heavy is imported when the fixture counts.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from outlive.probe.clients import Open, Send
    from outlive.probe.count import Survivors

MARKER = "limit_survivors"
FIXTURE = "count_survivors"
BASELINE = "baseline"
COUNTED = pytest.StashKey[bool]()
USAGE = (
    f"{MARKER} takes per_request=, cyclic=, leaked= (objects per request), memory=\n"
    f'(bytes per request) and above="{BASELINE}", as in {MARKER}(per_request=0)'
)


class Limits(NamedTuple):
    """What a request may leave, as the marker says it; None is no limit of its own.

    Objects per request and bytes per request. A leak is over its limit wherever the marker does not allow
    it: `leaked` is 0 by itself, and so is `memory` unless leaked objects are allowed, which take memory. With
    `above`, that much more than a plain request to the same app may be left.
    """

    per_request: float | None = None
    cyclic: float | None = None
    leaked: float = 0
    memory: float | None = None
    above: bool = False

    @classmethod
    def of(cls, marker: pytest.Mark) -> Limits:
        """Return the limits that a marker names. Fails the test where its words are wrong."""
        words = dict(marker.kwargs)
        above = words.pop("above", None)
        unknown = [name for name in words if name not in cls._fields]
        wrong = [name for name, value in words.items() if not _is_limit(value)]
        if marker.args or unknown or wrong or not words or above not in (None, BASELINE):
            given = ", ".join([*map(repr, marker.args), *(f"{k}={v!r}" for k, v in marker.kwargs.items())])
            pytest.fail(f"{MARKER}({given}) is no limit\n{USAGE}", pytrace=False)
        return cls(**words, above=above is not None)


def _is_limit(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


class CountSurvivors:
    """Counts what one request leaves; the test fails where that is over the limits of its marker."""

    def __init__(self, item: pytest.Item) -> None:
        self.item = item

    def __call__(self, send: Callable[[], Any], baseline: Callable[[], Any] | None = None) -> Any:
        """Return the `Survivors` of one call of `send`: one request, whatever sends it.

        Where `send` returns something to await it is awaited; inside an async test on the test's own event
        loop, and then this is to be awaited, too. `baseline` sends the plain request that the marker's
        `above` means.
        """
        first = send()
        if not inspect.isawaitable(first):
            return self._count(send, baseline)
        if _in_async():
            return self._count_here(first, send, baseline)
        from outlive.probe.clients import event_loop  # noqa: PLC0415

        with event_loop() as loop:

            def run(one: Awaitable[object]) -> None:
                loop.run_until_complete(_await(one))

            run(first)
            return self._count(lambda: run(send()), baseline and (lambda: run(baseline())), loop)

    async def _count_here(
        self,
        first: Awaitable[object],
        send: Callable[[], Awaitable[object]],
        baseline: Callable[[], Awaitable[object]] | None,
    ) -> Survivors:
        """Count from another thread what the event loop of this test serves."""
        loop = asyncio.get_running_loop()

        def run(one: Awaitable[object]) -> None:
            asyncio.run_coroutine_threadsafe(_await(one), loop).result()

        await first
        return await asyncio.to_thread(
            self._count, lambda: run(send()), baseline and (lambda: run(baseline())), loop
        )

    def wsgi(self, app: Callable[..., Any], path: str = "/", **request: Any) -> Survivors:
        """Return what one request to a WSGI application leaves, or to what a factory makes.

        `request` may have `method`, `headers` (a dict), `body` (bytes), `status`, which the answer must have,
        and `baseline`, the path of the plain request that the marker's `above` means.
        """
        from outlive.probe import clients  # noqa: PLC0415

        return self._count_app(clients.wsgi, app, path, request)

    def asgi(self, app: Callable[..., Any], path: str = "/", **request: Any) -> Survivors:
        """Return what one request to an ASGI 3 application leaves; all else is as for `wsgi`."""
        from outlive.probe import clients  # noqa: PLC0415

        return self._count_app(clients.asgi, app, path, request)

    def aiohttp(self, app: object, path: str = "/", **request: Any) -> Survivors:
        """Return what one request to an aiohttp application leaves; all else is as for `wsgi`."""
        from outlive.probe import clients  # noqa: PLC0415

        return self._count_app(clients.aiohttp, app, path, request)

    def _count_app(
        self,
        serving: Callable[[Any, asyncio.AbstractEventLoop], AbstractContextManager[Open]],
        app: object,
        path: str,
        words: dict[str, Any],
    ) -> Survivors:
        from outlive.probe.clients import Request, event_loop  # noqa: PLC0415

        expected = words.pop("status", None)
        plain = Request(path=words.pop(BASELINE, "/"))
        request = Request(path=path, **words)

        def count() -> Survivors:
            with event_loop() as loop, serving(app, loop) as open_:
                send, baseline = open_(request), open_(plain)
                _check(send, str(request), expected)
                limits = self.limits
                if limits and limits.above:
                    _check(baseline, f"{plain}, the baseline,", 200)
                return self._count(send, baseline, loop, f"each {request}", str(plain))

        if not _in_async():
            return count()
        with ThreadPoolExecutor(1) as elsewhere:  # an event loop runs in this thread already
            return elsewhere.submit(count).result()

    @property
    def limits(self) -> Limits | None:
        """What the marker of the test allows; None where it has none."""
        marker = self.item.get_closest_marker(MARKER)
        return Limits.of(marker) if marker else None

    def _count(
        self,
        send: Callable[[], object],
        baseline: Callable[[], object] | None,
        loop: asyncio.AbstractEventLoop | None = None,
        request: str = "each call",
        plain: str = "the baseline",
    ) -> Survivors:
        from outlive.errors import FaultError  # noqa: PLC0415
        from outlive.probe import limits as limiting  # noqa: PLC0415

        limits = self.limits
        if limits and limits.above and baseline is None:
            pytest.fail(
                f'above="{BASELINE}" needs one here: {FIXTURE}(send, baseline=send_a_plain_one)',
                pytrace=False,
            )
        self.item.stash[COUNTED] = True
        try:
            found, complaint = limiting.hold(send, baseline, loop, limits, (request, plain))
        except FaultError as error:
            pytest.fail(str(error), pytrace=False)
        if complaint:
            pytest.fail(complaint, pytrace=False)
        return found


def _check(send: Send, request: str, expected: int | None) -> None:
    """Send a request once. Fails the test where the answer has another status than expected."""
    status, raised = send()
    if expected not in (None, status):
        why = f" ({raised})" if raised else ""
        pytest.fail(
            f"{request} was answered {status}{why}, not {expected}: nothing is counted", pytrace=False
        )


async def _await(one: Awaitable[object]) -> None:
    await one


def _in_async() -> bool:
    """Tell whether this thread runs an event loop, asyncio's or trio's."""
    trio = sys.modules.get("trio")
    return asyncio._get_running_loop() is not None or (trio is not None and trio.lowlevel.in_trio_run())


@pytest.fixture(name=FIXTURE)
def _count_survivors(request: pytest.FixtureRequest) -> CountSurvivors:
    """Count what requests to an app leave in memory, held against the marker `limit_survivors`."""
    item: pytest.Item = request.node
    item.stash[COUNTED] = False
    return CountSurvivors(item)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(per_request=, cyclic=, leaked=, memory=, above=): fail where a request that {FIXTURE} "
        "counts leaves more objects, or bytes of memory; a leak that is not named is over its limit",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test whose marker has wrong words, or does nothing because the test counts nothing."""
    marker = item.get_closest_marker(MARKER)
    if marker:
        Limits.of(marker)
    result = yield
    # A whole module's marker is no promise of a test that has nothing to count.
    if marker and not item.stash.get(COUNTED, marker not in item.own_markers):
        pytest.fail(
            f"{MARKER}: the test counted nothing: call {FIXTURE} (and await it for async requests)",
            pytrace=False,
        )
    return result
