"""The extended scenarios on real releases: each is answered as it says, and leaks in their apps are found."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from measuring import CHECKOUT, FRAMEWORKS, environment
from outlive import processes
from outlive.api.selection import Selection
from outlive.errors import FaultError, UsageError
from outlive.gates import proof
from outlive.records.measurement import ASKED, Cell, Connection, Measurement
from outlive.records.stack import Stack
from outlive.replay import engine
from outlive.replay.client import Client
from outlive.replay.engine import CellRequest, Progress
from outlive.replay.measure import measure
from outlive.replay.subject import Subject, Task
from outlive.service import app as apps
from outlive.service import certificate
from outlive.service.gunicorn import Server
from outlive.service.peer import Peer
from outlive.service.scenarios import Scenario, Set, load_set, select
from outlive.stacks import environments
from outlive.stacks.prepare import prepare

EXTENDED = tuple(s for s in load_set(CHECKOUT.scenarios, "all") if s.app)
"""Those of further apps."""
GROUPS = sorted(
    {
        (framework, s.app, c)
        for framework in FRAMEWORKS
        for s in EXTENDED
        if s.about(framework)
        for c in ASKED
        if s.over(c)
    }
)


def subject(framework: str, app: str) -> Subject:
    return Subject(environment(framework), apps.load(CHECKOUT, framework, app), CHECKOUT.apps / framework)


def lacking(subject: Subject, scenario: Scenario, connection: Connection) -> str | None:
    return subject.lacks(scenario, Cell(scenario.name, connection, "off"))


def unanswered(served: Subject, app: str, connection: Connection) -> tuple[set[str], dict[str, str]]:
    """Return the scenarios of an app that a stack cannot have, and what is wrong with other answers."""
    framework = served.app.framework
    worker = served.app.worker(connection)
    assert worker is not None
    mine = [s for s in EXTENDED if s.app == app and s.about(framework) and s.over(connection)]
    asked = [s for s in mine if not lacking(served, s, connection)]
    wrong = {}
    with Server(served.environment, served.app, worker, served.folder) as server:
        server.fresh_worker()
        for scenario in asked:
            try:
                Client(server.address, scenario, connection, server.rest).replay(1)
            except FaultError as error:
                wrong[scenario.name] = f"{error}; {server.last_words()}"
    return {s.name for s in mine} - {s.name for s in asked}, wrong


@pytest.mark.real
@pytest.mark.parametrize(("framework", "app", "connection"), GROUPS)
def test_each_is_answered_as_it_says(framework: str, app: str, connection: Connection) -> None:
    lacking, wrong = unanswered(subject(framework, app), app, connection)
    assert lacking <= {"async-view", "async-view-error"}
    assert not wrong, "\n".join(f"{name}: {said}" for name, said in wrong.items())


@pytest.mark.real
@pytest.mark.parametrize(("framework", "release", "app"), [("flask", "2.0.3", "site")])
def test_and_by_a_release_without_what_newer_ones_bring(framework: str, release: str, app: str) -> None:
    prepared = prepare(CHECKOUT, Stack(framework, release, "3.11"))
    served = msgspec.structs.replace(
        subject(framework, app), environment=environments.ensure(prepared.lock, prepared.interpreter)
    )
    lacking, wrong = unanswered(served, app, "close")
    assert lacking == {"signals-error", "async-view", "async-view-error"}
    assert not wrong, "\n".join(f"{name}: {said}" for name, said in wrong.items())


@pytest.mark.real
class TestAPlantedLeak:
    def measured(self, app: apps.App) -> Measurement:
        whole = subject("aiohttp", "gateway")
        planted = msgspec.structs.replace(whole, app=app)
        found = measure(
            [Task(planted, (Cell("gateway-ok", "keep-alive", "off"),))], EXTENDED, 1, lambda _: None
        )
        assert [(m.status, m.reason) for m in found] == [("measured", None)]
        return found[0]

    def test_in_an_app_that_calls_out_is_found(self) -> None:
        app = apps.load(CHECKOUT, "aiohttp", "gateway")
        found = self.measured(proof.planted(app, "leak"))
        assert found.growth == "leak"
        assert found.leaked_per_request == pytest.approx(0.01, abs=0.003)

    def test_and_without_it_there_is_none(self) -> None:
        found = self.measured(apps.load(CHECKOUT, "aiohttp", "gateway"))
        assert (found.growth == "leak", found.leaked_per_request) == (False, 0)


class TestWhatAScenarioNeeds:
    def test_another_release(self) -> None:
        (one,) = select(EXTENDED, ["cancelled-handler"])
        assert one.lacks("aiohttp", "3.8.6", {}) == "needs aiohttp >=3.9"
        assert one.lacks("aiohttp", "3.9.0", {}) is None

    def test_a_package(self) -> None:
        (one,) = select(EXTENDED, ["async-view"])
        assert one.lacks("flask", "3.1.3", {"flask": "3.1.3"}) == (
            "needs asgiref: name a version, as in flask==3.1.3,asgiref==VERSION"
        )
        assert one.lacks("flask", "3.1.3", {"asgiref": "3.8.1"}) is None

    def test_its_framework(self) -> None:
        (one,) = select(EXTENDED, ["gateway-refused"])
        assert one.about("aiohttp")
        assert not one.about("flask")
        assert engine.serving(CHECKOUT, "flask", [one]) == {}

    def test_each_has_an_app(self) -> None:
        for framework in FRAMEWORKS:
            mine = [s for s in EXTENDED if s.about(framework)]
            assert set(engine.serving(CHECKOUT, framework, mine)) == {s.name for s in mine}

    def test_an_unknown_app_gets_the_nearest(self) -> None:
        with pytest.raises(UsageError, match=r"^aiohttp has no app 'gatewya'; try gateway"):
            apps.load(CHECKOUT, "aiohttp", "gatewya")


class TestSelection:
    def request(self, *patterns: str, chosen: Set | None = None, always: tuple[str, ...] = ()) -> CellRequest:
        selection = Selection(patterns, chosen, (), ("off",), None, fresh=False, jobs=1)
        return selection.request(CHECKOUT, always=always)

    def test_without_a_set_it_is_the_default_one_with_the_usual_connections(self) -> None:
        default = load_set(CHECKOUT.scenarios, "default")
        found = self.request().cells
        assert {cell.scenario for cell in found} == {scenario.name for scenario in default}
        assert {cell.connection for cell in found} == {"keep-alive", "close", "client-close"}
        assert {cell.connection for cell in found if cell.scenario == "malformed-request"} == {"close"}

    def test_the_extended_set_has_clients_that_reset(self) -> None:
        found = self.request("ok", chosen="all").cells
        assert [cell.connection for cell in found] == ["keep-alive", "close", "client-close", "client-reset"]

    def test_the_baseline_comes_first(self) -> None:
        request = self.request(chosen="extended", always=("ok",))
        first = load_set(CHECKOUT.scenarios, "extended")[0]
        assert [one.name for one in request.scenarios[:2]] == ["ok", first.name]

    def test_connections_that_make_no_difference_have_no_cell(self) -> None:
        assert self.request("tls-plain").cells == (Cell("tls-plain", "close", "off"),)

    def test_another_framework_has_none_of_them(self) -> None:
        prepared = prepare(CHECKOUT, Stack("flask", "3.1.3", "3.11"))
        with pytest.raises(UsageError, match=r"^gateway-ok: not about flask$"):
            engine.run(CHECKOUT, [prepared], self.request("gateway-ok"), Progress(print, print))


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    with contextlib.closing(Peer(certificate.make(tmp_path_factory.mktemp("peer")))) as running:
        yield running


class TestPeer:
    def ask(self, peer: Peer, path: str) -> bytes:
        """Return all that comes until the peer closes, or waits for more."""
        with socket.create_connection(("127.0.0.1", json.loads(peer.ports)["http"]), 10) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: peer\r\n\r\n".encode())
            peer.rest()
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    @pytest.mark.parametrize(
        ("path", "start", "end"),
        [
            ("/ok", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b""),
            ("/error", b"HTTP/1.1 500 ", b"ok"),
            ("/cookies/7", b"HTTP/1.1 200 OK\r\nSet-Cookie: seen-7=yes; Path=/\r\n", b"ok"),
            (
                "/unreturned-cookies/7",
                b"HTTP/1.1 200 OK\r\nSet-Cookie: seen-7=yes; Path=/; Secure\r\n",
                b"ok",
            ),
            ("/long", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\n", b"0\r\n\r\n"),
            ("/gone", b"", b""),
            ("/cut", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nZZ", b"Z"),
            ("/cut-chunks", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\nZZ", b"Z"),
            ("/malformed", b"SSH-2.0", b"\r\n\r\n"),
            ("/bad-chunk", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nmany\r\n", b"0\r\n\r\n"),
            ("/stall", b"", b""),
            ("/stall-announced", b"", b""),
            ("/announced", b"HTTP/1.1 200 OK\r\n", b"ok"),
            ("/inflated", b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n", b""),
            ("/bad-gzip", b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n", b"\xff"),
            ("/stall-in-body", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nZZ", b"Z"),
        ],
    )
    def test_goes_wrong_as_asked(self, peer: Peer, path: str, start: bytes, end: bytes) -> None:
        found = self.ask(peer, path)
        assert found.startswith(start)
        assert found.endswith(end)
        assert start or not found

    def test_reads_a_body_before_the_next_request(self, peer: Peer) -> None:
        with socket.create_connection(("127.0.0.1", json.loads(peer.ports)["http"]), 10) as connection:
            connection.sendall(b"POST /ok HTTP/1.1\r\nContent-Length: 2\r\n\r\nhiGET /error HTTP/1.1\r\n\r\n")
            peer.rest()
            connection.shutdown(socket.SHUT_WR)
            answers = b"".join(iter(lambda: connection.recv(65536), b""))
        assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"200", b"500"]

    def test_refuses_and_hangs(self, peer: Peer) -> None:
        ports = json.loads(peer.ports)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", ports["refused"]), 10)
        with pytest.raises(TimeoutError):
            socket.create_connection(("127.0.0.1", ports["full"]), 0.05)

    def test_one_that_has_died_is_a_fault(self, tmp_path: Path) -> None:
        peer = Peer(certificate.make(tmp_path))
        peer.close()
        with pytest.raises(FaultError, match="has died or never rests"):
            peer.rest()

    def test_one_that_does_not_start_is_a_fault(self, tmp_path: Path) -> None:
        with pytest.raises(FaultError, match="does not start"):
            Peer(tmp_path / "no-certificate.pem")


class TestCertificate:
    def test_can_be_read_by_its_owner_only(self, tmp_path: Path) -> None:
        path = certificate.make(tmp_path)
        assert path.stat().st_mode & 0o077 == 0
        assert "BEGIN CERTIFICATE" in path.read_text()
        assert "PRIVATE KEY" in path.read_text()

    def test_without_openssl_there_is_none(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        failed = subprocess.CompletedProcess([], 1, "", "openssl: No such file or directory\n")
        monkeypatch.setattr(processes, "run", lambda *_, **__: failed)
        with pytest.raises(FaultError, match=r"that scenarios with TLS need: openssl: No such file"):
            certificate.make(tmp_path)
