"""Calls at each request: by gunicorn's own hook, or by the attribute in which a server counts requests."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace

import pytest

from outlive.worker.request_hook import Periodic, RequestHook, keep_first


class Server:
    """Counts requests as servers do for `--max-requests`."""

    def __init__(self) -> None:
        self.total = 0

    def serve(self) -> None:
        self.total += 1


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> type[Server]:
    kind = type("Server", (Server,), {})
    module = ModuleType("a_server")
    module.Server = kind  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "a_server", module)
    return kind


def gunicorn() -> tuple[SimpleNamespace, dict[str, Callable[..., None]]]:
    settings: dict[str, Callable[..., None]] = {}
    return SimpleNamespace(cfg=SimpleNamespace(set=settings.__setitem__)), settings


def test_gunicorn_calls_after_each_request_and_the_app_is_not_wrapped() -> None:
    """A wrapper's frame would hang on each traceback that is left, and a gate be red for the wrong reason."""
    worker, settings = gunicorn()
    calls: list[str] = []
    hook = RequestHook(worker, "")
    hook.add(lambda: calls.append("one"))
    hook.add(lambda: calls.append("other"))
    assert not calls
    settings["post_request"](worker, None, None, None)
    assert calls == ["one", "other"]
    assert vars(worker).keys() == {"cfg"}


def test_a_server_that_counts_requests_is_none_the_wiser(server: type[Server]) -> None:
    worker, settings = gunicorn()
    before = server()  # as where counting begins once the server runs
    before.serve()
    calls: list[int] = []
    RequestHook(worker, "a_server:Server.total").add(lambda: calls.append(1))
    after = server()
    assert not calls
    for _ in range(3):
        after.serve()
    before.serve()
    assert len(calls) == 4
    assert (before.total, after.total) == (2, 3)
    assert not settings


def test_nothing_is_touched_before_something_is_to_be_called(server: type[Server]) -> None:
    worker, settings = gunicorn()
    RequestHook(worker, "a_server:Server.total")
    RequestHook(worker, "")
    assert not settings
    assert "total" not in vars(server)


def test_periodic_collections_can_be_set_anew(server: type[Server], monkeypatch: pytest.MonkeyPatch) -> None:
    collections: list[int] = []
    monkeypatch.setattr("gc.collect", lambda: collections.append(1))
    periodic = Periodic(RequestHook(gunicorn()[0], "a_server:Server.total").add)
    busy = server()

    def collected(requests: int) -> int:
        collections.clear()
        for _ in range(requests):
            busy.serve()
        return len(collections)

    periodic(3)
    assert collected(10) == 3
    periodic(5)
    assert collected(10) == 2
    periodic(sys.maxsize)
    assert collected(100) == 0


def test_what_a_server_renews_by_the_clock_stays_as_it_was_first(monkeypatch: pytest.MonkeyPatch) -> None:
    class State:
        def __init__(self) -> None:
            self.lines: list[str] = []

    module = ModuleType("a_server")
    module.State = State  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "a_server", module)
    keep_first("a_server:State.lines")
    state = State()
    assert state.lines == []
    for second in range(3):
        state.lines = [str(second)]
    assert state.lines == ["0"]
    assert State().lines == []
