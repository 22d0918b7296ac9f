"""Servers that nobody else can talk to: the kernel drops each TCP segment without a signature by our key.

Any user of a machine can connect to a port on its loopback interface, and a stranger's requests would be
counted as ours. TCP signatures (RFC 2385) keep strangers out and leave all else of TCP as it is, resets and
TLS too. Linux has them and asks for no privilege. Where a kernel has none, anybody can connect.
"""

from __future__ import annotations

import os
import secrets
import socket
import struct
from typing import NamedTuple

TCP_MD5SIG_EXT = 32
TCP_MD5SIG_FLAG_PREFIX = 1
KEY_LENGTH = 32  # bytes; the kernel takes up to 80
VARIABLE = "OUTLIVE_SEAL"
"""Tells a load generator that we start the key, in hexadecimal digits."""


class Sealed(NamedTuple):
    """The address of a server that answers only who has the key."""

    host: str
    port: int
    key: bytes


Address = tuple[str, int] | Sealed


def seal(sock: socket.socket, key: bytes) -> None:
    """Have a TCP socket sign what it sends and drop what is not signed, whatever address it comes from.

    A listening socket hands that on to its connections. Raises OSError where the kernel has no signatures.
    """
    # struct tcp_md5sig: an address and the bits of it that count (none), the length of the key, the key
    option = struct.pack("=H126xBBHi80s", socket.AF_INET, TCP_MD5SIG_FLAG_PREFIX, 0, len(key), 0, key)
    sock.setsockopt(socket.IPPROTO_TCP, TCP_MD5SIG_EXT, option)


def sealed(listener: socket.socket) -> Address:
    """Close a listening socket to all others, where the kernel can, and return its address."""
    host, port = listener.getsockname()
    key = secrets.token_bytes(KEY_LENGTH)
    try:
        seal(listener, key)
    except OSError:
        return host, port
    return Sealed(host, port, key)


def given(host: str, port: int) -> Address:
    """Return the address of the server that this process was started to send load to."""
    key = os.environ.get(VARIABLE)
    return Sealed(host, port, bytes.fromhex(key)) if key else (host, port)


def told(address: Address) -> dict[str, str]:
    """Return the environment variables that tell another process of ours how to talk to `address`."""
    return {VARIABLE: address.key.hex()} if isinstance(address, Sealed) else {}


def connect(sock: socket.socket, address: Address) -> None:
    """Connect a TCP socket to `address`, with its key where it has one."""
    if isinstance(address, Sealed):
        seal(sock, address.key)
    sock.connect(address[:2])
