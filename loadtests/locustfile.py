"""Load for the reference apps, or for any server with the same routes.

    locust -f loadtests/locustfile.py --host http://127.0.0.1:8000

needs `pip install -e ".[load]"` in the checkout. What is sent is in scenarios.toml, who sends how much of it
in users.toml; docs/load.md describes both, and the options.
"""

from __future__ import annotations

import ctypes
import logging
import math
import signal
import sys
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gevent.socket
from locust import FastHttpUser, LoadTestShape, events, tag, task
from locust.env import Environment
from locust.exception import StopUser
from locust.runners import WorkerRunner

from outlive.errors import FaultError, UsageError
from outlive.loads.locust.plain import PlainAgent
from outlive.loads.locust.session import NoAnswer, Session
from outlive.replay import client as replay
from outlive.replay.mixed import PATIENCE
from outlive.service import login, scenarios, seal, users
from outlive.service.scenarios import Scenario

HERE = Path(__file__).parent
SCENARIOS = {scenario.name: scenario for scenario in scenarios.load(HERE / "scenarios.toml")}
BACKOFF = 0.2
"""Seconds that a client pauses without an answer, so that it does not ask a dead server in a loop."""
PR_SET_PDEATHSIG = 1

session = Session(HERE)


class ScenarioUser(FastHttpUser):
    """A client: sends the scenarios of its mix one after another, each when it is due.

    Its requests have the names of scenarios. An answer that the scenario expects is a success, even if it is
    an error; any other is a failure.
    """

    abstract = True
    deals = True
    """Whether it sends what is due of its mix; users of another locustfile do not."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.client.client = self.agent = PlainAgent()
        self.sockets: dict[str, replay.Client] = {}
        self.logged_in: dict[str, Scenario] = {}
        self.stayed = 0.0

    @tag(*SCENARIOS)  # `--tags not-found` sends this scenario alone
    @task
    def send(self) -> None:
        """Send the next request, or end if there are no more."""
        with session.arrivals.take() as due:
            if due is None:
                raise StopUser
            scenario = SCENARIOS[session.draw(type(self).__name__)]
            if scenario.login:
                scenario = self.with_login(scenario)
            send = self.over_http if scenario.ordinary else self.over_socket
            answered = send(scenario, due)
        if not answered:
            time.sleep(BACKOFF)

    def with_login(self, scenario: Scenario) -> Scenario:
        """Return the scenario as this client sends it, who logs in once for each."""
        if scenario.name not in self.logged_in:
            url = urlsplit(str(self.host))
            with self.agent.minded():
                found = login.logged_in(scenario, seal.given(url.hostname or "", url.port or 80))
            self.logged_in[scenario.name] = found
        return self.logged_in[scenario.name]

    def over_http(self, scenario: Scenario, due: float) -> bool:
        """Send a request as an HTTP client does, and report it; return whether there was an answer."""
        head, _, body = scenario.message(session.options.connection).partition(b"\r\n\r\n")
        first, *fields = head.decode().split("\r\n")
        method, path, _ = first.split(" ")
        with self.client.request(
            method,
            path,
            name=scenario.name,
            data=body,  # type: ignore[arg-type] # bytes are sent as they are
            headers=dict(field.split(": ", 1) for field in fields),
            catch_response=True,
        ) as response:
            # Since it was due, which may be long before a client was free to send it.
            response.request_meta["response_time"] = (time.perf_counter() - due) * 1000
            broken = response.request_meta["exception"]
            if not response.status_code:
                response.failure(
                    NoAnswer(f"{scenario.name} got no answer: {type(broken).__name__}: {broken}")
                )
                return False
            answer = f"{response.status_code} cut" if broken else str(response.status_code)
            fault = verdict(scenario, answer)
            if fault is None:
                response.success()
            else:
                response.failure(fault)
        return True

    def over_socket(self, scenario: Scenario, due: float) -> bool:
        """Send what no HTTP client would, or behave as none should; return whether there was an answer."""
        client = self.sockets.get(scenario.name)
        if client is None:
            url = urlsplit(str(self.host))
            address = seal.given(url.hostname or "", url.port or 80)
            client = replay.Client(address, scenario, session.options.connection, self.stay)
            self.sockets[scenario.name] = client
        sent = time.time()
        self.stayed = 0.0
        fault: Exception | None
        try:
            with self.agent.minded():
                fault = verdict(scenario, client.send())
        except FaultError as error:
            client.close()
            fault = NoAnswer(str(error))
        self.environment.events.request.fire(
            request_type="RAW",
            name=scenario.name,
            response_time=(time.perf_counter() - due - self.stayed) * 1000,  # the server's time, not ours
            response_length=0,
            exception=fault,
            context=self.context(),
            start_time=sent,
            url=self.host,
        )
        return not isinstance(fault, NoAnswer)

    def stay(self) -> None:
        """Wait as long as a client that leaves in the middle."""
        begun = time.perf_counter()
        time.sleep(PATIENCE)
        self.stayed += time.perf_counter() - begun

    def on_stop(self) -> None:
        """Close all connections."""
        self.client.client.close()
        for client in self.sockets.values():
            client.close()


def verdict(scenario: Scenario, answer: str) -> FaultError | None:
    """Return what is wrong with the answer, or None if the scenario expects it."""
    try:
        replay.check(scenario, answer)
    except FaultError as error:
        return error
    return None


class ErrorHeavy(ScenarioUser):
    """A service on a bad day: about 40 % errors, over all scenarios."""


class ErrorStorm(ScenarioUser):
    """An outage, or a scanner: nearly all errors."""


class Steady(ScenarioUser):
    """No errors."""


for name in users.load(HERE / "users.toml"):
    if name not in globals():
        globals()[name] = type(name, (ScenarioUser,), {"__doc__": "A user of users.toml."})


class Shape(LoadTestShape):
    """How many of the `--users` there are during the `--run-time`; `--shape` selects one."""

    abstract = True
    use_common_options = True

    def share(self, elapsed: float) -> float:
        """Return the fraction of the users after the fraction `elapsed` of the time."""
        raise NotImplementedError

    def tick(self) -> tuple[int, float] | None:
        """Return (users wanted now, users that may start per second); None ends the test."""
        options = session.options
        users, elapsed = options.num_users or 1, self.get_run_time() / (options.run_time or 60)
        return None if elapsed >= 1 else (max(1, math.ceil(users * self.share(elapsed))), users)


class Ramp(Shape):
    """From one user to all of them, evenly."""

    def share(self, elapsed: float) -> float:
        """Return the fraction of the time."""
        return elapsed


class Spike(Shape):
    """A tenth of the users, and all of them in the middle third of the time."""

    def share(self, elapsed: float) -> float:
        """Return 1 in the middle third, else 0.1."""
        return 1.0 if 1 / 3 <= elapsed < 2 / 3 else 0.1


@events.init_command_line_parser.add_listener
def add_options(parser: ArgumentParser) -> None:
    """Add our options to locust's. 0 and "" mean "not asked for", because the web interface needs a type."""
    group: Any = parser.add_argument_group("Options of outlive's load tests")
    group.add_argument("--requests", type=int, default=0, help="Send exactly this many requests, then stop")
    group.add_argument(
        "--rate",
        type=float,
        default=0.0,
        help="Requests due a second, at a constant rate; latency counts from when a request was due",
    )
    group.add_argument("--connection", choices=["keep-alive", "close"], default="keep-alive")
    group.add_argument("--scenarios", default="", help="Only these, such as: not-found,*-error")
    group.add_argument("--shape", choices=["", "Ramp", "Spike"], default="", help="Vary the number of users")
    group.add_argument(
        "--stall", type=float, default=10.0, help="Stop after this many seconds without any answer"
    )
    group.add_argument("--result", default="", help="Write the result so far to this JSON file, each second")


@events.init.add_listener
def begin(environment: Environment, **_: object) -> None:
    """Apply the options that decide who sends; by default another locustfile's users, else ErrorHeavy."""
    options: Any = environment.parsed_options
    if isinstance(environment.runner, WorkerRunner):
        if options.processes:
            die_with_master()
    elif not options.user_classes and not options.class_picker:
        files = str(options.locustfile).split(",")[1:]
        others = [user for user in environment.user_classes if not issubclass(user, ScenarioUser)]
        if files and not others:
            sys.exit(f"{', '.join(files)}: no user in it")
        environment.user_classes = others or [ErrorHeavy]
    if not all(issubclass(user, ScenarioUser) for user in environment.user_classes):
        url = urlsplit(str(options.host))
        seal.in_all(gevent.socket.socket, seal.given(url.hostname or "", url.port or 80))
    environment.shape_class = (environment.available_shape_classes or {}).get(options.shape)
    if environment.shape_class is not None:
        environment.shape_class.runner = environment.runner
    # locust's timers use the loop's clock, which stood still while all this was loaded.
    gevent.get_hub().loop.update_now()
    session.attach(environment)
    try:
        session.check()
    except UsageError as error:
        sys.exit(str(error))


@events.quitting.add_listener
def end(environment: Environment, **_: object) -> None:
    """Say in a line what is most likely wrong where no answer was right."""
    total = environment.stats.total
    if total.num_requests and total.num_failures == total.num_requests:
        logging.getLogger(__name__).error(
            "no answer of %s was right: it does not speak the reference apps' routes, or does not run; "
            "`outlive serve flask==3.1.3` serves an app that does",
            environment.host,
        )


def die_with_master() -> None:
    """Make a worker that locust has forked die with its master, even if that is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
