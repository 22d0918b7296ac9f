"""Servers of ours that strangers on the same machine cannot reach."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

import pytest

from outlive.service import seal
from outlive.service.seal import Address, Sealed


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as found:
        yield found


@pytest.fixture
def address(listener: socket.socket) -> Address:
    found = seal.sealed(listener)
    if not isinstance(found, Sealed):
        pytest.skip("this kernel has no TCP signatures")
    return found


def test_who_has_the_key_is_served(listener: socket.socket, address: Address) -> None:
    with socket.socket() as client:
        seal.connect(client, address)
        accepted, _ = listener.accept()
        with accepted:
            client.sendall(b"hello" * 100_000)
            client.shutdown(socket.SHUT_WR)
            assert sum(len(data) for data in iter(lambda: accepted.recv(65536), b"")) == 500_000


@pytest.mark.parametrize("source", ["127.0.0.1", "127.0.0.2", "0.0.0.0"])
def test_strangers_are_not_even_refused(listener: socket.socket, address: Address, source: str) -> None:
    listener.settimeout(0)
    with socket.socket() as stranger:
        stranger.settimeout(0.2)
        stranger.bind((source, 0))
        with pytest.raises(TimeoutError):
            stranger.connect(address[:2])
    with socket.socket() as stranger:
        stranger.settimeout(0.2)
        with pytest.raises(TimeoutError):
            seal.connect(stranger, Sealed(address[0], address[1], b"another key"))
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_a_connection_that_is_open_takes_no_segment_of_others(
    listener: socket.socket, address: Address
) -> None:
    with socket.socket() as client:
        seal.connect(client, address)
        accepted, _ = listener.accept()
        with accepted, socket.socket() as stranger:
            stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with pytest.raises(OSError, match=os_error(errno.EADDRINUSE)):
                stranger.bind(client.getsockname())


def os_error(number: int) -> str:
    return rf"\[Errno {number}\]"


def test_a_generator_is_told_the_key(address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in seal.told(address).items():
        monkeypatch.setenv(name, value)
    assert seal.given(*address[:2]) == address


def test_a_server_of_a_users_own_has_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(seal.VARIABLE, raising=False)
    assert seal.given("there", 80) == ("there", 80)
    assert seal.told(("there", 80)) == {}


def test_a_kernel_without_signatures_serves_all(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seal, "TCP_MD5SIG_EXT", 12345)
    address = seal.sealed(listener)
    assert address == listener.getsockname()
    with socket.socket() as client:
        seal.connect(client, address)
