"""Logs a client in, and adds the cookies or the token that it gets to a scenario's requests."""

from __future__ import annotations

import http.client
import io
from collections.abc import Sequence
from http.cookies import CookieError, SimpleCookie

import msgspec

from outlive.errors import FaultError
from outlive.service.scenarios import Scenario, expected
from outlive.service.seal import Address
from outlive.service.wire import Wire


class _Received(io.BytesIO):
    """The bytes from which `http.client` reads an answer in place of a socket."""

    def makefile(self, _mode: str) -> _Received:
        return self


def logged_in(scenario: Scenario, address: Address) -> Scenario:
    """Return the scenario whose requests carry what its `login` gives; itself without a login.

    Raises FaultError if the login is answered unexpectedly or gives nothing.
    """
    login = scenario.login
    if login is None:
        return scenario
    message = msgspec.structs.replace(scenario, request=login.request, then=()).message("close")
    wire = Wire(address, tls=scenario.tls)
    try:
        wire.send(message)
        while wire.more():
            pass
        answer = http.client.HTTPResponse(_Received(wire.buffer))  # type: ignore[arg-type]
        answer.begin()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise FaultError(f"{scenario.name}: the login got no answer: {type(error).__name__}") from None
    finally:
        wire.close()
    return carrying(scenario, answer.status, answer.msg.get_all("Set-Cookie", []), body)


def carrying(scenario: Scenario, status: int, cookie_lines: Sequence[str], body: bytes) -> Scenario:
    """Return the scenario with what the answer to its login gives. Raises FaultError as `logged_in` does."""
    login = scenario.login
    assert login is not None
    if not expected(login.expect, str(status)):
        raise FaultError(f"{scenario.name}: the login was answered {status}, not {' or '.join(login.expect)}")
    headers = {"Authorization": f"Bearer {_token(scenario, login.token, body)}"} if login.token else {}
    if cookies := _cookies(cookie_lines):
        headers["Cookie"] = cookies
    if not headers:
        raise FaultError(f"{scenario.name}: the login was answered {status}, without a cookie")
    requests = [
        msgspec.structs.replace(request, headers=headers | request.headers)
        for request in (scenario.request, *scenario.then)
    ]
    return msgspec.structs.replace(scenario, request=requests[0], then=tuple(requests[1:]), login=None)


def _token(scenario: Scenario, field: str, body: bytes) -> str:
    try:
        return str(msgspec.json.decode(body, type=dict[str, object])[field])
    except (msgspec.DecodeError, KeyError):
        raise FaultError(f"{scenario.name}: the login's answer is no JSON object with {field!r}") from None


def _cookies(lines: Sequence[str]) -> str:
    cookies: dict[str, str] = {}
    for line in lines:
        try:
            cookies |= {name: morsel.coded_value for name, morsel in SimpleCookie(line).items()}
        except CookieError:
            continue
    return "; ".join(f"{name}={value}" for name, value in cookies.items())
