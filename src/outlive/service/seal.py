"""Seals a server, so that only we can talk to it: the kernel drops TCP segments not signed with our key.

Any user of a machine can connect to a port on its loopback interface, and a stranger's requests would be
counted as ours. TCP signatures (RFC 2385) keep strangers out and change nothing else about TCP, resets and
TLS included. On Linux they need no privilege. On other kernels anybody can connect.
"""

from __future__ import annotations

import os
import secrets
import socket
import struct
from typing import Any, NamedTuple

TCP_MD5SIG_EXT = 32
TCP_MD5SIG_FLAG_PREFIX = 1
KEY_LENGTH = 32  # bytes; the kernel takes up to 80
VARIABLE = "OUTLIVE_SEAL"
"""The environment variable by which a load generator of ours gets the key, in hexadecimal digits."""


class Sealed(NamedTuple):
    """The address of a server that only answers those who have the key."""

    host: str
    port: int
    key: bytes


Address = tuple[str, int] | Sealed


def seal(sock: socket.socket, key: bytes) -> None:
    """Make a TCP socket sign what it sends and drop whatever is not signed, from any address.

    The connections of a listening socket inherit that. Raises OSError if the kernel has no TCP signatures.
    """
    # struct tcp_md5sig: an address, how many bits of it count (none), the length of the key, the key
    option = struct.pack("=H126xBBHi80s", socket.AF_INET, TCP_MD5SIG_FLAG_PREFIX, 0, len(key), 0, key)
    sock.setsockopt(socket.IPPROTO_TCP, TCP_MD5SIG_EXT, option)


def sealed(listener: socket.socket) -> Address:
    """Seal a listening socket if the kernel can, and return its address."""
    host, port = listener.getsockname()
    key = secrets.token_bytes(KEY_LENGTH)
    try:
        seal(listener, key)
    except OSError:
        return host, port
    return Sealed(host, port, key)


def given(host: str, port: int) -> Address:
    """Return the address of the server to which this process, a load generator, sends requests."""
    key = os.environ.get(VARIABLE)
    return Sealed(host, port, bytes.fromhex(key)) if key else (host, port)


def told(address: Address) -> dict[str, str]:
    """Return the environment variables that let another process of ours talk to `address`."""
    return {VARIABLE: address.key.hex()} if isinstance(address, Sealed) else {}


def connect(sock: socket.socket, address: Address) -> None:
    """Connect a TCP socket to `address`, with its key if it has one."""
    if isinstance(address, Sealed):
        seal(sock, address.key)
    sock.connect(address[:2])


def in_all(sockets: type[socket.socket], address: Address) -> None:
    """Have all sockets of a class that connect to `address` do so with its key, whoever makes them."""
    plain = sockets.connect

    def connected(sock: socket.socket, to: Any) -> None:
        if isinstance(address, Sealed) and to[:2] == address[:2]:
            seal(sock, address.key)
        plain(sock, to)

    sockets.connect = connected  # type: ignore[assignment, method-assign]
