"""The exact load: a fixed number of requests, in order, one at a time, over raw loopback sockets."""

from __future__ import annotations

import itertools
import ssl
from collections.abc import Callable, Iterator
from typing import Self

from outlive.errors import FaultError
from outlive.records.measurement import Connection
from outlive.service.scenarios import COUNTER, Answer, Scenario
from outlive.service.seal import Address
from outlive.service.wire import TIMEOUT, Head, Wire


class SilentError(FaultError):
    """The server does not answer in time."""


class _StaleError(Exception):
    """The server had already closed the idle connection and never saw the request."""


class Client:
    """A client that goes through a scenario's steps and reports what it sees.

    `rest` waits until the server has nothing left to do. `numbers` yields the requests' numbers, which make
    paths and headers unique.
    """

    def __init__(
        self,
        address: Address,
        scenario: Scenario,
        connection: Connection,
        rest: Callable[[], object],
        *,
        numbers: Iterator[int] | None = None,
    ) -> None:
        self.address = address
        self.rest = rest
        self.scenario = scenario
        self.connection = connection
        self.numbers = numbers or itertools.count()
        self.messages = scenario.messages(connection)
        self.counted = any(COUNTER in message for message in self.messages)
        self.bodyless = scenario.request.method == "HEAD"
        self.small_window = "receive-some" in scenario.steps
        self.steps = [step.replace("-", "_") for step in scenario.steps]
        self.wire: Wire | None = None
        self.staying: Wire | None = None
        self.connections = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self) -> Answer:
        """Go through the steps once; return what the client sees: `404`, `200 cut`, `closed`, `aborted`.

        Raises FaultError if the server does not answer in time or with HTTP, or refuses the connection.
        """
        name = self.scenario.name
        number = next(self.numbers)
        try:
            try:
                return self._exchange(number)
            except _StaleError:
                self.close()
                return self._exchange(number)
        except TimeoutError:
            raise SilentError(f"{name}: no answer within {TIMEOUT:g} s: the server hangs") from None
        except OSError as error:
            raise FaultError(
                f"{name}: the server refuses connections ({error.strerror}): it has died"
            ) from None
        except (ValueError, IndexError, KeyError):
            raise FaultError(f"{name}: the server's answer is not HTTP") from None

    def ask(self) -> Answer:
        """Do as `send` does. Also raises FaultError for an answer that the scenario does not expect."""
        answer = self.send()
        check(self.scenario, answer)
        return answer

    def replay(self, requests: int) -> int:
        """Ask `requests` times, one after another, then close; return the number of connections used."""
        with self:
            for _ in range(requests):
                self.ask()
        return self.connections

    def close(self) -> None:
        """Close the connection properly, and the connection that the step `stay` left open."""
        for wire in filter(None, (self.wire, self.staying)):
            wire.close()
        self.wire = self.staying = None

    def _exchange(self, number: int) -> Answer:
        reused = self.wire is not None
        if self.wire is None:
            self.connections += 1
            try:
                self.wire = Wire(self.address, small_window=self.small_window, tls=self.scenario.tls)
            except ssl.SSLCertVerificationError:
                self.rest()
                return "refused"
        messages = self.messages
        if self.counted:
            messages = tuple(message.replace(COUNTER, b"%06d" % number) for message in messages)
        exchange = _Exchange(self, self.wire, messages, reused=reused)
        for step in self.steps:
            getattr(exchange, step)()
            if exchange.over:
                break
        wire, self.wire = self.wire, None
        if exchange.gone:
            pass  # the client has closed it
        elif exchange.stays:
            before, self.staying = self.staying, wire
            if before is not None:
                before.close()
        elif self.connection == "close" or not exchange.keeps:
            wire.drain()
        elif self.connection == "client-close":
            # Servers keep tables by file number: it must be free before the next connection is accepted.
            wire.end()
            wire.drain()
        elif self.connection == "client-reset":
            self.rest()
            wire.reset()
            self.rest()
        else:
            self.wire = wire
        return " ".join(exchange.seen)


class _Exchange:
    """The state of one run through a scenario's steps; each step is a method.

    `seen` lists what the client has noted. `over`: no further step makes sense. `gone`: the client has closed
    the connection. `stays`: the client leaves it open. `keeps`: both sides can go on using it.
    """

    def __init__(self, client: Client, wire: Wire, messages: tuple[bytes, ...], *, reused: bool) -> None:
        self.wire = wire
        self.unsent = list(messages)
        self.sent = 0  # bytes already sent of the first unsent message
        self.rest = client.rest  # this is also a step
        self.bodyless = client.bodyless
        self.untouched = reused
        self.head: Head | None = None
        self.seen: list[str] = []
        self.over = self.gone = self.stays = False
        self.keeps = True

    def send(self) -> None:
        """Send the next request, or the rest of it."""
        self._send_until(len(self.unsent[0]))
        del self.unsent[0]
        self.sent = 0

    def send_all(self) -> None:
        """Send all requests in one piece."""
        self.wire.send(b"".join(self.unsent))

    def send_half_head(self) -> None:
        """Send the first half of the head."""
        self._send_until(_head_length(self.unsent[0]) // 2)

    def send_head(self) -> None:
        """Send the head."""
        self._send_until(_head_length(self.unsent[0]))

    def send_half(self) -> None:
        """Send the head and the first half of the body."""
        head = _head_length(self.unsent[0])
        self._send_until(head + (len(self.unsent[0]) - head) // 2)

    def receive(self) -> None:
        """Receive a whole answer, or the rest of it, and note its status."""
        head = self.head or self._next_head()
        self.head = None
        if head is None:
            return
        if not self.wire.body(head):
            self._break_off(f"{head.status} cut")
            return
        self.keeps = self.keeps and not head.close
        self.seen.append(head.status)

    def receive_head(self) -> None:
        """Receive a head, which can be that of a 100 or a 101, and note its status."""
        if head := self._next_head(interim=True):
            self.seen.append(head.status)

    def receive_some(self) -> None:
        """Receive the head and the first bytes of an answer."""
        self.head = self._next_head()
        if self.head and not self.wire.more():
            self._break_off(f"{self.head.status} cut")

    def receive_frame(self) -> None:
        """Receive a WebSocket frame and note its kind."""
        if kind := self.wire.frame():
            self.seen.append(kind)
        else:
            self._break_off("closed")

    def end(self) -> None:
        """Close the sending side."""
        self.wire.end()
        self.keeps = False

    def leave(self) -> None:
        """Reset the connection."""
        # The server must have noticed each state before the client changes it, or the count is a race.
        self.rest()
        self.wire.reset()
        self.rest()
        self.seen.append("aborted")
        self.over = self.gone = True

    def stay(self) -> None:
        """Keep the connection open and silent until the next client does the same."""
        self.rest()
        self.seen.append("silent")
        self.over = self.stays = True

    def _send_until(self, position: int) -> None:
        self.wire.send(self.unsent[0][self.sent : position])
        self.sent = position

    def _next_head(self, *, interim: bool = False) -> Head | None:
        """Return the next head; if the server closes instead, note that and return None."""
        head = self.wire.head(interim=interim, bodyless=self.bodyless)
        if head is None:
            if self.untouched and not self.wire.buffer:
                raise _StaleError
            self._break_off("closed")
        self.untouched = False
        return head

    def _break_off(self, note: str) -> None:
        self.seen.append(note)
        self.over = True
        self.keeps = False


def _head_length(message: bytes) -> int:
    return message.index(b"\r\n\r\n") + 4


def check(scenario: Scenario, answer: Answer) -> None:
    """Raise FaultError if the scenario does not expect this answer."""
    if not scenario.expects(answer):
        expected = " or ".join(scenario.expect)
        raise FaultError(
            f"{scenario.name} was answered {answer!r}, not {expected!r}: the app or the server is wrong"
        )
