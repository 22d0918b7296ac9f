"""Seals a server against other processes: the kernel drops TCP segments that are not signed with its key.

Any user of a machine can connect to a port on its loopback interface, and a stranger's requests would be
counted. TCP signatures (RFC 2385) keep strangers out and change nothing else about TCP, including resets and
TLS. On Linux they need no privilege. On other kernels any user can connect.
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
"""The environment variable with the key for outlive's load generators, in hexadecimal digits."""


class Sealed(NamedTuple):
    """The address of a server that only answers clients with the key."""

    host: str
    port: int
    key: bytes


Address = tuple[str, int] | Sealed


def seal(sock: socket.socket, key: bytes) -> None:
    """Make a TCP socket sign what it sends and drop whatever is not signed, from any address.

    A listening socket's connections inherit this. Raises OSError if the kernel has no TCP signatures.
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
    """Return the environment variables that let another process talk to `address`."""
    return {VARIABLE: address.key.hex()} if isinstance(address, Sealed) else {}


def connect(sock: socket.socket, address: Address) -> None:
    """Connect a TCP socket to `address`, with its key if it has one."""
    if isinstance(address, Sealed):
        seal(sock, address.key)
    sock.connect(address[:2])


def in_all(sockets: type[socket.socket], address: Address) -> None:
    """Make all sockets of a class use the key when they connect to `address`, whoever creates them."""
    plain = sockets.connect

    def connected(sock: socket.socket, to: Any) -> None:
        if isinstance(address, Sealed) and to[:2] == address[:2]:
            seal(sock, address.key)
        plain(sock, to)

    sockets.connect = connected  # type: ignore[assignment, method-assign]
