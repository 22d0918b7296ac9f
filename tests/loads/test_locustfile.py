"""loadtests/ as a locust project of its own: headless, in the browser, and over several machines."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from subprocess import PIPE, Popen

import msgspec
import pytest
import requests

from loading import Stub
from measuring import CHECKOUT
from outlive import processes
from outlive.loads.locust.tally import Result
from outlive.service.users import weights

LOCUSTFILE = CHECKOUT.loadtests / "locustfile.py"
SOON = 180.0  # seconds; far more than is needed


def locust(*options: object, inside: Sequence[str] = ()) -> list[str]:
    """Return the command line that a user would type."""
    return [*inside, sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), *map(str, options)]


def host(stub: Stub, address: str = "127.0.0.1") -> str:
    return f"http://{address}:{stub.address[1]}"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def read(path: Path) -> Result:
    return msgspec.json.decode(path.read_bytes(), type=Result)


def sent(result: Result) -> int:
    return sum(tally.requests for one in result.processes for tally in one.scenarios.values())


def test_alone_it_sends_the_error_heavy_mix_under_the_names_of_the_scenarios() -> None:
    with Stub() as stub:
        argv = locust("--headless", "--host", host(stub), "-u", 2, "--requests", 100, "--json")
        done = processes.run(argv, timeout=SOON)
    counted = {row["name"]: row["num_requests"] for row in json.loads(done.stdout)}
    assert counted == weights(CHECKOUT.loadtests, "ErrorHeavy") == dict(stub.seen)
    assert done.returncode == 0


def test_a_wrong_answer_fails_the_run() -> None:
    with Stub(wrong={"not-found": "200"}) as stub:
        options = ("--headless", "--host", host(stub), "--requests", 20, "--scenarios", "not-found,http-*")
        done = processes.run(locust(*options, "ErrorStorm"), timeout=SOON)
    assert "not-found was answered '200', not '404': the app or the server is wrong" in done.stderr
    assert done.returncode == 1
    assert set(stub.seen) == {"not-found", "http-error"}


def test_tags_are_names_of_scenarios() -> None:
    with Stub() as stub:
        options = ("--headless", "--host", host(stub), "--requests", 20, "--tags", "not-found", "http-*")
        done = processes.run(locust(*options), timeout=SOON)
    assert done.returncode == 0, done.stderr
    assert set(stub.seen) == {"not-found", "http-error"}
    assert sum(stub.seen.values()) == 20


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("--scenarios", "not-fund", "no scenario 'not-fund'; try not-found, "),
        ("--rate", "-1", "--rate is -1.0: it must not be negative"),
    ],
)
def test_what_cannot_be_sent_is_one_line(option: str, value: str, reason: str) -> None:
    done = processes.run(locust("--headless", "--host", "http://127.0.0.1:1", option, value), timeout=SOON)
    assert done.stderr.splitlines()[-1].startswith(reason)
    assert done.returncode == 1


def test_users_of_another_locustfile_that_send_nothing_are_named(tmp_path: Path) -> None:
    path, other = tmp_path / "result.json", tmp_path / "other.py"
    other.write_text(
        "import time\nfrom locust import HttpUser, task\n"
        "class Idle(HttpUser):\n    @task\n    def ok(self): time.sleep(0.1)\n"
    )
    with Stub() as stub:
        options = ("--headless", "--host", host(stub), "--stall", 0.5, "--result", path)
        processes.run(locust(*options, "-f", f"{LOCUSTFILE},{other}"), timeout=SOON)
    wording = "no request was answered for 0.5 s: the server hangs, or Idle sends none"
    assert read(path).stopped == wording


@pytest.mark.parametrize(("shape", "clients"), [("Spike", {10}), ("Ramp", set(range(5, 11)))])
def test_a_shape_varies_the_number_of_clients(shape: str, clients: set[int], tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    with Stub(before=lambda _: time.sleep(0.02)) as stub:
        options = ("--headless", "--host", host(stub), "-u", 10, "-t", 4, "--shape", shape)
        done = processes.run(locust(*options, "--result", path, "Steady"), timeout=SOON)
    assert done.returncode == 0, done.stderr
    result = read(path)
    assert (result.final, result.stopped) == (True, None)
    assert sent(result) == stub.requests  # also those under way when a client had to go
    assert stub.connections in clients  # one for each client that ever was


def test_asked_to_end_it_finishes_what_it_began_and_says_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    with Stub(before=lambda _: time.sleep(0.2)) as stub:
        options = ("--headless", "--host", host(stub), "-u", 3, "--requests", 10000, "--result", path)
        with processes.running(locust(*options, "Steady"), stdout=PIPE, stderr=PIPE) as process:
            until(lambda: path.exists() and sent(read(path)) > 5)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=SOON)
    result = read(path)
    assert result.final
    assert sent(result) == stub.requests
    assert result.stopped == f"ended after {stub.requests} of 10000 requests"


def test_the_web_interface_starts_tests_with_our_options() -> None:
    port = free_port()
    site = f"http://127.0.0.1:{port}"
    with (
        Stub() as stub,
        processes.running(locust("--host", host(stub), "--web-host", "127.0.0.1", "--web-port", port)) as ui,
        requests.Session() as browser,
    ):

        def up() -> bool:
            with contextlib.suppress(requests.ConnectionError):
                return browser.get(site).ok
            return False

        def seen() -> dict[str, int]:
            found = browser.get(f"{site}/stats/requests").json()
            rows = found["stats"] if found["state"] == "stopped" else []
            return {row["name"]: row["num_requests"] for row in rows}

        def swarm(number: int) -> None:
            form = {"user_count": 2, "spawn_rate": 2, "requests": number, "scenarios": "ok, not-found"}
            assert browser.post(f"{site}/swarm", form).json()["success"]

        until(up)
        swarm(24)
        until(lambda: seen() == {"ok": 20, "not-found": 4, "Aggregated": 24})
        swarm(12)
        until(lambda: seen().get("Aggregated") == 12)
        assert dict(stub.seen)["ok"] >= 20
        assert stub.requests == 36
        ui.send_signal(signal.SIGINT)
        ui.wait(SOON)


# Several machines: a master and two workers that were started by themselves, also in namespaces of their own.


@contextlib.contextmanager
def namespaces(count: int) -> Iterator[dict[str, str]]:
    """Yield names of network namespaces and the network of each: .2 is its address there, .1 is ours."""
    first = os.getpid() % 100 * count
    networks = {f"outlive-{os.getpid()}-{n}": f"198.18.{first + n}" for n in range(count)}

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)

    try:
        for name, network in networks.items():
            ours, theirs = f"ov{network.removeprefix('198.18.')}", "eth0"
            ip("netns", "add", name)
            ip("link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", name)
            ip("address", "add", f"{network}.1/24", "dev", ours)
            ip("link", "set", ours, "up")
            for words in (
                ("address", "add", f"{network}.2/24", "dev", theirs),
                ("link", "set", theirs, "up"),
                ("link", "set", "lo", "up"),
                ("route", "add", "default", "via", f"{network}.1"),
            ):
                ip("-n", name, *words)
        yield networks
    except FileNotFoundError:
        pytest.skip("no network namespaces here: there is no ip command")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
    finally:
        with contextlib.suppress(FileNotFoundError):
            for name in networks:  # its end of the link goes with it, and so does ours
                subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def distributed(stub: Stub, address: str, inside: Sequence[Sequence[str]], path: Path) -> Result:
    """Run a master here and a worker inside of each; `address` is where the workers find us."""
    port = free_port()
    options = ("--headless", "--host", host(stub, address), "-u", 4, "--requests", 201, "--result", path)
    master = ("--master", "--master-bind-port", port, "--expect-workers", len(inside))
    worker = ("--worker", "--master-host", address, "--master-port", port)
    with contextlib.ExitStack() as stack:

        def start(argv: list[str]) -> Popen[bytes]:
            return stack.enter_context(processes.running(argv, stdout=PIPE, stderr=PIPE))

        started = [start(locust(*options, *master, "ErrorHeavy"))]
        started += [start(locust(*worker, inside=prefix)) for prefix in inside]
        for process in started:
            _, log = process.communicate(timeout=SOON)
            assert process.returncode == 0, log.decode()
    return read(path)


def check(result: Result, stub: Stub) -> None:
    assert (result.final, result.stopped, stub.strange) == (True, None, [])
    assert [sent(Result((one,))) for one in result.processes] == [101, 100]
    assert stub.requests == 201


def test_workers_that_were_started_by_themselves(tmp_path: Path) -> None:
    with Stub() as stub:
        check(distributed(stub, "127.0.0.1", [(), ()], tmp_path / "result.json"), stub)


def test_workers_in_network_namespaces_of_their_own(tmp_path: Path) -> None:
    with namespaces(2) as networks, Stub("0.0.0.0") as stub:
        inside = [("ip", "netns", "exec", name) for name in networks]
        address = f"{next(iter(networks.values()))}.1"
        check(distributed(stub, address, inside, tmp_path / "result.json"), stub)
        assert stub.peers == {f"{network}.2" for network in networks.values()}
