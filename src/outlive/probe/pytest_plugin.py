"""A pytest plugin: a fixture that counts what requests to an app leave, and a marker that sets limits.

    @pytest.mark.limit_survivors(per_request=0)
    def test_a_404_leaves_nothing(count_survivors):
        count_survivors.wsgi(app, "/no-such-page")

    def test_no_scenario_leaks(count_survivors, outlive_scenario):
        count_survivors.scenario(outlive_scenario)

The second is run for each scenario of the nearest `outlive.toml`.

pytest imports this module in every run, so heavy modules are imported only when the fixture counts.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from outlive.probe.count import Survivors

MARKER = "limit_survivors"
FIXTURE = "count_survivors"
SCENARIO = "outlive_scenario"
BASELINE = "baseline"
COUNTED = pytest.StashKey[bool]()
USAGE = (
    f"{MARKER} takes per_request=, cyclic=, leaked= (objects per request), memory=\n"
    f'(bytes per request) and above="{BASELINE}", as in {MARKER}(per_request=0)'
)


class CountLimits(NamedTuple):
    """What a request may leave, as the marker says: objects per request and, for `memory`, bytes per request.

    None means no limit. A leak must be allowed explicitly: `leaked` is 0 by default, and so is `memory`
    unless leaked objects, which take memory, are allowed. With `above`, the limits apply to what a request
    leaves beyond a plain request to the same app.
    """

    per_request: float | None = None
    cyclic: float | None = None
    leaked: float = 0
    memory: float | None = None
    above: bool = False

    @classmethod
    def of(cls, marker: pytest.Mark) -> CountLimits:
        """Return the limits that a marker names. Fails the test if the marker's arguments are wrong."""
        words = dict(marker.kwargs)
        above = words.pop("above", None)
        unknown = [name for name in words if name not in cls._fields]
        wrong = [name for name, value in words.items() if not _is_limit(value)]
        if marker.args or unknown or wrong or not words or above not in (None, BASELINE):
            given = ", ".join([*map(repr, marker.args), *(f"{k}={v!r}" for k, v in marker.kwargs.items())])
            pytest.fail(f"{MARKER}({given}) is not a limit\n{USAGE}", pytrace=False)
        return cls(**words, above=above is not None)


def _is_limit(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


class CountSurvivors:
    """Counts what a request leaves; fails the test if that exceeds the limits of its marker."""

    def __init__(self, item: pytest.Item) -> None:
        self.item = item

    def __call__(self, send: Callable[[], Any], baseline: Callable[[], Any] | None = None) -> Any:
        """Return the `Survivors` of one call of `send`, which sends one request in any way it likes.

        If `send` returns an awaitable, it is awaited. Inside an async test that happens on the test's own
        event loop, and the result of this call must be awaited as well. `baseline` sends the plain request to
        which the marker's `above` refers.
        """
        first = send()
        if not inspect.isawaitable(first):
            return self._count(send, baseline)
        if _in_async():
            return self._count_here(first, send, baseline)
        from outlive.probe.clients import event_loop  # noqa: PLC0415

        with event_loop() as loop:

            def run(sent: Awaitable[object]) -> None:
                loop.run_until_complete(_await(sent))

            run(first)
            return self._count(lambda: run(send()), baseline and (lambda: run(baseline())), loop)

    async def _count_here(
        self,
        first: Awaitable[object],
        send: Callable[[], Awaitable[object]],
        baseline: Callable[[], Awaitable[object]] | None,
    ) -> Survivors:
        """Count from another thread what this test's event loop serves."""
        await first
        loop = asyncio._get_running_loop()
        run: Callable[[Callable[[], Awaitable[object]]], None]
        in_thread: Callable[..., Awaitable[Survivors]]
        if loop is None:
            run, in_thread = _in_trio, sys.modules["trio"].to_thread.run_sync
        else:
            run, in_thread = functools.partial(_in_asyncio, loop), asyncio.to_thread
        plain = functools.partial(run, baseline) if baseline else None
        return await in_thread(self._count, functools.partial(run, send), plain, loop)

    def wsgi(self, app: Callable[..., Any], path: str = "/", **request: Any) -> Survivors:
        """Return what one request to a WSGI application leaves; `app` may be a factory.

        `request` may have `method`, `headers` (a dict), `body` (bytes), `status` (the answer must have it),
        and `baseline` (the path of the plain request to which the marker's `above` refers).
        """
        return self._count_app("wsgi", app, path, request)

    def asgi(self, app: Callable[..., Any], path: str = "/", **request: Any) -> Survivors:
        """Return what one request to an ASGI 3 application leaves; the arguments are those of `wsgi`."""
        return self._count_app("asgi", app, path, request)

    def aiohttp(self, app: object, path: str = "/", **request: Any) -> Survivors:
        """Return what one request to an aiohttp application leaves; the arguments are those of `wsgi`."""
        return self._count_app("aiohttp", app, path, request)

    def scenario(self, name: str) -> Survivors:
        """Return what one request of a scenario leaves, by its name in the nearest `outlive.toml`.

        The application is that file's target, in this process. A scenario that only a server can be asked is
        skipped. The marker's `above` refers to the scenario `ok`.
        """
        from outlive.applications.settings import BASELINE as OK  # noqa: PLC0415
        from outlive.probe import own  # noqa: PLC0415
        from outlive.probe.clients import event_loop  # noqa: PLC0415

        def count() -> Survivors:
            folder = own.folder_of(self.item.path)
            with event_loop() as loop, own.served(folder, loop) as service:
                if own.needs_a_server(service.scenario(name)):
                    pytest.skip(f"{name}: only a server can be asked it: outlive measure --app {folder}")
                limits = self.limits
                baseline = service.sender(OK) if limits and limits.above else None
                return self._count(service.sender(name), baseline, loop, f"each {name}", OK)

        return self._alone(count)

    def _count_app(self, protocol: str, app: object, path: str, words: dict[str, Any]) -> Survivors:
        from outlive.probe import clients  # noqa: PLC0415

        status = words.pop("status", None)
        right = () if status is None else (str(status),)
        plain = clients.ClientRequest(path=words.pop(BASELINE, "/"))
        request = clients.ClientRequest(path=path, **words)
        serving = getattr(clients, protocol)

        def count() -> Survivors:
            with clients.event_loop() as loop, serving(app, loop) as open_:
                send, baseline = open_(request), open_(plain)
                clients.check(send, str(request), right)
                limits = self.limits
                if limits and limits.above:
                    clients.check(baseline, f"{plain}, the baseline,", ("200",))
                return self._count(send, baseline, loop, f"each {request}", str(plain))

        return self._alone(count)

    @staticmethod
    def _alone(count: Callable[[], Survivors]) -> Survivors:
        """Count in a thread of its own if an event loop already runs in this one. An error fails the test."""
        from outlive.errors import OutliveError  # noqa: PLC0415

        try:
            if not _in_async():
                return count()
            with ThreadPoolExecutor(1) as executor:
                return executor.submit(count).result()
        except OutliveError as error:
            pytest.fail(str(error), pytrace=False)

    @property
    def limits(self) -> CountLimits | None:
        """The limits that the test's marker sets, or None without a marker."""
        marker = self.item.get_closest_marker(MARKER)
        return CountLimits.of(marker) if marker else None

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
            survivors, complaint = limiting.hold(send, baseline, loop, limits, (request, plain))
        except FaultError as error:
            pytest.fail(str(error), pytrace=False)
        if complaint:
            pytest.fail(complaint, pytrace=False)
        return survivors


async def _await(sent: Awaitable[object]) -> None:
    await sent


def _in_asyncio(loop: asyncio.AbstractEventLoop, send: Callable[[], Awaitable[object]]) -> None:
    """Have the loop, which runs in another thread, send a request."""
    asyncio.run_coroutine_threadsafe(_await(send()), loop).result()


def _in_trio(send: Callable[[], Awaitable[object]]) -> None:
    """Have the trio run that started this thread send a request."""
    sys.modules["trio"].from_thread.run(send)


def _in_async() -> bool:
    """Return whether this thread runs an event loop, asyncio's or trio's."""
    trio = sys.modules.get("trio")
    return asyncio._get_running_loop() is not None or (trio is not None and trio.lowlevel.in_trio_run())


@pytest.fixture(name=FIXTURE)
def _count_survivors(request: pytest.FixtureRequest) -> CountSurvivors:
    """Count what requests to an app leave in memory, within the limits of the marker `limit_survivors`."""
    item: pytest.Item = request.node
    item.stash[COUNTED] = False
    return CountSurvivors(item)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for a scenario once for each of the nearest `outlive.toml`."""
    if SCENARIO in metafunc.fixturenames:
        from outlive.errors import UsageError  # noqa: PLC0415
        from outlive.probe import own  # noqa: PLC0415

        try:
            metafunc.parametrize(SCENARIO, own.scenarios_of(metafunc.definition.path))
        except UsageError as error:
            raise pytest.UsageError(str(error)) from None


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(per_request=, cyclic=, leaked=, memory=, above=): fail if a request counted by "
        f"{FIXTURE} leaves more objects or bytes than this; leaks fail unless allowed here",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test whose marker has wrong arguments, or has no effect because the test counts nothing."""
    marker = item.get_closest_marker(MARKER)
    if marker:
        CountLimits.of(marker)
    result = yield
    # A marker on a whole module does not mean that each of its tests counts something.
    if marker and not item.stash.get(COUNTED, marker not in item.own_markers):
        pytest.fail(
            f"{MARKER}: the test counted nothing: call {FIXTURE} (and await it for async requests)",
            pytrace=False,
        )
    return result
