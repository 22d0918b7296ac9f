"""Measuring real servers: what is planted in an app is found, and integers repeat."""

from __future__ import annotations

import functools
import socket

import msgspec
import pytest

from measuring import CHECKOUT, FRAMEWORKS, SCENARIOS, cell, measured, planted, reference
from outlive.errors import FaultError
from outlive.records.measurement import CONNECTIONS, Connection, Measurement
from outlive.replay.driver import Driver
from outlive.replay.measure import measure, ours_alone
from outlive.replay.subject import Subject, Task
from outlive.retention.growth import HEAP_LEAK, lengths
from outlive.service import scenarios, seal

pytestmark = pytest.mark.real


def one(subject: Subject, connection: Connection = "close", gc: str = "off") -> Measurement:
    (found,) = measured(subject, cell("ok", connection, gc))
    assert (found.status, found.reason, found.answer) == ("measured", None, "200")
    return found


@functools.cache
def clean(framework: str, connection: Connection = "close", gc: str = "off") -> Measurement:
    """Return what is measured if nothing is planted."""
    return one(planted(framework, "nothing"), connection, gc)


def trails(found: Measurement) -> str:
    return "\n".join(leak.trail for leak in found.leaks)


@pytest.fixture(params=FRAMEWORKS)
def framework(request: pytest.FixtureRequest) -> str:
    assert isinstance(request.param, str)
    return request.param


class TestPlanted:
    def test_a_clean_handler_leaves_what_the_framework_leaves(self, framework: str) -> None:
        collected, found = clean(framework, gc="on"), clean(framework)
        assert (collected.growth, collected.leaked_per_request) == ("none", 0)
        assert found.leaked_per_request == 0
        assert found.survivors_per_request == found.cyclic_per_request
        assert found.survivors_per_request == one(reference(framework)).survivors_per_request

    @pytest.mark.parametrize("gc", ["off", "on"])
    def test_an_object_for_each_hundred_requests(self, framework: str, gc: str) -> None:
        found = one(planted(framework, "one_in_a_hundred"), gc=gc)
        assert found.growth == "leak"
        assert found.leaked_per_request == pytest.approx(0.01, abs=0.003)
        assert sum(phase.leaked for phase in found.phases) == pytest.approx(found.requests / 100, abs=2)
        assert found.types.get("list", 0) == pytest.approx(0.01, abs=0.003)
        if gc == "off":
            assert found.survivors_per_request
            assert found.survivors_per_request > 0
            assert "plants.kept" not in trails(found)  # its sample is too small to say what comes how often

    @pytest.mark.parametrize("gc", ["off", "on"])
    def test_small_bytes_that_the_collector_does_not_know(self, framework: str, gc: str) -> None:
        found = one(planted(framework, "small_bytes"), "keep-alive", gc)
        assert (found.growth, found.leaked_per_request) == ("leak", 0)
        assert [phase.blocks_kept / phase.requests for phase in found.phases[-2:]] == pytest.approx(
            [1, 1], abs=0.25
        )
        if gc == "on":
            assert found.unexplained == "none of its objects came with each of 15 sampled requests"

    @pytest.mark.parametrize("gc", ["off", "on"])
    def test_the_smallest_chunk_of_the_c_heap(self, framework: str, gc: str) -> None:
        found, without = one(planted(framework, "smallest_chunk"), gc=gc), clean(framework, gc=gc)
        if found.heap_bytes_per_request is not None:
            assert (found.growth, found.leaked_per_request) == ("leak", 0)
            for phase in found.phases[-2:]:
                assert (phase.heap_kept or 0) / phase.requests == pytest.approx(32, abs=2)
        assert without.growth != "leak"
        assert all(abs(phase.heap_kept or 0) < HEAP_LEAK * phase.requests for phase in without.phases[1:])

    def test_large_bytes_that_the_collector_does_not_know(self, framework: str) -> None:
        found = one(planted(framework, "large_bytes"), "keep-alive")
        assert (found.growth, found.leaked_per_request) == ("leak", 0)
        kept = [phase.heap_kept for phase in found.phases[-2:]]
        if None not in kept:
            assert [n and n / phase.requests for n, phase in zip(kept, found.phases[-2:], strict=True)] == (
                pytest.approx([4150, 4150], abs=150)
            )

    @pytest.mark.parametrize("gc", ["off", "on"])
    def test_files_that_stay_open(self, framework: str, gc: str) -> None:
        found = one(planted(framework, "file_each_five"), gc=gc)
        assert (found.growth, found.leaked_per_request) == ("leak", 0)
        assert found.held is not None
        assert list(found.held) == ["files"]
        assert found.held["files"] == pytest.approx(0.2, abs=0.01)

    def test_memory_that_is_mapped(self, framework: str) -> None:
        found = one(planted(framework, "mapped_page"))
        assert (found.growth, found.leaked_per_request) == ("leak", 0)
        assert found.held is not None
        assert list(found.held) == ["mapped"]
        assert found.held["mapped"] == pytest.approx(4096, rel=0.02)

    @pytest.mark.parametrize("plant", ["file_that_is_closed", "mapped_and_unmapped", "child_waited_for"])
    def test_what_is_given_back_is_none(self, framework: str, plant: str) -> None:
        found = one(planted(framework, plant), gc="on")
        assert (found.growth, found.held) == ("none", {})

    def test_tasks_that_never_end(self) -> None:
        found = one(planted("aiohttp", "task"))
        assert found.growth == "leak"
        assert found.held == {"tasks": 1}

    def test_a_thread_for_each_request(self) -> None:
        found = one(planted("flask", "thread"), gc="on")
        assert (found.growth, found.reason) == ("leak", None)
        assert found.held is not None
        assert found.held["threads"] == 1
        assert found.requests == sum(lengths().short)

    @pytest.mark.parametrize("gc", ["off", "on"])
    def test_a_child_for_each_request_that_nothing_waits_for(self, framework: str, gc: str) -> None:
        found = one(planted(framework, "zombie"), gc=gc)
        assert (found.growth, found.leaked_per_request, found.held) == ("leak", 0, {"processes": 1})
        assert found.requests == sum(lengths().short)

    def test_a_cache_is_bounded(self, framework: str) -> None:
        found = one(planted(framework, "cache_of_500"), gc="on")
        assert (found.growth, found.leaked_per_request) == ("bounded", 0)
        assert sum(phase.leaked for phase in found.phases) == pytest.approx(500 - 21, abs=2)

    @pytest.mark.parametrize("connection", CONNECTIONS)
    def test_a_cycle_is_counted_exactly(self, framework: str, connection: Connection) -> None:
        without = clean(framework, connection)
        found = one(planted(framework, "cycle"), connection)
        assert (found.growth, found.leaked_per_request) == ("cyclic", 0)
        assert without.cyclic_per_request is not None
        assert found.cyclic_per_request == without.cyclic_per_request + 1
        assert found.types["plants.Node"] == 1
        (leak,) = set(found.leaks) - set(without.leaks)
        assert (leak.growth, leak.trail) == ("cyclic", "ring plants.Node.itself")
        assert leak.objects_per_request == 1
        assert found.fingerprints == tuple(leak.fingerprint for leak in found.leaks)

    def test_a_leak_of_a_connection_is_none_of_a_request(self, framework: str) -> None:
        found = one(planted(framework, "three_a_connection"), "close")
        assert (found.growth, found.leaked_per_request) == ("leak", 3)
        assert ("leaked", "path module plants global kept[]", 3) in {
            (leak.growth, leak.trail.strip(), leak.objects_per_request) for leak in found.leaks
        }
        held = one(planted(framework, "three_a_connection"), "keep-alive")
        assert (held.leaked_per_request, held.growth) == (
            0,
            "cyclic" if held.cyclic_per_request else "none",
        )
        assert [phase.leaked for phase in held.phases] == [3] * len(held.phases)
        assert held.leaked_per_connection == 3

    def test_nor_is_there_one_where_nothing_is_planted(self, framework: str) -> None:
        held, closed, left, reset = (clean(framework, kind) for kind in CONNECTIONS)
        assert held.leaked_per_connection == 0
        assert held.survivors_per_request is not None
        assert held.survivors_per_connection is not None
        both = held.survivors_per_request + held.survivors_per_connection
        assert both == left.survivors_per_request
        counts = [tuple(phase.survivors for phase in found.phases) for found in (closed, left, reset)]
        assert counts == [counts[0]] * 3  # whoever closes, the same objects stay


@pytest.mark.parametrize("gc", ["off", "on"])
def test_integers_repeat(framework: str, gc: str) -> None:
    names = ("not-found", "malformed-request", "abort-response")
    cells = [cell(name, connection, gc) for name in names for connection in CONNECTIONS]
    runs = [measured(reference(framework), *cells) for _ in range(2)]
    for same in zip(*runs, strict=True):
        assert len({(m.status, m.growth, m.survivors_per_request, m.cyclic_per_request) for m in same}) == 1
        assert {m.leaked_per_request for m in same} == {0}
        assert len({m.leaks for m in same}) == 1
        assert all(m.explained for m in same)
        if gc == "off":
            assert len({tuple((p.survivors, p.leaked) for p in m.phases[:3]) for m in same}) == 1


def test_two_at_once_do_not_disturb_each_other() -> None:
    cells = tuple(cell(name) for name in ("ok", "not-found", "handler-error", "upload"))
    alone = measured(reference("flask"), *cells)
    tasks = [Task(subject, cells) for subject in (reference("flask"), reference("aiohttp"))]
    both = measure(tasks, SCENARIOS, 2, lambda _: None)
    counts = {m.scenario: m.survivors_per_request for m in both if m.framework == "flask"}
    assert counts == {m.scenario: m.survivors_per_request for m in alone}
    assert len(both) == 2 * len(cells)


def test_a_worker_that_cannot_hold_the_connection_is_unsupported() -> None:
    subject = msgspec.structs.replace(reference("flask"), worker="sync")
    held, closed = measured(subject, cell("ok", "keep-alive"), cell("ok", "close"))
    assert (held.status, held.reason) == (
        "unsupported",
        "gunicorn's sync worker cannot serve keep-alive connections",
    )
    assert (closed.status, closed.worker) == ("measured", "sync")


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_requests_of_a_stranger_are_never_a_measurement(
    framework: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsealed(listener: socket.socket) -> tuple[str, int]:
        host, port = listener.getsockname()
        return host, port

    def beside(driver: Driver, requests: int, over: Connection | None = None) -> int:
        with socket.create_connection(driver.server.address[:2]) as stranger:
            stranger.sendall(b"GET /ok HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
            while stranger.recv(65536):
                pass
        return send(driver, requests, over)

    send = Driver.send
    monkeypatch.setattr(seal, "sealed", unsealed)  # as on a kernel without TCP signatures
    monkeypatch.setattr(Driver, "send", beside)
    (found,) = measured(reference(framework), cell("ok"))
    assert (found.status, found.phases) == ("failed", ())
    assert found.reason
    assert "where 11 were sent: something else sends to it" in found.reason


@pytest.mark.parametrize(
    ("name", "handled", "right"),
    [
        ("ok", 50, True),
        ("ok", 0, True),  # a server that counts none of these
        ("ok", 51, False),
        ("ok", 49, False),
        ("ok", 100, False),
        ("reuse-after-error", 100, True),
        ("reuse-after-error", 50, True),  # the connection was closed after the first
        ("reuse-after-error", 150, False),
    ],
)
def test_the_requests_that_are_handled_are_those_that_were_sent(name: str, handled: int, right: bool) -> None:
    known = scenarios.load_set(CHECKOUT.scenarios, "all")
    (scenario,) = (each for each in known if each.name == name)
    if right:
        ours_alone(scenario, handled, 50)
    else:
        with pytest.raises(
            FaultError, match=f"{name}: the worker handled {handled} requests where 50 were sent"
        ):
            ours_alone(scenario, handled, 50)
