"""A load test in one locust process: distributes requests, counts answers, ends the test.

Imported by locust only. The *head* is the process that was started: locust's master, or the only process. It
tells the workers what to send, collects their results, writes the sum and ends the test.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Any

import gevent
import msgspec
import psutil
from locust import runners
from locust.env import Environment
from locust.exception import StopTest
from locust.rpc.protocol import Message
from locust.runners import STATE_MISSING, MasterRunner, WorkerRunner

from outlive.errors import FaultError, UsageError
from outlive.files import write_text
from outlive.loads.locust.arrivals import NOTHING, Arrivals, Share, shares
from outlive.loads.locust.tally import UNWRITTEN, Result, Sent
from outlive.service.users import Deck, weights
from outlive.service.wire import TIMEOUT
from outlive.wording import counted

TICK = 0.05
"""Seconds between two checks whether the test is over."""
REPORT = 1.0
"""Seconds between two reports of the results so far."""
HEARTBEATS = 30
"""Seconds of silence after which a remote worker counts as lost; locust's 3 are too few under load."""
DRAIN = TIMEOUT + 5
"""Seconds for requests under way at the end: by then each is answered or has failed."""

LOST = "a locust worker was lost"
MUTE = f"a locust worker was silent for {HEARTBEATS} s: it was lost, or a user hangs in it"

SHARE, CLOSE, SENT = "outlive-share", "outlive-close", "outlive-sent"

logger = logging.getLogger(__name__)


class NoAnswer(Exception):  # noqa: N818 - the fate of a request, not a fault of the program
    """The server did not answer: it refused or closed the connection, or hangs."""


class CpuMeter:
    """Measures how long this process has run and waited for a core since the meter was made."""

    def __init__(self) -> None:
        self._began, self._busy, self._waited = self._now()

    def read(self) -> tuple[float, float, float]:
        """Return the seconds that have passed, that the process ran, and that it waited."""
        now, busy, waited = self._now()
        return now - self._began, busy - self._busy, waited - self._waited

    @staticmethod
    def _now() -> tuple[float, float, float]:
        try:
            waited = int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
        except (OSError, IndexError, ValueError):
            waited = 0.0  # this kernel does not report it
        return time.perf_counter(), time.process_time(), waited


class Session:
    """The state of the running test in one locust process; attached to locust's events once."""

    def __init__(self, loadtests: Path) -> None:
        runners.HEARTBEAT_LIVENESS = HEARTBEATS
        self.loadtests = loadtests
        self.arrivals = Arrivals(NOTHING)
        self._decks: dict[str, Deck] = {}
        self._share: Share | None = None
        self._own = Sent()
        self._seen: dict[str, Sent] = {}
        self._last = 0.0
        self._meter = CpuMeter()
        self._running = False
        self._abandoned = False
        self._stopped: str | None = None

    def attach(self, environment: Environment) -> None:
        """Take part in the test of `environment`, in the role of its runner."""
        assert environment.runner is not None
        self.environment = environment
        self.runner = environment.runner
        self.master = self.runner if isinstance(self.runner, MasterRunner) else None
        self.is_worker = isinstance(self.runner, WorkerRunner)
        self._patience = max(environment.stop_timeout, DRAIN)
        events = environment.events
        events.test_start.add_listener(self._on_test_start)
        events.test_stopping.add_listener(self._on_test_stopping)
        events.test_stop.add_listener(self._on_test_stop)
        if self.master:
            self.master.register_message(SENT, self._on_sent)
        else:
            events.request.add_listener(self._on_request)
            events.user_error.add_listener(self._on_user_error)
        if self.is_worker:
            self.runner.register_message(SHARE, self._on_share)
            self.runner.register_message(CLOSE, self._on_close)

    def check(self) -> None:
        """Raise UsageError if the options ask for traffic that cannot be sent."""
        for name in ("requests", "rate", "stall"):
            if not getattr(self.options, name) >= 0:
                raise UsageError(f"--{name} is {getattr(self.options, name)}: it must not be negative")
        for user in self.environment.user_classes:
            if getattr(user, "deals", False):
                self._weights(user.__name__)

    def draw(self, user: str) -> str:
        """Return the name of the scenario that a client of class `user` sends next."""
        if user not in self._decks:
            index = getattr(self.runner, "worker_index", 0)
            self._decks[user] = Deck(self._weights(user), f"{user} {index}")
        return self._decks[user].draw()

    def _weights(self, user: str) -> dict[str, int]:
        patterns = [name.strip() for name in self.options.scenarios.split(",") if name.strip()]
        patterns += [tag for tag in self.options.tags or () if tag not in patterns]
        return weights(self.loadtests, user, patterns)

    @property
    def _strangers(self) -> list[str]:
        """The names of the users from another locustfile, who send when they like."""
        return [user.__name__ for user in self.environment.user_classes if not getattr(user, "deals", False)]

    @property
    def options(self) -> Any:
        """The options of the running test; the web interface can change them between tests."""
        return self.environment.parsed_options

    # Events from locust, in every process

    def _on_test_start(self, **_: object) -> None:
        try:
            self.check()
        except UsageError as error:
            raise StopTest(str(error)) from None
        # Otherwise locust stops users in the middle of a request: the server would see clients that leave.
        self.environment.stop_timeout = self._patience
        self._decks.clear()
        self._seen.clear()
        self._meter = CpuMeter()
        self._abandoned = False
        self._stopped = None
        self._own = Sent()
        self._last = time.perf_counter()
        limits = (self.options.requests or None, self.options.rate or None)
        if self.master:
            clients = self.master.clients
            ready = clients.ready + clients.running + clients.spawning
            for worker, share in zip(ready, shares(*limits, len(ready)), strict=True):
                # Sent before the order to spawn, so that a worker has its share when its users begin.
                self.master.send_message(SHARE, msgspec.to_builtins(share), client_id=worker.id)
                self._seen[worker.id] = Sent()
        elif self.is_worker:
            # A worker that joins late has no share: everything is distributed already.
            self.arrivals = Arrivals(self._share or (NOTHING if any(limits) else Share()))
            self._share = None
        else:
            self.arrivals = Arrivals(shares(*limits, 1)[0])
        if self._strangers:
            with self.arrivals.take():  # from now on, users of another locustfile send when they like
                pass
        self._running = True
        if not self.is_worker:
            self._report()  # from now on, whatever hangs is a user
        gevent.spawn(self._watch)

    def _on_test_stopping(self, **_: object) -> None:
        if lost := self._lost():  # locust itself ends the test when the last worker is lost
            self._stopped, self._abandoned = lost, True
        self.arrivals.close()
        if self.master:
            self.master.send_message(CLOSE)
        if not self.is_worker and not self._abandoned:
            until = time.perf_counter() + DRAIN
            while not self._over() and time.perf_counter() < until:
                gevent.sleep(TICK)

    def _on_test_stop(self, **_: object) -> None:
        self._running = False
        self._report(final=True)

    def _on_request(
        self, name: str, response_time: float | None, exception: Exception | None = None, **_: object
    ) -> None:
        if not isinstance(exception, NoAnswer):
            now = time.perf_counter()
            self._own.silence = max(self._own.silence, now - self._last)
            self._last = now
        self._own.add(name, (response_time or 0) / 1000, None if exception is None else str(exception))

    def _on_user_error(self, exception: Exception, **_: object) -> None:
        self._own.blame(f"a task raised {type(exception).__name__}: {exception}")

    # Messages between the head and the workers

    def _on_share(self, msg: Message, **_: object) -> None:
        self._share = msgspec.convert(msg.data, Share)

    def _on_close(self, **_: object) -> None:
        self.arrivals.close()

    def _on_sent(self, msg: Message, **_: object) -> None:
        self._seen[msg.node_id] = msgspec.convert(msg.data, Sent)

    # Watching over the test

    def _watch(self) -> None:
        reported, told = time.perf_counter(), False
        while True:
            gevent.sleep(TICK)
            if not self._running:
                return  # the final report has been made
            over, now = self._over(), time.perf_counter()
            if now - reported > REPORT or (over and not told):
                reported, told = now, over
                self._report()
                reason = None if self.is_worker or over else self._fault()
                if reason is not None:
                    self._abandoned = True
                    self.environment.stop_timeout = 0.0
                if not self.is_worker and (over or reason is not None):
                    self._stop(reason)
                    return

    def _over(self) -> bool:
        if self.master:
            return all(sent.done for sent in self._seen.values())
        return self.arrivals.over

    def _lost(self) -> str | None:
        """Return how a worker was lost, or None if all are there."""
        if self.master is None:
            return None
        if self.options.processes and len(psutil.Process().children()) < self.options.processes:
            return LOST  # the end of a child is noticed at once
        clients = self.master.clients
        if any(name not in clients for name in self._seen):
            return LOST
        return MUTE if any(clients[name].state == STATE_MISSING for name in self._seen) else None

    def _fault(self) -> str | None:
        """Return why the test cannot go on, or None if it can."""
        if lost := self._lost():
            return lost
        senders = [sent for sent in self._sent() if not sent.done]
        gap = len(senders) / self.options.rate if self.options.rate else 0.0
        if min((sent.quiet for sent in senders), default=0.0) > self.options.stall + gap:
            silent = f"no request was answered for {self.options.stall:g} s"
            if self._strangers:
                return f"{silent}: the server hangs, or {', '.join(self._strangers)} sends none"
            return f"the server stopped answering: {silent}"
        return None

    def _stop(self, reason: str | None) -> None:
        self._stopped = reason
        if reason is not None:
            logger.error("%s: the test ends", reason)
        if self.options.headless:
            self.runner.quit()
        else:
            self.runner.stop()

    def _sent(self) -> tuple[Sent, ...]:
        """Return the results of each sending process so far."""
        if self.master:
            return tuple(self._seen.values())
        sent = self._own
        now = time.perf_counter()
        sent.quiet = now - self._last
        sent.done = self.arrivals.over
        if not sent.done:
            sent.silence = max(sent.silence, sent.quiet)
        sent.unsent = self.arrivals.unsent
        _, sent.busy, sent.waiting = self._meter.read()
        if self.arrivals.began is not None:
            sent.seconds = max(0.0, (self._last if sent.done else now) - self.arrivals.began)
        return (sent,)

    def _report(self, final: bool = False) -> None:
        if self.is_worker:
            self.runner.send_message(SENT, msgspec.to_builtins(self._sent()[0]))
        elif self.options.result:
            sent = self._sent()
            seconds, busy, _ = self._meter.read()
            result = Result(
                processes=sent,
                overhead=busy if self.master else 0.0,
                final=final,
                stopped=self._stopped or (self._short(sent, seconds) if final else None),
            )
            try:
                write_text(Path(self.options.result), msgspec.json.encode(result).decode())
            except FaultError:  # the log is on the same disk: the status tells the waiting process at once
                os._exit(UNWRITTEN)

    def _short(self, sent: tuple[Sent, ...], seconds: float) -> str | None:
        """Return how far the test fell short of its requests or duration, or None if it did not."""
        wanted, limit = self.options.requests, self.options.run_time
        done = sum(tally.requests for part in sent for tally in part.scenarios.values())
        if not done:
            none = f"none within {min(seconds, limit or seconds):.0f} s"
            fault = next((fault for part in sent for fault in part.faults), none)
            return f"no request was answered: {fault}"
        timed_out = limit and seconds >= limit - 1  # locust counts in whole seconds
        if timed_out or not (wanted or limit) or (wanted and done == wanted):
            return None
        extent = f"{done} of {counted(wanted, 'request')}" if wanted else f"{seconds:.0f} of {limit} s"
        return f"ended after {extent}"
