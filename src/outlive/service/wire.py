"""A client's connection to a server; reads HTTP heads and bodies, and WebSocket frames."""

from __future__ import annotations

import contextlib
import errno
import functools
import re
import socket
import ssl
import struct

import msgspec

from outlive.service import seal
from outlive.service.scenarios import Tls
from outlive.service.seal import Address

TIMEOUT = 20.0
"""Seconds for one socket operation; a server that takes longer is a fault, not a slow measurement."""
CONNECT_TIMEOUT = 5.0
"""Seconds to connect, which the kernel does by itself."""
SMALL_WINDOW = 16384
"""Bytes of a client's receive buffer if it leaves during the answer: the server must still be sending."""
LINGER_ZERO = struct.pack("ii", 1, 0)
"""SO_LINGER 0: close() sends a reset, as the kernel does for a client that has died."""
BODYLESS = ("101", "204", "304")
"""Statuses whose answers end with the head."""
HEADS = 64
"""Heads whose parsed form is cached: answers hardly differ except in the seconds of their date."""
END = re.compile(rb"\r?\n\r?\n")
"""The end of a head: an empty line, which RFC 9112 (2.2) lets a client accept as a bare line feed."""
FRAMES = {1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong"}
"""WebSocket frames by opcode."""


class Head(msgspec.Struct, frozen=True):
    """The parts of an answer's head that decide how to read its body; `length` is in bytes."""

    status: str
    length: int | None
    chunked: bool
    close: bool


class Wire:
    """A connection; `buffer` holds the bytes received and not yet read.

    The constructor raises ssl.SSLCertVerificationError if `tls` is `refused`. Reading and sending raise
    TimeoutError.
    """

    def __init__(self, address: Address, *, small_window: bool = False, tls: Tls = False) -> None:
        plain = socket.socket()
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if small_window:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_WINDOW)
        try:
            _connect(plain, address)
            if tls:
                plain.settimeout(TIMEOUT)
            self.socket = _client(trusting=tls != "refused").wrap_socket(plain) if tls else plain
        except BaseException:
            plain.close()
            raise
        self.buffer = b""

    def send(self, data: bytes) -> None:
        """Send `data`. It is no error if the server answers and closes before it has read everything."""
        try:
            self.socket.sendall(data)
        except BlockingIOError:
            raise TimeoutError from None
        except TimeoutError:
            raise
        except OSError:
            pass

    def end(self) -> None:
        """Close the sending side."""
        with contextlib.suppress(OSError):  # as in `send`
            self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Reset the connection, as the kernel does for a client that has died."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
        self.close()

    def close(self) -> None:
        """Close the connection properly."""
        self.socket.close()

    def drain(self) -> None:
        """Wait for the server to close, so that it has finished with this request before the next one."""
        while self.more():
            self.buffer = b""
        self.close()

    def more(self) -> bool:
        """Receive something into the buffer; return False once the server has closed or reset."""
        try:
            data = self.socket.recv(65536)
        except BlockingIOError:
            raise TimeoutError from None
        except (ConnectionError, ssl.SSLError):
            return False
        self.buffer += data
        return bool(data)

    def head(self, *, interim: bool = False, bodyless: bool = False) -> Head | None:
        """Return the next head, or None if there is none.

        Heads with an interim status, such as 100, are skipped unless `interim` is True. `bodyless`: the
        answer has no body, whatever the head says.
        """
        while True:
            while (end := END.search(self.buffer)) is None:
                if not self.more():
                    return None
            text, self.buffer = self.buffer[: end.start()], self.buffer[end.end() :]
            head = _parsed(text)
            if interim or not head.status.startswith("1"):
                break
        return msgspec.structs.replace(head, length=0) if bodyless else head

    def body(self, head: Head) -> bool:
        """Read the body; return whether it was complete."""
        if head.chunked:
            return self._chunks()
        if head.length is not None:
            return self._take(head.length)
        while self.more():
            self.buffer = b""
        return True

    def frame(self) -> str | None:
        """Read a WebSocket frame from the server; return its kind, or None if there is none."""
        while len(self.buffer) < 2:
            if not self.more():
                return None
        kind = FRAMES[self.buffer[0] & 15]
        return kind if self._take(2 + (self.buffer[1] & 127)) else None

    def _chunks(self) -> bool:
        while True:
            while b"\r\n" not in self.buffer:
                if not self.more():
                    return False
            size, _, self.buffer = self.buffer.partition(b"\r\n")
            length = int(size.split(b";")[0], 16)
            if not self._take(length + 2):
                return False
            if not length:
                return True

    def _take(self, length: int) -> bool:
        while len(self.buffer) < length:
            if not self.more():
                return False
        self.buffer = self.buffer[length:]
        return True


@functools.lru_cache(HEADS)
def _parsed(text: bytes) -> Head:
    """Return the parsed head. Raises ValueError or IndexError if the text is not one."""
    first, *lines = text.decode("latin-1").split("\r\n")
    status = first.split(" ")[1]
    fields = {}
    for line in lines:
        name, _, value = line.partition(":")
        fields[name.lower()] = value.strip().lower()
    length = fields.get("content-length")
    return Head(
        status,
        0 if status in BODYLESS else None if length is None else int(length),
        "chunked" in fields.get("transfer-encoding", ""),
        fields.get("connection") == "close" or first.startswith("HTTP/1.0"),
    )


def _connect(plain: socket.socket, address: Address) -> None:
    """Connect. Also raises ConnectionRefusedError on a time-out, because a dead sealed server is silent.

    The kernel enforces the time-outs: with Python's, each call would take two system calls.
    """
    _limit(plain, socket.SO_SNDTIMEO, CONNECT_TIMEOUT)
    try:
        seal.connect(plain, address)
    except (BlockingIOError, TimeoutError):
        raise ConnectionRefusedError(errno.ECONNREFUSED, "no answer") from None
    _limit(plain, socket.SO_SNDTIMEO, TIMEOUT)
    _limit(plain, socket.SO_RCVTIMEO, TIMEOUT)


def _limit(plain: socket.socket, option: int, seconds: float) -> None:
    plain.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", int(seconds), int(seconds % 1 * 1e6)))


@functools.cache
def _client(*, trusting: bool) -> ssl.SSLContext:
    """Return the TLS context of a client; servers on loopback have no host name to check.

    A client that is not `trusting` demands a certificate signed by an authority, which theirs is not.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if trusting:
        context.verify_mode = ssl.CERT_NONE
    return context
